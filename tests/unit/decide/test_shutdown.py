"""Everything is shut down in order, called off, and started again; docs/power-loss.md."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction, ShutdownAction, StopAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ActInProgress
from ansible_collections.libreha.vmware.plugins.module_utils.decide.outcome import Outcome, Progress, Record, outcome_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode
from decide_world import Power, World, three_hosts


def stops(world: World) -> list[str]:
    return sorted(target.name for action in world.last.actions if isinstance(action, StopAction) for target in action.vms)


def shut_down(world: World) -> list[str]:
    return sorted(action.host for action in world.last.actions if isinstance(action, ShutdownAction))


def outcome(world: World) -> Outcome:
    record = Record(world.memory, mode=Mode(world.policy.get("mode", "act")))
    return outcome_of(Command(CommandKind.SHUTDOWN), "", record)


def switch_off(world: World, *vms: str) -> None:
    """Its guest shuts down, and the host tells so, as it would of a person's wish."""
    for name in vms:
        world.event(world.vms[name].host, "vm_powered_off", name)
        world.vms[name].power = Power.OFF


def go_down(world: World, *hosts: str) -> None:
    for name in hosts:
        world.event(name, "host_shutdown")
        world.kill(name)
        world.hosts[name].session = None


def ordered(**policy: object) -> World:
    world = three_hosts(**policy)
    world.command("shutdown", by="ups", reason="on battery")
    world.step(3)
    return world


def all_vms_off(**policy: object) -> World:
    world = ordered(**policy)
    switch_off(world, *world.vms)
    world.step(3)
    return world


def all_down(**policy: object) -> World:
    world = all_vms_off(**policy)
    go_down(world, *world.hosts)
    world.run(30)
    return world


def test_vms_stop_in_the_reverse_of_their_start_order_and_then_the_hosts() -> None:
    world = ordered(vms={"vm2": {"start_after": ["vm1"]}, "vm3": {"start_after": ["vm2"]}})
    assert stops(world) == ["vm3", "vm4"] and shut_down(world) == []
    assert "waits until vm2 is down" in world.held("vm1")
    switch_off(world, "vm3", "vm4")
    world.step(3)
    assert stops(world) == ["vm2"] and shut_down(world) == [], "an empty host waits for the VMs of the others"
    switch_off(world, "vm2")
    world.step(3)
    assert stops(world) == ["vm1"]
    switch_off(world, "vm1")
    world.step(3)
    assert shut_down(world) == ["esx1", "esx2", "esx3"] and outcome(world).progress is Progress.OPEN
    world.step(3)
    assert shut_down(world) == [], "it was asked a moment ago"
    go_down(world, "esx1", "esx2", "esx3")
    world.step(3)
    assert outcome(world).progress is Progress.OPEN, "silence must last"
    world.run(30)
    assert outcome(world) == Outcome(Progress.DONE, "all hosts are down: esx1, esx2, esx3")
    assert world.last.settled and world.alarm("verdict") is None and world.alarm("observer_isolated") is None


def test_lower_priorities_stop_first_where_higher_ones_are_waited_for_at_a_start() -> None:
    world = ordered(vms={"vm1": {"priority": "highest"}}, start_order={"condition": "powered_on"})
    assert stops(world) == ["vm2", "vm3", "vm4"]


def test_an_act_under_way_keeps_its_host_up() -> None:
    world = ordered()
    switch_off(world, *world.vms)
    world.acts = (ActInProgress("esx1", world.vms["vm3"].id),)
    world.step(3)
    assert shut_down(world) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_vm_that_does_not_stop_holds_the_others_for_a_while_only(late: bool) -> None:
    world = ordered(start_order={"timeout": 60})
    switch_off(world, "vm2", "vm3", "vm4")
    world.run(66 if late else 30)
    assert any(isinstance(action, ShutdownAction) for action in world.all_actions()) is late
    assert not any(isinstance(action, ShutdownAction) and action.host == "esx1" for action in world.all_actions())
    assert stops(world) == ["vm1"]
    world.run(400, every=20)
    assert "vm1 still run there" in str(world.alarm("shutdown_hindered"))


def test_nothing_is_fenced_started_or_moved_meanwhile() -> None:
    world = ordered(automatic_moves="all")
    world.kill("esx1")
    world.crash("vm3")
    world.run(120)
    assert {type(action) for action in world.all_actions()} == {StopAction}
    assert world.last.down == () and "everything is being shut down" in world.held("esx1")


def test_a_fence_that_stands_is_repeated() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1", confirmed=False)
    world.command("shutdown", by="ups", reason="on battery")
    world.run(20)
    assert "esx1" in world.fences()


def test_what_it_switched_off_is_wanted_as_before_and_what_was_off_stays_off() -> None:
    world = three_hosts()
    switch_off(world, "vm4")
    world.run(6)
    world.command("shutdown", by="ups", reason="on battery")
    world.step(3)
    switch_off(world, "vm1", "vm2", "vm3")
    world.run(6)
    assert {vm.name: vm.desired for vm in world.memory.vms} == {
        "vm1": Desired.STARTED, "vm2": Desired.STARTED, "vm3": Desired.STARTED, "vm4": Desired.STOPPED,
    }  # fmt: skip
    assert world.alarm("vm_down") is None
    world.command("cancel_shutdown", by="ups", reason="power is back")
    world.run(150)  # the hosts were asked already, and do not go down after all
    assert sorted(vm.name for action in world.restarts().values() for vm in action.vms) == ["vm1", "vm2", "vm3"]


