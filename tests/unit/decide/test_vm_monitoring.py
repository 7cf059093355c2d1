"""Guests that hang: reset on evidence only, and a bounded number of times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import ResetAction
from decide_world import World, three_hosts

RESET = {"response": "reset", "failure_interval": 20, "io_interval": 60, "min_uptime": 10, "max_resets": 2}


def watched(**monitoring: Any) -> World:
    """vm1 and vm2 run with a heartbeat."""
    world = three_hosts(vm_monitoring={**RESET, **monitoring})
    world.vms["vm1"].heartbeat = world.vms["vm2"].heartbeat = "green"
    world.run(9)
    return world


def hang(world: World, seconds: float, vm: str = "vm1", already: float = 0.0) -> int:
    """Its guest does nothing for *seconds*; how often it was reset in that time."""
    world.vms[vm].heartbeat = "red"
    resets = 0
    for look in range(int(seconds / 3)):
        world.vms[vm].io_idle = already + 3.0 * look
        world.step(3)
        resets += resets_of(world, vm)
    return resets


def resets_of(world: World, vm: str) -> int:
    return sum(target.name == vm for action in world.of(ResetAction) for target in action.vms)


def recover(world: World, vm: str = "vm1") -> None:
    world.vms[vm].heartbeat, world.vms[vm].io_idle = "green", None
    world.run(6)


def told(world: World, vm: str, ok: bool) -> None:
    """How the last reset ended."""
    result = seen.ActResult("%06d" % len(world.results), world.vms[vm].id, "esx1", seen.Act.RESET, ok, world.at(), "the host refused")
    world.results.append(result)


def test_a_guest_without_heartbeat_and_io_is_reset_once_and_then_left_to_start() -> None:
    world = watched()
    assert hang(world, 57) == 0
    assert hang(world, 120, already=60) == 1
    assert world.record("vm1").up_since is None
    recover(world)
    assert world.alarm("vm_hangs") is None
    assert world.record("vm1").hang.was_up is None


def test_resets_are_bounded_within_the_window_over_runs_of_the_monitor() -> None:
    world = watched(reset_window=1000)
    resets = 0
    for run in range(3):
        world.run_id = "run-%d" % run
        resets += hang(world, 90)
        if run < 2:
            recover(world)
    assert resets == 2
    assert "not reset: it has been reset 2 times" in str(world.alarm("vm_hangs"))
    world.now += 1000
    assert hang(world, 90) == 1


@pytest.mark.parametrize(
    "change",
    [{"io_idle": None}, {"io_idle": 0.0}, {"io_idle": 59.0}, {"accessible": False}, {"question": seen.Question("1", "msg.hbacommon", "?")}],
    ids=lambda change: (
        "%s %s" % next(iter(change.items())) if isinstance(next(iter(change.values())), (float, bool, type(None))) else "question"
    ),
)
def test_without_evidence_of_a_hang_a_vm_is_left_alone(change: dict[str, Any]) -> None:
    world = watched()
    vm1 = world.vms["vm1"].id
    world.change = lambda look: replace(look, vms=tuple(replace(vm, **change) if vm.id == vm1 else vm for vm in look.vms))
    assert hang(world, 200) == 0


def test_a_guest_of_whose_io_nothing_is_known_is_an_alarm() -> None:
    world = watched()
    vm1 = world.vms["vm1"].id
    world.change = lambda look: replace(look, vms=tuple(replace(vm, io_idle=None) if vm.id == vm1 else vm for vm in look.vms))
    hang(world, 18)
    assert world.alarm("vm_hangs") is None
    hang(world, 9)
    assert "no heartbeat for 24 s; not reset: the host tells nothing of its I/O" in str(world.alarm("vm_hangs"))
    recover(world)
    assert world.alarm("vm_hangs") is None
    assert world.record("vm1").hang.blind is None


def test_one_look_without_evidence_begins_the_time_again() -> None:
    world = watched()
    hang(world, 57)
    world.vms["vm1"].io_idle = None
    world.step(3)
    assert hang(world, 18, already=63) == 0
    assert hang(world, 6, already=81) == 1


def test_a_guest_that_never_had_a_heartbeat_is_left_alone() -> None:
    world = watched()
    assert hang(world, 200, vm="vm3") == 0


def test_a_vm_that_was_just_started_is_left_alone() -> None:
    world = watched(min_uptime=300)
    world.crash("vm1")
    world.step(3)
    world.start("vm1", "esx1")
    world.step(3)
    assert hang(world, 200) == 0
    assert "it was started only" in str(world.alarm("vm_hangs"))
    assert hang(world, 120, already=200) == 1


def test_a_guest_that_is_not_back_after_a_reset_is_an_alarm_and_no_second_guess() -> None:
    world = watched()
    assert hang(world, 90) == 1
    assert hang(world, 300) == 0
    assert "has had no heartbeat since: look at its console" in str(world.alarm("vm_hangs"))


@pytest.mark.parametrize("ok", [True, False])
def test_a_reset_that_failed_is_tried_again_and_counts(ok: bool) -> None:
    world = watched()
    assert hang(world, 63) == 1
    told(world, "vm1", ok)
    assert hang(world, 60, already=63) == (0 if ok else 1)
    told(world, "vm1", ok)
    assert hang(world, 60, already=123) == 0
    assert ("it has been reset 2 times" in str(world.alarm("vm_hangs"))) is not ok


@pytest.mark.parametrize("mode", ["observe", "ask"])
def test_a_reset_that_is_only_proposed_is_not_counted(mode: str) -> None:
    world = watched()
    world.policy["mode"] = mode
    assert hang(world, 200) == 0
    assert [item.action.kind for item in world.last.proposed] == ["reset"]
    assert world.record("vm1").hang.resets == ()
    assert "reset 1 of 2" in str(world.alarm("vm_hangs"))


def test_in_mode_ask_a_yes_resets_the_guest_once() -> None:
    world = watched()
    world.policy["mode"] = "ask"
    assert hang(world, 90) == 0
    world.command("approve", "vm1", by="alice")
    assert hang(world, 6, already=90) == 1
    assert hang(world, 90, already=96) == 0
    recover(world)
    assert world.memory.approved == ()


def test_a_hanging_guest_is_only_an_alarm_by_default() -> None:
    world = watched(response="alarm")
    assert hang(world, 200) == 0
    assert world.all_actions() == []
    assert "not reset: vm_monitoring.response is alarm" in str(world.alarm("vm_hangs"))


def test_a_restart_of_the_arbiter_forgets_no_reset_and_keeps_none_for_ever() -> None:
    world = watched(max_resets=1, reset_window=1000)
    assert hang(world, 90) == 1
    recover(world)
    world.boot, world.now = "boot-2", 50.0
    recover(world)
    assert hang(world, 120) == 0
    world.now += 1000
    assert hang(world, 90) == 1
