# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands that one caller gave, or none, and what becomes of them, whoever holds the lease: this caller's own run, or another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Optional

from ..decide.commands import Command, CommandKind
from ..decide.decision import Alarm, Severity
from ..decide.memory import Memory
from ..decide.outcome import Outcome, Progress, Record, is_planned_work, left_behind, outcome_of
from ..decide.policy import Mode, Policy
from ..errors import LibrehaError
from ..instant import Instant
from ..record.commands import APPLIED, WAITING
from ..record.database import StateDatabase
from ..record.lease import LeaseHeld
from .judge import Judged, RunContext, alarms_that_fail, judge, standing_of
from .ports import Observer
from .run import LeasedRun, TokenFloor, World

POLL = 1.0  # s between two looks at the record
FORESEEN = 5  # looks, at most, that are taken to see what would come of commands


class Asked:
    """*commands*, given here. *mode*: that of the policy."""

    def __init__(self, database: StateDatabase, commands: Iterable[Command], mode: Mode) -> None:
        self._database = database
        self._commands = list(commands)
        self._mode = mode
        self.numbers = database.give_commands(self._commands) if self._commands else []

    def rows(self) -> list[dict[str, Any]]:
        """As the record has them, each with ``progress`` and ``stands`` (:class:`decide.outcome.Outcome`); a migration's also with
        ``host``, where the VM is now, and ``moved_by``, the way by which it went there since."""
        rows = self._database.commands(self.numbers)
        record = record_of(self._database, self._mode)
        found = []
        for command, row in zip(self._commands, rows):
            found.append(_with_outcome(command, row, replace(record, ways=self._ways(command, row, record))))
        return found

    def _ways(self, command: Command, row: Mapping[str, Any], record: Record) -> dict[str, str]:
        """How the VM of a migration that was applied went where it is, by its id; empty when it did not go there since."""
        if command.kind is not CommandKind.MIGRATE or row["state"] != APPLIED:
            return {}
        host = {vm.id: vm.host for vm in record.memory.vms if command.subject in (vm.id, vm.name)}
        given, found = Instant.from_dict(row["given_at"]), dict[str, str]()
        for move in self._database.closed_transactions_of(host):
            age = Instant.from_dict(move["opened_at"]).since(given)
            if age is not None and age >= 0 and move["destination"] == host[move["vm_id"]] and move["detail"].get("way"):
                found[move["vm_id"]] = str(move["detail"]["way"])
        return found

    def failing_alarms(self, policy: Policy) -> list[str]:
        """As :func:`alarms_about`, of those that the record has."""
        found = [
            Alarm(item["key"], Severity(item["data"]["severity"]), item["subject"], item["text"])
            for item in self._database.alarms()
            if "severity" in item["data"]  # no hold
        ]
        return alarms_about(self._commands, self._database.memory(), found, policy)

    def give_up(self) -> list[str]:
        """Withdraw what no run took up; returns how it stands then, in sentences."""
        withdrawn = {number for number in self.numbers if self._database.withdraw_command(number)}
        said = []
        for row in self.rows():
            what = " ".join(filter(None, (row["kind"], row["subject"])))
            if row["number"] in withdrawn:
                said.append("%s was taken up by no run and is withdrawn" % what)
            elif is_open(row):
                said.append("%s: %s; it remains wanted" % (what, row["stands"]))
        return said


def alarms_about(commands: Iterable[Command], memory: Memory, alarms: Iterable[Alarm], policy: Policy) -> list[str]:
    """Those of *alarms* that the policy does not let a run end green before; of a run for planned work those about its hosts and VMs."""
    asked = {command.subject for command in commands if is_planned_work(command)}
    subjects = asked | {vm.name for vm in memory.vms if vm.id in asked}
    return alarms_that_fail([alarm for alarm in alarms if not asked or alarm.subject in subjects], policy)


def is_open(row: Mapping[str, Any]) -> bool:
    return bool(row["progress"] == Progress.OPEN.value)


