# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disks' own opinion of themselves: SMART, by smartctl (since 7.0, ``--json``).

``smartctl --scan-open`` also finds the disks behind RAID controllers that it knows. A disk of the kernel that it does not find, a
virtual one for instance, is not in order for that: it is unknown. Disks that sleep are not woken (``-n standby``).

**Attributes of ATA are the vendor's.** What one counts says its name in smartctl's database of drives, and not its number: 197 is the
pending sectors of most disks, and of others a count of flash errors. So a number is judged only under a name that agrees. The first number
of the printed raw value counts: of the six raw bytes smartctl prints what the database says ("8 (0 3)").

**Wear** in percent of the rated writes is the first of these that there is: NVMe's and SCSI's own figure; the ATA device statistics
("Percentage Used Endurance Indicator", ACS-3), with ``--log ssd``; ``endurance_used``, smartctl's own summary since 7.5; vendor attributes,
by name, and only where the drive is in the database, since smartctl gives the usual names to the attributes of all others.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from ...decide.storage_health.sensors import Health, StorageSensor
from ...parallel import in_parallel
from .tools import CannotTell, ask, failure, number, read_json

SCAN = ("smartctl", "--json", "--scan-open")
# Bits of smartctl's exit status (smartctl(8), "EXIT STATUS"). By itself it ends for a disk that
# sleeps as for one that cannot be opened, and says which only in words that JSON leaves out; so it is given a status for it.
BAD_CALL, NOT_OPENED, PARTLY, FAILING, BELOW_THRESHOLD = 1, 2, 4, 8, 16
SLEEPS = BAD_CALL | NOT_OPENED  # smartctl never sets both
LOOK = ("smartctl", "--json", "--nocheck", "standby,%d" % SLEEPS, "--info", "--health", "--attributes", "--log", "ssd")
REPLACE = "replace it soon; see smartctl -x %s"
COUNTED = {  # ATA attributes that count sectors, by number, with the names that mean that (drivedb.h of smartmontools)
    5: ("reallocated", re.compile(r"Realloc", re.IGNORECASE)),
    197: ("pending", re.compile(r"Pending_Sector", re.IGNORECASE)),
    198: ("uncorrectable", re.compile(r"Offline_U|Uncorrectab", re.IGNORECASE)),
}
# Names of attributes that tell wear (drivedb.h). Of what is used the raw value counts; of what is left the normalized one, which goes down
# from 100. Those of spare blocks, of capacitors, and of wear since some moment are other things.
LIFE_USED = frozenset(("Drive_Life_Used%", "DriveLife_Used%", "Perc_Rated_Life_Used", "Percent_Life_Used", "Percent_Lifetime_Used"))
LIFE_LEFT = frozenset(
    (
        *("Drive_Life_Remaining%", "DriveLife_Remaining%", "Life_Remaining_Percent", "Lifetime_Left", "Lifetime_Remaining%"),
        *("PCT_Life_Remaining", "Perc_Rated_Life_Remain", "Percent_Life_Remaining", "Percent_Lifetime_Remain", "Remaining_Life"),
        *("Remaining_Lifetime_Perc", "SSD_Life_Left", "SSD_Life_Left_Perc", "SSD_LifeLeft", "SSD_Remaining_Life_Perc"),
        "Sys_Percent_Life_Remain",
    )
)
WEAR_LEFT = frozenset(("Media_Wearout_Indicator", "Wear_Leveling_Count"))
ENDURANCE = "Percentage Used Endurance Indicator"
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
    failing: tuple[str, ...] = ()  # attributes that are at or below their threshold, and foretell a failure
    aged: tuple[str, ...] = ()  # those that are at or below it, and tell of age or use
    partly: str = ""  # what smartctl said when it could not read all
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
        listed = [(str(device["name"]), str(device["type"]), str(device.get("open_error", ""))) for device in report.get("devices") or ()]
    except (AttributeError, KeyError, TypeError):
        raise CannotTell("the list of smartctl --scan-open cannot be understood", "update the package smartmontools") from None
    said = "; ".join(str(line.get("string", "")) for line in _listed(_part(report, "smartctl"), "messages"))
    if answer.status & (BAD_CALL | NOT_OPENED) and not listed:
        raise CannotTell("smartctl --scan-open ended with %d: %s" % (answer.status, said or answer.words), "run it there by hand")
    looks = {(name, kind): partial(_look, name, kind, seconds) for name, kind, closed in listed if not closed}
    outcomes = in_parallel(looks, seconds + 1.0)
    found = [_closed(name, kind, why) if why else _outcome(name, kind, outcomes[name, kind]) for name, kind, why in listed]
    return found + [_unseen(name) for name in there if not any(_is(name, device) for device, _kind, _why in listed)]


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


