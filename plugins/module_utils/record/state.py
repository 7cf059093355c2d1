# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the brain remembers (decide's own), and, derived from it for people: the hosts and what runs where.

The memory is stored in parts: each record of a host or a VM is a row of its own, the rest is one document. Read together they are the
form that ``Memory.to_dict`` made. The document's row has the version of the whole; it grows with every save, and names the token of the run
that saved it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar

from ..decide.json_form import to_dict
from ..decide.memory import HostRecord, Memory, VmRecord
from ..errors import LibrehaError
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
_HOST = {"name": "", "verdict": "unknown", "reason": "", "fenced": False}
_VM = {"vm_id": "", "name": "", "path": "", "host": "", "desired": "", "power": "unknown"}


KEYS = {"hosts": "name", "vms": "id"}  # the memory's fields whose records are stored by themselves, each under this field of it
MOST_NAMES = 500  # in one statement; databases take a thousand at least
_Record = TypeVar("_Record", HostRecord, VmRecord)


class MemoryChanged(LibrehaError):
    """The memory is not the one that was read, or saved last, by whoever saves it now."""


@dataclass(frozen=True)
class Stamp:
    """Which memory the database holds: its version, and the token of the run that saved it."""

    version: int
    token: int


@dataclass(frozen=True)
class Difference(Generic[_Record]):
    """Between two lists of records: ``changed`` are those that are new or not the same, each with what it was, ``gone`` keys of others."""

    changed: tuple[tuple[Optional[_Record], _Record], ...]
    gone: tuple[str, ...]


def difference(before: Iterable[_Record], after: Iterable[_Record], key: str) -> Difference[_Record]:
    """Records that a look leaves as they are, it leaves as the very objects that they were: so most are compared in one step."""
    old = {getattr(record, key): record for record in before}
    changed = []
    for record in after:
        was = old.pop(getattr(record, key), None)
        if was is not record and was != record:
            changed.append((was, record))
    return Difference(tuple(changed), tuple(old))


def load_memory(connection: Connection, vms: Collection[str] | None = None) -> tuple[dict[str, Any] | None, Stamp | None]:
    """Its form, and which one it is; (None, None) before the first save. *vms*: ids of those whose records are wanted; None: of all."""
    row = connection.execute(sa.select(schema.MEMORY)).mappings().one_or_none()
    if row is None:
        return None, None
    form = schema.load(row["document"], "the memory")
    stored = _stored(connection) if vms is None else _stored_of(connection, vms)
    for kind in KEYS:
        documents = [stored[place] for place in sorted(stored) if place[0] == kind]
        if documents:
            form[kind] = schema.load("[%s]" % ", ".join(documents), "the memory")
    return form, Stamp(int(row["version"]), int(row["token"]))


def save_memory(connection: Connection, now: Instant, token: int, form: Mapping[str, Any]) -> int:
    """Make the memory say exactly *form*, whatever it said before; returns its new version."""
    return _save_all(connection, now, token, form, _stamp(connection)).version


def save_look(connection: Connection, now: Instant, token: int, before: Memory | None, after: Memory, stamp: Stamp | None) -> Stamp:
    """Make the memory say exactly *after*; returns which one it is then.

    Raises MemoryChanged, and the caller's transaction is to be rolled back, unless the database holds the one of *stamp* still (None: no
    memory). *before* is what that one says, as the caller saved it: then only what differs from it is written. None: the caller does not
    know, and every record is compared with the one stored.
    """
    if before is None:
        return _save_all(connection, now, token, after.to_dict(), stamp)
    changed: dict[tuple[str, str], str] = {}
    gone: list[tuple[str, str]] = []
    for kind, key in KEYS.items():
        found: Difference[Any] = difference(getattr(before, kind), getattr(after, kind), key)
        changed.update({_place(kind, getattr(record, key)): _text(to_dict(record, whole=False)) for _was, record in found.changed})
        gone += [_place(kind, name) for name in found.gone]
    _write_records(connection, changed, gone)
    return _save_rest(connection, now, token, replace(after, hosts=(), vms=()).to_dict(), stamp)


