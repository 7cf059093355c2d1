# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is remembered of a storage server's health, and what is told about it after a look.

It is not read in every look, so what it was stands until it is read again; an alarm must not end because nobody looked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...instant import Instant
from .growth import Point
from .sensors import FillKind, Health, StorageSensor


@dataclass(frozen=True)
class FillRecord:
    """One fill as it was last judged, and how it grew."""

    name: str
    kind: FillKind
    sensor: StorageSensor
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class HealthRecord:
    """One storage server. ``read_at`` and ``disks_at`` are on the decider's clock, ``boot_id`` is the server's."""

    server: str
    read_at: Optional[Instant] = None
    disks_at: Optional[Instant] = None
    boot_id: str = ""  # of the boot that the points of the fills count from
    sensors: tuple[StorageSensor, ...] = ()
    fills: tuple[FillRecord, ...] = ()
    disks: tuple[StorageSensor, ...] = ()
    stale: bool = False  # it has not been read for long, by runs that should have

    @property
    def everything(self) -> tuple[StorageSensor, ...]:
        return (*(fill.sensor for fill in self.fills), *self.sensors, *self.disks)

    def worst(self) -> Health:
        """Unknown counts for less than anything that is known to be wrong, and for more than green."""
        found = {sensor.health for sensor in self.everything}
        return next((health for health in (Health.RED, Health.YELLOW, Health.UNKNOWN) if health in found), Health.GREEN)


@dataclass(frozen=True)
class ServerHealth:
    """One storage server after a look. ``due``: read it in the next look (``disks_due``: with SMART); never while a host is suspect,
    since looks are then counted in seconds, unless that lasts so long that the reading is stale."""

    name: str
    health: Health
    sensors: tuple[StorageSensor, ...]
    read_at: Optional[Instant]  # the decider's clock; None: never read
    due: bool
    disks_due: bool
