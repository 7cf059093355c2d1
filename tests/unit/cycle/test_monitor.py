"""The loop's contract: committed before anything is carried out, nothing ordered twice, and looks go on while acts are under way."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.failover_run import new_transaction
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import PRUNE_EVERY
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FailoverOrder, FenceOrder, MoveOrder, Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Retention
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import Do, Move, Step, closed, to_record
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.record import retention
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import Change, StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry
from scene import Scene


def fenced(scene: Scene, host: str = "esx1") -> FenceOrder:
    """*host* dies and is fenced; the order has ended."""
    scene.run()
    scene.looks(9)
    scene.world.kill(host)
    scene.looks(30)
    (order,) = (order for order in scene.orders if isinstance(order, FenceOrder))
    scene.world.fence(host)
    scene.end(order)
    return order


def test_memory_and_journal_are_in_the_record_before_an_act_begins(scene: Scene) -> None:
    found = []

    def begun(order: Order) -> None:
        with StateDatabase.open(scene.url, clock=scene.world.at) as other:  # what another process would find after a crash
            ordered = [entry["text"] for entry in other.read_journal(kinds=["action"]) if entry["data"].get("ordered")]
            found.append((ordered[-1].partition(":")[2][:11].strip(), other.memory().looked_at == scene.world.at()))

    scene.when_begun = begun
    fenced(scene)
    scene.looks(3)
    assert found == [("fence esx1", True), ("failover e", True)]


def test_a_fence_under_way_is_not_ordered_again_and_looks_go_on(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    scene.world.kill("esx1")
    scene.looks(60)
    assert [str(order) for order in scene.begun] == ["fence esx1"]
    assert scene.monitor.summary.looks > 15
    assert len([text for text in scene.journal("action") if text.startswith("ordered")]) == 1
    scene.end(scene.begun[0], "san: no answer")
    scene.looks(3)
    assert [str(order) for order in scene.begun] == ["fence esx1", "fence esx1"]
    assert scene.journal("act") == ["not done: san: no answer"]


def test_a_second_host_that_dies_while_the_first_ones_vms_start_is_fenced_at_once(scene: Scene) -> None:
    scene.world.policy["max_dead_fraction"] = 1.0
    fenced(scene)
    scene.looks(3)
    (starts,) = (order for order in scene.orders if isinstance(order, FailoverOrder))
    assert {act.host for act in starts.acts} == {"esx2", "esx3"}
    scene.world.kill("esx2")
    scene.looks(30)
    assert [str(order) for order in scene.orders if isinstance(order, FenceOrder)] == ["fence esx2"]
    assert scene.called_off == [starts], "VMs are being started on a host that is fenced"


def test_vms_that_are_being_started_are_left_to_the_order_that_does_it(scene: Scene) -> None:
    fenced(scene)
    scene.looks(12)
    starts = [order for order in scene.begun if isinstance(order, FailoverOrder)]
    assert len(starts) == 1
    assert sorted(vm.name for vm in starts[0].planned) == ["vm1", "vm2"]
    scene.end(starts[0], "vm1 -> esx2: no such luck")
    scene.looks(3)
    again = [order for order in scene.begun if isinstance(order, FailoverOrder)][1]
    assert sorted(vm.name for vm in again.planned) == ["vm1", "vm2"]


def test_nothing_is_started_on_a_fenced_host_although_it_answers(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    scene.world.cut_storage("esx1")
    scene.looks(30)
    (order,) = scene.orders
    assert str(order) == "fence esx1"
    scene.world.fence("esx1")
    for vm in scene.world.vms_on("esx1"):
        scene.world.crash(vm.name)
    scene.end(order)
    scene.looks(3)
    (starts,) = (order for order in scene.orders if isinstance(order, FailoverOrder))
    assert starts.live == ("esx2", "esx3")


def emptying(scene: Scene) -> MoveOrder:
    """esx1 is to be emptied; its VMs are on their way."""
    scene.run()
    scene.looks(9)
    scene.database.give_commands([Command(CommandKind.MAINTENANCE_ON, "esx1", by="Ada", reason="a new fan")])
    scene.looks(3)
    (order,) = (order for order in scene.orders if isinstance(order, MoveOrder))
    return order


def test_vms_of_a_host_that_is_emptied_are_moved_in_one_order_and_not_again(scene: Scene) -> None:
    order = emptying(scene)
    assert sorted(vm.name for vm in order.planned) == ["vm1", "vm2"]
    assert order.live == ("esx1", "esx2", "esx3")
    scene.looks(30)
    assert [str(order) for order in scene.begun] == ["move 2 VMs off esx1"]


def test_a_move_is_called_off_as_soon_as_its_source_may_have_lost_its_storage(scene: Scene) -> None:
    """Its fence waits to be confirmed; a VM that starts elsewhere meanwhile would start without one."""
    order = emptying(scene)
    scene.world.hosts["esx1"].session, scene.world.hosts["esx1"].accessible = None, False
    scene.looks(6)
    assert not [order for order in scene.orders if isinstance(order, FenceOrder)]
    assert scene.called_off == [order]


def test_what_starts_or_moves_is_called_off_when_everything_is_shut_down(scene: Scene) -> None:
    order = emptying(scene)
    (record, *_rest) = [to_record(new_transaction(dataclasses.asdict(vm))) for vm in order.planned]
    scene.database.save_transaction(record, scene.token, JournalEntry("step", "begun"))
    scene.database.give_commands([Command(CommandKind.SHUTDOWN, by="ups", reason="on battery")])
    scene.looks(3)
    assert scene.called_off == [order]
    scene.end(order)
    scene.looks(30)
    assert not [order for order in scene.begun[1:] if isinstance(order, (FailoverOrder, MoveOrder))], "nothing is taken up again"


def test_empty_hosts_are_shut_down_each_by_an_order_of_its_own_and_no_fence_waits_for_that(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    for vm in scene.world.vms.values():
        scene.world.crash(vm.name)
    scene.database.give_commands([Command(CommandKind.SHUTDOWN, by="ups", reason="on battery")])
    scene.looks(3)
    assert sorted(map(str, scene.orders)) == ["shut down esx1", "shut down esx2", "shut down esx3"]
    assert {act.mode for order in scene.orders for act in order.acts} == {True}


@pytest.mark.parametrize("dies", ["esx1", "esx2"])
def test_a_move_is_called_off_when_one_of_its_ends_is_to_be_fenced(scene: Scene, dies: str) -> None:
    order = emptying(scene)
    assert "esx2" in {vm.destination for vm in order.planned}
    scene.world.kill(dies)
    scene.looks(30)
    assert [str(order) for order in scene.orders if isinstance(order, FenceOrder)] == ["fence %s" % dies]
    assert scene.called_off == [order]


@pytest.mark.parametrize(("only_host", "resumed"), [("", True), ("esx2", False)])
def test_what_an_earlier_run_left_open_is_completed(scene: Scene, only_host: str, resumed: bool) -> None:
    fenced(scene)
    scene.looks(3)
    (starts,) = (order for order in scene.orders if isinstance(order, FailoverOrder))
    for vm in starts.planned:
        record = to_record(new_transaction(to_dict(vm)))
        scene.database.save_transaction(record, scene.token, JournalEntry("step", "begun"))
        scene.world.start(vm.name, vm.destination)  # they run by now, and nothing has to be planned
    scene.orders.clear()
    scene.world.now += 1000  # and the run died
    scene.run("run-2", only_host)
    scene.looks(3)
    found = [order for order in scene.orders if isinstance(order, FailoverOrder)]
    assert [dict(order.resumed) for order in found] == ([{vm.id: vm.destination for vm in starts.planned}] if resumed else [])
    scene.looks(6)
    assert len([order for order in scene.begun if isinstance(order, FailoverOrder)]) == 1 + resumed


def test_a_run_whose_lease_is_gone_carries_nothing_out(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    scene.world.kill("esx1")
    scene.looks(9)
    scene.world.now += 61
    scene.database.acquire_lease("another", 60)
    before = scene.database.load_memory()
    for _again in range(20):
        with pytest.raises(LeaseLost):
            scene.looks(3)
    assert scene.begun == []
    assert scene.database.load_memory() == before


def test_a_run_ends_when_it_is_settled_and_nothing_is_under_way(scene: Scene) -> None:
    scene.run().until_settled()
    assert scene.begun == []
    looks = scene.monitor.summary.looks
    assert 2 <= looks < 6

    scene.world.kill("esx1")

    def meanwhile() -> None:
        for order in list(scene.orders):
            if isinstance(order, FenceOrder):
                scene.world.fence(order.action.host)
            elif isinstance(order, FailoverOrder):
                for vm in order.planned:
                    scene.world.start(vm.name, vm.destination)
            scene.end(order)

    scene.while_waiting = meanwhile
    judged = scene.monitor.until_settled()
    assert [type(order) for order in scene.begun] == [FenceOrder, FailoverOrder]
    assert judged.decision.settled
    assert judged.decision.down == ()


def test_a_run_that_finds_nothing_to_carry_out_ends_after_so_many_looks(scene: Scene) -> None:
    scene.world.kill("esx1")
    scene.world.serving = None  # nobody knows what the storage sees: it never settles
    scene.world.target_started = scene.world.now
    scene.world.policy["storage_grace"] = 100000
    scene.run().until_settled(max_looks=7)
    assert scene.monitor.summary.looks == 7


def test_a_run_whose_fence_cannot_be_completed_ends_too_and_waits_for_what_it_has_begun(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    scene.world.kill("esx1")
    ends_in = iter([False, True] * 100)

    def meanwhile() -> None:
        if next(ends_in):
            for order in list(scene.orders):
                scene.end(order, "san: no answer")

    scene.while_waiting = meanwhile
    scene.monitor.until_settled(max_looks=20)
    assert scene.monitor.summary.looks == 3 + 20
    assert len(scene.begun) > 3
    assert scene.orders == []
    assert scene.journal("act") == ["not done: san: no answer"], "what came of an act is told, once as long as it is the same"
    assert len(scene.monitor.summary.ended) == len(scene.begun)


def fails_to_start(scene: Scene) -> tuple[str, str]:
    """A host is lost, and the start of its first VM elsewhere fails before anything was asked of that host: the VM's id and the host."""
    fenced(scene)
    scene.looks(3)
    (order,) = (order for order in scene.orders if isinstance(order, FailoverOrder))
    vm = order.planned[0]
    end = closed(new_transaction(dataclasses.asdict(vm)), Move(Do.CLOSE, "it does not answer", Step.FAILED))
    scene.database.save_transaction(to_record(end), scene.token, JournalEntry("step", "%s: failed" % vm.name, subject=vm.id))
    scene.end(order)
    return vm.id, vm.destination


