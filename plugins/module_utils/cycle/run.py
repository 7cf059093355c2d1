# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run: a lease, the monitor that looks and decides under it, and what acts under it, until all of it has ended.

``ha_run`` is one run that ends when all is settled; the resident monitor is one run after the other, each as long as its lease lasts.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Optional, Protocol

from ..act.fence import Run
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..instant import Instant
from ..lease.lock import LeaseLock
from ..record.database import StateDatabase
from ..record.lease import Lease
from .judge import RunContext
from .monitor import ABLE, Monitor
from .ports import Executor, Observer

TOKEN_AGE = 60.0  # s for which the storage servers' word for their highest token is taken


class World(Protocol):
    """A cluster as it is configured: how it is looked at, and what acts on it. Real (``real.RealWorld``), or a test's."""

    policy: Policy
    state_url: str
    clock: Callable[[], Instant]

    def open_database(self) -> StateDatabase:
        """The state database, which must be there. Raises LibrehaError."""

    def observer(self) -> Observer:
        """What looks."""

    def executor(self, run: Run, lock: Optional[LeaseLock]) -> Executor:
        """What acts under *run*; whatever it starts must hold *lock*."""

    def equip(self, executor: Executor) -> None:
        """Have *executor*, which another world made, act in this one from now on; what is under way is not touched."""


def new_holder() -> str:
    """A lease's holder that nobody else has, and that people recognise."""
    return "monitor %s %s" % (socket.gethostname(), uuid.uuid4())


class TokenFloor:
    """The storage servers' highest token, above which that of a new lease must be: as they said it at most TOKEN_AGE ago."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ask()

    def _ask(self) -> None:
        self._token, self._asked_at = self._world.observer().highest_token(), self._world.clock()

    def current(self) -> int:
        age = self._world.clock().since(self._asked_at)
        if age is None or age > TOKEN_AGE:
            self._ask()
        return self._token


class LeasedRun:
    """A run under way, in which ``monitor`` looks and decides. Made by :meth:`begin`."""

    def __init__(self, world: World, database: StateDatabase, lease: Lease, lock: Optional[LeaseLock], only_host: str = "") -> None:
        self.holder = lease.holder
        self.token = lease.token
        self.executor = world.executor(Run(lease.holder, lease.token, world.policy.lease), lock)
        context = RunContext(lease.holder, lease.token, ABLE, world.clock, only_host)
        self.monitor = Monitor(world.policy, world.observer(), self.executor, database, context)
        self._database = database
        self._lock = lock

    @classmethod
    def begin(cls, world: World, database: StateDatabase, holder: str, above: int, wait: float = 0, only_host: str = "") -> LeasedRun:
        """Take the lease, with a token above *above*. Raises LeaseHeld when another run has it for longer than *wait* seconds."""
        lock = database.lease_lock()
        try:
            lease = database.acquire_lease(holder, world.policy.lease, above, wait, lock)
            return cls(world, database, lease, lock, only_host)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    def keep_bound(self) -> None:
        """Bind the lease to its lock, where something of an earlier run still had that when this one began."""
        if self._lock is not None and not self._lock.held:
            self._lock.bind(self.holder, self.token)

    def reconfigure(self, world: World) -> None:
        """Look, decide and act by *world* from the next look on, under the same lease. Its database must be the same."""
        world.equip(self.executor)
        self.monitor.reconfigure(world.policy, world.observer())

    @contextlib.contextmanager
    def ending_within(self, seconds: float) -> Iterator[LeasedRun]:
        """The run lasts as long as the block; then :meth:`end`."""
        try:
            yield self
        except BaseException:
            with contextlib.suppress(LibrehaError):  # what ended the run is the news
                self.end(seconds)
            raise
        self.end(seconds)

    def end(self, seconds: float) -> bool:
        """Have what acts come to its end, for at most *seconds*, and free the lease if nothing acts any more; else the lease, and its lock,
        end with the last act. Returns whether the lease is free. Raises LibrehaError when the database cannot be written."""
        with contextlib.ExitStack() as last:
            if self._lock is not None:
                last.callback(self._lock.close)
            return self.executor.finish(seconds) and self._database.release_lease(self.holder, self.token)
