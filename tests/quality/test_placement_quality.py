"""Our plans beside the optimum of OR-Tools CP-SAT; docs/placement-quality.md has the figures of a long run."""

from __future__ import annotations

import os
import statistics

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.room import Room, Wish
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy, Priority
from instances import Instance, vm
from optimum import better_value, cost_of, least_load
from quality import measure

INSTANCES = int(os.environ.get("LIBREHA_INSTANCES", "30"))
SEED = int(os.environ.get("LIBREHA_SEED", "1"))
MOST_WORSE = 1 / 1000
MEDIAN_LOAD = 1.05


def test_no_plan_breaks_a_rule_and_almost_none_could_be_better() -> None:
    """measure() itself raises for a plan that breaks a required rule or a capacity."""
    summary = measure(range(SEED, SEED + INSTANCES))
    print("\n".join(["", *summary.lines()]))
    assert len(summary.worse) <= MOST_WORSE * INSTANCES
    assert statistics.median(summary.load_ratios) <= MEDIAN_LOAD
    proved = [one for one in summary.comparisons if one.worse is not None]
    assert len(proved) >= 0.9 * INSTANCES, "CP-SAT proved too little for this to say anything"
    assert any(one.placed < one.wishes for one in summary.comparisons), "only easy instances"


def two_hosts(*sizes: int) -> Instance:
    vms = tuple(vm("vm%d" % index, "lost", size, 0) for index, size in enumerate(sizes))
    rooms = {
        name: Room(name, memory=1000, memory_total=1000, cpu=1000, cpu_total=1000, cores=4, datastores={"ds0": "ds0"})
        for name in ("esx1", "esx2")
    }
    return Instance(0, tuple(Wish(item, Priority.MEDIUM, True) for item in vms), rooms, Policy(), vms, {})


def test_the_yardstick_itself_finds_a_better_plan_and_refuses_a_wrong_one() -> None:
    """Without this the comparison could not fail."""
    one = two_hosts(600, 400, 500, 500)
    assert better_value(one, {"vm0": "esx1", "vm1": "esx2", "vm2": "esx2", "vm3": ""}, 10.0) is True
    best = {"vm0": "esx1", "vm1": "esx1", "vm2": "esx2", "vm3": "esx2"}
    assert better_value(one, best, 10.0) is False
    assert least_load(one, best, 0, 10.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="breaks a rule or a capacity"):
        cost_of(one, {"vm0": "esx1", "vm1": "esx2", "vm2": "esx1", "vm3": "esx2"})