def prune_all(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEWEST", 0)
    nothing = Retention(journal_days=0, journal_entries=0, transaction_days=0, transactions=0)
    with scene.database.change(scene.token) as change:
        change.prune(nothing, scene.database.memory())
    assert not scene.journal("step")


def test_pruning_before_a_failed_start_was_counted_takes_nothing_of_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    vm, host = fails_to_start(scene)
    prune_all(scene, monkeypatch)
    scene.monitor.run_once()
    record = scene.database.memory().vm(vm)
    assert record is not None and record.tries.failed == (host,)


def test_pruning_in_the_middle_of_a_failover_takes_nothing_of_what_it_still_asks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed start was counted; then its destination falls silent. That nothing was asked of it is why the VM is not taken to run
    there, which would keep it down until that host is fenced too."""
    vm, host = fails_to_start(scene)
    scene.monitor.run_once()
    record = scene.database.memory().vm(vm)
    assert record is not None and record.tries.failed == (host,) and record.in_progress is not None
    prune_all(scene, monkeypatch)
    scene.world.kill(host)
    scene.looks(3)
    record = scene.database.memory().vm(vm)
    assert record is not None and record.host != host


def test_the_record_is_pruned_when_all_is_calm_and_never_in_the_way_of_a_failover(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEWEST", 1)
    scene.run(retention=Retention(journal_entries=10))
    scene.database.journal([JournalEntry("note", "note %d" % number) for number in range(50)], scene.token)
    scene.monitor.run_once()
    assert len(scene.journal("note")) == 50, "the first look of a run is not settled"
    scene.looks(9)
    assert len(scene.journal()) <= 11
    scene.world.kill("esx1")
    scene.looks(PRUNE_EVERY)  # suspect, then fenced; the order does not end
    scene.database.journal([JournalEntry("later", "note %d" % number) for number in range(50)], scene.token)
    scene.looks(30)
    assert len(scene.journal("later")) == 50
    scene.world.fence("esx1")
    for order in list(scene.orders):
        scene.end(order)
    scene.looks(3)
    starts = [order for order in scene.orders if isinstance(order, FailoverOrder)]
    assert starts and len(scene.journal("later")) == 50
    for order in starts:
        for vm in order.planned:
            scene.world.start(vm.name, vm.destination)
        scene.end(order)
    scene.looks(30)
    assert len(scene.journal("later")) < 50


def asks(scene: Scene, kind: str, subject: str = "", **more: str) -> int:
    (number,) = scene.database.give_commands([Command(CommandKind(kind), subject, by="Ada", **more)])
    return number


def test_a_command_is_taken_up_by_the_run_that_looks_next_and_once(scene: Scene) -> None:
    """What a person does at a host after the command stands: the command is not applied a second time."""
    scene.run()
    scene.looks(3)
    number = asks(scene, "stop", "vm1", reason="its disk is full")
    scene.looks(6)
    (row,) = scene.database.commands([number])
    assert (row["state"], row["outcome"]) == ("applied", "vm1 is to be stopped (Ada: its disk is full)")
    assert scene.journal("person") == ["vm1 is to be stopped (Ada: its disk is full)"]
    asks(scene, "start", "vm1")
    scene.looks(3)
    scene.database.release_lease("run-1", scene.token)
    scene.run("run-2")
    scene.looks(6)
    record = scene.database.memory().vm(scene.world.vms["vm1"].id)
    assert record is not None and record.desired is Desired.STARTED
    assert len(scene.journal("person")) == 2


def test_a_command_that_is_refused_stops_no_loop_and_is_journaled_with_the_reason(scene: Scene) -> None:
    scene.run()
    scene.looks(3)
    wrong, right = asks(scene, "stop", "vm9"), asks(scene, "disarm")
    scene.looks(3)
    refused, applied = scene.database.commands([wrong, right])
    assert (refused["state"], applied["state"]) == ("refused", "applied")
    assert "no VM vm9 is known" in refused["outcome"]
    assert [text for text in scene.journal("person") if "stop vm9, asked for by Ada, is refused: no VM vm9 is known" in text]
    assert scene.database.memory().disarmed


def test_a_command_about_a_vm_before_the_first_look_of_all_is_heard_when_its_vm_is_known(scene: Scene) -> None:
    given = [asks(scene, "stop", "vm1"), asks(scene, "disarm"), asks(scene, "stop", "vm9")]
    scene.run()

    def states() -> list[str]:
        return [row["state"] for row in scene.database.commands(given)]

    scene.looks(3)
    assert states() == ["waiting", "applied", "waiting"]
    scene.looks(3)
    assert states() == ["applied", "applied", "refused"]


def test_a_command_that_waited_for_too_long_is_refused(scene: Scene) -> None:
    number = asks(scene, "disarm")
    scene.world.now += 601
    scene.run()
    scene.looks(3)
    (row,) = scene.database.commands([number])
    assert row["state"] == "refused" and "holds for 600 s" in row["outcome"]
    assert not scene.database.memory().disarmed


def test_a_run_that_is_killed_before_it_commits_leaves_the_command_to_the_next(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.run()
    number = asks(scene, "disarm")

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Change, "open_transactions", killed)
        scene.looks(3)
    assert scene.database.commands([number])[0]["state"] == "waiting"
    assert not scene.database.memory().disarmed
    scene.looks(3)
    assert scene.database.commands([number])[0]["state"] == "applied"
    assert scene.database.memory().disarmed and len(scene.journal("person")) == 1


def test_a_command_that_is_taken_back_while_a_look_is_judged_is_not_applied(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.run()
    number = asks(scene, "disarm")
    inputs = StateDatabase.look_inputs

    def and_taken_back(database: StateDatabase, *arguments: Any) -> object:
        found = inputs(database, *arguments)
        database.withdraw_command(number)
        return found

    monkeypatch.setattr(StateDatabase, "look_inputs", and_taken_back)
    scene.looks(3)
    assert scene.database.commands([number])[0]["state"] == "withdrawn"
    assert not scene.database.memory().disarmed and scene.journal("person") == []


def test_what_an_act_may_have_changed_is_asked_for_after_it(scene: Scene) -> None:
    """A list of VMs, or a fence, from before an act began or ended is in no look: the observer is told since when."""
    scene.world.policy["failover"] = {"start_bound": 240}
    scene.run()
    scene.looks(9)
    first = scene.looked_after[0]
    assert first == scene.looked_after[-1], "nothing has begun or ended"
    scene.world.kill("esx1")
    while not scene.begun:
        scene.looks(1, every=1)
    ordered = scene.world.now
    scene.looks(1, every=1)
    assert scene.looked_after[-1].seconds == ordered
    scene.looks(5, every=1)
    assert scene.looked_after[-1].seconds == ordered, "it is under way, and the observation says so"
    scene.end(scene.begun[0])
    scene.looks(1, every=1)
    assert scene.looked_after[-1].seconds == scene.world.now
