"""The real loop, judge and database over a small cluster in simulated time (tests/unit/decide/decide_world.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))

from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import ABLE, Monitor
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import Ended, Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Retention
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from decide_world import World

LEASE = 60.0


@dataclass
class Scene:
    """A cluster and one run of the monitor in it. Orders are under way until the test ends them (``end``)."""

    world: World
    database: StateDatabase
    url: str
    monitor: Monitor = field(init=False)
    token: int = 0
    orders: list[Order] = field(default_factory=list)  # under way
    begun: list[Order] = field(default_factory=list)
    called_off: list[Order] = field(default_factory=list)
    over: list[Ended] = field(default_factory=list)
    when_begun: Callable[[Order], None] = lambda order: None
    looked_after: list[Instant] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    while_waiting: Callable[[], None] = lambda: None

    def run(self, holder: str = "run-1", only_host: str = "", retention: Optional[Retention] = None) -> Monitor:
        """A new run, which takes the lease."""
        self.token = self.database.acquire_lease(holder, LEASE).token
        policy = replace(read_policy(self.world.full_policy()), retention=retention or Retention())
        self.monitor = Monitor(policy, self, self, self.database, RunContext(holder, self.token, ABLE, self.world.at, only_host))
        return self.monitor

    def looks(self, seconds: float, every: float = 3.0) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.now += every
            for host in self.world.hosts.values():
                host.counter += host.writes and bool(host.session)
            self.monitor.run_once()

    def journal(self, *kinds: str) -> list[str]:
        return [entry["text"] for entry in self.database.read_journal(kinds=kinds)]

    # Observer

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        self.looked_after.append(after)
        return self.world.look()

    def news(self) -> bool:
        return False

    def highest_token(self) -> int:
        return 0

    # Executor

    def begin(self, order: Order) -> None:
        self.when_begun(order)
        self.orders.append(order)
        self.begun.append(order)

    def in_progress(self) -> Sequence[Order]:
        return list(self.orders)

    def ended(self) -> Sequence[Ended]:
        over, self.over = self.over, []
        return over

    def call_off(self, order: Order) -> None:
        if order not in self.called_off:
            self.called_off.append(order)

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.world.now += max(seconds, 1.0)
        for host in self.world.hosts.values():
            host.counter += host.writes and bool(host.session)
        self.while_waiting()
        return bool(self.over)

    def finish(self, seconds: float) -> bool:
        """Orders of this scene end when the test says so."""
        return not self.orders

    def end(self, order: Order, *failed: str) -> None:
        self.orders.remove(order)
        self.over.append(Ended(order, tuple(failed)))