def test_a_stop_that_lands_after_it_was_called_off_is_nobodys_wish() -> None:
    world = ordered()
    world.command("cancel_shutdown", by="ups", reason="power is back")
    world.run(30)
    switch_off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED
    world.start("vm1", "esx1")
    world.run(6)
    switch_off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED, "it ran since: this one is a person's"


def test_a_person_may_still_switch_a_vm_off_for_good() -> None:
    world = ordered(vms={"vm2": {"start_after": ["vm1"]}})
    switch_off(world, "vm1")  # which was not its turn
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED


def test_hosts_that_come_back_end_it_and_late_ones_are_awaited() -> None:
    world = all_down()
    world.run(2 * 3600, every=300)
    assert world.memory.shutdown is not None and "its time was over" in world.memory.shutdown.ended
    world.reboot("esx1")
    world.run(600, every=20)
    assert world.restarts()["esx1"] and "esx2, esx3 did not show since" in str(world.alarm("cold_start"))
    assert not [action for action in world.all_actions() if isinstance(action, FenceAction)]
    world.reboot("esx2")
    world.run(60)
    assert "esx3 did not show" in str(world.alarm("cold_start"))
    world.run(900, every=10)
    assert "esx3" in world.fences() and world.memory.shutdown is None, "the wait has an end"


def test_it_ends_with_the_first_host_that_is_back() -> None:
    world = all_down()
    world.reboot("esx2")
    world.step(3)
    assert world.memory.shutdown is not None and world.memory.shutdown.ended == "esx2 started again"
    assert sorted(vm.name for action in world.restarts().values() for vm in action.vms) == ["vm3"]


def test_a_host_that_comes_back_too_early_is_shut_down_again() -> None:
    world = all_vms_off()
    go_down(world, "esx1")
    world.run(30)
    world.reboot("esx1")
    world.run(60)
    assert world.memory.shutdown is not None and not world.memory.shutdown.ended
    assert [action.host for action in world.all_actions() if isinstance(action, ShutdownAction)].count("esx1") == 2


def test_a_host_that_was_asked_is_waited_for_when_it_is_called_off() -> None:
    world = all_vms_off(cold_start_grace=300)
    world.command("cancel_shutdown", by="ups", reason="power is back")
    world.step(3)
    assert world.restarts() == {}, "it may still go down"
    go_down(world, "esx1")
    world.run(150)
    assert world.fences() == {} and {"esx2", "esx3"} <= world.restarts().keys()
    world.run(200)
    assert "esx1" in world.fences()


def test_one_that_died_by_itself_is_failed_over_when_it_is_called_off() -> None:
    world = ordered()
    world.kill("esx1")
    world.run(60)
    world.command("cancel_shutdown", by="ups", reason="power is back")
    world.run(30)
    assert "esx1" in {action.host for action in world.all_actions() if isinstance(action, FenceAction)}


def test_a_decider_that_starts_anew_with_the_hosts_knows_them() -> None:
    world = three_hosts()
    for host in world.hosts.values():
        host.booted = world.now - 20  # so that no uptime will be lower than before
    world.command("shutdown", by="ups", reason="on battery")
    world.run(6)
    switch_off(world, *world.vms)
    world.step(3)
    go_down(world, *world.hosts)
    world.run(30)
    world.boot, world.now, world.run_id = "boot-2", 30.0, "run-2"
    world.run(30)
    world.reboot("esx1")
    world.hosts["esx1"].booted = -100.0
    world.run(120)
    assert world.memory.shutdown is not None and world.memory.shutdown.ended == "esx1 started again"
    assert world.fences() == {}


def test_a_decider_that_restarted_in_the_middle_goes_on() -> None:
    world = ordered()
    world.boot, world.now, world.run_id = "boot-2", 30.0, "run-2"
    for host in world.hosts.values():
        host.booted = -20000.0
    switch_off(world, "vm4")  # which had been ordered before
    world.run(30)
    assert world.memory.goes_down and stops(world) == ["vm1", "vm2", "vm3"]
    assert world.record("vm4").desired is Desired.STARTED


def test_silence_of_a_host_that_ran_vms_proves_nothing_while_nobody_answers() -> None:
    world = ordered()
    for name in world.hosts:
        world.partition(name)
        world.hosts[name].writes = False
    world.run(60)
    assert world.memory.shutdown is not None and world.memory.shutdown.hosts_down == ()
    world.run(300, every=20)
    assert outcome(world).progress is Progress.FAILED and "nothing proves that it is off" in outcome(world).text


def test_a_host_whose_storage_still_works_is_not_down() -> None:
    world = all_vms_off()
    go_down(world, "esx1", "esx2")
    world.partition("esx3")
    world.run(60)
    assert world.memory.shutdown is not None and world.memory.shutdown.hosts_down == ("esx1", "esx2")


@pytest.mark.parametrize(("mode", "acts"), [("observe", False), ("ask", True)])
def test_the_command_is_the_yes_but_for_a_cluster_that_only_observes(mode: str, acts: bool) -> None:
    world = ordered(mode=mode)
    assert bool(stops(world)) is acts and (outcome(world).progress is Progress.FAILED) is not acts


def test_a_run_about_one_lost_host_shuts_nothing_down() -> None:
    world = three_hosts()
    world.only_host = "esx1"
    world.command("shutdown", by="ups", reason="on battery")
    switch_off(world, "vm3")
    world.run(30)
    assert world.all_actions() == []


def test_given_again_it_is_prolonged() -> None:
    world = ordered(switch_off={"shutdown": 600})
    world.run(500, every=20)
    world.command("shutdown", by="ups", reason="still on battery")
    world.run(500, every=20)
    assert world.memory.goes_down
    world.run(150, every=20)
    assert not world.memory.goes_down
