# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state database as the other verbs use it: who holds the lease, what runs where, what happened and why.

Every change names the token of the lease it is made under. It is made in one transaction that first verifies, under the
database's write lock, that this lease is alive: a run that was frozen and wakes up after another has taken over
gets LeaseLost and has written nothing.

    with StateDatabase.open(url) as state:
        lease = state.acquire_lease(holder, seconds=60, above=highest_token_of_the_target)
        state.save_memory(memory, lease.token)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import clock as boot_clock
from ..decide.memory import Memory
from ..errors import LibrehaError
from ..lease.lock import LeaseLock
from . import commands as command_table
from . import journal as journal_table
from . import lease as lease_table
from . import opening, recorded, results, retention, schema, state, transactions
from .commands import VALID_FOR, Heard, Waiting
from .failures import DatabaseLocation, explained
from .journal import AlarmChanges, EntryLike, JournalEntry
from .lease import Lease, LeaseHeld
from .recorded import LookInputs, Recorded
from .results import EndedAct
from .retention import Pruned

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from ..decide.commands import Command
    from ..decide.observations import ActResult
    from ..decide.policy import Retention
    from ..instant import Instant

DEFAULT_URL = "sqlite:////var/lib/libreha/state.db"
BUSY_SECONDS = 10.0
PERSON = "person"  # the one kind of journal entry that needs no lease


