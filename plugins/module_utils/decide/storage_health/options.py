# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policy's block ``storage_health``: from when on a storage server's own state is worth an alarm."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StorageHealthOptions:
    """Percentages and seconds. See ``policy/schema.py`` for each."""

    interval: float = 60.0
    disk_interval: float = 1800.0
    space_warning: float = 80.0
    space_critical: float = 90.0
    metadata_warning: float = 70.0
    metadata_critical: float = 85.0
    hysteresis: float = 3.0
    full_within: float = 14400.0
    growth_window: float = 3600.0
    wear_warning: float = 80.0
    wear_critical: float = 95.0

    def contradictions(self) -> list[str]:
        """What no schema can say, each with the option's name first."""
        found = []
        for what in ("space", "metadata", "wear"):
            warning, critical = getattr(self, what + "_warning"), getattr(self, what + "_critical")
            if warning >= critical:
                text = "%s_warning: %g is not below %s_critical, %g; warn earlier, or raise %s_critical"
                found.append(text % (what, warning, what, critical, what))
        lowest = min(self.space_warning, self.metadata_warning)
        if self.hysteresis >= lowest:
            found.append("hysteresis: %g is not below the lowest warning, %g; an alarm would never end" % (self.hysteresis, lowest))
        return found
