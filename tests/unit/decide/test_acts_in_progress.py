"""Looks go on while acts are under way: nothing is ordered twice, and what is under way keeps its place."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import ResetAction, StopAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ActInProgress
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.in_progress import LANDED
from decide_world import ApiAnswer, Power, World, three_hosts


def fenced(**options: object) -> World:
    """esx1 is dead and fenced; vm1 and vm2 ran there."""
    world = three_hosts(**options)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    return world


def starting(world: World, vm: str, host: str) -> None:
    world.acts = (*world.acts, ActInProgress(host, world.vms[vm].id))


def test_a_vm_that_is_being_started_is_planned_no_more_until_that_has_ended() -> None:
    world = fenced()
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}
    starting(world, "vm1", "esx2")
    world.step(3)
    assert world.plan() == {"vm2": "esx3"}
    assert {vm.name: vm.reason for vm in world.last.down}["vm1"] == "it is being started on esx2"
    assert not world.last.settled
    world.acts = ()
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}


def test_its_room_at_its_destination_is_taken() -> None:
    """esx2 has room for one VM more, and esx3 for none."""
    world = fenced()
    world.hosts["esx2"].memory = sum(vm.memory for vm in world.vms_on("esx2")) + world.vms["vm1"].memory
    world.hosts["esx3"].memory = sum(vm.memory for vm in world.vms_on("esx3"))
    world.step(3)
    assert list(world.plan().values()) == ["esx2"]
    starting(world, "vm2", "esx2")
    world.step(3)
    assert world.plan() == {}, "vm1 was placed where vm2 is being started"


def test_vms_that_wait_for_one_that_is_being_started_go_on_waiting() -> None:
    world = fenced(vms={"vm2": {"start_after": ["vm1"]}}, start_order={"condition": "powered_on"})
    world.step(3)
    assert world.plan() == {"vm1": "esx2"}
    starting(world, "vm1", "esx2")
    world.step(3)
    assert world.plan() == {}
    assert "waits for vm1" in world.held(world.vms["vm2"].id)
    world.start("vm1", "esx2")
    world.acts = ()
    world.step(3)
    assert world.plan() == {"vm2": "esx3"}


def test_an_order_does_not_lapse_while_its_act_is_under_way() -> None:
    """A lock may keep a start waiting for longer than a killed monitor's order could still land. If the destination falls silent
    right after that, the VM may run there."""
    world = fenced()
    world.step(3)
    starting(world, "vm1", "esx2")
    world.run(LANDED + 10)
    world.hosts["esx2"].api = ApiAnswer.TIMED_OUT
    world.acts = ()
    world.step(3)
    assert "vm1" not in world.plan()
    assert (world.record("vm1").host, world.record("vm1").power) == ("esx2", Power.ON)


@pytest.mark.parametrize("kind", [StopAction, ResetAction])
def test_stops_and_resets_are_ordered_once(kind: type) -> None:
    rules = {"response": "reset", "failure_interval": 20, "io_interval": 60, "min_uptime": 1, "max_resets": 5}
    world = three_hosts(vm_monitoring=rules)
    world.vms["vm1"].heartbeat = "green"
    world.run(9)
    if kind is StopAction:
        world.command("stop", "vm1", by="alice")
    else:
        world.vms["vm1"].heartbeat = "red"
        while not world.of(kind):
            world.vms["vm1"].io_idle = (world.vms["vm1"].io_idle or 60.0) + 3.0
            world.step(3)
            assert world.now < 1200
    world.acts = (ActInProgress("esx1", world.vms["vm1"].id),)
    world.step(3)
    assert world.of(kind) == []
