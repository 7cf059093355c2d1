"""Whatever fails, in whatever order: no violation, and the same input gives the same run.

``LIBREHA_SCHEDULES`` says how many schedules are tried (500), ``LIBREHA_SEED`` with which seed (1; ``HYPOTHESIS_PROFILE=prove`` takes a new
one each time and prints it). A schedule that fails is printed as a scenario file.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from libsim.scenario import build_scenario
from libsim.simulation import simulate
from schedules import Raw, schedules

SCHEDULES = int(os.environ.get("LIBREHA_SCHEDULES", "500"))
PROVES = os.environ.get("HYPOTHESIS_PROFILE") == "prove"
SEED = int(os.environ.get("LIBREHA_SEED") or (random.SystemRandom().randrange(2**32) if PROVES else 1))
REPEATED = 20  # every so many schedules are run twice


def as_file(raw: Raw) -> str:
    return yaml.safe_dump(raw, sort_keys=False, default_flow_style=None, width=150)


def check(raw: Raw, twice: bool) -> dict[str, Any]:
    result = simulate(build_scenario(raw))
    assert not result["violations"], "%s\n%s" % (result["violations"], as_file(raw))
    if twice:
        assert simulate(build_scenario(raw)) == result, as_file(raw)
    return result


def test_no_schedule_of_faults_violates_anything(capsys: pytest.CaptureFixture[str]) -> None:
    tried = {"schedules": 0, "starts": 0, "fences": 0, "moves": 0}

    @seed(SEED)
    @settings(
        max_examples=SCHEDULES,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(schedules())
    def run(raw: Raw) -> None:
        tried["schedules"] += 1
        result = check(raw, twice=tried["schedules"] % REPEATED == 0)
        events = [entry["event"] for entry in result["timeline"]]
        tried["starts"] += events.count("vm_started")
        tried["fences"] += events.count("fence_confirmed")
        tried["moves"] += events.count("migration_done")

    began = time.monotonic()
    try:
        run()
    finally:
        with capsys.disabled():
            counted = ", ".join("%d %s" % (count, what) for what, count in tried.items())
            print("\nrandom schedules: seed %d, %.0f s, %s" % (SEED, time.monotonic() - began, counted))
    # Schedules in which nothing happens would prove nothing.
    assert tried["starts"] > tried["schedules"] / 4 and tried["fences"] > tried["schedules"] / 4 and tried["moves"] > 0
