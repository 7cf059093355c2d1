# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the health of this storage server: everything at the same time, nothing waited for longer than its limit.

Whatever cannot be read is a sensor that is unknown, with the reason and the remedy: a missing tool must neither end a run of the monitor nor
look like good news.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ... import clock
from ...decide.json_form import to_dict
from ...decide.storage_health.seen import Fill, Health, StorageHealth, StorageSensor
from ..parallel import Late, Outcome, Raised, in_parallel
from . import arrays, disks, file_systems, lvm
from .tools import CannotTell

SLACK = 1.0  # s for the threads' own work


@dataclass(frozen=True)
class Wanted:
    """``paths``: what lies on file systems that must not fill up; ``seconds``: the limit of each tool."""

    name: str
    paths: tuple[str, ...]
    driver: str
    control_port: int
    smart: bool
    seconds: float


def look(wanted: Wanted) -> dict[str, Any]:
    """The JSON form of a StorageHealth, with all that it was made from beside it (``figures``)."""
    taken_at = clock.now()
    seconds = wanted.seconds
    looks: dict[str, Callable[[], Any]] = {
        "LVM": partial(lvm.read_lvm, seconds),
        "software RAID": arrays.read_arrays,
        "file systems": partial(_read_file_systems, wanted),
    }
    if wanted.smart:
        looks["disks"] = partial(disks.read_disks, seconds)
    outcomes = in_parallel(looks, 2 * (seconds + SLACK) + SLACK)
    found = _Found()
    volumes = found.take("LVM", outcomes, lvm.Lvm())
    found.sensors += lvm.sensors(volumes)
    found.fills += lvm.fills(volumes)
    members = found.take("software RAID", outcomes, [])
    found.sensors += [arrays.sensor(array) for array in members]
    systems = []
    for mount, outcome in found.take("file systems", outcomes, {}).items():
        system = found.take("file system %s" % mount, {"file system %s" % mount: outcome}, None)
        if system is not None:
            systems.append(system)
            found.fills += file_systems.fills(system)
    read = None
    smart: list[disks.Disk] = []
    if wanted.smart:
        before = len(found.sensors)
        smart = found.take("disks", outcomes, [])
        read = (*found.sensors[before:], *(disks.sensor(disk) for disk in smart))
        del found.sensors[before:]
    health = StorageHealth(wanted.name, taken_at, tuple(found.sensors), tuple(found.fills), read)
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

    def take(self, what: str, outcomes: Mapping[str, Outcome[Any]], nothing: Any) -> Any:
        """The outcome of a look, or *nothing* and a sensor that says why. Raises what is a defect."""
        outcome = outcomes[what]
        if isinstance(outcome, Late):
            reason = "it was not read within %g s" % outcome.after
            self.sensors.append(StorageSensor(what, Health.UNKNOWN, "", reason, "see dmesg: a disk that does not answer may hold it up"))
            return nothing
        if isinstance(outcome, Raised):
            error = outcome.error
            if not isinstance(error, CannotTell):
                raise error
            self.sensors.append(StorageSensor(what, Health.UNKNOWN, "", error.reason, error.remedy))
            return nothing
        return outcome


def _read_file_systems(wanted: Wanted) -> dict[str, Outcome[file_systems.FileSystem]]:
    """Each mount point once, with what it holds."""
    holds: dict[str, list[str]] = {}
    for path in _places(wanted):
        holds.setdefault(file_systems.mount_of(path), []).append(path)
    looks = {mount: partial(file_systems.read_file_system, mount, paths) for mount, paths in holds.items()}
    return in_parallel(looks, wanted.seconds)


def _places(wanted: Wanted) -> Sequence[str]:
    exported = file_systems.exported_files(wanted.driver, wanted.control_port, wanted.seconds)
    return list(dict.fromkeys(os.path.normpath(path) for path in (*wanted.paths, *exported)))
