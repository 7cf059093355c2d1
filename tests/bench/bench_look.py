# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a whole judged look costs: the monitor's loop and judge with a real SQLite file, on a healthy cluster in which nothing changes.

The observation is there when the clock starts; everything after it counts: what is read from the database, the decision, the commit.
As a bound, in the same run, `json.loads` of the same observation. CPU time of this process, and the wall clock, which has the disk in it.

    tests/bench/bench_look.py [--hosts 64] [--runs 9] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import ABLE, Monitor
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import Ended, Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from bench_decide import check, machine
from bench_world import EVERY, BenchWorld

HOLDER = "bench"


class Prepared:
    """Eyes that have looked already, and hands to which nothing is given."""

    def __init__(self, world: BenchWorld) -> None:
        self.world = world
        self.seen = world.look()

    def time_passes(self, seconds: float = EVERY) -> None:
        self.world.now += seconds
        self.seen = self.world.look()

    def look(self, _events_after: Mapping[str, int], _health: Collection[str], _disks: Collection[str], _after: Instant) -> Observation:
        return self.seen

    def news(self) -> bool:
        return False

    def highest_token(self) -> int:
        return 0

    def begin(self, order: Order) -> None:
        sys.exit("bench: this does not measure what it says: a healthy cluster is to be left alone, and not to %s" % order)

    def in_progress(self) -> Sequence[Order]:
        return ()

    def ended(self) -> Sequence[Ended]:
        return ()

    def call_off(self, order: Order) -> None: ...

    def wait(self, seconds: float) -> None: ...


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds and wall clock seconds."""
    started, began = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - began, time.perf_counter() - started


def show(what: str, times: Sequence[tuple[float, float]]) -> float:
    """Print a row; returns the median of the CPU times."""
    cpu, wall = ([1000 * value for value in column] for column in zip(*times))
    shown = (min(cpu), statistics.median(cpu), max(cpu), statistics.median(wall))
    print("%-34s %s" % (what, "  ".join("%9.1f" % value for value in shown)), flush=True)
    return statistics.median(cpu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=64, help="125 VMs each (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", help="where the database is made; the disk under it is measured, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(BenchWorld(arguments.hosts), "sqlite:///%s/state.db" % folder, arguments.runs)
    return 0


def measure(world: BenchWorld, url: str, runs: int) -> None:
    prepared = Prepared(world)
    with StateDatabase.open(url, clock=world.at) as database:
        token = database.acquire_lease(HOLDER, world.policy.lease).token
        monitor = Monitor(world.policy, prepared, prepared, database, RunContext(HOLDER, token, ABLE, world.at))
        print("%s; %d VMs on %d hosts" % (machine(), world.vms, world.hosts))
        print("%-34s %9s  %9s  %9s  %9s" % ("", "min ms", "median", "max", "wall med."))
        show("the first look of a run", [timed(monitor.run_once)])
        for _look in range(10):  # until all is judged
            prepared.time_passes()
            monitor.run_once()
        statements: list[str] = []
        sa.event.listen(database._engine, "before_cursor_execute", lambda _c, _cursor, text, *_more: statements.append(text))
        looks = []
        for _run in range(runs):
            prepared.time_passes()
            gc.collect()
            looks.append(timed(monitor.run_once))
        look = show("a quiet look", looks)
        judged = monitor.judged
        check(judged is not None and len(judged.decision.memory.vms) == world.vms, "not every VM is recorded")
    text = world.text()
    bound = show("json.loads(observation): bound", [timed(lambda: json.loads(text)) for _run in range(runs)])
    print("%d SQL statements a look; %.2f times json.loads of the observation" % (len(statements) // runs, look / bound))


if __name__ == "__main__":
    sys.exit(main())