def _closed(name: str, kind: str, why: str) -> Disk:
    """One that the scan found and could not open."""
    return Disk(label(name, kind), unknown="smartctl cannot open it: %s" % why, remedy="see smartctl -i --device %s %s" % (kind, name))


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
    """One report of smartctl, with the *status* that it ended with; what it does not say, or says in a form that nobody foresaw, is not
    known. What it says counts though it could not say all."""
    if status == SLEEPS:
        return Disk(name, standby=True, unknown="it sleeps, and is not woken to be asked")
    nvme = _part(report, "nvme_smart_health_information_log")
    table = _listed(_part(report, "ata_smart_attributes"), "table")
    said = "; ".join(filter(None, (str(line.get("string", "")) for line in _listed(_part(report, "smartctl"), "messages"))))
    passed = _passed(report, status)
    if passed is None and not nvme:
        if status & (BAD_CALL | NOT_OPENED):
            return Disk(name, unknown=said or "smartctl ended with %d" % status, remedy="run smartctl -x %s there" % name)
        remedy = "see smartctl --scan-open and the tool of its controller's vendor"
        return Disk(name, unknown="it gives no SMART (%s)" % (said or "a virtual disk, or behind a controller"), remedy=remedy)
    temperature = _part(report, "temperature")
    now = [(str(entry.get("name")), _part(entry, "flags").get("prefailure")) for entry in table if entry.get("when_failed") == "now"]
    failing = tuple(attribute for attribute, prefailure in now if prefailure is not False)
    unnamed = ("an attribute that it does not name",) if status & BELOW_THRESHOLD and not failing else ()
    return Disk(
        name=name,
        model=str(report.get("model_name") or report.get("scsi_model_name") or ""),
        serial=str(report.get("serial_number") or ""),
        passed=passed,
        critical_warning=_whole(nvme.get("critical_warning")),
        wear=_wear(report, nvme, table),
        spare=number(nvme.get("available_spare")),
        media_errors=_whole(nvme.get("media_errors")),
        reallocated=_first(_sectors(table, 5), _whole(report.get("scsi_grown_defect_list"))),
        pending=_sectors(table, 197),
        uncorrectable=_sectors(table, 198),
        temperature=_whole(temperature.get("current")),
        temperature_limit=_first(
            *(_whole(temperature.get(key)) for key in ("op_limit_max", "limit_max", "drive_trip")), _whole(_limit(report))
        ),
        failing=failing + unnamed,
        aged=tuple(attribute for attribute, prefailure in now if prefailure is False),
        partly="smartctl ended with %d: %s" % (status, said) if status & (BAD_CALL | NOT_OPENED | PARTLY) and said else "",
    )


def _passed(report: Mapping[str, Any], status: int) -> bool | None:
    """The disk's own judgement, in the report or in the status."""
    passed = _part(report, "smart_status").get("passed")
    return False if status & FAILING else passed if isinstance(passed, bool) else None


def _sectors(table: Sequence[Mapping[str, Any]], wanted: int) -> int | None:
    """The count of an attribute, where its name says that it is one of sectors."""
    for entry in table:
        if entry.get("id") == wanted and COUNTED[wanted][1].search(str(entry.get("name"))):
            return _raw(entry)
    return None


def _raw(entry: Mapping[str, Any]) -> int | None:
    raw = _part(entry, "raw")
    printed = re.match(r"\s*(\d+)\b", str(raw.get("string", "")))
    return int(printed.group(1)) if printed else _whole(raw.get("value"))


def _wear(report: Mapping[str, Any], nvme: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> float | None:
    statistics = [entry for page in _listed(_part(report, "ata_device_statistics"), "pages") for entry in _listed(page, "table")]
    return _first(
        number(nvme.get("percentage_used")),
        number(report.get("scsi_percentage_used_endurance_indicator")),
        *(number(entry.get("value")) for entry in statistics if entry.get("name") == ENDURANCE),
        number(_part(report, "endurance_used").get("current_percent")),
        _wear_by_name(table) if report.get("in_smartctl_database") is True else None,
    )


def _wear_by_name(table: Sequence[Mapping[str, Any]]) -> float | None:
    """The most worn of what the best names tell."""
    for names, used in ((LIFE_USED, _raw), (LIFE_LEFT, _used_of_left), (WEAR_LEFT, _used_of_left)):
        found = [used(entry) for entry in table if entry.get("name") in names]
        known = [percent for percent in found if percent is not None and percent <= 255]
        if known:
            return float(max(known))
    return None


def _used_of_left(entry: Mapping[str, Any]) -> int | None:
    """From the normalized value; 0 is what some drives tell that do not use it."""
    left = _whole(entry.get("value"))
    return max(0, 100 - left) if left else None


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
    counts = [(word, getattr(disk, word)) for word, _names in COUNTED.values()] + [("media errors", disk.media_errors)]
    parts += ["%d %s" % (count, word) for word, count in counts if count]
    reading = ", ".join(filter(None, (*parts, disk.partly)))
    red = ["its own judgement is that it fails"] if disk.passed is False else []
    red += ["%s is at or below its threshold: it is failing" % attribute for attribute in disk.failing]
    red += _warnings(disk.critical_warning)
    yellow = ["%d %s" % (count, word if word == "media errors" else word + " sectors") for word, count in counts if count]
    yellow += ["%s is at or below its threshold" % attribute for attribute in disk.aged]
    if disk.temperature is not None and disk.temperature_limit and disk.temperature >= disk.temperature_limit:
        yellow.append("%d degrees, its limit is %d" % (disk.temperature, disk.temperature_limit))
    health = Health.RED if red else Health.YELLOW if yellow else Health.GREEN
    remedy = "" if health is Health.GREEN else REPLACE % disk.name.partition(" ")[0]
    return StorageSensor(name, health, reading, "; ".join((*red, *yellow)), remedy, wear=disk.wear)


def _warnings(bits: int | None) -> Sequence[str]:
    return [text for bit, text in CRITICAL.items() if (bits or 0) & bit]
