# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""make bench: what one decide() call costs, and how that grows with the cluster.

Each timed call gets an observation and a memory that have just been read from JSON, as in a playbook: nothing that an earlier
call may have computed about the same values is there. Times are this process's CPU time, because decide
does nothing but compute and other programs on the machine must not be measured; the wall clock is printed beside it. As
a bound, in the same run, `json.loads` of the same observation: the least that anybody must spend to hear of so many VMs.

Exit status 1 only if the cost grows much faster than n log n; whether the goals in seconds are met is printed.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from bench_world import BenchWorld

HOSTS = (8, 64, 512)
DEAD = 4
GOALS = {"healthy": 0.050, "4 hosts dead": 0.500}  # s, at 8,000 VMs
GOAL_HOSTS = 64
MARGIN = 3.0  # growth may be this many times n log n: caches that get too small, and a noisy machine


@dataclass(frozen=True)
class Timed:
    """CPU seconds of each run, and the wall clock's median."""

    what: str
    vms: int
    hosts: int
    cpu: tuple[float, ...]
    wall: float

    @property
    def best(self) -> float:
        return min(self.cpu)


def measure(what: str, world: BenchWorld, runs: int, prepare: Callable[[], Any], work: Callable[[Any], Any]) -> Timed:
    """Time *work* on something that *prepare* makes anew for each run."""
    cpu, wall = [], []
    for _run in range(runs):
        given = prepare()
        gc.collect()
        started, began = time.perf_counter(), time.process_time()
        result = work(given)
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - started)
        del result, given
    timed = Timed(what, world.vms, world.hosts, tuple(cpu), statistics.median(wall))
    print(row(timed), flush=True)
    return timed


def row(timed: Timed) -> str:
    times = "  ".join("%9.1f" % (1000 * value) for value in (min(timed.cpu), statistics.median(timed.cpu), max(timed.cpu), timed.wall))
    return "%-34s %6d %5d  %s  %8.2f" % (timed.what, timed.vms, timed.hosts, times, 1e6 * timed.best / timed.vms)


def healthy(hosts: int) -> BenchWorld:
    """A cluster in its steady state: looked at often enough that all is judged, nothing changes."""
    world = BenchWorld(hosts)
    for _look in range(5):
        decision = world.step()
    world.now += 3600.0  # a long time after the first start
    for _look in range(5):
        decision = world.step()
    check(not decision.actions, "a healthy cluster needs nothing, but decide wants %s" % [action.kind for action in decision.actions])
    check(len(decision.memory.vms) == world.vms, "not every VM is recorded")
    world.now += 3.0
    return world


def four_dead(world: BenchWorld) -> BenchWorld:
    """The same cluster when four hosts have died and are fenced: the next call plans where their VMs go."""
    world.dead = set(world.names[:DEAD])
    for _look in range(20):
        fences = {action.host for action in world.step().actions if action.kind == "fence"}
        if fences == world.dead:
            break
    check(fences == world.dead, "the dead hosts are not fenced")
    world.now += 3.0
    world.fenced = set(world.dead)
    return world


def check(right: bool, otherwise: str) -> None:
    if not right:
        sys.exit("bench: this does not measure what it says: %s" % otherwise)


def planned(decision: Decision) -> int:
    return sum(len(action.vms) for action in decision.actions if action.kind == "failover")


def measure_size(hosts: int, runs: int) -> list[Timed]:
    world = healthy(hosts)
    found = _measure_decide("healthy", world, runs)
    text, memory_text = world.text(), json.dumps(world.memory.to_dict())
    found.append(measure("  json.loads(observation): bound", world, runs, lambda: text, json.loads))
    found.append(measure("  Observation.from_dict", world, runs, lambda: json.loads(text), Observation.from_dict))
    found.append(measure("  Memory.from_dict", world, runs, lambda: json.loads(memory_text), Memory.from_dict))
    found.append(measure("  Memory.to_dict", world, runs, lambda: world.memory, Memory.to_dict))
    dead = four_dead(world)
    expected = planned(dead.decide(dead.look(), dead.memory))
    check(expected >= 100 * DEAD, "only %d VMs are planned elsewhere" % expected)
    found += _measure_decide("%d hosts dead" % DEAD, dead, runs)
    return found


def _measure_decide(what: str, world: BenchWorld, runs: int) -> list[Timed]:
    text, memory_text = world.text(), json.dumps(world.memory.to_dict())

    def inputs() -> tuple[Observation, Memory]:
        return Observation.from_dict(json.loads(text)), Memory.from_dict(json.loads(memory_text))

    return [measure(what, world, runs, inputs, lambda given: world.decide(*given))]


def growth(timed: list[Timed]) -> bool:
    """Print how each kind of call grows; whether none is worse than n log n by more than the margin."""
    good = True
    print("\n%-34s %-22s %9s %9s %10s" % ("growth", "VMs", "factor", "n log n", "exponent"))
    for what in dict.fromkeys(item.what for item in timed):
        sizes = [item for item in timed if item.what == what]
        for small, large in zip(sizes, sizes[1:]):
            factor = large.best / small.best
            bound = large.vms * math.log(large.vms) / (small.vms * math.log(small.vms))
            exponent = math.log(factor) / math.log(large.vms / small.vms)
            verdict = "" if factor <= MARGIN * bound else "  WORSE than %.0f times n log n" % MARGIN
            good = good and not verdict
            print("%-34s %-22s %9.1f %9.1f %10.2f%s" % (what, "%d -> %d" % (small.vms, large.vms), factor, bound, exponent, verdict))
    return good


def goals(timed: list[Timed]) -> None:
    print()
    for item in timed:
        if item.hosts == GOAL_HOSTS and item.what in GOALS:
            bound = next(other for other in timed if other.hosts == item.hosts and "bound" in other.what)
            print(
                "%s, %d hosts, %d VMs: median %.1f ms, goal %.0f ms: %s (%.2f times json.loads of the observation)"
                % (
                    item.what,
                    item.hosts,
                    item.vms,
                    1000 * statistics.median(item.cpu),
                    1000 * GOALS[item.what],
                    "met" if statistics.median(item.cpu) <= GOALS[item.what] else "MISSED",
                    statistics.median(item.cpu) / statistics.median(bound.cpu),
                )
            )


def machine() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.machine()
    return "%s, Python %s on %s" % (model, platform.python_version(), platform.system())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=HOSTS, help="cluster sizes; 125 VMs each (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each call (default: %(default)s)")
    arguments = parser.parse_args()
    print(machine())
    print("%-34s %6s %5s  %9s  %9s  %9s  %9s  %8s" % ("one call", "VMs", "hosts", "min ms", "median", "max", "wall med.", "us per VM"))
    timed = [item for hosts in arguments.hosts for item in measure_size(hosts, arguments.runs)]
    good = growth(timed)
    goals(timed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
