"""All power was away and returned: nobody is fenced for being late, and nothing else is excused."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Evidence, Power
from decide_world import World, three_hosts


def powerless(world: World, bmc: bool = False) -> World:
    """All power was away; the decider has started 100 s ago, and no host is there yet."""
    for name in world.hosts:
        world.power_off(name)
        world.hosts[name].session = None
    world.boot, world.now, world.run_id, world.target_started = "boot-2", 100.0, "run-2", -500.0
    return world


def comes(world: World, name: str) -> None:
    host = world.hosts[name]
    host.booted, host.power = world.now - 40, Power.ON
    world.heal(name)


@pytest.fixture(params=[False, True], ids=["no_bmc", "bmc"])
def world(request: pytest.FixtureRequest) -> World:
    return powerless(three_hosts(bmc=request.param))


def fenced(world: World) -> set[str]:
    return {action.host for decision in world.decisions for action in decision.actions if action.kind == "fence"}


def test_a_late_host_is_not_fenced_and_not_counted_by_the_brake(world: World) -> None:
    world.run(60)
    assert fenced(world) == set() and not world.memory.brake.held
    comes(world, "esx1")
    comes(world, "esx2")
    world.run(120)
    assert fenced(world) == set()
    assert "esx3 did not show since" in str(world.alarm("cold_start"))


def test_one_that_was_seen_since_the_start_and_falls_silent_is_judged_as_ever(world: World) -> None:
    for name in ("esx1", "esx2"):
        comes(world, name)
    world.run(60)
    world.kill("esx1")
    world.run(60)
    assert fenced(world) == {"esx1"}, "and esx3 is still late"


def test_a_session_that_makes_progress_is_a_sign_of_life(world: World) -> None:
    comes(world, "esx2")
    comes(world, "esx1")
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.TIMED_OUT, Evidence.FAILED
    world.run(60)
    world.kill("esx1")
    world.run(60)
    assert fenced(world) == {"esx1"}


def test_a_ping_is_none(world: World) -> None:
    for name in ("esx1", "esx2"):
        comes(world, name)
    world.hosts["esx3"].ping = Evidence.OK
    world.run(30)
    world.hosts["esx3"].ping = Evidence.FAILED
    world.run(90)
    assert fenced(world) == set()


def test_a_host_that_kept_running_proves_that_only_the_decider_restarted(world: World) -> None:
    comes(world, "esx1")
    world.hosts["esx1"].booted = world.now - 11000.0
    comes(world, "esx2")
    world.run(90)
    assert fenced(world) == {"esx3"}
    assert world.memory.cold_start == "" and world.alarm("cold_start") is None


def test_it_ends_with_its_time(world: World) -> None:
    for name in ("esx1", "esx2"):
        comes(world, name)
    world.run(780)
    assert fenced(world) == set() and world.memory.cold_start == "boot-2"
    world.run(60)
    assert fenced(world) == {"esx3"} and world.memory.cold_start == ""


def test_a_person_who_knows_that_it_will_not_come_ends_it(world: World) -> None:
    for name in ("esx1", "esx2"):
        comes(world, name)
    world.run(60)
    world.command("failover", "esx3", by="alice", reason="its mainboard is broken")
    world.run(30)
    assert fenced(world) == {"esx3"}


def test_a_restarted_monitor_is_no_cold_start() -> None:
    world = three_hosts()
    world.run_id = "run-2"
    world.kill("esx1")
    world.run(60)
    assert fenced(world) == {"esx1"}


def test_the_vms_of_a_late_host_start_there_when_it_comes(world: World) -> None:
    for name in ("esx1", "esx2"):
        comes(world, name)
    world.run(30)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1", "vm2"]
    world.run(300)
    comes(world, "esx3")
    world.run(30)
    assert [vm.name for vm in world.restarts()["esx3"].vms] == ["vm4"]
