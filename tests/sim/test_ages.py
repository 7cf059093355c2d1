"""Observers at their own pace: whatever the ages of the samples in a look, no schedule of faults violates anything.

``LIBREHA_AGED`` says how many schedules are tried (40).
"""

from __future__ import annotations

import os
import random
from collections import Counter

from libsim.scenario import build_scenario
from libsim.simulation import simulate
from schedules import Raw, each_schedule

SCHEDULES = int(os.environ.get("LIBREHA_AGED", "40"))
SEED = int(os.environ.get("LIBREHA_SEED") or 1)


def test_no_age_of_a_sample_violates_anything() -> None:
    counted: Counter[str] = Counter()

    def run(raw: Raw) -> None:
        counted["schedules"] += 1
        result = simulate(build_scenario(raw), ages=random.Random(counted["schedules"]))
        counted.update(entry["event"] for entry in result["timeline"])
        assert not result["violations"], result["violations"][:3]

    each_schedule(SEED, SCHEDULES, run)
    # Schedules in which nothing happens would prove nothing.
    assert counted["fence_confirmed"] > SCHEDULES / 4 and counted["vm_started"] > SCHEDULES / 4
