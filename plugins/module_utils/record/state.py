# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the brain remembers (one document, decide's own), and, derived from it for people: the hosts and what runs where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..decide.memory import Memory
from ..errors import LibrehaError
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
_HOST = {"name": "", "verdict": "unknown", "reason": "", "fenced": False}
_VM = {"vm_id": "", "name": "", "path": "", "host": "", "desired": "", "power": "unknown"}


def load_memory(connection: Connection) -> tuple[dict[str, Any] | None, int]:
    """The document and its version; (None, 0) before the first save."""
    row = connection.execute(sa.select(schema.MEMORY)).mappings().one_or_none()
    if row is None:
        return None, 0
    return schema.load(row["document"], "the memory"), int(row["version"])


def save_memory(connection: Connection, now: Instant, token: int, memory: Mapping[str, Any]) -> int:
    """Replace the document; returns its new version."""
    table = schema.MEMORY
    document = schema.dump(dict(memory), "the memory")
    version = connection.execute(sa.select(table.c.version)).scalar_one_or_none()
    values = {"version": (version or 0) + 1, "document": document, "token": token, **schema.moment("saved", now)}
    if version is None:
        connection.execute(sa.insert(table).values(id=1, **values))
    else:
        connection.execute(sa.update(table).values(**values))
    return int(values["version"])


def record_hosts(connection: Connection, now: Instant, hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table say exactly *hosts*; returns the names that changed (``updated_at`` is when a row last changed)."""
    return _replace(connection, now, schema.HOSTS, "name", [_row(host, _HOST, "name") for host in hosts])


def record_vms(connection: Connection, now: Instant, vms: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the table say exactly *vms*; returns the ids that changed."""
    rows = [_row({"vm_id": vm.get("id", ""), **{key: value for key, value in vm.items() if key != "id"}}, _VM, "vm_id") for vm in vms]
    return _replace(connection, now, schema.VMS, "vm_id", rows)


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
    return [
        {
            "id": vm.id,
            "name": vm.name,
            "path": vm.path,
            "host": vm.host,
            "desired": vm.desired.value,
            "power": vm.power.value,
            "detail": {"memory": vm.memory, "cpu": vm.cpu, "registered": vm.registered},
        }
        for vm in memory.vms
    ]


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


def _replace(connection: Connection, now: Instant, table: Any, key: str, rows: list[dict[str, Any]]) -> list[str]:
    wanted = {row[key]: row for row in rows}
    present = {
        row[key]: {name: row[name] for name in row if not name.startswith("updated_")}
        for row in connection.execute(sa.select(table)).mappings()
    }
    changed = [name for name, row in wanted.items() if present.get(name) != row]
    gone = [name for name in present if name not in wanted]
    for name in changed + gone:
        if name in present:
            connection.execute(sa.delete(table).where(table.c[key] == name))
    if changed:
        connection.execute(sa.insert(table), [{**wanted[name], **schema.moment("updated", now)} for name in changed])
    return changed + gone


def _shown(row: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in columns},
        "detail": schema.load(row["detail"], "the detail of %s" % row["name"]),
        "updated_at": schema.instant_of(row, "updated").to_dict(),
    }
