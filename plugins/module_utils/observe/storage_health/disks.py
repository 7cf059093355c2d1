# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disks' own opinion of themselves: SMART, by smartctl (since 7.0, ``--json``).

``smartctl --scan-open`` also finds the disks behind RAID controllers that it knows. A disk of the kernel that it does not find, a
virtual one for instance, is not in order for that: it is unknown. Disks that sleep are not woken (``-n standby``).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from ...decide.storage_health.seen import Health, StorageSensor
from ..parallel import in_parallel
from .tools import CannotTell, ask, failure, number, read_json

SCAN = ("smartctl", "--json", "--scan-open")
# Bits of smartctl's exit status (smartctl(8)): the others are about the disk and are in the report. By itself it ends for a disk that
# sleeps as for one that cannot be opened, and says which only in words that JSON leaves out; so it is given a status for it.
BAD_CALL, NOT_OPENED = 1, 2
SLEEPS = BAD_CALL | NOT_OPENED  # smartctl never sets both
LOOK = ("smartctl", "--json", "--nocheck", "standby,%d" % SLEEPS, "--info", "--health", "--attributes")
REPLACE = "replace it soon; see smartctl -x %s"
COUNTED = {5: "reallocated", 197: "pending", 198: "uncorrectable"}  # ATA attributes, sectors
CRITICAL = {  # NVMe base specification, "critical warning" of the SMART log
    1: "its spare blocks run out",
    2: "it is too hot or too cold",
    4: "it has become unreliable",
    8: "it is read-only",
    16: "its write cache's power backup failed",
    32: "its persistent memory is unreliable",
}


@dataclass(frozen=True)
class Disk:
    """One disk as smartctl tells it; None where it does not. Temperatures in degrees Celsius."""

    name: str
    model: str = ""
    serial: str = ""
    passed: Optional[bool] = None
    critical_warning: Optional[int] = None
    wear: Optional[float] = None  # percent of the rated writes
    spare: Optional[float] = None  # percent
    media_errors: Optional[int] = None
    reallocated: Optional[int] = None  # sectors
    pending: Optional[int] = None
    uncorrectable: Optional[int] = None
    temperature: Optional[int] = None
    temperature_limit: Optional[int] = None
    standby: bool = False
    unknown: str = ""  # why nothing is known of it
    remedy: str = ""


def read_disks(seconds: float) -> list[Disk]:
    """All disks, read at the same time. Raises CannotTell when smartctl cannot be used at all; then no disk is known."""
    there = kernel_disks()
    if not there:
        return []
    answer = ask(SCAN, seconds)
    report = read_json("smartctl", answer.out)
    try:
        devices = [(str(device["name"]), str(device["type"])) for device in report.get("devices") or () if "open_error" not in device]
    except (KeyError, TypeError):
        raise CannotTell("the list of smartctl --scan-open cannot be understood", "update the package smartmontools") from None
    looks = {device: partial(_look, *device, seconds) for device in devices}
    outcomes = in_parallel(looks, seconds + 1.0)
    found = [_outcome(name, kind, outcomes[name, kind]) for name, kind in devices]
    return found + [_unseen(name) for name in there if not any(_is(name, device) for device, _kind in devices)]


def kernel_disks() -> list[str]:
    """The disks that the kernel has, without what only looks like one (loop devices, volumes, arrays, optical drives, LUNs of others)."""
    names = [os.path.basename(os.path.dirname(path)) for path in glob.glob("/sys/block/*/device")]
    return sorted("/dev/" + name for name in names if not name.startswith(("sr", "fd", "nbd")) and not _from_a_network(name))


def _from_a_network(name: str) -> bool:
    return "/session" in os.path.realpath("/sys/block/%s/device" % name)  # of iscsi_tcp: its server looks after it


def _is(disk: str, device: str) -> bool:
    """smartctl names an NVMe controller (/dev/nvme0), the kernel its namespaces (/dev/nvme0n1)."""
    return disk == device or (device.startswith("/dev/nvme") and disk.startswith(device + "n"))


def _unseen(name: str) -> Disk:
    virtual = name.startswith(("/dev/vd", "/dev/xvd"))
    reason = "a virtual disk has no SMART" if virtual else "smartctl does not find it"
    remedy = "watch the disks of the machine below" if virtual else "see smartctl --scan-open and the tool of its controller's vendor"
    return Disk(name, unknown=reason, remedy=remedy)


