# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A point in time as a value: decide never reads a clock, it is told the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True)
class Instant:
    """``seconds`` since the boot named by ``boot_id``; ``wall`` (ISO 8601) is for people only and never compared."""

    boot_id: str
    seconds: float
    wall: str = ""

    def since(self, earlier: Instant | None) -> float | None:
        """Seconds from *earlier* to this instant, or None where they cannot be compared (other boot, or none)."""
        if earlier is None or earlier.boot_id != self.boot_id:
            return None
        return self.seconds - earlier.seconds

    def after(self, seconds: float) -> Instant:
        """The instant *seconds* later; its wall time is that of a clock that is not set meanwhile."""
        try:
            wall = (datetime.fromisoformat(self.wall) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        except (ValueError, OverflowError):
            wall = ""
        return Instant(self.boot_id, self.seconds + seconds, wall)

    def to_dict(self) -> dict[str, Any]:
        return {"boot_id": self.boot_id, "seconds": self.seconds, "wall": self.wall}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Instant:
        return cls(str(value["boot_id"]), float(value["seconds"]), str(value.get("wall", "")))
