"""What the simulated arbiter works with: the same for every run of the monitor on it, and all that outlives a run."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman
from ansible_collections.libreha.vmware.plugins.module_utils.record import state
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

from .engine import Engine, Group
from .observe import Observer
from .report import Report
from .requests import Hypervisors
from .truth.world import World

CHECKED = 20  # the record is compared with what the monitor remembers every so many looks, and at the end


@dataclass
class Parts:
    """``database`` is the production one, on the arbiter itself: a monitor that is cut off from everything else still reaches it."""

    engine: Engine
    world: World
    observer: Observer
    requests: Hypervisors
    database: StateDatabase
    policy: Policy
    report: Report
    decider: Callable[..., Any]
    memory: Memory  # as it was last committed
    _noted: int = 0
    ages: Optional[random.Random] = None  # the samples of a look are of ages that it draws; None: all are of the look
    slow: float = 0.0  # s that each look takes more
    worker_dies: Optional[float] = None  # s after which the next process that acts dies
    looks: deque[tuple[float, Observation]] = field(default_factory=lambda: deque(maxlen=40))
    memories: deque[tuple[float, Memory]] = field(default_factory=lambda: deque(maxlen=80))

    def clock(self) -> Instant:
        return self.observer.instant()

    def reach(self, mark: str) -> None:
        """Something rare has happened (marks.py)."""
        self.report.marks[mark] += 1

    def note(self, memory: Memory) -> None:
        self.memory = memory
        self.memories.append((self.engine.now, memory))
        self._noted += 1
        if self._noted % CHECKED == 0:
            told = sorted((row["vm_id"], row["host"], row["desired"], row["power"]) for row in self.database.vms())
            if told != [(vm.id, vm.host, vm.desired.value, vm.power.value) for vm in memory.vms]:
                raise AssertionError("the table of VMs is not what the monitor remembers")
            self.check_record()

    def check_record(self) -> None:
        """The record is what the monitor remembers: another one that takes over knows the same."""
        if self.database.memory() != self.memory:
            raise AssertionError("the record is not what the monitor remembers")

    def put_back(self, seconds: float) -> None:
        """The memory of that many seconds ago, as from a backup."""
        old = [memory for at, memory in self.memories if at <= self.engine.now - seconds]
        if old:
            self.memory = old[-1]
            with self.database._writing("putting a backup back") as connection:
                state.save_memory(connection, self.clock(), 0, old[-1].to_dict())


class SimulatedDeadman(Deadman):
    """The kernel's timer: it ends its whole process, frozen or not, without a line of the process's own code."""

    def __init__(self, engine: Engine, group: Group) -> None:
        self._engine = engine
        self._group = group
        self._armed = 0

    def arm(self, seconds: float) -> None:
        if seconds <= 0:
            raise LeaseLost("the time in which this run may act is over")
        self._armed += 1
        self._engine.after(seconds, self._over, self._armed)

    def disarm(self) -> None:
        self._armed += 1

    def _over(self, armed: int) -> None:
        if armed == self._armed and not self._group.killed:
            self._group.kill()
            self._group.when_ended()
