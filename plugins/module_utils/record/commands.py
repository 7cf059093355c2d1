# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people ask for: a row for each command, which whatever loop runs takes up at its next look, once.

Invariant: a command leaves the state *waiting* once, and for good. The run that takes it up marks it in the transaction that commits the
memory with the command in it, under the lease: so it is applied exactly once, whichever run was killed when. One that is refused costs
the loop nothing. None is applied later than its person expected: it holds for ``valid_for`` seconds by the clock on which it was given, and
is refused where nobody can tell how old it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..decide.commands import SWITCH_OFFS, Command, CommandKind
from ..decide.decision import Way
from ..errors import LibrehaError
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
VALID_FOR = 600.0  # s
_SWITCH_OFFS = ", ".join(kind.value for kind in SWITCH_OFFS)
WAITING, APPLIED, REFUSED, WITHDRAWN = "waiting", "applied", "refused", "withdrawn"


class CommandWithdrawn(LibrehaError):
    """A command that was read as waiting waits no more."""


@dataclass(frozen=True)
class Waiting:
    """A command that no run has taken up yet."""

    number: int
    command: Command
    given: Instant
    valid_for: float  # seconds

    def too_late(self, now: Instant) -> str:
        """Why it holds no longer; empty: it does."""
        age = now.since(self.given)
        if age is None or age < 0:
            return "it was given before a restart of this machine, or on another one, so that its age cannot be told; give it again"
        if age > self.valid_for:
            return "it was given %.0f s ago and holds for %.0f s; give it again if it is still wanted" % (age, self.valid_for)
        return ""


@dataclass(frozen=True)
class Heard:
    """What became of the command *number*: ``state`` applied or refused, and ``outcome`` in words."""

    number: int
    state: str
    outcome: str


def give(connection: Connection, now: Instant, commands: Iterable[Command], valid_for: float) -> list[int]:
    """Append *commands* inside the caller's transaction, which holds the lock of the lease row; returns their numbers."""
    table = schema.COMMANDS
    last = int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.number), 0))).scalar_one())
    rows: list[dict[str, Any]] = [
        {
            "number": number,
            "kind": command.kind.value,
            "subject": schema.plain(command.subject),
            "host": schema.plain(command.host),
            "person": schema.plain(command.by),
            "reason": schema.plain(command.reason),
            "holds": command.holds,
            "way": schema.plain(command.way),
            "valid_for": valid_for,
            "state": WAITING,
            "outcome": "",
            "token": 0,
            **schema.moment("given", now),
        }
        for number, command in enumerate(commands, start=last + 1)
    ]
    if rows:
        connection.execute(sa.insert(table), rows)
    return [int(row["number"]) for row in rows]


def waiting(connection: Connection) -> tuple[Waiting, ...]:
    """Those that no run has taken up, in the order in which they were given."""
    table = schema.COMMANDS
    query = sa.select(table).where(table.c.state == WAITING).order_by(table.c.number)
    return tuple(
        Waiting(int(row["number"]), _command(row), schema.instant_of(row, "given"), float(row["valid_for"]))
        for row in connection.execute(query).mappings()
    )


def settle(connection: Connection, token: int, heard: Iterable[Heard]) -> None:
    """Mark what became of commands. Raises CommandWithdrawn when one waits no more: then nothing of the transaction is to be written."""
    table = schema.COMMANDS
    for item in heard:
        waits = sa.update(table).where(table.c.number == item.number, table.c.state == WAITING)
        done = connection.execute(waits.values(state=item.state, outcome=schema.plain(item.outcome), token=token))
        if done.rowcount != 1:
            raise CommandWithdrawn("command %d was withdrawn meanwhile" % item.number)


def withdraw(connection: Connection, number: int) -> bool:
    """Take a command back; False when a run has taken it up."""
    table = schema.COMMANDS
    waits = sa.update(table).where(table.c.number == number, table.c.state == WAITING)
    return bool(connection.execute(waits.values(state=WITHDRAWN, outcome="no run took it up in time")).rowcount)


def read(connection: Connection, numbers: Iterable[int] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Commands in order: those of *numbers*, or the last *limit*."""
    table = schema.COMMANDS
    if numbers is not None:
        parts = [sa.select(table).where(table.c.number.in_(part)) for part in schema.parts(numbers)]
    else:
        parts = [sa.select(table).order_by(table.c.number.desc()).limit(limit)]
    rows = [row for query in parts for row in connection.execute(query).mappings()]
    return [_shown(row) for row in sorted(rows, key=lambda row: int(row["number"]))]


def read_command(given: Mapping[str, Any]) -> Command:
    """A command from a module's option: kind, subject, to, by, reason, holds, way ("auto" is the best one). Raises LibrehaError when it
    lacks what its kind needs."""
    kind, holds = CommandKind(given["kind"]), float(given.get("holds") or 0.0)
    if kind in SWITCH_OFFS and not (given.get("by") and str(given.get("reason") or "").strip()):
        raise LibrehaError("%s needs a named person and a reason" % kind.value, remedy="give by and reason; others will ask why it stands")
    if holds < 0 or (holds and kind not in SWITCH_OFFS):
        raise LibrehaError("%s holds for %g seconds" % (kind.value, holds), remedy="give a time above 0, and only with %s" % _SWITCH_OFFS)
    subject, to, by, reason, way = (str(given.get(name) or "") for name in ("subject", "to", "by", "reason", "way"))
    way = "" if way == "auto" else way
    if way and kind not in (CommandKind.MIGRATE, CommandKind.MAINTENANCE_ON):
        raise LibrehaError("%s goes no way (%s)" % (kind.value, way), remedy="give a way with migrate and maintenance_on only")
    if way == Way.REGISTER.value and kind is CommandKind.MAINTENANCE_ON:
        raise LibrehaError("a host is emptied of running VMs, and way: register is for one that is off", remedy="give another way, or none")
    return Command(kind, subject, to, by, reason, holds, way)


def _command(row: Any) -> Command:
    return Command(CommandKind(row["kind"]), row["subject"], row["host"], row["person"], row["reason"], float(row["holds"]), row["way"])


def _shown(row: Any) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("number", "kind", "subject", "reason", "state", "outcome", "token")},
        "to": row["host"],
        "by": row["person"],
        "holds": float(row["holds"]),
        "way": row["way"],
        "valid_for": float(row["valid_for"]),
        "given_at": schema.instant_of(row, "given").to_dict(),
    }
