# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal: what happened and why, append-only, in the order of ``seq`` without a gap; and which alarms are open.

An alarm is identified by its key and its condition (its text without the numbers that count up). It is journaled when
it is raised, when its condition changes, every hour while it lasts, and when it is cleared; not at each look.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Union

from ..decide.json_form import to_dict
from ..errors import LibrehaError
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
ALARM_AGAIN = 3600.0  # seconds after which an alarm that lasts is journaled again
_COUNT = re.compile(r"(?<![\w.:-])\d+(\.\d+)?(?=\s?(s|ms|min|h|seconds|%)?([\s,;.)]|$))")  # numbers, not names such as esx1 or addresses


@dataclass(frozen=True)
class JournalEntry:
    """One entry to append. ``kind``: verdict, alarm, held, fence, step, lease, person, state, ...; ``subject``: the
    host, VM id or other thing it is about; ``text``: a sentence for people; ``data``: facts as JSON; never a secret."""

    kind: str
    text: str
    subject: str = ""
    key: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


EntryLike = Union[JournalEntry, Mapping[str, Any]]


@dataclass(frozen=True)
class AlarmChanges:
    """What :func:`alarms` did, by key; ``journaled`` are the seq numbers of the new entries."""

    raised: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()  # open as before and not journaled again
    journaled: tuple[int, ...] = ()
    standing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # the rows of the open ones, for the next call


def entry_of(value: EntryLike) -> JournalEntry:
    """A JournalEntry from one or from a dictionary of its fields; raises LibrehaError naming what is wrong."""
    if not isinstance(value, JournalEntry):
        known = {item.name for item in dataclasses.fields(JournalEntry)}
        wrong = sorted(set(value) - known)
        if wrong or "kind" not in value or "text" not in value:
            raise LibrehaError("a journal entry has kind, text, subject, key and data; got %s" % ", ".join(sorted(map(str, value))))
        value = JournalEntry(**value)
    if not value.kind or not value.text:
        raise LibrehaError("a journal entry needs a kind and a text")
    return value


def append(connection: Connection, now: Instant, token: int, holder: str, entries: Iterable[EntryLike]) -> list[int]:
    """Append inside the caller's transaction; returns the seq numbers.

    The caller holds the lock of the lease row, so ``max + 1`` leaves no gap and gives no number twice.
    """
    entries = list(entries)
    if not entries:
        return []
    last = int(connection.execute(_last_number()).scalar_one())
    rows = []
    for seq, entry in enumerate(map(entry_of, entries), start=last + 1):
        rows.append(
            {
                "seq": seq,
                "token": token,
                "holder": schema.plain(holder),
                "kind": schema.plain(entry.kind),
                "subject": schema.plain(entry.subject),
                "key": schema.plain(entry.key),
                "text": schema.plain(entry.text),
                "data": schema.dump(dict(entry.data or {}), "the data of a journal entry (%s)" % entry.kind),
                **schema.moment("at", now),
            }
        )
    connection.execute(_insert(), rows)
    return [row["seq"] for row in rows]


# Made once: most looks take them.


@cache
def _last_number() -> Any:
    return sa.select(sa.func.coalesce(sa.func.max(schema.JOURNAL.c.seq), 0))


@cache
def _insert() -> Any:
    return sa.insert(schema.JOURNAL)


def read(
    connection: Connection,
    since: int | None = None,
    kinds: Sequence[str] = (),
    subject: str = "",
    limit: int | None = None,
    from_wall: str = "",
) -> list[dict[str, Any]]:
    """Entries in order of seq: those after *since*, the first *limit* of them; without *since* the last *limit*.

    *from_wall*: only those written at that wall time or later, as ``Instant.wall`` has it; for people, since the wall clock may jump.
    """
    table = schema.JOURNAL
    query = sa.select(table)
    if since is not None:
        query = query.where(table.c.seq > since)
    if kinds:
        query = query.where(table.c.kind.in_(list(kinds)))
    if subject:
        query = query.where(table.c.subject == subject)
    if from_wall:
        query = query.where(table.c.at_wall >= from_wall)
    newest_first = since is None and limit is not None
    query = query.order_by(table.c.seq.desc() if newest_first else table.c.seq)
    if limit is not None:
        query = query.limit(limit)
    found = [_entry(row) for row in connection.execute(query).mappings()]
    return found[::-1] if newest_first else found


