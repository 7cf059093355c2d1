# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one look of a run reads from the record and writes to it: one transaction each, and only what is new.

A run remembers what it committed last (:class:`Recorded`): decide's memory, the rows of the hosts, the open alarms. At its next look it
reads none of that again, and writes only the difference.

Invariant: a run writes a difference only to the very record that it is a difference to.

* The memory and the tables of hosts, VMs and alarms are written under the database's write lock, and each such write raises the version of
  the memory in the same transaction. So while the version stands, none of them was written.
* The transaction that commits a look verifies under that lock that the lease is alive, and that the memory's row has the version and the
  token of the run's own last commit. Otherwise it writes nothing: MemoryChanged has the look judged again on what is read then.
* So nobody needs to notice that a lease was lost in between. If another run held it and recorded something, the row has that run's token;
  if it recorded nothing, nothing changed. A backup that was put back has another version or another token.
* A commit that failed, or of which nobody knows whether it failed, leaves the run with the :class:`Recorded` of the one before; the
  version says whether that still holds.
* A new run has none. It reads everything, and its first commit compares every record with the one that is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Optional

from ..decide.memory import Memory
from ..decide.observations import ActResult
from ..instant import Instant
from . import commands, journal, results, schema, state
from .commands import Waiting
from .journal import AlarmChanges
from .state import Stamp

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
Rows = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Recorded:
    """What a run committed last: of the memory, the rows of the hosts as they were given, and the rows of the open alarms by their keys."""

    stamp: Stamp
    memory: Memory
    hosts: Rows
    alarms: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class LookInputs:
    """What a look is judged with, beside what is seen: all of one moment. ``hosts`` are rows as :func:`state.hosts` or the run gave
    them. ``recorded``: where the run need not have read it."""

    stamp: Optional[Stamp]  # of the memory; None: there is none yet
    memory: Memory
    hosts: Rows
    waiting: tuple[Waiting, ...]  # commands
    results: tuple[ActResult, ...]  # how acts ended: what the memory has not counted, and all of VMs of which it still waits to hear
    recorded: Optional[Recorded] = None


def read(connection: Connection, recorded: Recorded | None) -> LookInputs:
    """Raises ValueError where the memory cannot be understood."""
    news = _news(connection)
    if recorded is not None and news.stamp == recorded.stamp:
        memory, hosts = recorded.memory, recorded.hosts
    else:
        recorded = None
        memory = Memory.from_dict(state.load_memory(connection)[0])
        hosts = tuple(state.hosts(connection))
    waiting = commands.waiting(connection) if news.commands else ()
    asking = memory.awaiting
    ended = results.read(connection, memory.results_read, asking) if asking or news.results > memory.results_read else ()
    return LookInputs(news.stamp, memory, hosts, waiting, ended, recorded)


def write(
    connection: Connection,
    now: Instant,
    token: int,
    holder: str,
    inputs: LookInputs,
    memory: Memory,
    hosts: Iterable[Mapping[str, Any]],
    alarms: Iterable[Any],
) -> tuple[Recorded, AlarmChanges]:
    """Record the outcome of a look that was judged with *inputs*, inside the caller's transaction. Raises MemoryChanged, and that
    transaction is to be rolled back, when the memory is no longer that of *inputs*."""
    before, rows = inputs.recorded, tuple(hosts)
    stamp = state.save_look(connection, now, token, before.memory if before else None, memory, inputs.stamp)
    if before is None:
        state.record_hosts(connection, now, rows)
        state.record_vms(connection, now, state.vm_rows(memory))
    else:
        if rows != before.hosts:
            state.record_hosts(connection, now, rows, before.hosts)
        state.record_vm_changes(connection, now, state.difference(before.memory.vms, memory.vms, "id"))
    changes = journal.alarms(connection, now, token, holder, alarms, before.alarms if before else None)
    return Recorded(stamp, memory, rows, changes.standing), changes


@dataclass(frozen=True)
class _News:
    """Which memory there is, how many commands wait, and the number of the last result of an act."""

    stamp: Optional[Stamp]
    commands: int
    results: int


def _news(connection: Connection) -> _News:
    row = connection.execute(_news_query()).one()
    return _News(None if row[2] is None else Stamp(int(row[2]), int(row[3])), int(row[0]), int(row[1]))


@cache
def _news_query() -> Any:
    waiting, ended, memory = schema.COMMANDS, schema.RESULTS, schema.MEMORY
    counted = sa.select(sa.func.count()).select_from(waiting).where(waiting.c.state == commands.WAITING).scalar_subquery()
    last = sa.select(sa.func.coalesce(sa.func.max(ended.c.seq), 0)).scalar_subquery()
    return sa.select(counted, last, *(sa.select(column).scalar_subquery() for column in (memory.c.version, memory.c.token)))
