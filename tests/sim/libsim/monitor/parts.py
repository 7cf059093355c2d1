"""What a run works with, bundled: the same for the monitor, its acts and its failovers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy

from ..engine import Engine, Group, RunEnds
from ..observe import Observer
from ..report import Report
from ..truth.world import World
from .database import Database
from .hypervisors import Hypervisors


@dataclass
class Parts:
    engine: Engine
    world: World
    observer: Observer
    hypervisors: Hypervisors
    database: Database
    policy: Policy
    report: Report
    decide: Callable[..., object]  # the brain


@dataclass
class Permit:
    """The right of one run to act: its lease and token. :meth:`check` is called directly before each act."""

    parts: Parts
    group: Group
    holder: str
    token: int = 0
    deadline: float = 0.0

    def take(self, above: int) -> bool:
        token = self.parts.database.take_lease(self.holder, self.parts.policy.lease, above)
        if token is None:
            return False
        self.token, self.deadline = token, self.parts.database.lease_ends
        return True

    def renew(self, seconds: float = 0.0) -> None:
        """Prolong the lease; a run that has lost it ends."""
        deadline = self.parts.database.renew(self.holder, self.token, self.parts.policy.lease + seconds)
        if deadline is None:
            raise RunEnds("the lease is lost")
        self.deadline = deadline

    def check(self) -> None:
        if self.parts.engine.now >= self.deadline or self.parts.database.token != self.token:
            raise RunEnds("its deadline passed, or another run has the lease")
