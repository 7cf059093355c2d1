"""The simulated cluster itself: what docs/scenario-format.md says that happens to hosts, locks, sessions and VMs does happen."""

from __future__ import annotations

from typing import Any

import pytest
from libsim.scenario import build_scenario
from libsim.simulation import Simulation
from libsim.truth.target import StaleToken


def idle_brain(policy: Any, memory: Any, observation: Any, now: Any, run_id: str) -> Any:
    """Looks on and does nothing: what happens then is the truth's own doing."""
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision

    return Decision(now, policy.mode, (), (), (), (), memory, True, 5.0)


def simulation(*timeline: dict[str, Any], until: float = 300.0, **changes: Any) -> Simulation:
    raw = {
        "hosts": {"node1": {}, "node2": {}},
        "vms": {"vm101": {"host": "node1"}},
        "timeline": list(timeline),
        "until": until,
        **changes,
    }
    return Simulation(build_scenario(raw), idle_brain)


def events(run: dict[str, Any], *kinds: str) -> list[tuple[float, str]]:
    return [(entry["t"], entry["event"]) for entry in run["timeline"] if not kinds or entry["event"] in kinds]


def test_a_power_cut_loses_the_vms_at_once_and_a_boot_takes_45_seconds_and_starts_none() -> None:
    sim = simulation({"at": 20, "do": "power", "host": "node1", "to": "off"}, {"at": 30, "do": "power", "host": "node1", "to": "on"})
    sim.engine.run(74.9)
    assert not sim.world.hosts["node1"].answers
    sim.engine.run(75.1)
    assert sim.world.hosts["node1"].answers
    run = sim.run()
    assert events(run, "vm_lost", "vm_started") == [(20.0, "vm_lost")]
    assert run["final"]["vms"] == {"vm101": None}


def test_without_storage_a_host_executes_on_and_writes_nothing_and_its_session_stands_still_before_it_is_gone() -> None:
    sim = simulation({"at": 20, "do": "storage", "host": "node1", "to": "off"})
    sim.engine.run(21.0)
    host, vm = sim.world.hosts["node1"], sim.world.vms["vm101"]
    assert vm.executing == ["node1"] and not sim.world.can_write(host)
    counted = sim.world.target.sessions["node1"].counter(21.0)
    sim.engine.run(24.0)
    assert host.accessible and sim.world.target.sessions["node1"].counter(24.0) == counted
    sim.engine.run(26.0)
    assert not host.accessible
    sim.engine.run(51.0)
    assert "node1" not in sim.world.target.sessions
    assert events(sim.run(), "vm_lost") == []


def test_a_lock_is_honoured_for_16_seconds_after_its_host_fell_silent() -> None:
    sim = simulation({"at": 20, "do": "storage", "host": "node1", "to": "off"})
    sim.engine.run(35.9)
    assert sim.world.vms["vm101"].locked_for("node2", sim.engine.now)
    sim.engine.run(36.1)
    assert not sim.world.vms["vm101"].locked_for("node2", sim.engine.now)


def test_a_frozen_host_neither_runs_nor_answers_and_thaws_as_it_was_with_its_session() -> None:
    sim = simulation({"at": 20, "do": "hang", "host": "node1", "to": "on"}, {"at": 120, "do": "hang", "host": "node1", "to": "off"})
    host = sim.world.hosts["node1"]
    sim.engine.run(100.0)
    session = sim.world.target.sessions["node1"]
    assert not host.answers and not sim.world.can_write(host)
    sim.engine.run(121.0)
    assert sim.world.target.sessions["node1"] is session and sim.world.can_write(host)
    assert sim.world.vms["vm101"].lock_ends is None
    assert events(sim.run(), "vm_lost", "vm_started") == []


def test_a_fence_cuts_the_session_for_good_and_survives_a_restart_of_the_target() -> None:
    sim = simulation({"at": 50, "do": "target", "to": "restart"})
    host = sim.world.hosts["node1"]
    sim.engine.run(10.0)
    sim.world.fence(host, 7, "test")
    assert not sim.world.can_write(host) and sim.world.target.fenced("node1")
    sim.run()
    assert "node1" not in sim.world.target.sessions and "node2" in sim.world.target.sessions


