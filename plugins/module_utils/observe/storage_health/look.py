# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the health of this storage server: everything at the same time, nothing waited for longer than its limit.

Whatever cannot be read is a sensor that is unknown, with the reason and the remedy: a missing tool must neither end a run of the
monitor nor look like good news.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ... import clock
from ...decide.json_form import to_dict
from ...decide.storage_health.sensors import Fill, Health, StorageHealth, StorageSensor
from ...parallel import Outcome, in_parallel
from . import arrays, disks, file_systems, lvm
from .exported import Exported, read_exported
from .tools import failure

SLACK = 1.0  # s for the threads' own work


@dataclass(frozen=True)
class Wanted:
    """``paths``: what lies on file systems that must not fill up; ``seconds``: the limit of each tool."""

    name: str
    paths: tuple[str, ...]
    driver: str
    control_port: int
    saved_config: str
    smart: bool
    seconds: float


def look(wanted: Wanted) -> dict[str, Any]:
    """The JSON form of a StorageHealth, with all that it was made from beside it (``figures``)."""
    taken_at = clock.now()
    seconds = wanted.seconds
    looks: dict[str, Callable[[], Any]] = {
        lvm.SOURCE: partial(lvm.read_lvm, seconds),
        "software RAID": arrays.read_arrays,
        "file systems": partial(_read_file_systems, wanted),
        "exported": lambda: _exported(wanted).everything,
    }
    if wanted.smart:
        looks["disks"] = partial(disks.read_disks, seconds)
    outcomes = in_parallel(looks, 2 * (seconds + SLACK) + SLACK)
    found = _Found()
    volumes = found.take(lvm.SOURCE, outcomes[lvm.SOURCE], lvm.Lvm())
    in_use: Any = None if failure(outcomes["exported"]) else outcomes["exported"]
    found.add(lvm.SOURCE, lvm.sensors(volumes, in_use), lvm.fills(volumes, in_use))
    members = found.take("software RAID", outcomes["software RAID"], [])
    found.add("software RAID", [arrays.sensor(array) for array in members])
    systems = []
    for mount, outcome in found.take("file systems", outcomes["file systems"], {}).items():
        system = found.take("file systems", outcome, None, "file system %s" % mount)
        if system is not None:
            systems.append(system)
            found.add("file systems", (), file_systems.fills(system))
    asked = _Found()
    smart = asked.take("disks", outcomes["disks"], []) if wanted.smart else []
    asked.add("disks", [disks.sensor(disk) for disk in smart])
    health = StorageHealth(wanted.name, taken_at, tuple(found.sensors), tuple(found.fills), tuple(asked.sensors) if wanted.smart else None)
    figures = {
        "thin_pools": volumes.pools,
        "volume_groups": volumes.groups,
        "snapshots": volumes.snapshots,
        "raid_volumes": volumes.raids,
        "arrays": members,
        "file_systems": systems,
        "disks": smart,
    }
    form: dict[str, Any] = to_dict(health)
    return {**form, "figures": to_dict(figures)}


class _Found:
    """What came back so far."""

    def __init__(self) -> None:
        self.sensors: list[StorageSensor] = []
        self.fills: list[Fill] = []

    def add(self, source: str, sensors: Iterable[StorageSensor], fills: Iterable[Fill] = ()) -> None:
        self.sensors += [replace(sensor, source=source) for sensor in sensors]
        self.fills += [replace(fill, source=source) for fill in fills]

    def take(self, source: str, outcome: Outcome[Any], nothing: Any, what: str = "") -> Any:
        """The outcome of a look, or *nothing* and a sensor that says why *what* (the whole source) is unknown."""
        failed = failure(outcome)
        if failed is None:
            return outcome
        self.add(source, [StorageSensor(what or source, Health.UNKNOWN, "", failed.reason, failed.remedy)])
        return nothing


def _exported(wanted: Wanted) -> Exported:
    return read_exported(wanted.driver, wanted.control_port, wanted.saved_config, wanted.seconds)


def _read_file_systems(wanted: Wanted) -> dict[str, Outcome[file_systems.FileSystem]]:
    """Each mount point once, with what it holds."""
    holds: dict[str, list[str]] = {}
    for path in dict.fromkeys(map(os.path.normpath, (*wanted.paths, *_exported(wanted).files))):
        holds.setdefault(file_systems.mount_of(path), []).append(path)
    looks = {mount: partial(file_systems.read_file_system, mount, paths) for mount, paths in holds.items()}
    return in_parallel(looks, wanted.seconds)
