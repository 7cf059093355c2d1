"""The budget for false failovers is 0: a healthy cluster, however noisy below what docs/safety.md calls a failure, is never fenced.

``LIBREHA_HOURS`` says how many simulated hours are watched (3), ``LIBREHA_SEED`` the number of the first one, ``LIBREHA_WORKERS`` how
many at a time (as many as there are processors).
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from libsim.scenario import build_scenario
from libsim.simulation import simulate
from noise import noisy_hour

HOURS = int(os.environ.get("LIBREHA_HOURS", "3"))
FIRST = int(os.environ.get("LIBREHA_SEED") or 1)
WORKERS = int(os.environ.get("LIBREHA_WORKERS") or os.cpu_count() or 1)


def watched(number: int) -> tuple[int, Counter[str], list[str]]:
    """Which hour, what happened in it, and what should not have."""
    result = simulate(build_scenario(noisy_hour(number)))
    events = Counter(entry["event"] for entry in result["timeline"])
    states = Counter(entry["state"] for entry in result["timeline"] if entry["event"] == "host_state")
    wrong = [str(entry) for entry in result["timeline"] if entry["event"] in ("fence_requested", "vm_started", "vm_lost", "vm_stopped")]
    return number, events + states, wrong + [str(violation) for violation in result["violations"]]


def test_no_hour_of_a_noisy_but_healthy_cluster_fences_a_host(capsys: pytest.CaptureFixture[str]) -> None:
    counted: Counter[str] = Counter()
    wrong: dict[int, list[str]] = {}
    with ProcessPoolExecutor(WORKERS) as pool:
        for number, events, found in pool.map(watched, range(FIRST, FIRST + HOURS)):
            counted += events
            if found:
                wrong[number] = found[:3]
    with capsys.disabled():
        print("\n%d noisy hours: %d suspicions, %d fences" % (HOURS, counted["suspect"], counted["fence_requested"]), end="", flush=True)
    assert not wrong, "\n".join("hour %d: %s" % item for item in wrong.items())
    assert counted["suspect"] >= HOURS, "hours in which nobody is ever suspected would prove nothing"


def test_the_same_disturbances_are_fenced_once_they_last_as_long_as_a_failure() -> None:
    hour = noisy_hour(1, longest=120.0)
    hour["until"] = 900.0
    hour["timeline"] = [entry for entry in hour["timeline"] if entry["at"] < 900.0]
    events = [entry["event"] for entry in simulate(build_scenario(hour))["timeline"]]
    assert events.count("fence_requested") > 0
