"""A VM that is down for longer than recovery_bound is an alarm that says why; guarantee 3 of docs/safety.md."""

from __future__ import annotations

import dataclasses

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from decide_world import World, three_hosts

BOUND = 100.0


def overdue(world: World) -> list[str]:
    return [alarm.text for alarm in world.last.alarms if alarm.key.startswith("not_recovered:")]


def without_room(**options: object) -> World:
    """esx1 is lost and fenced, and no other host has room for its vm1."""
    world = three_hosts(bmc=True, recovery_bound=BOUND, **options)
    world.vms["vm1"].memory = 1_000_000
    del world.vms["vm2"]
    world.step(3)
    world.power_off("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world


def test_a_vm_that_finds_no_host_is_overdue_after_the_bound_and_each_hosts_reason_is_told() -> None:
    world = without_room()
    began = world.now
    while world.now - began <= BOUND:
        assert overdue(world) == []
        world.step(5)
    (text,) = overdue(world)
    assert text.startswith("vm1 is down since 00:17:")
    assert "longer than recovery_bound (100 s): vm1 finds no host: " in text and "; esx2: " in text and "; esx3: " in text
    assert world.alarm("not_recovered").severity.value == "critical"


def test_it_ends_when_the_vm_runs_and_its_time_begins_anew_with_the_next_fall() -> None:
    world = without_room()
    world.run(BOUND + 20)
    assert overdue(world)
    world.vms["vm1"].memory = 1024
    world.start("vm1", "esx2")
    world.step(3)
    assert overdue(world) == [] and world.record("vm1").down_since is None
    world.crash("vm1")
    world.run(BOUND / 2)
    assert overdue(world) == []


def test_the_mode_does_not_matter_and_the_reason_names_it() -> None:
    world = without_room(mode="observe")
    world.vms["vm1"].memory = 1024
    world.memory = dataclasses.replace(
        world.memory, vms=tuple(dataclasses.replace(vm, memory=1024) if vm.name == "vm1" else vm for vm in world.memory.vms)
    )
    world.run(BOUND + 20)
    (text,) = overdue(world)
    assert "not done: " in text


def test_a_look_that_knows_nothing_of_it_neither_ends_its_time_nor_begins_it_anew() -> None:
    world = three_hosts(recovery_bound=BOUND, mode="observe")
    world.crash("vm3")
    world.run(BOUND / 2)
    began = world.record("vm3").down_since
    assert began is not None
    world.hosts["esx2"].api = ApiAnswer.TIMED_OUT
    world.run(BOUND)
    assert world.record("vm3").down_since == began
    world.hosts["esx2"].api = ApiAnswer.ANSWERED
    world.run(9)
    assert len(overdue(world)) == 1
    assert world.vms["vm3"].power is Power.OFF


def test_a_vm_that_nobody_wants_running_is_not_overdue() -> None:
    world = three_hosts(recovery_bound=BOUND, vms={"vm3": {"protection": "unprotected"}})
    world.event("esx3", "vm_powered_off", "vm4")
    world.crash("vm4")  # switched off by a person
    world.crash("vm3")  # the policy leaves it alone
    world.run(BOUND + 20)
    assert overdue(world) == []


def test_after_a_restart_of_the_arbiter_the_time_begins_anew() -> None:
    world = without_room()
    world.run(BOUND - 20)
    world.boot, world.now = "boot-2", 50.0
    world.run(30)
    assert overdue(world) == []
    world.run(BOUND)
    assert len(overdue(world)) == 1