def test_the_target_refuses_a_token_below_the_highest_it_has_seen() -> None:
    sim = simulation()
    sim.world.fence(sim.world.hosts["node1"], 7, "test")
    with pytest.raises(StaleToken):
        sim.world.fence(sim.world.hosts["node2"], 6, "an older run")
    with pytest.raises(StaleToken):
        sim.world.unfence(sim.world.hosts["node1"], 6)
    assert sim.world.target.fences.keys() == {"node1"}


def test_a_fence_that_is_made_to_fail_leaves_the_host_writing_and_is_not_confirmed() -> None:
    sim = simulation({"at": 5, "do": "fence", "host": "node1", "to": "fails"}, {"at": 50, "do": "fence", "host": "node1", "to": "works"})
    host = sim.world.hosts["node1"]
    sim.engine.run(10.0)
    sim.world.fence(host, 7, "test")
    assert sim.world.can_write(host) and not sim.world.note_confirmed(host)
    sim.engine.run(60.0)
    sim.world.fence(host, 7, "again")
    assert not sim.world.can_write(host) and sim.world.note_confirmed(host)


def test_an_orderly_shutdown_stops_the_vms_first_and_a_reboot_brings_the_host_back_without_them() -> None:
    sim = simulation({"at": 20, "do": "reboot", "host": "node1"})
    run = sim.run()
    assert [kind for _at, kind in events(run, "vm_stopped", "vm_lost", "vm_started")] == ["vm_stopped"]
    assert sim.world.hosts["node1"].answers and sim.world.hosts["node1"].boot == 2
    assert sim.world.hosts["node1"].registered == {"vm101"}


def test_a_vm_whose_lock_was_taken_is_killed_when_its_host_sees_the_storage_again() -> None:
    sim = simulation({"at": 20, "do": "storage", "host": "node1", "to": "off"}, {"at": 60, "do": "storage", "host": "node1", "to": "on"})
    sim.engine.run(50.0)
    sim.world.start(sim.world.vms["vm101"], sim.world.hosts["node2"])
    run = sim.run()
    assert [entry["host"] for entry in run["timeline"] if entry["event"] == "vm_lost"] == ["node1"]
    assert run["final"]["vms"] == {"vm101": "node2"}


def test_redundant_events_change_nothing() -> None:
    again = [
        {"do": "power", "host": "node1", "to": "on"},
        {"do": "network", "host": "node1", "to": "on"},
        {"do": "storage", "host": "node1", "to": "on"},
        {"do": "api", "host": "node1", "to": "on"},
        {"do": "hang", "host": "node1", "to": "off"},
        {"do": "bmc", "host": "node1", "to": "on"},
        {"do": "rejoin", "host": "node1"},
        {"do": "maintenance", "host": "node1", "to": "off"},
        {"do": "fence", "host": "node1", "to": "works"},
        {"do": "target", "to": "on"},
        {"do": "vm_fault", "vm": "vm102", "fault": "crash"},
        {"do": "power", "host": "node3", "to": "off"},
        {"do": "hang", "host": "node3", "to": "on"},
        {"do": "shutdown", "host": "node3"},
    ]
    changes = {
        "hosts": {"node1": {}, "node2": None, "node3": {"up": False}},
        "vms": {"vm101": {"host": "node1"}, "vm102": {"host": "node1", "desired": "stopped"}},
    }
    sim = simulation(*({"at": 10 + index, **entry} for index, entry in enumerate(again)), **changes)
    run = sim.run()
    assert events(run, "vm_started", "vm_stopped", "vm_lost", "fence_requested", "unfenced") == []
    assert run["final"]["vms"] == {"vm101": "node1", "vm102": None}


def test_the_wall_clock_jumps_and_the_boot_clock_does_not() -> None:
    sim = simulation({"at": 20, "do": "clock", "by": 3600})
    sim.engine.run(19.0)
    before = sim.observer.instant()
    sim.engine.run(21.0)
    after = sim.observer.instant()
    assert after.since(before) == 2.0
    assert before.wall < "2026-01-01T00:01" and after.wall > "2026-01-01T01:00"