def _look(name: str, kind: str, seconds: float) -> Disk:
    answer = ask((*LOOK, "--device", kind, name), seconds)
    return read_disk(label(name, kind), answer.status, read_json("smartctl", answer.out))


def label(name: str, kind: str) -> str:
    """Disks behind one controller share its device: "/dev/bus/0 megaraid,3"."""
    return "%s %s" % (name, kind) if "," in kind else name


def _outcome(name: str, kind: str, outcome: Any) -> Disk:
    failed = failure(outcome)
    return outcome if failed is None else Disk(label(name, kind), unknown=failed.reason, remedy=failed.remedy)


def read_disk(name: str, status: int, report: Mapping[str, Any]) -> Disk:
    """One report of smartctl; what it does not say, or says in a form that nobody foresaw, is not known."""
    said = "; ".join(str(line.get("string", "")) for line in _listed(_part(report, "smartctl"), "messages"))
    if status == SLEEPS:
        return Disk(name, standby=True, unknown="it sleeps, and is not woken to be asked")
    if status & (BAD_CALL | NOT_OPENED):
        return Disk(name, unknown=said or "smartctl ended with %d" % status, remedy="run smartctl -x %s there" % name)
    nvme = _part(report, "nvme_smart_health_information_log")
    attributes = {entry.get("id"): entry for entry in _listed(_part(report, "ata_smart_attributes"), "table")}
    sectors = {word: _whole(_part(attributes.get(number_of), "raw").get("value")) for number_of, word in COUNTED.items()}
    temperature = _part(report, "temperature")
    passed = _part(report, "smart_status").get("passed")
    return Disk(
        name=name,
        model=str(report.get("model_name") or report.get("scsi_model_name") or ""),
        serial=str(report.get("serial_number") or ""),
        passed=passed if isinstance(passed, bool) else None,
        critical_warning=_whole(nvme.get("critical_warning")),
        wear=_first(number(nvme.get("percentage_used")), number(report.get("scsi_percentage_used_endurance_indicator"))),
        spare=number(nvme.get("available_spare")),
        media_errors=_whole(nvme.get("media_errors")),
        reallocated=_first(sectors["reallocated"], _whole(report.get("scsi_grown_defect_list"))),
        pending=sectors["pending"],
        uncorrectable=sectors["uncorrectable"],
        temperature=_whole(temperature.get("current")),
        temperature_limit=_first(
            *(_whole(temperature.get(key)) for key in ("op_limit_max", "limit_max", "drive_trip")), _whole(_limit(report))
        ),
        unknown="" if isinstance(passed, bool) or nvme else "it gives no SMART (%s)" % (said or "a virtual disk, or behind a controller"),
        remedy="" if isinstance(passed, bool) or nvme else "see smartctl --scan-open and the tool of its controller's vendor",
    )


def _limit(report: Mapping[str, Any]) -> Any:
    return _part(report, "nvme_composite_temperature_threshold").get("warning")


def _part(report: Any, key: str) -> Mapping[str, Any]:
    value = report.get(key) if isinstance(report, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _listed(report: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = report.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def sensor(disk: Disk) -> StorageSensor:
    """Its state; how worn is too worn is the policy's."""
    name = "disk %s" % disk.name
    if disk.unknown:
        return StorageSensor(name, Health.UNKNOWN, "", disk.unknown, disk.remedy)
    parts = [disk.model, "" if disk.temperature is None else "%d degrees" % disk.temperature]
    parts += ["" if disk.wear is None else "%g %% worn" % disk.wear]
    counts = [(word, getattr(disk, word)) for word in COUNTED.values()] + [("media errors", disk.media_errors)]
    parts += ["%d %s" % (count, word) for word, count in counts if count]
    reading = ", ".join(filter(None, parts))
    red = ["its own judgement is that it fails"] if disk.passed is False else []
    red += _warnings(disk.critical_warning)
    yellow = ["%d %s" % (count, word if word == "media errors" else word + " sectors") for word, count in counts if count]
    if disk.temperature is not None and disk.temperature_limit and disk.temperature >= disk.temperature_limit:
        yellow.append("%d degrees, its limit is %d" % (disk.temperature, disk.temperature_limit))
    health = Health.RED if red else Health.YELLOW if yellow else Health.GREEN
    remedy = "" if health is Health.GREEN else REPLACE % disk.name.partition(" ")[0]
    return StorageSensor(name, health, reading, "; ".join((*red, *yellow)), remedy, wear=disk.wear)


def _warnings(bits: int | None) -> Sequence[str]:
    return [text for bit, text in CRITICAL.items() if (bits or 0) & bit]