def would_fail(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of *rows* of which nothing will come."""
    return [row for row in rows if row["progress"] == Progress.FAILED.value]


def half_done(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why others of *rows* would be carried out in part only."""
    return [
        "%s %s: it cannot be emptied; %s" % (row["kind"], row["subject"], "; ".join(row["left_behind"]))
        for row in rows
        if row["progress"] != Progress.FAILED.value and row.get("left_behind")
    ]


def failures(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why each of :meth:`Asked.rows` that is not done is not."""
    return said_of([row for row in rows if row["progress"] != Progress.DONE.value])


def record_of(database: StateDatabase, mode: Mode) -> Record:
    """What the last look committed, for :func:`outcome_of`."""
    seen = database.snapshot(journal_limit=0, closed_limit=0)
    standing = {str(item["key"]): str(item["text"]) for item in seen["alarms"]}
    moving = {str(row["vm_id"]) for row in seen["transactions"] if not row["closed"]}
    return Record(database.memory_of(seen["memory"]), standing, moving, mode)


def foresee(
    observer: Observer,
    database: StateDatabase,
    policy: Policy,
    context: RunContext,
    commands: Sequence[Command],
    sleep: Callable[[float], object],
) -> tuple[Judged, int]:
    """A look that was asked *commands*, with nothing recorded, and how many looks that took: FORESEEN at most.

    The storage evidence of a host is the progress from one look to the next, and VMs are known once a look has seen them. A monitor that
    looked a moment ago has recorded both; else looks are taken until they are there.
    """
    memory: Optional[Memory] = None
    seen_before = database.memory().looked_at is not None
    for number in range(1, FORESEEN + 1):
        look = partial(judge, database, policy, observer.look({}, (), (), context.clock()), context, commit=False, unrecorded=memory)
        judged = look(asked=commands)
        waits = not seen_before or any(host.is_being_judged for host in judged.decision.hosts)
        if number == FORESEEN or not waits:
            break
        memory, seen_before = look().decision.memory, True  # as if nobody had asked: what was asked is heard once
        took = context.clock().since(judged.decision.taken_at) or 0.0
        sleep(max(0.0, judged.decision.next_sample_in - took))
    return judged, number


def foreseen(commands: Sequence[Command], judged: Judged, mode: Mode) -> list[dict[str, Any]]:
    """What would become of *commands*, which *judged* was asked with and recorded nothing of: as :meth:`Asked.rows`, without what only the
    record gives."""
    moving = {str(row["vm_id"]) for row in judged.open_transactions}
    standing = {str(item["key"]): str(item["text"]) for item in standing_of(judged.decision)}
    record = Record(judged.decision.memory, standing, moving, mode)
    found = []
    for command, heard in zip(commands, judged.heard[len(judged.heard) - len(commands) :]):
        row: dict[str, Any] = {
            **{name: getattr(command, name) for name in ("subject", "by", "reason", "holds", "way")},
            "kind": command.kind.value,
            "to": command.host,
            "state": heard.state,
            "outcome": heard.outcome,
        }
        found.append(_with_outcome(command, row, record))
    return found


def _with_outcome(command: Command, row: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """*row* with how its command stands; of a migration also where the VM is, and how it went there for this."""
    outcome = _outcome(command, row, record)
    found = {**row, "progress": outcome.progress.value, "stands": outcome.text}
    if row["state"] == APPLIED:
        found["left_behind"] = left_behind(command, record)
    if command.kind is CommandKind.MIGRATE:
        vm = next((vm for vm in record.memory.vms if command.subject in (vm.id, vm.name)), None)
        found.update(host=vm.host if vm else "", moved_by=record.ways.get(vm.id, "") if vm else "")
    return found


def _outcome(command: Command, row: Mapping[str, Any], record: Record) -> Outcome:
    if row["state"] == WAITING:
        return Outcome(Progress.OPEN, "no run has taken it up yet")
    if row["state"] != APPLIED:
        return Outcome(Progress.FAILED, "%s: %s" % (row["state"], row["outcome"]))
    return outcome_of(command, str(row["outcome"]), record)


class Waiter:
    """Waits for the lease, or for what becomes of *asked* while others hold it.

    *said* is called with a line for people when another holder is met, *handed* with the holder, so that what it alone may know is handed
    over to it.
    """

    def __init__(
        self,
        world: World,
        database: StateDatabase,
        asked: Asked,
        sleep: Callable[[float], None],
        said: Callable[[str], None] = lambda line: None,
        handed: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._database = database
        self._asked = asked
        self._sleep = sleep
        self._said = said
        self._handed = handed
        self._holder = ""

    @property
    def other(self) -> str:
        """The run that was met last at the lease; empty: none."""
        return self._holder

    def lease(self, holder: str, wait: float, only_host: str = "") -> Optional[LeasedRun]:
        """A run that has the lease; None when another run has settled what was asked.

        Raises LeaseHeld when nothing was asked and the lease was not to be had within *wait* seconds, and LibrehaError when nothing
        had become of what was asked by then: what no run took up is withdrawn.
        """
        began = self._world.clock()
        floor = TokenFloor(self._world)
        while True:
            try:
                return LeasedRun.begin(self._world, self._database, holder, floor.current(), 0.0, only_host)
            except LeaseHeld as held:
                self._met(held)
                if self._asked.numbers and not any(map(is_open, self._asked.rows())):
                    return None
                if not _within(self._world.clock(), began, wait):
                    if not self._asked.numbers:
                        raise
                    raise _no_outcome(self._asked, self._holder, wait) from None
            self._sleep(POLL)

    def _met(self, held: LeaseHeld) -> None:
        holder = str(held.details.get("lease_holder") or "another run")
        if holder == self._holder:
            return
        self._holder = holder
        if self._asked.numbers:
            self._handed()
            self._said("%s holds the lease and carries it out" % holder)


def _no_outcome(asked: Asked, holder: str, wait: float) -> LibrehaError:
    said = ["%s holds the lease, and there is no outcome after %.0f s" % (holder, wait), *asked.give_up()]
    remedy = "libreha status and libreha journal show how it goes on, and libreha command calls back what remains wanted"
    details = {"carried_out_by": holder, "commands": asked.rows(), "failing": [*said, remedy]}
    return LibrehaError("; ".join(said), remedy=remedy, details=details)


def _within(now: Instant, since: Instant, seconds: float) -> bool:
    passed = now.since(since)
    return passed is not None and passed < seconds


def said_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How each of :meth:`Asked.rows` stands, as a line for people."""
    return ["%s %s: %s" % (row["kind"], row["subject"], row["stands"]) for row in rows]
