# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's own RAID (md), read from sysfs (Documentation/admin-guide/md.rst in the kernel's source). No tool is needed.

A container of the firmware's RAID (IMSM, DDF) is listed like an array and is none: it has no redundancy, and is always inactive. Its arrays
are listed for themselves, and their metadata name it (``external:/md127/0``; with ``-`` for ``/`` while they are frozen).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ...decide.storage_health.growth import in_words
from ...decide.storage_health.sensors import Health, StorageSensor
from .tools import number, read_text

SYSFS = "/sys/block"
SECTOR = 512
DEAD = ("inactive", "clear", "broken")
STOPPED = {  # and not dead
    "suspended": ("it is suspended: everything that reads or writes on it waits", "see dmesg and mdadm --detail /dev/%s: who reshapes it?"),
    "readonly": ("it is read-only: every write to it fails", "see dmesg for the reason; then mdadm --readwrite /dev/%s"),
}
WORKING = ("clean", "active", "active-idle", "write-pending", "read-auto")  # read-auto: read-only until the first write, as after assembly
REBUILDS = ("recover", "resync", "reshape")
SCRUBBED = ("raid4", "raid5", "raid6")  # a mirror may differ in blocks that nobody uses, such as those of a swap file
_EXTERNAL = re.compile(r"external:(?:[/-](?P<of>[^/]+)/.*|(?P<kind>[^/-].*))")


@dataclass(frozen=True)
class Array:
    """One array. ``degraded``: members that it lacks; ``percent`` and ``finish`` (seconds) of what ``action`` does now (idle, recover,
    resync, check, repair, reshape).

    Members, by what the kernel says of them: ``failed`` ones are still listed; ``blocked`` ones keep writes waiting, since nobody has
    acknowledged what failed on them; ``with_errors``: a write error, or blocks known to be bad; ``replaced``: another one is wanted.
    """

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
    blocked: tuple[str, ...] = ()
    with_errors: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    journal_lost: bool = False  # it has one (RAID 4, 5, 6), which failed or is not there
    container: str = ""  # the kind of firmware RAID ("imsm") when it is a container and no array
    of_container: str = ""  # the container that it belongs to
    arrays: int = 0  # of a container: those that are started


def read_arrays(sysfs: str = SYSFS) -> list[Array]:
    paths = [path for path in sorted(glob.glob(sysfs + "/md*")) if os.path.isdir(path + "/md")]
    found = [_array(os.path.basename(path), path + "/md") for path in paths]
    return [replace(array, arrays=sum(other.of_container == array.name for other in found)) for array in found]


def _array(name: str, path: str) -> Array:
    # "1234 / 5678" sectors, or none
    done, _slash, total = read_text(path + "/sync_completed").partition(" / ")
    speed = number(read_text(path + "/sync_speed"))  # KiB/s, or none
    percent = finish = None
    if done.isdigit() and total.isdigit() and int(total):
        percent = round(100.0 * int(done) / int(total), 1)
        if speed:
            finish = round((int(total) - int(done)) * SECTOR / (speed * 1024))
    devices = {os.path.basename(device)[len("dev-") :]: device for device in sorted(glob.glob(path + "/dev-*"))}
    states = {member: frozenset(read_text(device + "/state").split(",")) for member, device in devices.items()}
    failed = tuple(member for member, state in states.items() if "faulty" in state and "in_sync" not in state)
    bad = [member for member, device in devices.items() if read_text(device + "/bad_blocks")]
    external = _EXTERNAL.fullmatch(read_text(path + "/metadata_version"))
    return Array(
        name=name,
        level=read_text(path + "/level"),
        state=read_text(path + "/array_state"),
        members=int(number(read_text(path + "/raid_disks")) or 0),
        degraded=int(number(read_text(path + "/degraded")) or 0),
        failed=tuple(member for member in failed if "journal" not in states[member]),
        action=read_text(path + "/sync_action"),
        percent=percent,
        finish=finish,
        mismatches=int(number(read_text(path + "/mismatch_cnt")) or 0),
        # "faulty" beside "in_sync": a block went bad, and that is not recorded yet
        blocked=tuple(member for member, state in states.items() if state & {"blocked", "faulty"} and member not in failed),
        with_errors=tuple(member for member, state in states.items() if member not in failed and ("write_error" in state or member in bad)),
        replaced=tuple(member for member, state in states.items() if "want_replacement" in state and member not in failed),
        journal_lost=_journal_lost(read_text(path + "/consistency_policy"), states),
        container=(external["kind"] or "") if external else "",
        of_container=(external["of"] or "") if external else "",
    )


