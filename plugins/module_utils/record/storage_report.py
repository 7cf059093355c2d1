# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The storage servers' own health in words, for the reports of a run and of a drill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..decide.storage_health.record import ServerHealth
from ..decide.storage_health.sensors import Health


def health_lines(servers: Iterable[ServerHealth], in_full: bool = False) -> list[str]:
    """ "storage server san1: yellow (7 green, 1 yellow, 2 unknown)"; *in_full* also each thing that is not green."""
    lines = []
    for server in servers:
        if server.read_at is None:
            lines.append("storage server %s: its own health has not been read yet" % server.name)
            continue
        counts = Counter(sensor.health for sensor in server.sensors)
        counted = ", ".join("%d %s" % (counts[health], health.value) for health in Health if counts[health])
        lines.append("storage server %s: %s (%s)" % (server.name, server.health.value, counted or "nothing to watch"))
        for sensor in server.sensors if in_full else ():
            if sensor.health is not Health.GREEN:
                words = "; ".join(filter(None, (sensor.reading, sensor.reason, sensor.remedy)))
                lines.append("  %s: %s: %s" % (sensor.health.value, sensor.name, words))
    return lines
