"""VMs that are down on a host that works: where they start again, how often, and in which order."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired
from decide_world import World, three_hosts


def here(world: World, host: str = "esx1") -> list[str]:
    action = world.restarts().get(host)
    return [vm.name for vm in action.vms] if action else []


def test_a_vm_that_stopped_by_itself_starts_where_it_was() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.step(3)
    assert here(world) == ["vm1"]
    assert "stopped by itself" in world.restarts()["esx1"].vms[0].reasons[0]


def test_one_that_was_switched_off_in_order_stays_off() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED
    assert here(world) == []


def test_after_its_tries_a_vm_starts_elsewhere_then_pauses_and_begins_again() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.step(3)
    assert here(world) == ["vm1"]
    world.fails("vm1", "esx1")
    world.step(3)
    assert here(world) == [] and world.moves() == {}
    assert "whether that host has reached its storage since" in world.held("vm1")
    world.run(20)
    destination, cause = world.moves()["vm1"]
    assert (destination != "esx1", cause) == (True, "restart")
    for _again in range(2):
        world.fails("vm1", destination)
    world.step(3)
    assert here(world) == []
    assert world.moves() == {}
    assert "tried again in 60 s" in world.held("vm1")
    world.run(61)
    assert here(world) == ["vm1"], "a new round begins where it is registered"


def test_pauses_between_rounds_grow_and_running_long_enough_forgets_them() -> None:
    world = three_hosts(max_relocate=0, max_restart=0)
    for expected in (60, 120, 240):
        world.crash("vm1")
        world.step(1)
        assert "tried again in %d s" % expected in world.held("vm1")
        world.run(expected + 3)
        world.start("vm1", "esx1")
        world.step(3)
    world.run(700, every=10)
    assert world.record("vm1").tries.rounds == 0


def test_pauses_do_not_grow_while_no_host_can_be_reached_to_start_it() -> None:
    world = three_hosts(max_relocate=0, max_restart=0)
    world.crash("vm1")
    world.step(1)
    world.run(63)
    for _again in range(4):
        assert here(world) == ["vm1"]
        world.fails("vm1", "esx1", reached=False)
        world.step(1)
        assert "tried again in 60 s" in world.held("vm1")
        world.run(61)
    world.fails("vm1", "esx1")
    world.step(1)
    assert "tried again in 120 s" in world.held("vm1"), "the crash's round was the first, this one is the second"


def test_a_failed_start_after_a_failover_goes_to_the_next_host() -> None:
    world = three_hosts(max_restart=0)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    first = world.plan()["vm1"]
    world.fails("vm1", first)
    world.step(3)
    assert world.plan()["vm1"] not in (first, "esx1")


def test_a_result_is_counted_once() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.step(3)
    world.fails("vm1", "esx1")
    world.run(9)
    assert world.record("vm1").tries.failed.count("esx1") == 2  # the crash and the start


def test_a_vm_that_a_rule_forbids_on_its_own_host_starts_where_it_may() -> None:
    world = three_hosts(rules=[{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx3": 1}}])
    world.crash("vm1")
    world.step(3)
    assert here(world) == []
    world.run(21)
    assert world.moves()["vm1"] == ("esx3", "restart")


def test_a_vm_without_room_on_its_own_host_starts_elsewhere() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.hosts["esx1"].memory = 1024 + 512
    world.step(3)
    assert here(world) == []
    world.run(21)
    assert world.moves()["vm1"][1] == "restart"


@pytest.mark.parametrize("lost", ["by its own word", "by the target's"])
def test_a_vm_that_crashed_leaves_a_host_without_a_fence_only_while_that_works_with_its_storage(lost: str) -> None:
    """What it wrote last may be on its way, and reach the disk when the path returns."""
    world = three_hosts()
    world.crash("vm1")
    world.hosts["esx1"].memory = 1024 + 512  # no room for it
    if lost == "by its own word":
        world.hosts["esx1"].accessible = False
    else:
        world.target_started = world.now  # nothing is concluded from sessions for a while
    world.step(3)
    assert (here(world), world.moves().get("vm1")) == ([], None)
    assert "may still be on its way" in world.held("vm1")


def lost(world: World) -> World:
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world


def test_a_vm_starts_after_the_one_it_needs() -> None:
    world = lost(three_hosts(vms={"vm1": {"start_after": ["vm2"]}}))
    order = [vm.name for vm in world.failovers()["esx1"].vms]
    assert order == ["vm2", "vm1"]


def test_a_vm_waits_until_the_one_it_needs_has_a_heartbeat() -> None:
    needs = {"start_after": ["vm2"]}
    world = lost(three_hosts(vms={"vm1": needs, "vm2": {"start_order": {"condition": "guest_heartbeat", "delay": 6}}}))
    assert set(world.plan()) == {"vm2"}
    assert "waits for vm2 (guest heartbeat)" in world.held("vm1")
    assert not world.last.settled
    world.start("vm2", "esx2")
    world.run(6)
    assert world.plan() == {}
    world.vms["vm2"].heartbeat = "green"
    world.step(3)
    assert world.plan() == {}
    world.run(6)
    assert set(world.plan()) == {"vm1"}


def test_waiting_ends_after_the_timeout() -> None:
    needs = {"start_after": ["vm2"]}
    order = {"condition": "guest_heartbeat", "timeout": 60}
    world = lost(three_hosts(vms={"vm1": needs, "vm2": {"start_order": order}}))
    world.start("vm2", "esx2")
    world.run(45)
    assert world.plan() == {}
    world.run(30)
    assert set(world.plan()) == {"vm1"}


def test_the_next_priority_waits_until_the_higher_one_runs() -> None:
    world = lost(three_hosts(vms={"vm1": {"priority": "high"}}, start_order={"condition": "powered_on"}))
    assert set(world.plan()) == {"vm1"}
    world.start("vm1", "esx2")
    world.step(3)
    assert set(world.plan()) == {"vm2"}


def test_nobody_waits_for_a_vm_that_should_not_run() -> None:
    world = three_hosts(vms={"vm1": {"start_after": ["vm2"]}}, start_order={"condition": "powered_on"})
    world.command("stop", "vm2")
    world.crash("vm2")
    world.run(3)
    assert set(lost(world).plan()) >= {"vm1"}


def test_a_start_that_waits_for_a_person_is_an_alarm_until_the_vm_runs() -> None:
    world = three_hosts()
    world.crash("vm1")
    world.step(3)
    world.fails("vm1", "esx1", "files still locked after 63 s: locked by a consumer on host esx9")
    world.results[-1] = dataclasses.replace(world.results[-1], blocked=True)
    world.run(30)
    alarm = world.alarm("start_blocked:ds-shared:vm1")
    assert alarm is not None
    assert "vm1 did not start on esx1: files still locked after 63 s" in alarm.text
    assert "esx9" in alarm.text
    world.start("vm1", "esx2")
    world.run(6)
    assert world.alarm("start_blocked") is None