class Change:
    """One transaction under a verified lease; what its methods write is committed together or not at all."""

    def __init__(self, connection: Connection, now: Instant, token: int, holder: str, lease: Lease | None = None) -> None:
        self._connection = connection
        self.now = now
        self.token = token
        self.holder = holder
        self.lease = lease  # as it was prolonged

    def look(
        self, inputs: LookInputs, memory: Memory, hosts: Iterable[Mapping[str, Any]], alarms: Iterable[Any]
    ) -> tuple[Recorded, AlarmChanges]:
        """The outcome of a look: decide's new memory, the tables of hosts and of what runs where, and which alarms are open now, all of
        them. Only what is not as it was in *inputs* is written. Raises MemoryChanged, see ``recorded.py``."""
        return recorded.write(self._connection, self.now, self.token, self.holder, inputs, memory, hosts, alarms)

    def open_transactions(self) -> list[dict[str, Any]]:
        return transactions.read(self._connection, closed=False)

    def memory(self, memory: Mapping[str, Any]) -> int:
        return state.save_memory(self._connection, self.now, self.token, memory)

    def hosts(self, hosts: Iterable[Mapping[str, Any]]) -> list[str]:
        state.raise_version(self._connection)
        return state.record_hosts(self._connection, self.now, hosts)

    def vms(self, vms: Iterable[Mapping[str, Any]]) -> list[str]:
        state.raise_version(self._connection)
        return state.record_vms(self._connection, self.now, vms)

    def transaction(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Insert or update it; the one that closes a start leaves its result for the brain."""
        saved = transactions.save(self._connection, self.now, self.token, record)
        results.append(self._connection, self.now, results.start_ended(saved))
        return saved

    def results(self, ended: Iterable[EndedAct]) -> None:
        """How acts on VMs ended, for the brain; journal each in the same change, for people."""
        results.append(self._connection, self.now, ended)

    def journal(self, entries: Iterable[EntryLike]) -> list[int]:
        return journal_table.append(self._connection, self.now, self.token, self.holder, entries)

    def prune(self, limits: Retention, memory: Memory) -> Pruned:
        """Remove what need not be kept, and journal how much; *memory* is the one that was committed last. See ``retention.py``."""
        pruned = retention.prune(self._connection, self.now, limits, memory)
        if pruned.entries or pruned.transactions:
            self.journal([JournalEntry("retention", str(pruned))])
        return pruned

    def heard(self, commands: Iterable[Heard]) -> None:
        """What became of commands that waited: the memory of this change has those in it that are applied."""
        command_table.settle(self._connection, self.token, commands)

    def alarms(self, present: Iterable[Any]) -> AlarmChanges:
        state.raise_version(self._connection)
        return journal_table.alarms(self._connection, self.now, self.token, self.holder, present)


class StateDatabase:
    """An open state database. Threads may share it; processes may not (each opens its own)."""

    def __init__(
        self, engine: Engine, place: DatabaseLocation, opened: opening.Opened, clock: opening.Clock, sleep: Callable[[float], None]
    ) -> None:
        self._engine = engine
        self._place = place
        self._clock = clock
        self._sleep = sleep
        self.opened = opened

    @classmethod
    def open(
        cls,
        url: str = DEFAULT_URL,
        clock: opening.Clock = boot_clock.now,
        create: bool = True,
        sleep: Callable[[float], None] = boot_clock.sleep,
        busy_seconds: float = BUSY_SECONDS,
    ) -> StateDatabase:
        """Open the database at *url*; create or migrate it where needed if *create*, otherwise it must be there and of this version.

        Raises LibrehaError for everything that is wrong with it: unreachable, not writable, full, locked longer than
        *busy_seconds*, not a database, somebody else's, newer than this code (untouched).
        """
        parsed, place = opening.parse(url)
        engine = opening.open_engine(parsed, place, busy_seconds, create)
        try:
            opened = opening.prepare(engine, place, clock, create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, place, opened, clock, sleep)

    @classmethod
    def in_memory(cls, clock: opening.Clock, sleep: Callable[[float], None]) -> StateDatabase:
        """A new one that ends with this object: for the simulator. It has one connection, so one thread may use it."""
        engine, place = opening.memory_engine()
        return cls(engine, place, opening.prepare(engine, place, clock, create=True), clock, sleep)

    @classmethod
    def examine(cls, url: str = DEFAULT_URL, busy_seconds: float = BUSY_SECONDS) -> int | None:
        """The version of the schema that is there, None where nothing is yet; changes nothing. Raises like :meth:`open`."""
        return opening.examine(url, busy_seconds)

    def __enter__(self) -> StateDatabase:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def __str__(self) -> str:
        """Where it is, fit to be shown."""
        return str(self._place)

    # The lease

    def lease_lock(self) -> LeaseLock | None:
        """The lock for one more run under the lease, to be closed at its end; None where the database knows none (PostgreSQL)."""
        return LeaseLock.beside(self._place.path) if self._place.path else None

    def acquire_lease(self, holder: str, seconds: float, above: int = 0, wait: float = 0, lock: LeaseLock | None = None) -> Lease:
        """Take the lease, or prolong it if *holder* has it; its token is above *above* and every token before.

        While another holds it, wait up to *wait* seconds, then raise LeaseHeld naming the holder and what remains. With the *lock* of
        this run, the lease of a run that died is taken at once; give it only when whatever acts in this run will hold it.
        Two runs must not use the same *holder*: they would share the lease.
        """
        lease_table.check_request(holder, seconds, above)
        watch = lease_table.Watch()
        began = self._clock()
        while True:
            ended = lock.ended() if lock is not None else None
            with self._writing("taking the lease") as connection:
                before, now = lease_table.read(connection), self._clock()
                other_boot_ended = connection.dialect.name == "sqlite"
                lease, left = lease_table.grant(connection, before, now, holder, seconds, above, other_boot_ended, watch, ended)
                if lease is not None and lease.new:
                    self._journal_lease(connection, now, lease.token, holder, _taken(before, lease))
            if lease is not None:
                if lock is not None:
                    lock.bind(holder, lease.token)
                return lease
            waited = now.since(began)
            if waited is None or waited >= wait:
                raise LeaseHeld(
                    "%s: %s holds the lease (token %d) for %.1f s more" % (self, before.holder, before.token, left),
                    remedy="another run is at work: let it end, or wait %.0f s for its lease to end if it is dead; the resident monitor "
                    "(libreha status) works all the time: tell it what you want by libreha command, or stop it for this run "
                    "(systemctl stop libreha-monitor)" % (left + 1),
                    details={"lease_holder": before.holder, "lease_remaining": round(left, 3)},
                )
            self._sleep(max(0.01, min(0.5, left, wait - waited)))

    def renew_lease(self, holder: str, token: int, seconds: float) -> Lease:
        """Prolong a lease that is alive to at least *seconds* from now; raises LeaseLost when it is not, even if nobody took it."""
        lease_table.check_request(holder, seconds, 0)
        with self._writing("renewing the lease") as connection:
            row = lease_table.read(connection)
            return lease_table.renew(connection, row, self._clock(), holder, token, seconds)

    def check_lease(self, token: int) -> float:
        """Seconds that remain of the lease with *token*; raises LeaseLost. An act must end within them."""
        with self._reading("reading the lease") as connection:
            row = lease_table.look(connection)
        return lease_table.verify(row, token, self._clock())

    def release_lease(self, holder: str, token: int) -> bool:
        """Free the lease; False when it was not held any more. Nothing that acts under it may still be under way."""
        with self._writing("releasing the lease") as connection:
            row, now = lease_table.read(connection), self._clock()
            released = lease_table.release(connection, row, holder, token)
            if released:
                self._journal_lease(connection, now, token, holder, "released by %s" % holder)
            return released

    def lease(self) -> dict[str, Any]:
        """Who holds it, for people: holder (empty: free), token, remaining, alive, granted_at."""
        with self._reading("reading the lease") as connection:
            row = lease_table.look(connection)
        return row.to_dict(self._clock())

    # Changes under the lease

    @contextlib.contextmanager
    def change(self, token: int, prolong: float = 0.0) -> Iterator[Change]:
        """Several writes in one transaction: all or none. Raises LeaseLost before anything is written.

        It holds the database's write lock: only write inside, never talk to a host or wait. With *prolong* the lease lasts at least that
        many seconds from now, too.
        """
        with self._writing("writing") as connection:
            row, now = lease_table.read(connection), self._clock()
            lease_table.verify(row, token, now)
            holder = str(row.holder)
            lease = lease_table.renew(connection, row, now, holder, token, prolong) if prolong else None
            yield Change(connection, now, token, holder, lease)

    def save_memory(self, memory: Mapping[str, Any], token: int) -> int:
        """Replace decide's memory; returns the document's new version."""
        with self.change(token) as change:
            return change.memory(memory)

    def record_hosts(self, hosts: Iterable[Mapping[str, Any]], token: int) -> list[str]:
        """Make the table of hosts say exactly this (name, verdict, reason, fenced, the rest: detail); returns the names that changed."""
        with self.change(token) as change:
            return change.hosts(hosts)

    def record_vms(self, vms: Iterable[Mapping[str, Any]], token: int) -> list[str]:
        """Make the table of VMs say exactly this (vm_id, name, path, host, desired, power, the rest: detail); returns the changed ids."""
        with self.change(token) as change:
            return change.vms(vms)

    def save_transaction(self, record: Mapping[str, Any], token: int, journal_entry: EntryLike) -> dict[str, Any]:
        """Write a failover transaction and its journal entry together; fields not in *record* stay. Returns the row."""
        with self.change(token) as change:
            saved = change.transaction(record)
            change.journal([journal_entry])
            return saved

    def journal(self, entries: Iterable[EntryLike], token: int | None, holder: str = "", write: bool = True) -> list[int]:
        """Append *entries*; returns their seq. Without a token only entries of kind ``person`` by a named *holder* are taken.

        With *write* false the entries are only checked.
        """
        checked = [journal_table.entry_of(entry) for entry in entries]
        if token is not None:
            if not write:
                self.check_lease(token)
                return []
            with self.change(token) as change:
                return change.journal(checked)
        if not holder or any(entry.kind != PERSON for entry in checked):
            raise LibrehaError(
                "only a named person's entry (kind person) is journaled without a lease", remedy="give the token of the lease"
            )
        if not write:
            return []
        with self._writing("writing the journal") as connection:
            row = lease_table.read(connection)  # its lock orders all writers of the journal
            return journal_table.append(connection, self._clock(), row.token, holder, checked)

    def give_commands(self, commands: Iterable[Command], valid_for: float = VALID_FOR) -> list[int]:
        """What people ask for, for whatever run looks next; returns the commands' numbers. It needs no lease."""
        with self._writing("giving a command") as connection:
            lease_table.read(connection)  # its lock orders all writers
            return command_table.give(connection, self._clock(), commands, valid_for)

    def withdraw_command(self, number: int) -> bool:
        """Take a command back that waits; False when a run has taken it up."""
        with self._writing("taking a command back") as connection:
            lease_table.read(connection)
            return command_table.withdraw(connection, number)

    def journal_alarms(self, present: Iterable[Any], token: int) -> AlarmChanges:
        """Tell which alarms are open now, all of them; what changed is journaled (see ``journal.py``)."""
        with self.change(token) as change:
            return change.alarms(present)

    # Reading

    def look_inputs(self, known: Recorded | None = None) -> LookInputs:
        """What a look is judged with, beside what is seen. *known*: what the caller's run recorded last, which is not read again if nobody
        has written it since. Raises LibrehaError when this code cannot read the memory."""
        with self._understood(), self._reading("reading what a look needs") as connection:
            return recorded.read(connection, known)

    def memory(self, vms: Collection[str] | None = None) -> Memory:
        """What decide remembers; a fresh memory before the first save. Raises LibrehaError when this code cannot read it.

        *vms*: the ids of those VMs that the caller asks about: what is remembered of others is not read.
        """
        return self.memory_of(self.load_memory(vms))

    def memory_of(self, form: Mapping[str, Any] | None) -> Memory:
        """The memory whose form :meth:`load_memory` and :meth:`snapshot` give. Raises LibrehaError when this code cannot read it."""
        with self._understood():
            return Memory.from_dict(form)

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise LibrehaError(
                "the memory in %s cannot be read: %s" % (self, error),
                remedy="run the release of the collection that wrote it, or restore the state database from its backup, or move it away",
            ) from None

    def load_memory(self, vms: Collection[str] | None = None) -> dict[str, Any] | None:
        with self._reading("reading the memory") as connection:
            return state.load_memory(connection, vms)[0]

    def hosts(self) -> list[dict[str, Any]]:
        with self._reading("reading the hosts") as connection:
            return state.hosts(connection)

    def vms(self) -> list[dict[str, Any]]:
        with self._reading("reading the VMs") as connection:
            return state.vms(connection)

    def open_transactions(self) -> list[dict[str, Any]]:
        """Failovers that are not finished, in the order they were opened."""
        return self.transactions(closed=False)

    def transactions(self, closed: bool | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        with self._reading("reading the failover transactions") as connection:
            return transactions.read(connection, closed, limit)

    def closed_transactions_of(self, vms: Iterable[str]) -> list[dict[str, Any]]:
        """Those of *vms* (their ids)."""
        with self._reading("reading the failover transactions") as connection:
            return transactions.closed_of(connection, vms)

    def results(self, memory: Memory) -> tuple[ActResult, ...]:
        """How acts on VMs ended: what *memory* has not counted yet, and all about VMs of which it still waits to hear."""
        with self._reading("reading how acts ended") as connection:
            return results.read(connection, memory.results_read, memory.awaiting)

    def waiting_commands(self) -> tuple[Waiting, ...]:
        """What people ask for that no run has taken up."""
        with self._reading("reading the commands") as connection:
            return command_table.waiting(connection)

    def commands(self, numbers: Iterable[int] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Commands and what became of them: those of *numbers*, or the last *limit*."""
        with self._reading("reading the commands") as connection:
            return command_table.read(connection, numbers, limit)

    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that are open."""
        with self._reading("reading the alarms") as connection:
            return journal_table.open_alarms(connection)

    def read_journal(
        self, since: int | None = None, kinds: Sequence[str] = (), subject: str = "", limit: int | None = None, from_wall: str = ""
    ) -> list[dict[str, Any]]:
        """Journal entries in order: after *since* the first *limit*, without *since* the last *limit*; see ``journal.read``."""
        with self._reading("reading the journal") as connection:
            return journal_table.read(connection, since, kinds, subject, limit, from_wall)

    def snapshot(self, journal_limit: int = 20, closed_limit: int = 20, source: str = "", **journal_filters: Any) -> dict[str, Any]:
        """Everything at one moment: hosts, vms, transactions (*source*: only of VMs that ran on this host), alarms, lease, journal,
        commands, memory, memory_version."""
        with self._reading("reading the state") as connection:
            memory, stamp = state.load_memory(connection)
            return {
                "lease": lease_table.look(connection).to_dict(self._clock()),
                "hosts": state.hosts(connection),
                "vms": state.vms(connection),
                "transactions": transactions.read(connection, limit=closed_limit, source=source),
                "alarms": journal_table.open_alarms(connection),
                "journal": journal_table.read(connection, limit=journal_limit, **journal_filters),
                "commands": command_table.read(connection, limit=closed_limit),
                "memory": memory,
                "memory_version": stamp.version if stamp else 0,
            }

    # Transactions of the database

    @contextlib.contextmanager
    def _writing(self, trying: str) -> Iterator[Connection]:
        self._place.require_same_file()
        with explained(self._place, trying), opening.writing(self._engine) as connection:
            yield connection

    @contextlib.contextmanager
    def _reading(self, trying: str) -> Iterator[Connection]:
        self._place.require_same_file()
        with explained(self._place, trying), opening.reading(self._engine) as connection:
            yield connection

    def _journal_lease(self, connection: Connection, now: Instant, token: int, holder: str, text: str) -> None:
        journal_table.append(connection, now, token, holder, [JournalEntry("lease", text, subject=holder)])


def _taken(before: lease_table.LeaseRow, lease: Lease) -> str:
    text = "taken by %s with token %d for %.0f s" % (lease.holder, lease.token, lease.remaining)
    if before.holder is None:
        return text
    return "%s; %s (token %d) had not released it" % (text, before.holder, before.token)


__all__ = ["BUSY_SECONDS", "DEFAULT_URL", "Change", "EndedAct", "JournalEntry", "Lease", "LeaseHeld", "StateDatabase", "schema"]
