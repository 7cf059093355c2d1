# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lease: who may write and act now; and the token, by which the storage server refuses who may no longer.

Invariant: at any moment at most one (holder, token) is alive, and each new grant has a token higher than every one
before it. Kept by: every grant, renewal and write reads the one lease row under the database's write lock, reads the
clock *after* it has that lock, and commits before anything is returned.

Times are on the boot-time clock. A row written on another boot, or later than now (a clock that went back), cannot be
compared. For SQLite another boot means that the machine restarted, and with it every process that could hold the lease:
it has ended. Otherwise (several machines on one PostgreSQL) the row is watched: unchanged for longer than its length on
the watcher's own clock, it has ended.

A lease that is alive is granted to another only when its lock shows that nothing acts under it any more (lease/lock.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import LeaseLost, LibrehaError
from ..instant import Instant
from ..lease.lock import Bound
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
HIGHEST_TOKEN = 2**62
WATCH_MARGIN = 1.05  # two machines' clocks may differ in speed by far less


class LeaseHeld(LibrehaError):
    """Another holder's lease is alive: another run is at work."""


@dataclass(frozen=True)
class Lease:
    """A lease as granted: act before ``expires``, with ``token``. ``new`` says that this grant gave a new token."""

    holder: str
    token: int
    expires: Instant
    remaining: float = 0.0  # seconds, when it was granted
    new: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {"holder": self.holder, "token": self.token, "remaining": round(self.remaining, 3), "deadline": self.expires.to_dict()}


@dataclass(frozen=True)
class LeaseRow:
    """The row as it is: ``holder`` None is free."""

    holder: str | None
    token: int
    seconds: float
    renewals: int
    granted: Instant

    def remaining(self, now: Instant) -> float | None:
        """Seconds until it ends, 0.0 when it has ended or is free, None when the two clocks cannot be compared."""
        if self.holder is None:
            return 0.0
        age = now.since(self.granted)
        if age is None or age < 0:
            return None
        return max(0.0, self.seconds - age)

    def to_dict(self, now: Instant) -> dict[str, Any]:
        """For people: remaining is None where it cannot be told from here."""
        remaining = self.remaining(now)
        return {
            "holder": self.holder or "",
            "token": self.token,
            "remaining": None if remaining is None else round(remaining, 3),
            "alive": None if remaining is None else remaining > 0,
            "granted_at": self.granted.to_dict(),
        }


def read(connection: Connection) -> LeaseRow:
    """The row, locked until the end of the transaction where the database locks rows (SQLite has locked it all)."""
    row = connection.execute(_select(locking=True)).mappings().one()
    return _row(row)


def look(connection: Connection) -> LeaseRow:
    """The row, without a lock."""
    return _row(connection.execute(_select(locking=False)).mappings().one())


def verify(row: LeaseRow, token: int, now: Instant, holder: str | None = None) -> float:
    """Seconds that remain of the lease with *token*; raises LeaseLost unless it is alive (and *holder*'s, when given)."""
    remedy = "this run must stop; a new run takes a new lease and goes on from the record"
    if row.token != token or row.holder is None or (holder is not None and row.holder != holder):
        who = "is free" if row.holder is None else "belongs to %s with token %d" % (row.holder, row.token)
        raise LeaseLost("the lease with token %d is lost: it %s" % (token, who), remedy=remedy, details={"lease_holder": row.holder or ""})
    remaining = row.remaining(now)
    if remaining is None:
        raise LeaseLost("the lease with token %d is lost: the machine restarted, or its clock went back, since" % token, remedy=remedy)
    if remaining <= 0:
        raise LeaseLost("the lease with token %d is lost: it ended unrenewed" % token, remedy=remedy)
    return remaining


def require_free(row: LeaseRow, now: Instant, trying: str) -> None:
    """Raise LeaseHeld while a run may be alive (a migration under its feet would break it)."""
    remaining = row.remaining(now)
    if remaining:
        raise LeaseHeld(
            "%s: %s holds the lease for %.0f s more" % (trying, row.holder, remaining), remedy="wait for that run to end and run again"
        )


class Watch:
    """Tells when a row whose clock cannot be compared has ended: unchanged for longer than its length."""

    def __init__(self) -> None:
        self._seen: tuple[tuple[int, int], Instant] | None = None

    def remaining(self, row: LeaseRow, now: Instant) -> float:
        state = (row.token, row.renewals)
        watched = now.since(self._seen[1]) if self._seen and self._seen[0] == state else None
        if watched is None or watched < 0:
            self._seen = (state, now)
            watched = 0.0
        return max(0.0, row.seconds * WATCH_MARGIN - watched)


def grant(
    connection: Connection,
    row: LeaseRow,
    now: Instant,
    holder: str,
    seconds: float,
    above: int,
    other_boot_ended: bool,
    watch: Watch,
    dead: Bound | None = None,
) -> tuple[Lease | None, float]:
    """Grant the lease if that is right: (lease, 0.0), else (None, seconds until it may be). *dead*: the lease under which, by its lock,
    nothing acts any more."""
    remaining = row.remaining(now)
    if remaining is None:
        ended = other_boot_ended and row.granted.boot_id != now.boot_id
        left = 0.0 if ended else watch.remaining(row, now)
        if left > 0:
            return None, left
        remaining = 0.0
    if row.holder != holder and dead == (row.holder, row.token, now.boot_id) and row.granted.boot_id == now.boot_id:
        remaining = 0.0
    if remaining > 0 and row.holder != holder:
        return None, remaining
    if remaining > 0 and row.token > above:
        return _extend(connection, row, now, seconds), 0.0
    token = max(row.token, above) + 1
    _store(connection, dataclasses.replace(row, holder=holder, token=token, seconds=seconds, renewals=row.renewals + 1, granted=now))
    return Lease(holder, token, now.after(seconds), seconds, new=True), 0.0


def renew(connection: Connection, row: LeaseRow, now: Instant, holder: str, token: int, seconds: float) -> Lease:
    """Prolong a lease that is alive; one that ended is lost even if nobody took it: an act may have counted on its end."""
    verify(row, token, now, holder)
    return _extend(connection, row, now, seconds)


def release(connection: Connection, row: LeaseRow, holder: str, token: int) -> bool:
    """Free the lease; False when it was not this holder's any more. The token stays."""
    if row.holder != holder or row.token != token:
        return False
    _store(connection, dataclasses.replace(row, holder=None, renewals=row.renewals + 1))
    return True


def check_request(holder: str, seconds: float, above: int) -> None:
    if not holder.strip():
        raise LibrehaError(
            "a lease needs a holder", remedy="give each run a name of its own, for example the machine's name and a unique id"
        )
    if not 0 < seconds <= 86400:
        raise LibrehaError(
            "a lease of %s seconds makes no sense" % seconds, remedy="give a length of more than 0 and at most 86400 seconds"
        )
    if not 0 <= above < HIGHEST_TOKEN:
        raise LibrehaError(
            "%d is no fencing token" % above, remedy="give the highest token that a storage server has seen; it begins with 0"
        )


def _extend(connection: Connection, row: LeaseRow, now: Instant, seconds: float) -> Lease:
    # Never shortened: an act may be under way with a deadline inside the longer time that was promised before.
    length = max(seconds, row.remaining(now) or 0.0)
    _store(connection, dataclasses.replace(row, seconds=length, renewals=row.renewals + 1, granted=now))
    return Lease(str(row.holder), row.token, now.after(length), length)


def _store(connection: Connection, row: LeaseRow) -> None:
    values = {"holder": row.holder, "token": row.token, "seconds": row.seconds, "renewals": row.renewals}
    connection.execute(_update(), {**values, **schema.moment("granted", row.granted)})


# Made once: each look takes them.


@cache
def _update() -> Any:
    return sa.update(schema.LEASE)


@cache
def _select(locking: bool) -> Any:
    query = sa.select(schema.LEASE)
    return query.with_for_update() if locking else query


def _row(row: Any) -> LeaseRow:
    return LeaseRow(row["holder"], int(row["token"]), float(row["seconds"]), int(row["renewals"]), schema.instant_of(row, "granted"))
