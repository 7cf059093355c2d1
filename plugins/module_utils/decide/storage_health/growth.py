# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast something fills up: a straight line through what was seen of it within a window.

What is measured is the amount and not the percentage, so an extension of a pool does not look like less use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

POINTS = 12  # kept of one window: a memory of many looks a minute must not grow
SHORTEST = 600.0  # s that must have been watched: what one burst of writes did is no rate


@dataclass(frozen=True)
class Point:
    """``at``: seconds since the storage server's boot."""

    at: float
    used: float


def follow(points: Sequence[Point], newest: Point, window: float) -> tuple[Point, ...]:
    """The points of the last *window* seconds with the *newest*; those before it at least a twelfth of the window apart.
    Points later than the newest are of another boot and count for nothing."""
    recent = [point for point in points if 0 <= newest.at - point.at <= window]
    if len(recent) >= 2 and recent[-1].at - recent[-2].at < window / POINTS:
        del recent[-1]
    return (*recent, newest)


def rate(points: Sequence[Point]) -> float | None:
    """Growth in amount per second, by least squares; None before ``SHORTEST`` seconds have been watched."""
    if len(points) < 2 or points[-1].at - points[0].at < SHORTEST:
        return None
    middle = sum(point.at for point in points) / len(points)
    level = sum(point.used for point in points) / len(points)
    spread = sum((point.at - middle) ** 2 for point in points)
    return sum((point.at - middle) * (point.used - level) for point in points) / spread


def full_in(points: Sequence[Point], size: float) -> float | None:
    """Seconds until *size* is reached at the present rate; None when that cannot be told, or it does not grow."""
    grows_by = rate(points)
    if grows_by is None or grows_by <= 0:
        return None
    return max(0.0, size - points[-1].used) / grows_by


def in_words(seconds: float) -> str:
    """ "40 min", "5 h", "3 days" """
    if seconds < 90 * 60:
        return "%d min" % max(1, round(seconds / 60))
    if seconds < 48 * 3600:
        return "%d h" % round(seconds / 3600)
    return "%d days" % round(seconds / 86400)
