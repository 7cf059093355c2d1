# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How acts on VMs ended: a table of its own, which the brain reads. The journal is for people, and may be pruned.

Invariant: a result is written in the transaction that journals the end of its act, so that nobody sees the one without the other.
It is read at the first look after that, and again for as long as something about its VM is open (:attr:`VmRecord.awaits_result`). The
watermark ``Memory.results_read`` is committed with the memory that counted the results up to it: so a run that was killed in between
reads them again, and what was counted is told by the key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..decide.observations import Act, ActResult
from ..decide.vms.transaction import Step, start_asked
from ..instant import Instant
from . import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

sa = schema.sa
KEY = "r%012d"  # of the number; it sorts after the keys of schema version 2, which begin with a digit


@dataclass(frozen=True)
class EndedAct:
    """How an act on the VM *vm* (its id) on *host* ended, to be recorded. See :class:`ActResult`."""

    vm: str
    host: str
    act: Act
    ok: bool
    reason: str = ""
    asked: bool = True
    blocked: bool = False
    reached: bool = True


def append(connection: Connection, now: Instant, ended: Iterable[EndedAct]) -> None:
    """Append inside the caller's transaction, which holds the lock of the lease row: no number is given twice."""
    table = schema.RESULTS
    ended = list(ended)
    if not ended:
        return
    last = int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.seq), 0))).scalar_one())
    rows = [
        {
            "seq": seq,
            "key": KEY % seq,
            "vm_id": schema.plain(item.vm),
            "host": schema.plain(item.host),
            "act": item.act.value,
            "ok": item.ok,
            "asked": item.asked,
            "reached": item.reached,
            "blocked": item.blocked,
            "reason": schema.plain(item.reason),
            **schema.moment("at", now),
        }
        for seq, item in enumerate(ended, start=last + 1)
    ]
    connection.execute(sa.insert(table), rows)


def start_ended(row: Mapping[str, Any]) -> list[EndedAct]:
    """The result of a failover transaction that is closed, as ``transactions.save`` returned it; none when it was no start."""
    if not (row["closed"] and row["power_on"]):
        return []
    ok = row["outcome"] in (Step.VERIFIED.value, Step.POWERED_ON.value)
    blocked = row["outcome"] == Step.BLOCKED.value
    reason, reached = "; ".join(row["reasons"]), row["detail"].get("reached", True)
    return [EndedAct(row["vm_id"], row["destination"], Act.START, ok, reason, start_asked(row), blocked, reached)]


def read(connection: Connection, after: int, vms: Collection[str]) -> tuple[ActResult, ...]:
    """The results numbered above *after*, and all of *vms* (their ids), in order."""
    table = schema.RESULTS
    found = {row["seq"]: row for row in connection.execute(sa.select(table).where(table.c.seq > after)).mappings()}
    for part in schema.parts(vms):
        older = sa.select(table).where(table.c.seq <= after, table.c.vm_id.in_(part))
        found.update((row["seq"], row) for row in connection.execute(older).mappings())
    return tuple(_result(found[seq]) for seq in sorted(found))


def _result(row: Any) -> ActResult:
    return ActResult(
        key=row["key"],
        vm=row["vm_id"],
        host=row["host"],
        act=Act(row["act"]),
        ok=bool(row["ok"]),
        at=schema.instant_of(row, "at"),
        reason=row["reason"],
        asked=bool(row["asked"]),
        blocked=bool(row["blocked"]),
        reached=bool(row["reached"]),
        number=int(row["seq"]),
    )
