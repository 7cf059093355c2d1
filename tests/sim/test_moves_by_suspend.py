"""A move by suspend, of the production code, in which the source, the destination or the monitor dies at every moment.

The referee of the simulator sees every change of the truth: two runners of one VM, a start before the fence, a VM that stays down though it
could run. Here it is asked besides whether the VM ended running, and registered once among the hosts that work.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from libsim.scenario import build_scenario
from libsim.simulation import Simulation, simulate

ASKED = 60.0
HOST = {"live_migration": False, "capabilities": ["cpu_features:a"], "bmc": True}
MOMENTS = [step / 2 for step in range(32)]  # s after the command: the move takes 12
TRIED = MOMENTS if os.environ.get("HYPOTHESIS_PROFILE") == "prove" else MOMENTS[5::4]
# s after the command; unregistering at the source is among them
EMPTIED = MOMENTS if os.environ.get("HYPOTHESIS_PROFILE") == "prove" else [step / 4 for step in range(48, 60, 3)]


def scenario(*faults: dict[str, Any], third: str = "cpu_features:a") -> dict[str, Any]:
    return {
        "name": "a move by suspend",
        "policy": {"storage_grace": 20},
        "hosts": {"node1": HOST, "node2": HOST, "node3": {**HOST, "capabilities": [third]}},
        "vms": {"vm1": {"host": "node1"}, "vm2": {"host": "node3"}},
        "timeline": [{"at": ASKED, "do": "vm", "vm": "vm1", "command": "migrate", "host": "node2"}, *faults],
        "until": ASKED + 320.0,
    }


def test_it_is_suspended_and_resumed() -> None:
    result = simulate(build_scenario(scenario()))
    assert result["violations"] == []
    told = [entry["event"] for entry in result["timeline"] if entry.get("vm") == "vm1" and entry["t"] >= ASKED]
    assert [event for event in told if event != "held"] == ["migration_started", "vm_suspended", "migration_done"]
    assert result["final"]["vms"]["vm1"] == "node2"


@pytest.mark.parametrize("dies", ["node1", "node2", "monitor"])
def test_whatever_dies_at_whatever_moment_of_the_move_it_runs_once_in_the_end(dies: str) -> None:
    for moment in TRIED:
        at = ASKED + moment
        if dies == "monitor":
            faults = [{"at": at, "do": "monitor", "to": "killed"}, {"at": at + 20, "do": "monitor", "to": "restarted"}]
        else:
            faults = [{"at": at, "do": "power", "host": dies, "to": "off"}]
        result = simulate(build_scenario(scenario(*faults)))
        assert result["violations"] == [], (moment, result["violations"])
        assert result["final"]["vms"]["vm1"] in {"node1", "node2", "node3"} - {dies}, (moment, result["final"])


@pytest.mark.parametrize("dies", ["node1", "node2"])
def test_whatever_dies_while_a_host_is_emptied_no_move_is_open_for_ever(dies: str) -> None:
    """A host in maintenance is not fenced once none of its VMs is left there."""
    for moment in EMPTIED:
        raw = scenario({"at": ASKED + moment, "do": "power", "host": dies, "to": "off"})
        raw["timeline"][0] = {"at": ASKED, "do": "maintenance", "host": "node1", "to": "on"}
        simulation = Simulation(build_scenario(raw))
        try:
            result = simulation.run()
            assert result["violations"] == [], (moment, result["violations"])
            assert result["final"]["vms"]["vm1"] in {"node2", "node3"} - {dies}, (moment, result["final"])
            assert simulation.parts.database.open_transactions() == [], moment
        finally:
            simulation.close()
