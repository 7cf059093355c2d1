# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How earlier acts ended, out of the record, as decide reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..decide.instant import Instant
from ..decide.observations import Act, ActResult
from ..decide.vms.failover import Step, start_asked
from .database import StateDatabase

RESULTS = 1000  # closed failover transactions that are looked at for starts that failed
POWER_RESULTS = 200  # journal entries that are looked at for stops and resets that failed


def results_of(database: StateDatabase) -> tuple[ActResult, ...]:
    """Starts, stops and resets; repeating older ones does no harm."""
    starts = start_results(database.transactions(closed=True, limit=RESULTS))
    return starts + power_results(database.read_journal(kinds=["power"], limit=POWER_RESULTS))


def start_results(transactions: Iterable[Mapping[str, Any]]) -> tuple[ActResult, ...]:
    """How the starts of earlier failovers ended. The token grows from run to run, and the clock within a run."""
    found = []
    for row in transactions:
        at = Instant.from_dict(row["updated_at"])
        if row["power_on"]:
            ok = row["outcome"] in (Step.VERIFIED.value, Step.POWERED_ON.value)
            key = "%012d/%017.3f/%s" % (row["token"], at.seconds, row["id"])
            asked, blocked = start_asked(row), row["outcome"] == Step.BLOCKED.value
            found.append(ActResult(key, row["vm_id"], row["destination"], Act.START, ok, at, "; ".join(row["reasons"]), asked, blocked))
    return tuple(found)


def power_results(entries: Iterable[Mapping[str, Any]]) -> tuple[ActResult, ...]:
    """How stops and resets ended, out of what ``act/vm_power.py`` wrote into the journal."""
    found = []
    for entry in entries:
        data = entry["data"]
        if data["phase"] == "after":
            at = Instant.from_dict(entry["at"])
            key = "%012d/%017.3f/%d" % (entry["token"], at.seconds, entry["seq"])
            found.append(ActResult(key, data["vm"], data["host"], Act(data["act"]), data["ok"], at, data["reason"]))
    return tuple(found)
