"""ESXi's own maintenance mode around an evacuation: when it is entered, left, and left alone; and failback by command."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind, CommandRefused
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import MaintenanceAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ActInProgress, Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.outcome import Outcome, Progress, Record, outcome_of
from decide_world import Host, Vm, World


def modes(world: World) -> list[tuple[str, bool]]:
    return [(action.host, action.enter) for action in world.last.actions if isinstance(action, MaintenanceAction)]


def outcome(world: World, kind: str) -> Outcome:
    standing = {alarm.key: alarm.text for alarm in world.last.alarms}
    return outcome_of(Command(CommandKind(kind), "esx1"), "", Record(world.memory, standing))


@pytest.fixture
def world() -> World:
    """Two hosts, vm1 on esx1."""
    made = World({name: Host(name) for name in ("esx1", "esx2")}, {"vm1": Vm("vm1", "esx1")})
    made.run(9)
    return made


def emptied(world: World) -> None:
    world.command("maintenance_on", "esx1")
    world.step(3)
    world.start("vm1", "esx2")
    world.step(3)


def test_it_is_entered_when_the_last_vm_has_left(world: World) -> None:
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert world.moves() and modes(world) == []
    world.start("vm1", "esx2")
    world.step(3)
    assert modes(world) == [("esx1", True)]
    assert outcome(world, "maintenance_on").progress is Progress.OPEN
    world.hosts["esx1"].maintenance = True
    world.step(3)
    assert modes(world) == []
    assert outcome(world, "maintenance_on").progress is Progress.DONE


def test_a_vm_that_is_not_the_clusters_keeps_the_host_out_of_it(world: World) -> None:
    world.vms["vm2"] = Vm("vm2", "esx1", datastores=("ds-local-esx1",))
    world.run(9)
    emptied(world)
    world.run(60)
    assert modes(world) == []


def test_nobody_enters_it_while_a_start_there_is_under_way(world: World) -> None:
    world.command("maintenance_on", "esx1")
    world.vms["vm1"].host = "esx2"
    world.acts = (ActInProgress("esx1", world.vms["vm1"].id),)
    world.step(3)
    assert modes(world) == []


def test_it_is_left_when_the_maintenance_is_over_and_only_then_vms_come_back(world: World) -> None:
    world.policy["automatic_moves"] = "all"
    emptied(world)
    world.hosts["esx1"].maintenance = True
    world.run(9)
    world.command("maintenance_off", "esx1")
    world.step(3)
    assert modes(world) == [("esx1", False)] and world.moves() == {}
    assert outcome(world, "maintenance_off").progress is Progress.OPEN
    world.hosts["esx1"].maintenance = False
    world.step(3)
    assert modes(world) == [] and world.moves() == {"vm1": ("esx1", "return")}
    assert outcome(world, "maintenance_off").progress is Progress.DONE


def test_what_somebody_else_entered_is_left_alone_and_known(world: World) -> None:
    world.hosts["esx1"].maintenance = True
    world.vms["vm1"].host = "esx2"
    world.step(3)
    assert "not entered from here" in str(world.alarm("maintenance_mode"))
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert "stays in it" in str(world.alarm("maintenance_mode"))
    assert outcome(world, "maintenance_on").progress is Progress.DONE
    world.command("maintenance_off", "esx1")
    world.run(60)
    assert modes(world) == []
    assert outcome(world, "maintenance_off").progress is Progress.FAILED


def test_what_somebody_left_is_not_entered_again(world: World) -> None:
    emptied(world)
    world.hosts["esx1"].maintenance = True
    world.step(3)
    world.hosts["esx1"].maintenance = False
    world.run(90)
    assert modes(world) == []
    world.command("maintenance_off", "esx1")
    world.step(3)
    assert modes(world) == [] and world.memory.host("esx1").mode is None


def test_a_request_that_changes_nothing_is_sent_again_and_then_is_an_alarm(world: World) -> None:
    emptied(world)
    assert modes(world) == [("esx1", True)]
    world.step(3)
    assert modes(world) == []
    again = [modes(world) for _look in range(12) if world.step(3)]
    assert again.count([("esx1", True)]) == 1
    world.run(90)
    assert "does not enter" in str(world.alarm("maintenance_mode"))
    assert outcome(world, "maintenance_on").progress is Progress.FAILED


def test_a_request_that_may_still_be_on_its_way_is_not_forgotten(world: World) -> None:
    emptied(world)
    world.command("maintenance_off", "esx1")
    world.step(3)
    world.hosts["esx1"].maintenance = True  # it arrived after all
    world.step(3)
    assert modes(world) == [("esx1", False)]


def test_a_fence_does_not_wait_for_it(world: World) -> None:
    world.acts = (ActInProgress("esx1", mode=True),)
    world.kill("esx1")
    world.run(40)
    assert "esx1" in {host for decision in world.decisions for host in [a.host for a in decision.actions if a.kind == "fence"]}


@pytest.mark.parametrize("mode", ["observe", "ask"])
def test_the_command_is_the_yes_but_for_a_cluster_that_only_observes(world: World, mode: str) -> None:
    world.policy["mode"] = mode
    world.vms["vm1"].host = "esx2"
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert modes(world) == ([("esx1", True)] if mode == "ask" else [])
    assert (world.memory.host("esx1").mode is None) is (mode == "observe")


def test_a_person_has_the_vms_come_back_that_left(world: World) -> None:
    emptied(world)
    with pytest.raises(CommandRefused, match="in maintenance"):
        world.command("failback", "esx1")
    world.command("maintenance_off", "esx1")
    world.run(60)
    assert world.moves() == {} and world.memory.host("esx1").mode is None, "automatic_moves: live stops nothing unasked"
    world.command("failback", "esx1")
    world.step(3)
    assert world.moves() == {"vm1": ("esx1", "failback")}
    assert outcome(world, "failback").progress is Progress.OPEN
    world.start("vm1", "esx1")
    world.run(6)
    assert outcome(world, "failback").progress is Progress.DONE and not world.memory.host("esx1").failback


def test_preferred_hosts_count_and_what_cannot_come_is_said(world: World) -> None:
    world.start("vm1", "esx2")
    world.policy["rules"] = [{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx1": 2, "esx2": 1}, "required": False}]
    world.hosts["esx1"].networks = ()
    world.run(9)
    world.command("failback", "esx1")
    world.run(6)
    failed = outcome(world, "failback")
    assert failed.progress is Progress.FAILED and "vm1 does not come back to esx1" in failed.text
    world.hosts["esx1"].networks = ("VM Network",)
    world.command("failback", "esx1")
    world.step(3)
    assert world.moves() == {"vm1": ("esx1", "failback")}


def test_a_vm_that_an_operator_placed_stays(world: World) -> None:
    world.command("migrate", "vm1", "esx2")
    world.start("vm1", "esx2")
    world.policy["rules"] = [{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx1": 2, "esx2": 1}, "required": False}]
    world.run(9)
    world.command("failback", "esx1")
    world.run(6)
    assert world.moves() == {} and world.vms["vm1"].power is Power.ON
    assert outcome(world, "failback").progress is Progress.DONE


@pytest.mark.parametrize("disarmed", [False, True])
def test_no_run_of_a_disarmed_cluster_waits_for_it(world: World, disarmed: bool) -> None:
    emptied(world)
    if disarmed:
        world.command("disarm", by="bob", reason="the switch is replaced")
    world.run(6)
    assert world.last.settled is disarmed
