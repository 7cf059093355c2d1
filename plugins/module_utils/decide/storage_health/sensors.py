# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A storage server's own health, as ``storage_health_info`` hands it over: states, and what fills up.

A state (an array lost a member) is known where it is read. How full is too full is the operator's policy, so a :class:`Fill` is
figures only and ``judge`` makes a sensor of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ...instant import Instant


class Health(str, Enum):
    """As ESXi names the states of its sensors (``observations.Sensor``)."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"  # never green by absence: ``reason`` says why it could not be read


@dataclass(frozen=True)
class StorageSensor:
    """One thing of a storage server. ``name`` stays the same from look to look: "array md0", "disk /dev/sda"."""

    name: str
    health: Health
    reading: str = ""
    reason: str = ""  # why it is not green
    remedy: str = ""  # what a person does about it
    source: str = ""  # the part of the look that it is from; a part that failed as a whole is an unknown sensor of that name
    wear: Optional[float] = None  # disks: percent of the rated writes that are used up


class FillKind(str, Enum):
    """What fills up, and with it what happens when it is full."""

    THIN_DATA = "thin_data"
    THIN_METADATA = "thin_metadata"
    SNAPSHOT = "snapshot"
    FILE_SYSTEM = "file_system"
    INODES = "inodes"


@dataclass(frozen=True)
class Fill:
    """Something that fills up. ``used`` and ``size`` are bytes, of inodes their number; ``reserve`` is what it grows by
    unasked (automatic extension from the room left in its volume group)."""

    name: str
    kind: FillKind
    used: float
    size: float
    reserve: float = 0.0
    note: str = ""  # what a person needs to know beside the figures
    remedy: str = ""
    source: str = ""


@dataclass(frozen=True)
class StorageHealth:
    """One look at the health of one storage server. ``disks`` is None when SMART was not read in this look."""

    name: str  # inventory name of the storage server
    taken_at: Instant  # its own clock
    sensors: tuple[StorageSensor, ...] = ()
    fills: tuple[Fill, ...] = ()
    disks: Optional[tuple[StorageSensor, ...]] = None


def in_units(size: float) -> str:
    """Bytes for people: "1.5 GiB" """
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30)):
        if size >= factor:
            return "%.1f %s" % (size / factor, unit)
    return "%.1f MiB" % (size / (1 << 20))
