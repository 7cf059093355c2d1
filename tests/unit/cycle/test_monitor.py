"""The loop's contract: committed before anything is carried out, nothing ordered twice, and looks go on while acts are under way."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.failover import new_transaction
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FailoverOrder, FenceOrder, MoveOrder, Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.failover import to_record
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
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
    assert scene.monitor.story.looks > 15
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


def emptying(scene: Scene) -> MoveOrder:
    """esx1 is to be emptied; its VMs are on their way."""
    scene.run()
    scene.looks(9)
    scene.monitor.commands = ({"kind": "maintenance_on", "subject": "esx1", "by": "ada", "reason": "a new fan"},)
    scene.looks(3)
    (order,) = (order for order in scene.orders if isinstance(order, MoveOrder))
    return order


def test_vms_of_a_host_that_is_emptied_are_moved_in_one_order_and_not_again(scene: Scene) -> None:
    order = emptying(scene)
    assert sorted(vm.name for vm in order.planned) == ["vm1", "vm2"]
    assert order.live == ("esx1", "esx2", "esx3")
    scene.looks(30)
    assert [str(order) for order in scene.begun] == ["move 2 VMs off esx1"]


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
    looks = scene.monitor.story.looks
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
    assert scene.monitor.story.looks == 7


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
    assert scene.monitor.story.looks == 3 + 20
    assert len(scene.begun) > 3
    assert scene.orders == []
    assert len(scene.journal("act")) == len(scene.begun), "what came of an act was not told"