def _journal_lost(policy: str, states: Mapping[str, frozenset[str]]) -> bool:
    journals = [state for state in states.values() if "journal" in state]
    return any("faulty" in state for state in journals) or (policy == "journal" and not journals)


def sensor(array: Array) -> StorageSensor:
    name = "array %s" % array.name
    if array.container:
        return _container(name, array)
    reading = _reading(array)
    if array.state not in (*DEAD, *STOPPED, *WORKING):
        reason = "its state is not known (%s)" % (array.state or "it cannot be read")
        return StorageSensor(name, Health.UNKNOWN, reading, reason, "see mdadm --detail /dev/%s" % array.name)
    red, yellow = _red(array), _yellow(array)
    found = red or yellow
    if not found:
        return StorageSensor(name, Health.GREEN, reading)
    reasons = "; ".join(reason for reason, _remedy in (*red, *yellow))
    return StorageSensor(name, Health.RED if red else Health.YELLOW, reading, reasons, found[0][1])


def _container(name: str, array: Array) -> StorageSensor:
    """It is watched by its arrays."""
    reading = "container of %s, %d of its arrays started" % (array.container, array.arrays)
    if array.arrays:
        return StorageSensor(name, Health.GREEN, reading)
    reason = "none of its arrays is started, so how they are is not known; it may hold nothing but spare disks"
    return StorageSensor(
        name, Health.UNKNOWN, reading, reason, "see mdadm --examine of its disks; mdadm --incremental /dev/%s" % array.name
    )


def _reading(array: Array) -> str:
    reading = "%s, %d of %d members" % (array.level or "no level", array.members - array.degraded, array.members)
    if array.state == "read-auto":
        reading += ", read-only until the first write"
    if array.action not in ("", "idle", "frozen"):
        reading += ", %s" % array.action
        reading += "" if array.percent is None else " %.1f %%" % array.percent
        reading += "" if array.finish is None else ", ready in about %s" % in_words(array.finish)
    return reading


def _red(array: Array) -> Sequence[tuple[str, str]]:
    """What is wrong at once, with what to do, the worst first."""
    if array.state in DEAD:
        remedy = "see mdadm --detail /dev/%s and dmesg; mdadm --assemble --scan once its disks are back" % array.name
        return [("it is %s: nothing on it can be read or written" % array.state, remedy)]
    found = []
    if array.journal_lost:
        remedy = "move its VMs away or stop them; then mdadm --readonly /dev/%s, and --add-journal a new one" % array.name
        found.append(("its journal failed or is missing: it takes no more writes", remedy))
    if array.state in STOPPED:
        reason, remedy = STOPPED[array.state]
        found.append((reason, remedy % array.name))
    if array.blocked:
        remedy = "see dmesg; with firmware RAID see whether mdmon runs for it"
        found.append(("writes wait until a failure on %s is acknowledged" % ", ".join(array.blocked), remedy))
    if array.degraded and array.action not in REBUILDS:
        remedy = "replace the disk: mdadm /dev/%s --remove failed, then --add the new one" % array.name
        text = "it lacks %d of %d members%s: the next disk to fail may take it" % (array.degraded, array.members, _failed(array))
        found.append((text, remedy))
    return found


def _yellow(array: Array) -> Sequence[tuple[str, str]]:
    """What is less than it should be, or will be wrong."""
    found = []
    if array.degraded and array.action in REBUILDS:
        found.append(("it is being rebuilt%s; until then it is degraded" % _failed(array), "wait"))
    elif array.failed and not array.degraded:
        remedy = "mdadm /dev/%s --remove failed, and replace the disk" % array.name
        found.append(("a disk failed and a spare took its place%s" % _failed(array), remedy))
    elif array.action == "resync" and array.state not in DEAD:
        found.append(("its members are not yet in sync", "wait"))
    if array.with_errors:
        remedy = "look at its SMART, and replace it: --add a new one, then mdadm /dev/%s --replace it" % array.name
        found.append(("%s had write errors or has bad blocks" % ", ".join(array.with_errors), remedy))
    if array.replaced and not array.degraded:
        remedy = (
            "wait until it is replaced" if array.action in REBUILDS else "mdadm /dev/%s --add a new disk to take its place" % array.name
        )
        found.append(("%s is to be replaced" % ", ".join(array.replaced), remedy))
    if array.mismatches and array.level in SCRUBBED:
        remedy = "echo repair >/sys/block/%s/md/sync_action, and look at its disks' SMART" % array.name
        found.append(("its last check found %d sectors that do not match" % array.mismatches, remedy))
    return found


def _failed(array: Array) -> str:
    return " (failed: %s)" % ", ".join(array.failed) if array.failed else ""
