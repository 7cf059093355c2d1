"""Hosts that are taken out of the cluster for good, and hosts that leave the inventory without that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind, CommandRefused
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction, Severity
from ansible_collections.libreha.vmware.plugins.module_utils.decide.outcome import Outcome, Progress, Record, outcome_of
from decide_world import Power, World, initiator, three_hosts

WHY = {"by": "alice", "reason": "its lease ends"}


def emptied(**options: object) -> World:
    """esx1 is in maintenance, and its VMs are on esx2."""
    world = three_hosts(**options)
    world.command("maintenance_on", "esx1")
    world.step(3)
    for name in ("vm1", "vm2"):
        world.start(name, "esx2")
    world.run(6)
    return world


def fences(world: World) -> list[FenceAction]:
    return world.of(FenceAction)


def outcome(world: World) -> Outcome:
    return outcome_of(Command(CommandKind.REMOVE_HOST, "esx1"), "it is heard", Record(world.memory))


def taken_out(world: World) -> World:
    world.command("remove_host", "esx1", **WHY)
    world.step(3)
    world.fence("esx1")
    world.run(6)
    return world


@pytest.mark.parametrize("mode", ["act", "ask", "observe"])
def test_an_empty_host_is_locked_out_of_every_storage_server_and_then_it_is_out(mode: str) -> None:
    world = emptied(mode=mode)
    world.command("remove_host", "esx1", **WHY)
    world.step(3)
    (fence,) = fences(world)
    assert (fence.host, fence.storage, fence.power, fence.stop) == ("esx1", ("san",), False, False)
    assert outcome(world).progress is Progress.OPEN
    world.fence("esx1")
    world.run(6)
    assert outcome(world) == Outcome(Progress.DONE, "esx1 is locked out of every storage server; remove it from the inventory")
    record = world.memory.host("esx1")
    assert (record.wanted_maintenance, record.maintenance_order) == (False, None)
    standing = [alarm for alarm in world.last.alarms if alarm.subject == "esx1"]
    assert [(alarm.key, alarm.severity) for alarm in standing] == [("removal:esx1", Severity.INFO)], "nobody is told to let it in again"
    assert world.last.settled


def test_its_record_goes_with_its_line_of_the_inventory_and_no_alarm_stays() -> None:
    world = taken_out(emptied())
    del world.hosts["esx1"]
    world.run(6)
    assert [record.name for record in world.memory.hosts] == ["esx2", "esx3"]
    assert [alarm for alarm in world.last.alarms if "esx1" in alarm.key + alarm.text] == []
    assert outcome(world).progress is Progress.DONE


def test_a_host_that_was_taken_out_comes_back_by_rejoin_only() -> None:
    world = taken_out(emptied())
    world.reboot("esx1")
    world.command("rejoin", "esx1")
    world.now += 60
    world.step(3)
    assert world.memory.host("esx1").removal is None
    assert world.memory.host("esx1").rejoin is not None


def test_a_host_that_comes_back_into_the_inventory_is_let_in_by_the_first_rejoin() -> None:
    world = taken_out(emptied())
    back = world.hosts.pop("esx1")
    world.run(6)
    world.hosts["esx1"] = back
    world.command("rejoin", "esx1")
    world.step(3)
    assert world.memory.host("esx1").rejoin is not None
    assert outcome_of(Command(CommandKind.REJOIN, "esx1"), "", Record(world.memory)).progress is Progress.OPEN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda world: world.start("vm1", "esx1"), "vm1 runs there"),
        (lambda world: setattr(world.vms["vm1"], "host", "esx1") or world.crash("vm1"), "vm1 is registered or recorded there"),
        (lambda world: setattr(world.hosts["esx1"], "looked_at", False), "its own list of VMs cannot be read"),
        (lambda world: world.partition("esx1"), "its own list of VMs cannot be read"),
    ],
)
def test_what_speaks_against_it_is_said_and_nothing_is_locked_out(change, words: str) -> None:  # type: ignore[no-untyped-def]
    world = emptied()
    change(world)
    world.command("remove_host", "esx1", **WHY)
    world.step(3)
    assert fences(world) == []
    assert (outcome(world).progress, words in outcome(world).text) == (Progress.FAILED, True), outcome(world)
    assert world.memory.host("esx1").removal is None
    assert world.memory.host("esx1").wanted_maintenance


def test_a_host_that_was_not_emptied_and_one_without_a_reason_are_refused() -> None:
    world = three_hosts()
    with pytest.raises(CommandRefused, match="empty it first"):
        world.command("remove_host", "esx1", **WHY)
    with pytest.raises(CommandRefused, match="needs a reason"):
        emptied().command("remove_host", "esx1", by="alice")


@pytest.mark.parametrize(("off", "progress"), [(False, Progress.FAILED), (True, Progress.DONE)])
def test_a_fenced_host_is_out_only_when_it_is_proved_to_run_nothing(off: bool, progress: Progress) -> None:
    world = three_hosts(bmc=True)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.hosts["esx1"].power = Power.OFF
    world.step(3)
    for name in ("vm1", "vm2"):
        world.start(name, "esx2")
    world.run(6)
    world.hosts["esx1"].power = Power.OFF if off else Power.ON
    world.step(3)
    world.command("remove_host", "esx1", **WHY)
    world.step(3)
    assert outcome(world).progress is progress, outcome(world)
    assert off or "not proved to be off" in outcome(world).text


def test_a_host_that_leaves_the_inventory_with_vms_is_an_alarm_until_it_is_back_and_forgets_nothing() -> None:
    world = three_hosts()
    world.command("maintenance_on", "esx1", **WHY)
    world.step(3)
    lost = world.hosts.pop("esx1")
    world.run(6)
    alarm = world.alarm("gone:esx1")
    assert alarm is not None
    for words in (
        "esx1 is not in the inventory any more",
        "it is in maintenance",
        "vm1, vm2 are recorded there",
        "host_remove -e host=esx1",
    ):
        assert words in alarm.text
    assert [item.severity for item in world.last.alarms if item.key == "gone:esx1"] == [Severity.CRITICAL]
    with pytest.raises(CommandRefused, match="vm1, vm2 recorded there"):
        world.command("remove_host", "esx1", **WHY)
    world.hosts["esx1"] = lost
    world.run(6)
    assert world.alarm("gone:") is None
    assert world.memory.host("esx1").wanted_maintenance, "its maintenance outlasts a mistake in the inventory"


@pytest.mark.parametrize("command", ["stop", "migrate", "start"])
def test_no_wish_about_a_vm_of_a_host_that_left_the_inventory_ends_the_look(command: str) -> None:
    world = three_hosts()
    del world.hosts["esx1"]
    world.command(command, "vm1", host="esx2" if command == "migrate" else "")
    world.run(6)
    assert world.record("vm1").host == "esx1"
    assert world.moves() == {}


def test_a_host_that_left_the_inventory_is_forgotten_when_nothing_of_it_is_left_open() -> None:
    world = emptied()
    del world.hosts["esx1"]
    world.run(6)
    assert world.alarm("gone:") is not None
    (san,) = world.memory.storage
    world.memory = replace(world.memory, storage=(replace(san, admits=(*san.admits, initiator("esx1").upper())),))
    with pytest.raises(CommandRefused, match="san still admits its initiator"):
        world.command("remove_host", "esx1", **WHY)
    world.step(3)
    assert "forgotten" in world.command("remove_host", "esx1", **WHY)
    world.run(6)
    assert [alarm.key for alarm in world.last.alarms if "esx1" in alarm.key] == []
