# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Suspicions that ended without a fence, as the journal has them, and what another ``confirm_after`` would have made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..decide.decision import NearMiss
from ..decide.json_form import from_dict

if TYPE_CHECKING:
    from .database import StateDatabase

NEAR_MISS = "near_miss"  # the kind of their journal entries
DAYS = 30  # that are looked back
LISTED = 5


@dataclass(frozen=True)
class PastMiss:
    wall: str  # when it ended
    miss: NearMiss


def read(database: StateDatabase, days: int = DAYS) -> list[PastMiss]:
    """Those of the last *days*, or of as many as the journal is kept for, oldest first."""
    since = (datetime.now(timezone.utc) - timedelta(days=days)).isoformat(timespec="milliseconds")
    return of_entries(database.read_journal(kinds=[NEAR_MISS], from_wall=since))


def of_entries(entries: Iterable[Mapping[str, Any]]) -> list[PastMiss]:
    """Entries that another release wrote in its own way, or a person, are left out."""
    found = []
    for entry in entries:
        with contextlib.suppress(ValueError):
            found.append(PastMiss(entry["wall"], from_dict(NearMiss, entry["data"], "journal entry %s" % entry["seq"])))
    return found


def summary(misses: Sequence[PastMiss], days: int = DAYS) -> list[str]:
    """In words: how many there were, the longest ones, and from which ``confirm_after`` on all would still be none."""
    if not misses:
        return []
    longest = sorted(misses, key=lambda item: item.miss.silent / item.miss.needed, reverse=True)
    count = "%d near miss%s" % (len(misses), "" if len(misses) == 1 else "es")
    lines = ["%s in %d days; the longest silence was %s" % (count, days, _share(longest[0].miss))]
    lines += ["%sZ %s" % (item.wall[:19].replace("T", " "), item.miss.text) for item in longest[:LISTED]]
    lines += ["and %d more: libreha journal --kind %s" % (len(misses) - LISTED, NEAR_MISS)] if len(misses) > LISTED else []
    within = [item.miss.enough for item in misses if item.miss.silent < item.miss.needed]
    if within:
        lines.append("with a confirm_after of %.1f s or less at least one of them would have been a fence" % max(within))
    return lines


def _share(miss: NearMiss) -> str:
    return "%.1f of %.0f s (%s)" % (miss.silent, miss.needed, miss.host)
