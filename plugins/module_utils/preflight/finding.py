# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a check found. What could not be read is ``unknown`` and never ``ok``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """In the order of their weight: what is not known weighs as much as a warning."""

    OK = "ok"
    INFO = "info"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return {Level.OK: 0, Level.INFO: 1, Level.UNKNOWN: 2, Level.WARNING: 2, Level.CRITICAL: 3}[self]


@dataclass(frozen=True)
class Finding:
    """``check`` is a heading of docs/preflight.md; ``subject`` the host, VM or server, or ``cluster``; ``remedy`` empty where it is ok."""

    check: str
    subject: str
    level: Level
    text: str
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    return max((finding.level for finding in findings), key=lambda level: (level.rank, level is Level.WARNING), default=Level.UNKNOWN)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, then by check and subject."""
    return sorted(findings, key=lambda one: (-one.level.rank, one.level is Level.UNKNOWN, one.check, one.subject))


def table(findings: Iterable[Finding]) -> list[str]:
    """Lines for people: level, check, subject, what was found and what to do."""
    rows = [(one.level.value, one.check, one.subject, one.text, one.remedy) for one in findings]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = []
    for row in rows:
        head = "  ".join(cell.ljust(width) for cell, width in zip(row, widths))
        lines.append("%s  %s%s" % (head, row[3], " -> %s" % row[4] if row[4] else ""))
    return lines
