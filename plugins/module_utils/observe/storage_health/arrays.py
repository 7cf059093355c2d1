# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's own RAID (md), read from sysfs (Documentation/admin-guide/md.rst in the kernel's source). No tool is needed."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from typing import Optional

from ...decide.storage_health.growth import in_words
from ...decide.storage_health.seen import Health, StorageSensor
from .tools import number, read_text

SYSFS = "/sys/block"
SECTOR = 512
DEAD = ("inactive", "clear", "broken")
REBUILDS = ("recover", "resync", "reshape")
SCRUBBED = ("raid4", "raid5", "raid6")  # a mirror may differ in blocks that nobody uses, such as those of a swap file


@dataclass(frozen=True)
class Array:
    """One array. ``degraded``: members that it lacks; ``failed``: members that it still lists as faulty; ``percent`` and ``finish``
    (seconds) of what ``action`` does now (idle, recover, resync, check, repair, reshape)."""

    name: str
    level: str
    state: str
    members: int
    degraded: int
    failed: tuple[str, ...]
    action: str
    percent: Optional[float]
    finish: Optional[float]
    mismatches: int


def read_arrays(sysfs: str = SYSFS) -> list[Array]:
    return [_array(os.path.basename(path), path + "/md") for path in sorted(glob.glob(sysfs + "/md*")) if os.path.isdir(path + "/md")]


def _array(name: str, path: str) -> Array:
    # "1234 / 5678" sectors, or none
    done, _slash, total = read_text(path + "/sync_completed").partition(" / ")
    speed = number(read_text(path + "/sync_speed"))  # KiB/s, or none
    percent = finish = None
    if done.isdigit() and total.isdigit() and int(total):
        percent = round(100.0 * int(done) / int(total), 1)
        if speed:
            finish = round((int(total) - int(done)) * SECTOR / (speed * 1024))
    states = {os.path.basename(os.path.dirname(entry)): read_text(entry) for entry in glob.glob(path + "/dev-*/state")}
    return Array(
        name=name,
        level=read_text(path + "/level"),
        state=read_text(path + "/array_state"),
        members=int(number(read_text(path + "/raid_disks")) or 0),
        degraded=int(number(read_text(path + "/degraded")) or 0),
        failed=tuple(sorted(member[len("dev-") :] for member, state in states.items() if "faulty" in state.split(","))),
        action=read_text(path + "/sync_action"),
        percent=percent,
        finish=finish,
        mismatches=int(number(read_text(path + "/mismatch_cnt")) or 0),
    )


def sensor(array: Array) -> StorageSensor:
    name = "array %s" % array.name
    reading = "%s, %d of %d members" % (array.level or "no level", array.members - array.degraded, array.members)
    if array.action not in ("", "idle", "frozen"):
        reading += ", %s" % array.action
        reading += "" if array.percent is None else " %.1f %%" % array.percent
        reading += "" if array.finish is None else ", ready in about %s" % in_words(array.finish)
    failed = " (failed: %s)" % ", ".join(array.failed) if array.failed else ""
    if array.state in DEAD:
        remedy = "see mdadm --detail /dev/%s and dmesg; mdadm --assemble --scan once its disks are back" % array.name
        return StorageSensor(name, Health.RED, reading, "it is %s: nothing on it can be read or written" % array.state, remedy)
    if array.degraded and array.action in REBUILDS:
        return StorageSensor(name, Health.YELLOW, reading, "it is being rebuilt%s; until then it is degraded" % failed, "wait")
    if array.degraded:
        remedy = "replace the disk: mdadm /dev/%s --remove failed, then --add the new one" % array.name
        text = "it lacks %d of %d members%s: the next disk to fail may take it" % (array.degraded, array.members, failed)
        return StorageSensor(name, Health.RED, reading, text, remedy)
    if array.failed:
        remedy = "mdadm /dev/%s --remove failed, and replace the disk" % array.name
        return StorageSensor(name, Health.YELLOW, reading, "a disk failed and a spare took its place%s" % failed, remedy)
    if array.action == "resync":
        return StorageSensor(name, Health.YELLOW, reading, "its members are not yet in sync", "wait")
    if array.mismatches and array.level in SCRUBBED:
        remedy = "echo repair >/sys/block/%s/md/sync_action, and look at its disks' SMART" % array.name
        return StorageSensor(name, Health.YELLOW, reading, "its last check found %d sectors that do not match" % array.mismatches, remedy)
    return StorageSensor(name, Health.GREEN, reading)
