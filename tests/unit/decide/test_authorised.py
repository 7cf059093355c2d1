"""Nothing is remembered as ordered that was not authorised: not what is only proposed, not what belongs to another host's run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.authorization import Orders
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import RejoinRecord
from decide_world import Power, World, three_hosts

PLAYBOOKS = ("fence", "failover", "restart", "stop", "reset")  # what they carry out


def test_only_the_authorising_step_makes_orders() -> None:
    fence = FenceAction("esx1", (), (), False, False, (), ())
    with pytest.raises(TypeError, match="only authorise"):
        Orders([fence], object())


def wanted_back(world: World) -> World:
    """esx1 runs on although it is fenced, and an operator wanted it back; the memory has that from a run that could do it."""
    world.kill("esx1")
    world.hosts["esx1"].power = Power.ON
    world.run(30)
    world.fence("esx1")
    world.heal("esx1")
    world.hosts["esx1"].session = None
    world.hosts["esx1"].writes = False
    for vm in world.vms_on("esx1"):
        vm.power = Power.ON
    world.memory = world.memory.with_host(replace(world.memory.host("esx1"), rejoin=RejoinRecord(world.at(), "alice")))
    return world


@pytest.mark.parametrize("how", [{"able": PLAYBOOKS}, {"disarm": True}], ids=["nobody can", "disarmed"])
def test_a_power_cycle_that_is_only_proposed_keeps_no_power_fence_back(how: dict[str, Any]) -> None:
    world = wanted_back(three_hosts(bmc=True))
    world.able = how.get("able", world.able)
    if "disarm" in how:
        world.command("disarm", by="bob")
    for _look in range(3):
        world.step(15)
        assert world.memory.host("esx1").rejoin.cycled_at is None
    fences = [item for item in (*world.last.actions, *(one.action for one in world.last.proposed)) if item.kind == "fence"]
    assert [fence.power for fence in fences] == [True], "the VMs that still execute there are stopped by its power"


def test_a_power_cycle_that_is_ordered_is_remembered() -> None:
    world = wanted_back(three_hosts(bmc=True))
    world.step(33)
    assert world.memory.host("esx1").rejoin.cycled_at == world.at()


@pytest.mark.parametrize(("able", "home"), [(PLAYBOOKS, ""), ((*PLAYBOOKS, "move"), "esx1")])
def test_a_vm_has_a_home_to_return_to_only_when_its_move_was_ordered(able: tuple[str, ...], home: str) -> None:
    world = three_hosts()
    world.able = able
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert world.record("vm1").home == home
    assert (world.record("vm1").in_progress is not None) is bool(home)


def failed_over(**options: object) -> World:
    world = three_hosts(rebalance={"after_failover": True}, **options)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world


def test_the_load_is_balanced_after_a_failover_and_not_after_one_that_was_only_proposed() -> None:
    assert failed_over(mode="ask").memory.rebalance == ""
    assert failed_over().memory.rebalance == "after the failover of esx1"


def two_lost() -> World:
    """esx1 and esx2 of five hosts are dead, one look before their fences."""
    world = three_hosts(max_dead_fraction=1.0)
    world.kill("esx1")
    world.kill("esx2")
    while len([host for host in world.last.hosts if host.confirmed and host.verdict.value == "dead"]) < 2:
        world.only_host = "esx1"
        world.step(3)
    return world


def test_a_run_about_one_host_orders_and_remembers_nothing_about_another() -> None:
    world = two_lost()
    assert [action.host for action in world.last.actions] == ["esx1"]
    assert [(item.action.host, item.why_not) for item in world.last.proposed] == [("esx2", "this run is only about the loss of esx1")]
    assert world.memory.host("esx1").fence_scope == ("san",)
    assert world.memory.host("esx2").fence_scope == ()
    world.fence("esx1")
    world.fence("esx2")
    world.step(3)
    assert {action.host for action in world.last.actions} == {"esx1"}
    assert world.record("vm1").in_progress is not None
    assert world.record("vm3").in_progress is None, "nobody starts it now, so it cannot be running elsewhere"


def test_a_run_about_one_host_ends_although_something_is_to_be_done_about_another() -> None:
    world = two_lost()
    world.fence("esx1")
    world.step(3)
    for name, host in world.plan().items():
        world.start(name, host)
    world.run(9)
    assert world.last.settled
    assert [item.action.host for item in world.last.proposed] == ["esx2"]


def test_a_run_about_one_host_still_completes_the_fence_of_another() -> None:
    world = three_hosts()
    world.kill("esx2")
    world.run(30)
    world.fence("esx2", confirmed=False)
    world.only_host = "esx1"
    world.run(6)
    assert list(world.fences()) == ["esx2"]
    assert world.last.settled, "what this run is about is done"


def one_after_the_other(mode: str) -> World:
    """vm2 starts a minute after vm1."""
    world = three_hosts(mode=mode, start_order={"condition": "powered_on", "delay": 60}, vms={"vm2": {"start_after": ["vm1"]}})
    world.run(9)
    return world


@pytest.mark.parametrize("mode", ["observe", "ask", "act"])
def test_a_failover_that_a_person_ordered_goes_on_until_the_last_vm_that_waits_for_another_has_started(mode: str) -> None:
    world = one_after_the_other(mode)
    world.kill("esx1")
    world.command("failover", "esx1", by="alice")
    world.run(21)
    world.fence("esx1")
    world.run(3)
    assert [vm.name for vm in world.failovers()["esx1"].vms] == ["vm1"]
    world.start("vm1", "esx2")
    world.run(30)
    assert "vm2 waits for vm1 (powered on)" in [held.reason for held in world.last.held]
    assert not world.last.settled
    world.run(36)
    assert [vm.name for vm in world.failovers()["esx1"].vms] == ["vm2"]


@pytest.mark.parametrize(("approved", "settled"), [("", True), ("vm2", False)])
def test_no_run_waits_for_starts_that_nobody_said_yes_to(approved: str, settled: bool) -> None:
    world = one_after_the_other("ask")
    world.crash("vm1")
    world.crash("vm2")
    world.run(6)
    if approved:
        world.command("approve", approved, by="alice")
    world.run(6)
    assert "vm2 waits for vm1 (powered on)" in [held.reason for held in world.last.held]
    assert world.last.settled is settled
