# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeping the lease while an act lasts, and acting only inside it.

A check before an act cannot be enough: the process may be stopped between the two. So the lease is kept in two ways.
:meth:`LeaseKeeper.guard` runs directly before each request is sent, and the :class:`Deadman` ends the process, without a
line of its own code, when the lease has run out: also a process that slept through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..errors import LeaseLost
from ..instant import Instant
from .deadman import Deadman

#: Part of the lease after which it is renewed, and part of it kept free at its end: no request is sent in there.
RENEW_AFTER, MARGIN = 1 / 3, 1 / 6


class Granted(Protocol):
    """A lease as granted."""

    @property
    def expires(self) -> Instant:
        """Until when its holder may act."""


class Leases(Protocol):
    """What grants and renews leases: the state database."""

    def renew_lease(self, holder: str, token: int, seconds: float) -> Granted:
        """Raises LeaseLost when the lease is not *holder*'s with *token* any more."""


class LeaseKeeper:
    """One run's lease, for the length of a ``with`` block: the kernel ends the process at the lease's end until :meth:`end`, or the end of
    the block. ``guard`` may be called from any thread; ``keep`` from the one that writes to the database."""

    def __init__(self, database: Leases, holder: str, token: int, seconds: float, clock: Callable[[], Instant], deadman: Deadman) -> None:
        self.token = token
        self._database = database
        self._holder = holder
        self._seconds = seconds
        self._clock = clock
        self._deadman = deadman
        self._lease = self._renew()

    def __enter__(self) -> LeaseKeeper:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        """Nothing acts any more: the process may outlive the lease."""
        self._deadman.disarm()

    def guard(self) -> None:
        """Raise LeaseLost unless the lease lasts for some time yet."""
        left = self._lease.expires.since(self._clock())
        if left is None or left < self._seconds * MARGIN:
            raise LeaseLost(
                "the lease of this run (token %d) has run out" % self.token,
                remedy="run again; a new run takes the lease and completes what is open",
            )

    def keep(self) -> None:
        """Renew the lease when a third of it is over. Raises LeaseLost when it was not ours any more."""
        left = self._lease.expires.since(self._clock())
        if left is None or left < self._seconds * (1 - RENEW_AFTER):
            self._lease = self._renew()

    def _renew(self) -> Granted:
        lease = self._database.renew_lease(self._holder, self.token, self._seconds)
        self._deadman.arm(lease.expires.seconds - self._clock().seconds)
        return lease
