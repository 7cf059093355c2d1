# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failover transactions: one row for each VM that is being, or was, started elsewhere.

Invariant: a VM has at most one open transaction (a unique index keeps it), a closed one never changes, and each change
of a row is committed together with its journal entry: so whoever finds the row after a crash finds its reasons too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import LibrehaError
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
_FIELDS: dict[str, Any] = {
    "id": "",
    "vm_id": "",
    "vm_name": "",
    "path": "",
    "source": "",
    "destination": "",
    "step": "",
    "power_on": True,
    "attempts": 0,
    "reasons": [],
    "detail": {},
    "closed": False,
    "outcome": "",
}
_FIXED = ("vm_id", "source")  # of a row that exists


def save(connection: Connection, now: Instant, token: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """Insert or update the row of *record*; an ``id`` is made where there is none. Returns the row as it now is."""
    table = schema.TRANSACTIONS
    unknown = sorted(set(record) - set(_FIELDS) - {"opened_at", "updated_at", "token"})
    if unknown:
        raise LibrehaError("a failover transaction has no %s" % ", ".join(unknown))
    identity = str(record.get("id") or uuid.uuid4())
    old = connection.execute(sa.select(table).where(table.c.id == identity)).mappings().one_or_none()
    before = _shown(old) if old is not None else _FIELDS
    wanted = {name: _typed(name, record[name] if record.get(name) is not None else before[name]) for name in _FIELDS if name != "id"}
    what = "failover transaction %s of %s" % (identity, wanted["vm_name"] or wanted["vm_id"])
    for name in ("vm_id", "step"):
        if not wanted[name]:
            raise LibrehaError("%s: %s is missing" % (what, name))
    if wanted["closed"] and not wanted["outcome"]:
        raise LibrehaError("%s: closed without an outcome" % what)
    row = {
        **wanted,
        "reasons": schema.dump(wanted["reasons"], "the reasons of %s" % what),
        "detail": schema.dump(wanted["detail"], "the detail of %s" % what),
        "token": token,
        "updated_seq": _next_number(connection),
        **schema.moment("updated", now),
    }
    if old is None:
        _require_no_other(connection, wanted, what)
        connection.execute(sa.insert(table).values(id=identity, opened_seq=row["updated_seq"], **row, **schema.moment("opened", now)))
    else:
        if before["closed"]:
            raise LibrehaError("%s is closed (%s); it is not changed any more" % (what, before["outcome"]), remedy="open a new one")
        changed = [name for name in _FIXED if wanted[name] != before[name]]
        if changed:
            raise LibrehaError("%s: %s of a transaction that exists cannot change" % (what, ", ".join(changed)))
        connection.execute(sa.update(table).where(table.c.id == identity).values(**row))
    return _shown(connection.execute(sa.select(table).where(table.c.id == identity)).mappings().one())


def read(connection: Connection, closed: bool | None = None, limit: int | None = None, source: str = "") -> list[dict[str, Any]]:
    """Transactions: open ones first, in the order they were opened; of the closed ones the last *limit*, the newest first.

    *source*: only of VMs that ran on this host.
    """
    table = schema.TRANSACTIONS
    if closed is False and not source:
        return [_shown(row) for row in connection.execute(_all_open()).mappings().all()]
    query = sa.select(table).where(table.c.source == source) if source else sa.select(table)
    found: list[Any] = []
    if closed is not True:
        found += connection.execute(query.where(_is_open()).order_by(table.c.opened_seq)).mappings().all()
    if closed is not False:
        query = query.where(table.c.closed.is_(True)).order_by(table.c.updated_seq.desc())
        found += connection.execute(query if limit is None else query.limit(limit)).mappings().all()
    return [_shown(row) for row in found]


def closed_of(connection: Connection, vms: Iterable[str]) -> list[dict[str, Any]]:
    """The closed transactions of *vms* (their ids); of each VM the newest last."""
    table = schema.TRANSACTIONS
    query = sa.select(table).where(table.c.closed.is_(True)).order_by(table.c.updated_seq)
    return [_shown(row) for part in schema.parts(vms) for row in connection.execute(query.where(table.c.vm_id.in_(part))).mappings()]


@cache
def _all_open() -> Any:
    """Made once: each look takes it."""
    return sa.select(schema.TRANSACTIONS).where(_is_open()).order_by(schema.TRANSACTIONS.c.opened_seq)


def _is_open() -> Any:
    """As the partial index of :mod:`.schema` puts it, so that SQLite finds the open ones by it."""
    return schema.TRANSACTIONS.c.closed == sa.false()


def _next_number(connection: Connection) -> int:
    """The caller holds the lock of the lease row, so no number is given twice."""
    return 1 + int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(schema.TRANSACTIONS.c.updated_seq), 0))).scalar_one())


def _require_no_other(connection: Connection, wanted: Mapping[str, Any], what: str) -> None:
    table = schema.TRANSACTIONS
    query = sa.select(table.c.id, table.c.step, table.c.destination).where(table.c.vm_id == wanted["vm_id"], _is_open())
    other = connection.execute(query).one_or_none()
    if other is not None and not wanted["closed"]:
        raise LibrehaError(
            "%s cannot be opened: %s (to %s, step %s) is open for this VM"
            % (what, other.id, other.destination or "no host yet", other.step),
            remedy="go on with that one, or close it first",
        )


def _typed(name: str, value: Any) -> Any:
    default = _FIELDS[name]
    value = getattr(value, "value", value)  # an enum of decide
    if isinstance(default, bool):
        return bool(value)
    if isinstance(default, int):
        return int(value)
    if isinstance(default, str):
        return schema.plain(value)
    return dict(value) if isinstance(default, dict) else list(value)


def _shown(row: Any) -> dict[str, Any]:
    what = "failover transaction %s" % row["id"]
    return {
        **{name: row[name] for name in _FIELDS},
        "power_on": bool(row["power_on"]),
        "closed": bool(row["closed"]),
        "reasons": schema.load(row["reasons"], what),
        "detail": schema.load(row["detail"], what),
        "token": int(row["token"]),
        "opened_at": schema.instant_of(row, "opened").to_dict(),
        "updated_at": schema.instant_of(row, "updated").to_dict(),
    }
