# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is judged to be. The table that judges is hosts/verdict.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    OBSERVER_ISOLATED = "observer_isolated"  # the observer is cut off, not the hosts
    DEAD = "dead"
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # lives and works, but its hardware or one of its targets does not
    STORAGE_LOST = "storage_lost"
    STORAGE_PARTLY_LOST = "storage_partly_lost"  # works, but has lost some of its targets: row 6 for those alone
    AGENT_HUNG = "agent_hung"
    ISOLATED = "isolated"
    FENCING = "fencing"  # on the fence list, the fence not confirmed everywhere yet
    FENCED = "fenced"

    @property
    def works(self) -> bool:
        """Its VMs run and its word about them counts."""
        return self in (Verdict.HEALTHY, Verdict.DEGRADED, Verdict.STORAGE_PARTLY_LOST)


@dataclass(frozen=True)
class Judgement:
    """The verdict, the row of the table that gave it (0: none, the fence list did), and its meaning in words."""

    verdict: Verdict
    row: int
    reason: str
    certain: bool = False  # needs no confirmation time (power proved off)
