# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When VMs last wrote to their disks, out of the host's real-time statistics (``io_reading.py`` says what those are)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from .interface import Writes
from .io_reading import INTERVAL

# (group, name, rollup) of vim.PerformanceManager.CounterInfo
WRITES = {
    ("disk", "numberWrite", "summation"),
    ("datastore", "numberWriteAveraged", "average"),
    ("virtualDisk", "numberWriteAveraged", "average"),
}


def write_counters(known: Iterable[Any]) -> list[int]:
    """The ids that this host gave the counters; *known* is PerformanceManager's perfCounter."""
    return [int(info.key) for info in known if (str(info.groupInfo.key), str(info.nameInfo.key), str(info.rollupType)) in WRITES]


def writes_of(metrics: Iterable[Any], now: datetime) -> dict[str, Writes]:
    """VM reference -> its writes; VMs without samples are left out. *metrics* is what QueryPerf returned, one PerfEntityMetric for each."""
    found = {}
    for metric in metrics:
        ends = [info.timestamp for info in metric.sampleInfo or ()]
        if not ends or not metric.value:
            continue
        wrote = [
            end for index, end in enumerate(ends) if any(series.value[index] > 0 for series in metric.value if index < len(series.value))
        ]
        last = (now - max(wrote)).total_seconds() if wrote else None
        since = (now - min(ends) + timedelta(seconds=INTERVAL)).total_seconds()
        found[str(metric.entity._moId)] = Writes(last, since)
    return found