def raise_version(connection: Connection) -> None:
    """After a write to what is recorded with the memory (hosts, VMs, alarms): whoever takes that for known must read it again."""
    connection.execute(sa.update(schema.MEMORY).values(version=schema.MEMORY.c.version + 1))


def _save_all(connection: Connection, now: Instant, token: int, form: Mapping[str, Any], stamp: Stamp | None) -> Stamp:
    stored = _stored(connection)
    records = {_place(kind, record[key]): _text(record) for kind, key in KEYS.items() for record in form.get(kind, ())}
    changed = {place: text for place, text in records.items() if stored.get(place) != text}
    _write_records(connection, changed, [place for place in stored if place not in records])
    return _save_rest(connection, now, token, {name: value for name, value in form.items() if name not in KEYS}, stamp)


def _save_rest(connection: Connection, now: Instant, token: int, rest: Mapping[str, Any], stamp: Stamp | None) -> Stamp:
    table = schema.MEMORY
    saved = Stamp(stamp.version + 1 if stamp else 1, token)
    values = {"version": saved.version, "document": _text(rest), "token": token, **schema.moment("saved", now)}
    if stamp is not None:
        was = {"was_version": stamp.version, "was_token": stamp.token}
        done = connection.execute(_update_of_the_same(), {**values, **was}).rowcount == 1
    else:
        done = _stamp(connection) is None
        if done:
            connection.execute(sa.insert(table).values(id=1, **values))
    if not done:
        raise MemoryChanged("the memory was saved by somebody else meanwhile; nothing was written", remedy="look again")
    return saved


@cache
def _update_of_the_same() -> Any:
    table = schema.MEMORY
    return sa.update(table).where(table.c.version == sa.bindparam("was_version"), table.c.token == sa.bindparam("was_token"))


def _stamp(connection: Connection) -> Stamp | None:
    row = connection.execute(sa.select(schema.MEMORY.c.version, schema.MEMORY.c.token)).one_or_none()
    return None if row is None else Stamp(int(row.version), int(row.token))


def _stored(connection: Connection) -> dict[tuple[str, str], str]:
    return {(row.kind, row.name): row.document for row in connection.execute(sa.select(schema.RECORDS))}


def _stored_of(connection: Connection, vms: Collection[str]) -> dict[tuple[str, str], str]:
    """The records of these VMs, and of everything that is no VM."""
    names = [_place("vms", identity)[1] for identity in sorted(vms)]
    chunks = [names[start : start + MOST_NAMES] for start in range(0, len(names), MOST_NAMES)]
    wanted = [
        schema.RECORDS.c.kind != "vms",
        *(sa.and_(schema.RECORDS.c.kind == "vms", schema.RECORDS.c.name.in_(chunk)) for chunk in chunks),
    ]
    rows = (row for which in wanted for row in connection.execute(sa.select(schema.RECORDS).where(which)))
    return {(row.kind, row.name): row.document for row in rows}


def _write_records(connection: Connection, changed: Mapping[tuple[str, str], str], gone: Iterable[tuple[str, str]]) -> None:
    schema.upsert(connection, schema.RECORDS, [{"kind": kind, "name": name, "document": text} for (kind, name), text in changed.items()])
    schema.remove(connection, schema.RECORDS, [{"kind": kind, "name": name} for kind, name in gone])


def _place(kind: str, name: Any) -> tuple[str, str]:
    return kind, schema.plain(name)


def _text(form: Mapping[str, Any]) -> str:
    return schema.dump(dict(form), "the memory")


def record_hosts(
    connection: Connection, now: Instant, hosts: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]] | None = None
) -> list[str]:
    """Make the table say exactly *hosts*; returns the names that changed (``updated_at`` is when a row last changed).

    *before*: what the table says, as it was given here last; None: the caller does not know, and it is read.
    """
    rows = [_row(host, _HOST, "name") for host in hosts]
    known = None if before is None else [_row(host, _HOST, "name") for host in before]
    return _make(connection, now, schema.HOSTS, "name", rows, known)


