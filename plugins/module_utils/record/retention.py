# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing what the record need not keep any longer: journal entries, closed failover transactions, results that were counted.

Invariant: what is still needed stays, whatever its age.

* Of the journal: the last entry of each alarm that is open.
* Of the failover transactions: the open ones; those from a host that has not been let in again (whoever lets it in asks for them); and
  the last one that left a VM registered in vain on a host (the VM's next failover asks for it).
* Of the results: those that the brain has not counted, and all about a VM of which it still waits to hear.

The newest rows of each table stay too: the next numbers count on from them, and a wall clock that jumps costs no more than the rest. The
wall clock is all that tells an age across restarts; nothing is decided by it but this.

One call looks at a bounded number of rows, so that it holds the write lock for some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..decide.memory import Memory
from ..decide.policy import Retention
from ..decide.vms.transaction import registered_in_vain
from ..instant import Instant
from . import schema
from .commands import WAITING

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
NEWEST = 1000  # rows of each table that stay in any case
BATCH = 2000  # rows of a table, the oldest ones, that one call looks at
SLACK = 1.01  # removing begins at this much more than is kept, so that it happens now and then and not at each look


@dataclass(frozen=True)
class Pruned:
    """How many rows of each table were removed. ``more``: another call may find more."""

    entries: int = 0
    transactions: int = 0
    results: int = 0
    more: bool = False

    def __str__(self) -> str:
        text = "%d journal entries and %d failover transactions were removed, as libreha_policy.retention says"
        return text % (self.entries, self.transactions)


def prune(connection: Connection, now: Instant, limits: Retention, memory: Memory) -> Pruned:
    """Remove inside the caller's transaction. *memory* is the one that was committed last."""
    entries = _prune_journal(connection, now, limits)
    transactions = _prune_transactions(connection, now, limits, memory)
    results = _prune_results(connection, memory)
    _prune_commands(connection)
    return Pruned(entries, transactions, results, more=max(entries, transactions, results) >= BATCH // 2)


def _prune_journal(connection: Connection, now: Instant, limits: Retention) -> int:
    table = schema.JOURNAL
    total, last = _extent(connection, table, table.c.seq)
    oldest = sa.select(table.c.seq, table.c.at_wall).where(table.c.seq <= last - NEWEST).order_by(table.c.seq).limit(BATCH)
    rows = [(int(seq), str(wall)) for seq, wall in connection.execute(oldest)]
    if not _surplus(rows, total, limits.journal_entries, now, limits.journal_days):
        return 0
    open_alarms = sa.select(schema.ALARMS.c.key)
    told = sa.select(sa.func.max(table.c.seq)).where(table.c.key.in_(open_alarms)).group_by(table.c.key)
    needed = set(connection.execute(told).scalars())
    gone = _surplus([row for row in rows if row[0] not in needed], total, limits.journal_entries, now, limits.journal_days)
    return _delete(connection, table.c.seq, gone)


def _prune_transactions(connection: Connection, now: Instant, limits: Retention, memory: Memory) -> int:
    table = schema.TRANSACTIONS
    total, last = _extent(connection, table, table.c.updated_seq)
    columns = (
        table.c.updated_seq,
        table.c.updated_wall,
        table.c.source,
        table.c.vm_id,
        table.c.destination,
        table.c.outcome,
        table.c.detail,
    )
    closed = sa.select(*columns).where(table.c.closed.is_(True)).order_by(table.c.updated_seq)
    found = connection.execute(closed).mappings().all()
    rows = [(int(row["updated_seq"]), str(row["updated_wall"])) for row in found if row["updated_seq"] <= last - NEWEST]
    if not _surplus(rows[:BATCH], total, limits.transactions, now, limits.transaction_days):
        return 0
    needed = _needed(found, memory)
    free = [row for row in rows if row[0] not in needed][:BATCH]
    return _delete(connection, table.c.updated_seq, _surplus(free, total, limits.transactions, now, limits.transaction_days))


def _needed(closed: Iterable[Any], memory: Memory) -> set[int]:
    """Numbers of the closed transactions that somebody will ask for; *closed* in their order."""
    away = {host.name for host in memory.hosts if host.fenced or host.confirmed_off}
    needed: set[int] = set()
    in_vain: dict[tuple[str, str], int] = {}
    for row in closed:
        if row["source"] in away:
            needed.add(int(row["updated_seq"]))
        detail = schema.load(row["detail"], "a failover transaction")
        if row["vm_id"] in memory.vms_by_id and registered_in_vain({"outcome": row["outcome"], "detail": detail}):
            in_vain[(row["vm_id"], row["destination"])] = int(row["updated_seq"])
    return needed | set(in_vain.values())


def _prune_results(connection: Connection, memory: Memory) -> int:
    table = schema.RESULTS
    _total, last = _extent(connection, table, table.c.seq)
    counted = min(memory.results_read, last - NEWEST)
    oldest = sa.select(table.c.seq, table.c.vm_id).where(table.c.seq <= counted).order_by(table.c.seq).limit(BATCH)
    asking = memory.awaiting
    return _delete(connection, table.c.seq, [int(seq) for seq, vm in connection.execute(oldest) if vm not in asking])


def _prune_commands(connection: Connection) -> None:
    """The journal tells of those that were heard; the newest are there for who waits to hear what became of his."""
    table = schema.COMMANDS
    _total, last = _extent(connection, table, table.c.number)
    connection.execute(sa.delete(table).where(table.c.number <= last - NEWEST, table.c.state != WAITING))


def _extent(connection: Connection, table: Any, number: Any) -> tuple[int, int]:
    """How many rows there are, and the last one's number."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(number), 0)).select_from(table)
    total, last = connection.execute(query).one()
    return int(total), int(last)


def _surplus(rows: Sequence[tuple[int, str]], total: int, most: int, now: Instant, days: float) -> list[int]:
    """Of *rows* (number and wall time, the oldest first) the numbers of those that go: beyond *most*, or older than *days*."""
    before, long_before = _ago(now, days), _ago(now, days * SLACK)
    if total <= most * SLACK and not any(wall < long_before for _number, wall in rows):
        return []
    return [number for index, (number, wall) in enumerate(rows) if index < total - most or wall < before]


def _ago(now: Instant, days: float) -> str:
    """The wall time *days* before *now*, in the form in which it is recorded; before every other one where that cannot be told."""
    try:
        return (datetime.fromisoformat(now.wall) - timedelta(days=days)).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return ""


def _delete(connection: Connection, column: Any, numbers: Sequence[int]) -> int:
    for part in schema.parts(numbers):
        connection.execute(sa.delete(column.table).where(column.in_(part)))
    return len(numbers)