def alarms(
    connection: Connection,
    now: Instant,
    token: int,
    holder: str,
    present: Iterable[Any],
    before: Mapping[str, Mapping[str, Any]] | None = None,
) -> AlarmChanges:
    """Journal how the open alarms changed; *present* are all that are open now (objects or dictionaries with key, text, subject, data).

    *before*: the ``standing`` of the call that wrote the table last; None: the caller does not know, and the table is read.
    """
    table = schema.ALARMS
    if before is None:
        before = {row["key"]: dict(row) for row in connection.execute(sa.select(table)).mappings()}
    found = {alarm["key"]: alarm for alarm in map(_alarm, present)}
    entries: list[JournalEntry] = []
    standing = {key: row for key, row in before.items() if key in found}
    changes: dict[str, list[str]] = {"raised": [], "changed": [], "repeated": [], "cleared": [], "lasting": []}
    for key, alarm in found.items():
        what = _change(before.get(key), alarm, now)
        changes[what].append(key)
        if what == "lasting":
            continue
        since = schema.instant_of(before[key], "since") if what == "repeated" else now
        text = "%s%s" % (alarm["text"], " (still)" if what == "repeated" else "")
        data = {**alarm["data"], "alarm": what, "since": since.to_dict()}
        entries.append(JournalEntry(_kind(alarm["data"]), text, subject=alarm["subject"], key=key, data=data))
        row = {**alarm, "data": schema.dump(alarm["data"], "the data of alarm %s" % key)}
        standing[key] = {**row, **schema.moment("since", since), **schema.moment("journaled", now)}
    for key, old in before.items():
        if key not in found:
            changes["cleared"].append(key)
            data = {"alarm": "cleared", "since": schema.instant_of(old, "since").to_dict()}
            kind = _kind(schema.load(old["data"], "alarm %s" % key))
            entries.append(JournalEntry(kind, "cleared: %s" % old["text"], subject=old["subject"], key=key, data=data))
    schema.upsert(connection, table, [standing[key] for what in ("raised", "changed", "repeated") for key in changes[what]])
    schema.remove(connection, table, [{"key": key} for key in changes["cleared"]])
    journaled = append(connection, now, token, holder, entries)
    told = {what: tuple(keys) for what, keys in changes.items()}
    return AlarmChanges(journaled=tuple(journaled), standing=standing, **told)


def open_alarms(connection: Connection) -> list[dict[str, Any]]:
    """The alarms that are open now, oldest first."""
    rows = [
        {
            "key": row["key"],
            "subject": row["subject"],
            "text": row["text"],
            "data": schema.load(row["data"], "alarm %s" % row["key"]),
            "since": schema.instant_of(row, "since").to_dict(),
        }
        for row in connection.execute(sa.select(schema.ALARMS)).mappings()
    ]
    return sorted(rows, key=lambda row: (row["since"]["wall"], row["key"]))


def _change(old: Any, alarm: Mapping[str, Any], now: Instant) -> str:
    if old is None:
        return "raised"
    severity = schema.load(old["data"], "alarm %s" % alarm["key"]).get("severity")
    if (old["subject"], severity) != (alarm["subject"], alarm["data"].get("severity")):
        return "changed"
    if old["text"] != alarm["text"] and _condition(old["text"]) != _condition(alarm["text"]):
        return "changed"
    age = now.since(schema.instant_of(old, "journaled"))
    return "lasting" if age is not None and 0 <= age < ALARM_AGAIN else "repeated"


def _kind(data: Mapping[str, Any]) -> str:
    """What stands for a while need not be an alarm: a plan that is only proposed is journaled in the same way."""
    return str(data.get("kind") or "alarm")


def _condition(text: str) -> str:
    return _COUNT.sub("#", text)


def _alarm(value: Any) -> dict[str, Any]:
    fields = dict(to_dict(value))
    if not fields.get("key") or not fields.get("text"):
        raise LibrehaError("an alarm needs a key and a text; got %s" % fields)
    extra = {name: item for name, item in fields.items() if name not in ("key", "subject", "text", "data")}
    return {
        "key": schema.plain(fields["key"]),
        "subject": schema.plain(fields.get("subject") or ""),
        "text": schema.plain(fields["text"]),
        "data": {**extra, **dict(fields.get("data") or {})},
    }


def _entry(row: Any) -> dict[str, Any]:
    names = ("seq", "token", "holder", "kind", "subject", "key", "text")
    found = {name: row[name] for name in names}
    return {
        **found,
        "data": schema.load(row["data"], "journal entry %d" % row["seq"]),
        "at": schema.instant_of(row, "at").to_dict(),
        "wall": row["at_wall"],
    }
