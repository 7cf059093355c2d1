"""What became of a command, by what the looks after it committed."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FailoverAction, FenceAction, RejoinAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.outcome import Outcome, Progress, Record, outcome_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode
from decide_world import Power, World, three_hosts

OPEN, DONE, FAILED = Progress.OPEN, Progress.DONE, Progress.FAILED


def outcome(world: World, kind: str, subject: str, to: str = "", moving: tuple[str, ...] = ()) -> Outcome:
    standing = {alarm.key: alarm.text for alarm in world.last.alarms}
    standing.update({"hold/%s/%s" % (item.what, item.subject): item.reason for item in world.last.held})
    record = Record(world.memory, standing, moving, Mode(world.policy.get("mode", "act")))
    return outcome_of(Command(CommandKind(kind), subject, to), "it is heard", record)


def lost(**options: object) -> World:
    """esx1 died a while ago."""
    world = three_hosts(**options)
    world.kill("esx1")
    world.run(30)
    return world


def test_a_migration_is_open_until_the_vm_is_seen_running_at_its_destination() -> None:
    world = three_hosts()
    world.command("migrate", "vm1", "esx3")
    world.step(3)
    assert outcome(world, "migrate", "vm1", "esx3").progress is OPEN
    world.start("vm1", "esx3")
    world.vms["vm1"].power = Power.OFF
    world.step(3)
    assert outcome(world, "migrate", "vm1", "esx3").progress is OPEN, "it is there, and does not run"
    world.start("vm1", "esx3")
    world.step(3)
    assert outcome(world, "migrate", "vm1", "esx3", moving=(world.record("vm1").id,)).progress is OPEN, "its transaction is not closed"
    assert outcome(world, "migrate", "vm1", "esx3") == Outcome(DONE, "vm1 is on esx3")


def test_a_migration_that_is_refused_has_failed_for_good_with_its_reason_long_after_the_alarm() -> None:
    world = three_hosts()
    world.hosts["esx3"].memory = 1024
    world.run(3)
    world.command("migrate", "vm1", "esx3")
    world.step(3)
    refused = outcome(world, "migrate", "vm1", "esx3")
    assert refused.progress is FAILED
    assert refused.text.startswith("vm1 is not moved to esx3: esx3: ")
    world.run(9)
    assert world.alarm("refused:") is None
    assert outcome(world, "migrate", "vm1", "esx3") == refused
    world.hosts["esx3"].memory = 16384
    world.run(3)
    world.command("migrate", "vm1", "esx3")
    assert world.record("vm1").refused == "", "asked again, it is tried again"


@pytest.mark.parametrize(("mode", "disarmed", "why"), [("observe", False, "mode: observe"), ("act", True, "disarmed (alice: a test)")])
def test_what_nobody_carries_out_has_failed_and_says_why(mode: str, disarmed: bool, why: str) -> None:
    world = three_hosts(mode=mode)
    if disarmed:
        world.command("disarm", by="alice", reason="a test")
    world.command("migrate", "vm1", "esx3")
    world.command("maintenance_on", "esx2")
    world.step(3)
    for kind, subject, to in (("migrate", "vm1", "esx3"), ("maintenance_on", "esx2", "")):
        found = outcome(world, kind, subject, to)
        assert (found.progress, why in found.text) == (FAILED, True), found


def test_an_evacuation_ends_when_no_vm_runs_there_and_names_each_that_stays() -> None:
    world = three_hosts()
    world.hosts["esx2"].memory = world.hosts["esx3"].memory = 1024 + 1500
    world.vms["vm1"].memory = 8192
    world.run(3)
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert outcome(world, "maintenance_on", "esx1").progress is OPEN, "vm2 is on its way"
    world.move()
    world.run(6)
    stays = outcome(world, "maintenance_on", "esx1")
    assert stays.progress is FAILED
    assert "vm1 stays on esx1" in stays.text and "vm2" not in stays.text
    world.vms["vm1"].power = Power.OFF
    world.command("stop", "vm1")
    world.run(6)
    assert outcome(world, "maintenance_on", "esx1") == Outcome(OPEN, "no VM runs on esx1 any more; it enters maintenance mode")
    world.hosts["esx1"].maintenance = True
    world.step(3)
    assert outcome(world, "maintenance_on", "esx1").progress is DONE
    world.command("maintenance_off", "esx1")
    world.step(3)
    assert outcome(world, "maintenance_off", "esx1").progress is OPEN
    world.hosts["esx1"].maintenance = False
    world.step(3)
    assert outcome(world, "maintenance_on", "esx1").progress is FAILED
    assert outcome(world, "maintenance_off", "esx1").progress is DONE


def test_a_return_is_open_while_it_is_wanted_and_has_failed_when_it_was_given_up() -> None:
    world = lost()
    world.fence("esx1")
    world.run(3)
    world.command("rejoin", "esx1")
    world.step(3)
    waits = outcome(world, "rejoin", "esx1")
    assert (waits.progress, "its API does not answer" in waits.text) == (OPEN, True)
    world.run(620)
    gave_up = outcome(world, "rejoin", "esx1")
    assert (gave_up.progress, "was not let in again" in gave_up.text) == (FAILED, True), gave_up
    world.reboot("esx1")
    world.command("rejoin", "esx1")
    world.run(9)
    assert outcome(world, "rejoin", "esx1").progress is OPEN
    world.fenced.clear()
    world.heal("esx1")
    world.run(30)
    assert outcome(world, "rejoin", "esx1") == Outcome(DONE, "esx1 is in, and its storage works")


@pytest.mark.parametrize("mode", ["observe", "ask", "act"])
def test_an_ordered_failover_is_carried_out_in_every_mode_and_done_when_the_vms_run_elsewhere(mode: str) -> None:
    world = lost(mode=mode)
    world.command("failover", "esx1")
    world.step(3)
    assert len(world.of(FenceAction)) == 1
    assert outcome(world, "failover", "esx1").progress is OPEN
    world.fence("esx1")
    world.step(3)
    assert len(world.of(FailoverAction)) == 1
    going = outcome(world, "failover", "esx1")
    assert (going.progress, "vm1, vm2" in going.text) == (OPEN, True)
    for name, host in world.plan().items():
        world.start(name, host)
    world.run(6)
    assert outcome(world, "failover", "esx1").progress is DONE


def test_in_mode_observe_an_order_about_one_host_is_none_about_another() -> None:
    world = World(hosts=three_hosts().hosts, vms=three_hosts().vms, policy={"mode": "observe", "max_dead_fraction": 1.0})
    world.run(9)
    world.kill("esx1")
    world.kill("esx2")
    world.run(30)
    world.command("failover", "esx1")
    world.step(3)
    assert [action.host for action in world.of(FenceAction)] == ["esx1"]
    assert world.memory.approved, "it holds until esx1 works again"


def test_a_host_that_works_is_not_failed_over_also_when_it_dies_later() -> None:
    world = three_hosts(mode="observe")
    world.command("failover", "esx1")
    world.step(3)
    assert outcome(world, "failover", "esx1") == Outcome(FAILED, "esx1 is healthy, so nothing is failed over")
    world.kill("esx1")
    world.run(30)
    assert world.of(FenceAction) == []


def test_a_failover_that_finds_no_place_has_failed() -> None:
    world = lost()
    world.hosts["esx2"].memory = world.hosts["esx3"].memory = 1024
    world.command("failover", "esx1")
    world.step(3)
    world.fence("esx1")
    world.step(3)
    found = outcome(world, "failover", "esx1")
    assert (found.progress, "vm1 finds no host" in found.text, "vm2 finds no host" in found.text) == (FAILED, True, True)


def test_a_return_that_a_person_ordered_is_carried_out_in_mode_observe() -> None:
    world = lost()
    world.fence("esx1")
    world.run(40)
    world.policy["mode"] = "observe"
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    for vm in ("vm1", "vm2"):
        world.start(vm, "esx2")
    world.run(9)
    assert world.all_actions() and world.of(RejoinAction) == []
    world.command("rejoin", "esx1")
    world.step(3)
    assert [action.step for action in world.of(RejoinAction)] == ["unfence"]


def test_of_what_has_no_outcome_of_its_own_it_is_done_when_it_is_heard() -> None:
    assert outcome(three_hosts(), "arm", "") == Outcome(DONE, "it is heard")


def test_a_migration_without_a_host_is_done_where_the_first_look_led_it_and_says_by_which_way() -> None:
    world = three_hosts()
    world.command("migrate", "vm1")
    waits = outcome(world, "migrate", "vm1")
    assert (waits.progress, "another host" in waits.text) == (OPEN, True)
    world.step(3)
    assert outcome(world, "migrate", "vm1").progress is OPEN
    there = world.record("vm1").wanted_host
    world.start("vm1", there)
    world.step(3)
    assert outcome(world, "migrate", "vm1") == Outcome(DONE, "vm1 is on %s" % there)
    record = Record(world.memory, ways={world.record("vm1").id: "suspend"})
    assert outcome_of(Command(CommandKind.MIGRATE, "vm1"), "", record).text == "vm1 is on %s (moved by suspend)" % there


def test_a_migration_that_came_to_nothing_says_where_the_vm_is() -> None:
    world = three_hosts()
    world.hosts["esx3"].memory = 1024
    world.run(3)
    world.command("migrate", "vm1", "esx3")
    world.step(3)
    assert outcome(world, "migrate", "vm1", "esx3").text.endswith("; it runs on esx1")