def record_vms(connection: Connection, now: Instant, vms: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table say exactly *vms*; returns the ids that changed."""
    return _make(connection, now, schema.VMS, "vm_id", map(_vm_row, vms), None)


def record_vm_changes(connection: Connection, now: Instant, vms: Difference[VmRecord]) -> list[str]:
    """As :func:`record_vms`, where the table says what decide's memory said before; returns the ids that changed."""
    before = [_vm_row(vm_row(was)) for was, _record in vms.changed if was is not None]
    after = [_vm_row(vm_row(record)) for _was, record in vms.changed]
    gone = [{"vm_id": schema.plain(identity)} for identity in vms.gone]
    return _make(connection, now, schema.VMS, "vm_id", after, [*before, *gone])


def host_rows(memory: Memory, fenced: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows for :func:`record_hosts` from decide's memory: only what does not change at each look."""
    down = set(fenced)
    return [
        {
            "name": host.name,
            "verdict": host.verdict or "unknown",
            "fenced": host.name in down,
            "detail": {
                "maintenance": host.maintenance,
                "going_down": host.going_down,
                "confirmed_off": host.confirmed_off,
                "initiators": list(host.initiators),
            },
        }
        for host in memory.hosts
    ]


def vm_rows(memory: Memory) -> list[dict[str, Any]]:
    """Rows for :func:`record_vms` from decide's memory: what runs where."""
    return [vm_row(vm) for vm in memory.vms]


def vm_row(vm: VmRecord) -> dict[str, Any]:
    return {
        "id": vm.id,
        "name": vm.name,
        "path": vm.path,
        "host": vm.host,
        "desired": vm.desired.value,
        "power": vm.power.value,
        "detail": {"memory": vm.memory, "cpu": vm.cpu, "registered": vm.registered},
    }


def hosts(connection: Connection) -> list[dict[str, Any]]:
    """Host states, by name."""
    return [_shown(row, _HOST) for row in connection.execute(sa.select(schema.HOSTS).order_by(schema.HOSTS.c.name)).mappings()]


def vms(connection: Connection) -> list[dict[str, Any]]:
    """What runs where, by name."""
    order = (schema.VMS.c.name, schema.VMS.c.vm_id)
    return [_shown(row, _VM) for row in connection.execute(sa.select(schema.VMS).order_by(*order)).mappings()]


def _row(value: Mapping[str, Any], columns: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The row for *value*: what has no column of its own goes into ``detail``."""
    row = {}
    for name, default in columns.items():
        item = value.get(name, default)
        item = default if item is None else getattr(item, "value", item)
        row[name] = bool(item) if isinstance(default, bool) else schema.plain(item)
    if not row[key]:
        raise LibrehaError("a record needs %s; got %s" % (key, ", ".join(sorted(map(str, value)))))
    detail = {name: item for name, item in value.items() if name not in columns and name not in ("detail", "updated_at")}
    return {**row, "detail": schema.dump({**detail, **dict(value.get("detail") or {})}, "the detail of %s" % row[key])}


def _vm_row(vm: Mapping[str, Any]) -> dict[str, Any]:
    return _row({"vm_id": vm.get("id", ""), **{key: value for key, value in vm.items() if key != "id"}}, _VM, "vm_id")


def _make(
    connection: Connection,
    now: Instant,
    table: Any,
    key: str,
    rows: Iterable[Mapping[str, Any]],
    before: Iterable[Mapping[str, Any]] | None,
) -> list[str]:
    """Make *table* say *rows* where it says *before* (None: it is read); returns the keys of what changed."""
    if before is None:
        stored = connection.execute(sa.select(table)).mappings()
        before = [{name: row[name] for name in row if not name.startswith("updated_")} for row in stored]
    present = {row[key]: row for row in before}
    wanted = {row[key]: row for row in rows}
    changed = [row for name, row in wanted.items() if present.get(name) != row]
    gone = [name for name in present if name not in wanted]
    schema.upsert(connection, table, [{**row, **schema.moment("updated", now)} for row in changed])
    schema.remove(connection, table, [{key: name} for name in gone])
    return [row[key] for row in changed] + gone


def _shown(row: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in columns},
        "detail": schema.load(row["detail"], "the detail of %s" % row["name"]),
        "updated_at": schema.instant_of(row, "updated").to_dict(),
    }
