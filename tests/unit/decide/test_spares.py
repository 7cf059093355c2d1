"""Spare hosts stand by without VMs: first at a failure, last for planned moves, nothing unasked."""

from __future__ import annotations

from typing import Any

import pytest
from decide_world import World, initiator, three_hosts


@pytest.fixture
def world() -> World:
    """esx3 is spare and empty."""
    made = three_hosts()
    made.vms["vm4"].host = "esx2"
    made.policy["hosts"] = {name: {"initiator": initiator(name), "spare": name == "esx3"} for name in made.hosts}
    made.run(9)
    return made


def lose_esx1(world: World) -> None:
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.run(3)


def test_it_takes_the_vms_of_a_lost_host_before_the_others(world: World) -> None:
    lose_esx1(world)
    assert {vm.name: vm.destination for vm in world.failovers()["esx1"].vms} == {"vm1": "esx3", "vm2": "esx3"}


def test_what_does_not_fit_there_goes_to_the_others(world: World) -> None:
    world.hosts["esx3"].memory = 1024
    lose_esx1(world)
    assert sorted(vm.destination for vm in world.failovers()["esx1"].vms) == ["esx2", "esx3"]


def test_a_preference_of_a_rule_does_not_outweigh_it_and_a_required_rule_does(world: World) -> None:
    rule: dict[str, Any] = {"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx1": 2, "esx2": 1}, "required": False}
    world.policy["rules"] = [rule, {**rule, "vms": ["vm2"], "required": True}]
    lose_esx1(world)
    assert {vm.name: vm.destination for vm in world.failovers()["esx1"].vms} == {"vm1": "esx3", "vm2": "esx2"}


def test_an_evacuation_leads_elsewhere_while_there_is_room(world: World) -> None:
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert {to for to, _cause in world.moves().values()} == {"esx2"}


def test_balancing_and_preferences_lead_nothing_there(world: World) -> None:
    world.policy.update(automatic_moves="all")
    world.policy["rules"] = [{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx3": 2, "esx1": 1}, "required": False}]
    world.command("rebalance")
    for _look in range(10):
        world.step(3)
        assert "esx3" not in {to for to, _cause in world.moves().values()}


def test_one_that_runs_vms_is_an_alarm(world: World) -> None:
    assert world.alarm("spare") is None
    world.start("vm1", "esx3")
    world.run(6)
    assert "esx3 is a spare host and runs vm1" in str(world.alarm("spare"))
