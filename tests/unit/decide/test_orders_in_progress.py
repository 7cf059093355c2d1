"""A start whose end nobody saw: the VM counts as running where it was to start, until that host's list says otherwise."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import OrderInProgress, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act, ActResult, Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.in_progress import LANDED, settle
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from decide_world import World, three_hosts

BEGAN = Instant("boot", 100.0)


def at(seconds: float, boot: str = "boot") -> Instant:
    return Instant(boot, 100.0 + seconds)


def ordered(came_from: str = "", host: str = "esx1", power: Power = Power.OFF) -> VmRecord:
    return VmRecord("id", "vm", "path", host, power=power, in_progress=OrderInProgress("esx2", BEGAN, came_from))


def test_without_an_order_nothing_changes() -> None:
    record = VmRecord("id", "vm", "path", "esx1")
    assert settle(record, (), False, (), at(5)) is record


def test_seen_running_there_ends_the_order_and_elsewhere_only_when_it_cannot_be_moving_any_more() -> None:
    assert settle(ordered(), ("esx2",), True, ("esx2",), at(5)).in_progress is None
    assert settle(ordered(), ("esx1",), True, ("esx1", "esx2"), at(5)).in_progress is not None
    assert settle(ordered(), ("esx1",), True, ("esx1", "esx2"), at(LANDED)).in_progress is None


def test_a_move_is_not_over_while_its_act_is_under_way() -> None:
    """A guest may shut down for minutes, and a large memory is written for as long."""
    stopping = settle(ordered(power=Power.ON), ("esx1",), True, ("esx1", "esx2"), at(LANDED * 10), acting=True)
    assert stopping.in_progress is not None
    assert settle(stopping, ("esx1", "esx2"), True, ("esx1", "esx2"), at(LANDED * 10), acting=True).in_progress is None, "it runs there"


def test_while_one_moves_nobody_follows_it_in_the_other_direction() -> None:
    """vm1 and vm3 belong together and are apart: one of them goes, and the next look may still show it where it was."""
    world = three_hosts(rules=[{"type": "vm_affinity", "vms": ["vm1", "vm3"], "together": True}])
    for host in world.hosts.values():
        host.live_migration = True
    world.memory = type(world.memory)()
    world.run(9)
    moves = [action for action in world.all_actions() if action.kind == "move"]
    assert len(moves) > 0
    assert len({(vm.name, vm.destination) for action in moves for vm in action.vms}) == 1


def test_a_destination_that_cannot_be_read_has_the_vm() -> None:
    record = settle(ordered(), (), False, ("esx3",), at(5), fenced=("esx1",))
    assert (record.host, record.power) == ("esx2", Power.ON)
    assert record.in_progress == OrderInProgress("esx2", BEGAN, "esx1")
    assert settle(record, (), False, ("esx3",), at(500)) is record  # however long it takes


def test_a_move_of_which_neither_end_can_be_read_is_accounted_for_at_both() -> None:
    moving = ordered(power=Power.ON)
    assert settle(moving, (), False, ("esx3",), at(5)) is moving
    assert settle(moving, (), False, ("esx3",), at(5), fenced=("esx2",)) is moving  # fencing the destination proves nothing of the source
    assert settle(moving, (), False, ("esx3",), at(5), fenced=("esx1",)).host == "esx2"
    assert settle(moving, (), False, ("esx1", "esx3"), at(5)).host == "esx2"


@pytest.mark.parametrize(("sighted", "host"), [(("esx2",), "esx2"), ((), "esx1")])
def test_read_again_it_is_where_the_list_says_or_where_it_came_from(sighted: tuple[str, ...], host: str) -> None:
    record = settle(ordered("esx1", "esx2", Power.ON), sighted, False, ("esx2",), at(60))
    assert (record.host, record.in_progress) == (host, None)
    if not sighted:
        assert record.power is Power.OFF


def test_an_order_may_still_be_carried_out_for_a_while_and_never_after_another_boot() -> None:
    read = ("esx2",)
    assert settle(ordered(), (), False, read, at(LANDED - 1)).in_progress is not None
    assert settle(ordered(), (), False, read, at(LANDED)).in_progress is None
    assert settle(ordered(), (), False, read, at(1, boot="next")).in_progress is None


def result(seconds: float, asked: bool, host: str = "esx2", boot: str = "boot") -> ActResult:
    return ActResult("%f" % seconds, "id", host, Act.START, False, at(seconds, boot), "it does not answer", asked)


@pytest.mark.parametrize(
    ("results", "void"),
    [
        ([result(9, False)], True),
        ([result(9, True)], False),
        ([], False),  # still under way, or the monitor was killed
        ([result(-9, False)], False),  # of an earlier order
        ([result(-9, True), result(9, False)], True),
        ([result(3, True), result(9, False)], False),
        ([result(9, False, host="esx3")], False),
        ([result(9, False, boot="next")], False),
    ],
)
def test_an_order_is_void_when_its_own_record_says_that_nothing_was_asked(results: list[ActResult], void: bool) -> None:
    record = settle(ordered(), (), False, (), at(12), results, ("esx1",))
    assert (record.host, record.power, record.in_progress is None) == (("esx1", Power.OFF, True) if void else ("esx2", Power.ON, False))
    later = settle(ordered("esx1", "esx2", Power.ON), (), False, (), at(12), results)
    assert (later.host, later.in_progress is None) == (("esx1", True) if void else ("esx2", False))


def test_of_several_orders_to_one_host_the_first_one_counts() -> None:
    record = VmRecord("id", "vm", "path", "esx1", power=Power.OFF, in_progress=OrderInProgress("esx2", at(20), first=BEGAN))
    assert settle(record, (), False, (), at(40), [result(3, True), result(30, False)], ("esx1",)).host == "esx2"
    assert settle(record, (), False, (), at(40), [result(3, False), result(30, False)], ("esx1",)).host == "esx1"


def failed_over() -> tuple[World, str]:
    """esx1 is dead and fenced, the start of vm1 is ordered; its destination."""
    world = three_hosts()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world, world.plan()["vm1"]


@pytest.mark.parametrize("monitor_dies", [False, True])
def test_a_destination_that_falls_silent_is_fenced_before_a_third_host_starts_the_vm(monitor_dies: bool) -> None:
    world, destination = failed_over()
    world.policy["max_dead_fraction"] = 1.0
    host = world.hosts[destination]
    host.api, host.ping, host.writes = ApiAnswer.TIMED_OUT, Evidence.FAILED, False
    if monitor_dies:
        world.run_id = "run-2"
    while not world.fences():
        world.step(3)
        assert "vm1" not in {name for name, where in world.plan().items() if where != destination}
        assert world.now < 2000
    assert set(world.fences()) == {destination}
    world.fence(destination)
    world.step(3)
    (third,) = {"esx2", "esx3"} - {destination}
    assert world.plan()["vm1"] == third


def test_a_destination_that_answers_and_does_not_have_it_lets_another_try() -> None:
    world, destination = failed_over()
    world.run(LANDED + 9)
    assert world.plan()["vm1"] == destination  # still down, planned again, on the same evidence
