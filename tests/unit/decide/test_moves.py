"""Moves that nobody asked for: to keep rules, to leave a host with failing hardware."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Sensor
from decide_world import World, three_hosts

APART = {"type": "vm_affinity", "vms": ["vm1", "vm2"], "together": False}
TOGETHER = {"type": "vm_affinity", "vms": ["vm1", "vm3"], "together": True}
PREFERS_3 = {"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx3": 2, "esx1": 1}, "required": False}


def live(**options: object) -> World:
    world = three_hosts(**options)
    for host in world.hosts.values():
        host.live_migration = True
    world.step(3)
    return world


@pytest.mark.parametrize("rule", [APART, TOGETHER])
def test_one_move_mends_a_broken_required_rule(rule: dict[str, object]) -> None:
    world = live(rules=[rule])
    assert len(world.moves()) == 1
    assert {cause for _host, cause in world.moves().values()} == {"rule"}
    world.move()
    world.run(12)
    assert world.moves() == {}


def test_a_preferred_host_is_taken_once() -> None:
    world = live(rules=[PREFERS_3])
    assert world.moves() == {"vm1": ("esx3", "rule")}
    world.move()
    world.run(30)
    assert world.moves() == {}


def test_after_a_failover_the_vm_comes_back_to_the_host_it_prefers() -> None:
    world = live(rules=[PREFERS_3])
    world.move()
    world.run(6)
    world.kill("esx3")
    world.run(30)
    world.fence("esx3")
    world.step(3)
    assert world.plan()["vm1"] == "esx1"
    for name, host in world.plan().items():
        world.start(name, host)
    world.run(6)
    assert world.moves() == {}
    world.fenced.clear()
    world.reboot("esx3")
    while not world.moves():
        world.step(3)
        assert world.now < 1200
    assert world.moves() == {"vm1": ("esx3", "rule")}


def test_an_operators_choice_is_kept_against_a_preference_but_not_against_a_required_rule() -> None:
    world = live(rules=[PREFERS_3])
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    world.move()
    world.run(30)
    assert world.moves() == {}
    world.policy["rules"] = [{**PREFERS_3, "required": True}]
    world.step(3)
    assert world.moves() == {"vm1": ("esx3", "rule")}


@pytest.mark.parametrize(("allowed", "moved"), [("none", False), ("live", False), ("all", True)])
def test_a_vm_is_stopped_for_a_rule_only_if_the_policy_says_so(allowed: str, moved: bool) -> None:
    world = three_hosts(rules=[APART], automatic_moves=allowed)
    world.step(3)
    assert any(action.kind == "move" for action in world.all_actions()) == moved
    assert (world.alarm("should_move") is None) == moved


def test_a_degraded_host_is_emptied_if_the_policy_says_so() -> None:
    world = live(degraded_response="evacuate")
    world.hosts["esx1"].sensors = (Sensor("Fan 1", "red"),)
    world.step(3)
    assert {name: cause for name, (_host, cause) in world.moves().items()} == {"vm1": "proactive", "vm2": "proactive"}
    quarantined = live(degraded_response="quarantine")
    quarantined.hosts["esx1"].sensors = (Sensor("Fan 1", "red"),)
    quarantined.step(3)
    assert quarantined.moves() == {}


def test_nothing_is_moved_while_vms_wait_for_their_start() -> None:
    world = live(rules=[PREFERS_3])
    world.crash("vm2")
    world.step(3)
    assert world.moves() == {}
    assert "esx1" in world.restarts()


def test_a_rule_that_no_move_can_mend_is_an_alarm() -> None:
    world = live(rules=[APART])
    world.hosts["esx2"].memory = world.hosts["esx3"].memory = 1024
    world.run(33)  # until the move that was ordered before, and not carried out, is given up
    assert world.moves() == {}
    assert "no move mends it" in str(world.alarm("rule:"))
