# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our plans beside the optimum: how often one more VM could have been placed, and how even the hosts could have been.

`python tests/quality/quality.py --instances 1000 --seed 1` prints the figures of docs/placement-quality.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional, TextIO

from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import place
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.rules import compile_rules
from instances import Instance, instance
from optimum import better_value, cost_of, least_cost, least_load

LIMIT = 3.0  # s of CP-SAT for each question; what it cannot prove by then is counted as not proved


@dataclass(frozen=True)
class Comparison:
    """One instance. None: CP-SAT did not prove it in time."""

    seed: int
    wishes: int
    placed: int
    worse: Optional[bool]  # a plan exists that places more, by priority
    cost: int  # of our plan in preferences, as CP-SAT's model counts them
    best_cost: Optional[int]
    load: float  # of our most loaded host, 1 = full
    best_load: Optional[float]  # with the same VMs placed, at our plan's cost or less
    seconds: float  # that our plan took

    @property
    def load_ratio(self) -> Optional[float]:
        return self.load / self.best_load if self.best_load else None


def compare(one: Instance, limit: float = LIMIT) -> Comparison:
    """Raises ValueError when our plan breaks a required rule or a capacity by the optimum's own reading."""
    began = time.perf_counter()
    places = place(one.wishes, one.rooms, compile_rules(one.policy, one.vms), one.running)
    seconds = time.perf_counter() - began
    plan = {item.wish.vm.name: item.host for item in places}
    cost = cost_of(one, plan)
    return Comparison(
        seed=one.seed,
        wishes=len(plan),
        placed=sum(1 for host in plan.values() if host),
        worse=better_value(one, plan, limit),
        cost=cost,
        best_cost=least_cost(one, plan, limit),
        load=highest_load(one, plan),
        best_load=least_load(one, plan, cost, limit),
        seconds=seconds,
    )


def highest_load(one: Instance, plan: dict[str, str]) -> float:
    """The largest share in use of any host's memory or CPU."""
    loads = []
    for host, room in one.rooms.items():
        here = [wish.vm for wish in one.wishes if plan[wish.vm.name] == host]
        memory, cpu = sum(vm.memory for vm in here), sum(vm.cpu_reserved for vm in here)
        loads.append((room.memory_total - room.memory + memory) / room.memory_total)
        loads.append((room.cpu_total - room.cpu + cpu) / room.cpu_total)
    return max(loads)


@dataclass
class Summary:
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def worse(self) -> list[int]:
        """Seeds of the instances where a better plan exists."""
        return [one.seed for one in self.comparisons if one.worse]

    @property
    def load_ratios(self) -> list[float]:
        return sorted(one.load_ratio for one in self.comparisons if one.load_ratio is not None)

    def lines(self) -> list[str]:
        ones, ratios = self.comparisons, self.load_ratios
        full = [one for one in ones if one.placed < one.wishes]
        extra = [one.cost - one.best_cost for one in ones if one.best_cost is not None]
        return [
            "%d instances; in %d not all VMs were placed" % (len(ones), len(full)),
            "a plan that places more, by priority, exists in %d (seeds %s); not proved either way in time: %d"
            % (len(self.worse), self.worse or "none", sum(1 for one in ones if one.worse is None)),
            "preferences: the least cost in %d of %d proved" % (sum(1 for one in extra if one <= 0), len(extra)),
            "most loaded host, ours / optimum: median %.4f, 95th percentile %.4f, worst %.4f (%d proved)"
            % (statistics.median(ratios), ratios[int(0.95 * (len(ratios) - 1))], ratios[-1], len(ratios)),
            "our plan took %.0f ms in the median, %.0f ms at most"
            % (1000 * statistics.median(one.seconds for one in ones), 1000 * max(one.seconds for one in ones)),
        ]


def measure(seeds: Iterable[int], limit: float = LIMIT, progress: Optional[TextIO] = None) -> Summary:
    summary = Summary()
    for number, seed in enumerate(seeds, 1):
        summary.comparisons.append(compare(instance(seed), limit))
        if progress is not None and number % 50 == 0:
            print("%d instances, %d worse" % (number, len(summary.worse)), file=progress, flush=True)
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="the first instance's seed; each next one adds 1 (default: 1)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of CP-SAT for each question (default: %g)" % LIMIT)
    options = parser.parse_args()
    began = time.monotonic()
    summary = measure(range(options.seed, options.seed + options.instances), options.limit, sys.stderr)
    print("\n".join([*summary.lines(), "%.0f s, seeds from %d" % (time.monotonic() - began, options.seed)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
