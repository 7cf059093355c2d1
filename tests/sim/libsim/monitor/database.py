"""The state database: what outlives a run. Memory, lease and token, open transactions, results, the operator's commands.

It is on the arbiter itself, so a monitor that is cut off from everything else still reaches it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import PlannedMove
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act, ActResult, Observation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.failover import Transaction

from ..observe import Observer

KEPT_RESULTS = 20  # told again at each look; repeating does no harm


@dataclass
class Database:
    observer: Observer
    memory: Memory
    token: int = 0
    holder: str = ""
    lease_ends: float = 0.0
    transactions: dict[str, Transaction] = field(default_factory=dict)  # open ones, by VM id
    in_vain: set[tuple[str, str]] = field(default_factory=set)  # (VM id, host) of failed ones
    moves: dict[str, PlannedMove] = field(default_factory=dict)  # cold moves under way, by VM id
    commands: list[Command] = field(default_factory=list)  # not yet heard
    looks: deque[tuple[float, Observation]] = field(default_factory=lambda: deque(maxlen=40))
    memories: deque[tuple[float, Memory]] = field(default_factory=lambda: deque(maxlen=80))
    results: deque[ActResult] = field(default_factory=lambda: deque(maxlen=KEPT_RESULTS))
    counted: int = 0

    @property
    def now(self) -> float:
        return self.observer.world.now

    def take_lease(self, holder: str, seconds: float, above: int) -> Optional[int]:
        """The new token, above all that were ever seen; None while somebody else has the lease."""
        if self.holder and self.holder != holder and self.now < self.lease_ends:
            return None
        self.token = max(self.token, above) + 1
        self.holder, self.lease_ends = holder, self.now + seconds
        return self.token

    def renew(self, holder: str, token: int, seconds: float) -> Optional[float]:
        """When the prolonged lease ends; None when it is lost: one that ended is lost even if nobody took it."""
        if self.holder != holder or self.token != token or self.now >= self.lease_ends:
            return None
        self.lease_ends = self.now + seconds
        return self.lease_ends

    def release(self, holder: str) -> None:
        if self.holder == holder:
            self.holder = ""

    def number(self) -> int:
        self.counted += 1
        return self.counted

    def save(self, memory: Memory) -> None:
        self.memory = memory
        self.memories.append((self.now, memory))

    def put_back(self, seconds: float) -> None:
        """The memory of that many seconds ago, as from a backup."""
        old = [memory for at, memory in self.memories if at <= self.now - seconds]
        if old:
            self.memory = old[-1]

    def add_result(self, act: Act, vm: str, host: str, ok: bool, reason: str, asked: bool = True) -> None:
        self.results.append(ActResult("%08d" % self.number(), vm, host, act, ok, self.observer.instant(), reason, asked))
