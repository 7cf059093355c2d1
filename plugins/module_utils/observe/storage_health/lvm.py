# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LVM as lvs reports it: thin pools, snapshots, RAID volumes, and the room left in volume groups.

Everything comes from one call of lvs (lvs(8), ``--reportformat json``, since LVM 2.02.158) and one of lvmconfig. Found on LVM 2.03 and
relied upon here: fields that do not apply to a volume are empty or "unknown"; a snapshot that overflowed has ``lv_snapshot_invalid``
"snapshot invalid"; a pool's ``lv_health_status`` is failed, out_of_data or metadata_read_only, and empty while it is well.

What a volume *is* says the first letter of ``lv_attr`` (lvs(8)). That it has an ``origin`` says nothing: the live volume above a cache or a
writecache has one, and so have RAID images with integrity. A command that destroys is in a remedy only for a snapshot of which it was
seen that nobody has it open and no target exports it, now or after its next start.

lvs ends with 5 when it could not process all, such as a volume group of a cluster or with a damaged header. What it printed is used then,
and what it said is a sensor beside it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from ...decide.storage_health.sensors import Fill, FillKind, Health, StorageSensor, in_units
from ...parallel import in_parallel
from .tools import CannotTell, ask, failure, installed, number, read_json, read_text

FIELDS = (
    "lv_full_name,vg_name,lv_name,lv_attr,lv_path,lv_dm_path,lv_device_open,segtype,lv_size,lv_metadata_size,"
    "data_percent,metadata_percent,sync_percent,raid_mismatch_count,"
    "lv_health_status,lv_check_needed,lv_snapshot_invalid,lv_when_full,pool_lv,origin,seg_monitor,lv_profile,vg_size,vg_free,"
    "vg_missing_pv_count"
)
LVS = ("lvs", "--all", "--reportformat", "json", "--units", "b", "--nosuffix", "--options", FIELDS)
SOURCE = "LVM"  # as look.py names it
SETTINGS = ("thin_pool_autoextend_threshold", "thin_pool_autoextend_percent")
LVMCONFIG = ("lvmconfig", "--typeconfig", "full", *("activation/" + name for name in SETTINGS))
LATE_BY = 5.0  # percentage points above the threshold at which automatic extension evidently does not work
BY_HAND = "run the task as root (become: true), and lvs by hand"
POOL_STATES = {
    "failed": "it failed",
    "out_of_data": "it has no room left: writes to its volumes wait, and then fail",
    "metadata_read_only": "its metadata is read-only: nothing new can be written",
}


@dataclass(frozen=True)
class ThinPool:
    """Sizes in bytes. ``percent`` is None while it is not active, ``autoextend`` (its threshold in percent) where it is not set up."""

    name: str
    group: str
    size: int
    percent: Optional[float]
    metadata_size: int
    metadata_percent: Optional[float]
    state: str  # of the kernel's pool; "" while it is well
    virtual_size: int  # of all its volumes and thin snapshots
    autoextend: Optional[float]
    when_full: str  # queue: writes wait for a minute, then fail; error: they fail at once


@dataclass(frozen=True)
class Snapshot:
    """A classic copy-on-write snapshot. ``paths``: those of its device, also where a link leads to."""

    name: str
    origin: str
    size: int
    percent: Optional[float]
    invalid: bool
    merging: bool = False  # into its origin
    open: bool = False
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class RaidVolume:
    name: str
    type: str
    state: str  # partial, refresh needed, mismatches exist, ...; "" while it is well
    sync_percent: Optional[float]
    mismatches: int


@dataclass(frozen=True)
class VolumeGroup:
    name: str
    size: int
    free: int
    missing: int  # physical volumes that cannot be found


@dataclass(frozen=True)
class Lvm:
    pools: tuple[ThinPool, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    raids: tuple[RaidVolume, ...] = ()
    groups: tuple[VolumeGroup, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()  # other volumes, with their state
    skipped: str = ""  # what lvs said when it could not process all


def read_lvm(seconds: float) -> Lvm:
    """What LVM has here; nothing where no LVM volume is active and lvs is not installed. Raises CannotTell."""
    if installed("lvs") is None and not any(read_text(path).startswith("LVM-") for path in glob.glob("/sys/block/dm-*/dm/uuid")):
        return Lvm()
    outcomes = in_parallel({"lvs": lambda: _volumes(seconds), "lvmconfig": lambda: _settings(seconds)}, seconds + 1.0)
    volumes: Any = outcomes["lvs"]
    settings: Any = outcomes["lvmconfig"]
    failed = failure(volumes)
    if failed is not None:
        raise failed
    rows, skipped = volumes
    return replace(sort_out(rows, {} if failure(settings) else settings), skipped=skipped)


def _volumes(seconds: float) -> tuple[Any, str]:
    """lvs' rows, and what it said when they are not all."""
    answer = ask(LVS, seconds)
    said = "" if answer.status == 0 else "lvs ended with %d: %s" % (answer.status, answer.words)
    try:
        rows = read_json("lvs", answer.out)["report"][0]["lv"]
    except CannotTell:
        if said:
            raise CannotTell(said, BY_HAND) from None
        raise
    except (KeyError, IndexError, TypeError):
        raise CannotTell(said or "the report of lvs has no list of volumes", BY_HAND if said else "update the package lvm2") from None
    return rows, said


def _settings(seconds: float) -> Any:
    """Without them automatic extension counts as not set up: the alarm comes earlier, not later."""
    pairs = [line.partition("=") for line in ask(LVMCONFIG, seconds).out.splitlines()]
    return {key.strip(): value.strip() for key, _sign, value in pairs if key.strip() in SETTINGS}


def sort_out(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, str]) -> Lvm:
    """lvs' rows, one for each segment of a volume, as values. Raises CannotTell where a row is none."""
    try:
        volumes = {row["lv_full_name"]: row for row in reversed(list(rows))}
        groups = {row["vg_name"]: _group(row) for row in volumes.values()}
        kinds = {name: str(row["segtype"]) for name, row in volumes.items()}
        pools = [_pool(row, volumes.values(), settings) for name, row in volumes.items() if kinds[name] == "thin-pool"]
        snapshots = [_snapshot(row) for row in volumes.values() if row["lv_attr"][:1] in ("s", "S")]
        raids = [_raid(row) for name, row in volumes.items() if kinds[name].startswith("raid")]
        named = {item.name for item in pools} | {item.name for item in snapshots} | {item.name for item in raids}
        broken = [(name, row["lv_health_status"]) for name, row in volumes.items() if row["lv_health_status"] and name not in named]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CannotTell("the report of lvs cannot be understood (%s)" % error, "update the package lvm2") from None
    return Lvm(
        tuple(sorted(pools, key=lambda item: item.name)),
        tuple(sorted(snapshots, key=lambda item: item.name)),
        tuple(sorted(raids, key=lambda item: item.name)),
        tuple(sorted(groups.values(), key=lambda item: item.name)),
        tuple(sorted(broken)),
    )


def _group(row: Mapping[str, Any]) -> VolumeGroup:
    return VolumeGroup(row["vg_name"], int(row["vg_size"]), int(row["vg_free"]), int(number(row["vg_missing_pv_count"]) or 0))


def _pool(row: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]], settings: Mapping[str, str]) -> ThinPool:
    mine = [other for other in volumes if other["vg_name"] == row["vg_name"] and other["pool_lv"] == row["lv_name"].strip("[]")]
    threshold = number(settings.get("thin_pool_autoextend_threshold"))
    # A profile of the pool's own has other settings, which lvmconfig was not asked for.
    works = threshold is not None and threshold < 100 and row["seg_monitor"] == "monitored" and not row["lv_profile"]
    state = row["lv_health_status"]
    check = row["lv_check_needed"] == "check needed"
    return ThinPool(
        name=row["lv_full_name"],
        group=row["vg_name"],
        size=int(row["lv_size"]),
        percent=number(row["data_percent"]),
        metadata_size=int(number(row["lv_metadata_size"]) or 0),
        metadata_percent=number(row["metadata_percent"]),
        state=", ".join(filter(None, (state, "check needed" if check else ""))),
        virtual_size=sum(int(other["lv_size"]) for other in mine),
        autoextend=threshold if works else None,
        when_full=row["lv_when_full"],
    )


def _snapshot(row: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        row["lv_full_name"],
        row["origin"],
        int(row["lv_size"]),
        number(row["data_percent"]),
        row["lv_snapshot_invalid"] == "snapshot invalid",
        merging=row["lv_attr"].startswith("S"),
        open=row["lv_device_open"] == "open",
        paths=tuple(dict.fromkeys(one for path in (row["lv_path"], row["lv_dm_path"]) if path for one in (path, os.path.realpath(path)))),
    )


def _raid(row: Mapping[str, Any]) -> RaidVolume:
    mismatches = int(number(row["raid_mismatch_count"]) or 0)
    return RaidVolume(row["lv_full_name"], str(row["segtype"]), row["lv_health_status"], number(row["sync_percent"]), mismatches)


# -- as sensors and fills --------------------------------------------------------------------------------------------


def fills(found: Lvm, exported: frozenset[str] | None) -> list[Fill]:
    """What fills up: each pool's data and metadata, each snapshot that is still one. *exported*: see :func:`_removal`."""
    groups = {group.name: group for group in found.groups}
    filling = []
    for pool in found.pools:
        if pool.percent is not None:
            filling.append(_data(pool, groups[pool.group]))
        if pool.metadata_percent is not None and pool.metadata_size:
            used = pool.metadata_size * pool.metadata_percent / 100
            remedy = "lvextend --poolmetadatasize +64m %s" % pool.name
            filling.append(Fill("thin pool %s metadata" % pool.name, FillKind.THIN_METADATA, used, pool.metadata_size, remedy=remedy))
    for snapshot in found.snapshots:
        if snapshot.percent is not None and not snapshot.invalid:
            used = snapshot.size * snapshot.percent / 100
            remedy = "lvextend -l +50%%ORIGIN %s; %s" % (snapshot.name, _removal(snapshot, exported))
            filling.append(Fill("snapshot %s" % snapshot.name, FillKind.SNAPSHOT, used, snapshot.size, remedy=remedy))
    return filling


def _data(pool: ThinPool, group: VolumeGroup) -> Fill:
    percent = pool.percent or 0.0
    grows = pool.autoextend is not None and percent <= pool.autoextend + LATE_BY
    if pool.autoextend is None:
        note = "it is not extended automatically"
    elif grows:
        note = "it is extended automatically at %g %%" % pool.autoextend
    else:
        note = "it should have been extended automatically at %g %% and was not" % pool.autoextend
    note += ", %s left in %s" % (in_units(group.free), group.name)
    if pool.virtual_size > pool.size + group.free:
        note += ", and its volumes may grow to %s, more than both" % in_units(pool.virtual_size)
    remedy = "lvextend -l +50%%FREE %s" % pool.name
    if group.free < pool.size * 0.05:
        remedy = "add a disk (vgextend %s DISK), then %s" % (group.name, remedy)
    if not grows and pool.autoextend is not None:
        remedy += "; see why dmeventd did not (journalctl -u lvm2-monitor -u dm-event)"
    remedy += "; or free space: delete in the guests and let them trim (fstrim), or move a VM away"
    used = pool.size * percent / 100
    return Fill("thin pool %s data" % pool.name, FillKind.THIN_DATA, used, pool.size, float(group.free if grows else 0), note, remedy)


def _removal(snapshot: Snapshot, exported: frozenset[str] | None) -> str:
    """What to do with a snapshot that is in the way. *exported*: the paths of all that the target exports, None when that is not known."""
    if snapshot.merging:
        return "it is being merged into %s, wait" % snapshot.origin
    if exported is None:
        return "it could not be read what the target exports, so see that it is no LUN before you remove it"
    if exported.intersection(snapshot.paths):
        return "it is exported, so do not remove it: migrate its VMs and take its LUN out of the target first"
    if snapshot.open:
        return "something has it open, so do not remove it: see lsblk"
    return "no target exports it and nothing has it open: if nobody needs it, lvremove %s" % snapshot.name


def sensors(found: Lvm, exported: frozenset[str] | None) -> list[StorageSensor]:
    """The states; how full is too full is not asked here. *exported*: see :func:`_removal`."""
    result = (
        [StorageSensor(SOURCE, Health.UNKNOWN, "", "%s; what it skipped is not known" % found.skipped, BY_HAND)] if found.skipped else []
    )
    for group in found.groups:
        reading = "%s of %s free" % (in_units(group.free), in_units(group.size))
        name = "volume group %s" % group.name
        if group.missing:
            reason = "%d of its physical volumes cannot be found" % group.missing
            remedy = "see pvs and dmesg; bring the disk back, or repair the volumes (lvconvert --repair)"
            result.append(StorageSensor(name, Health.RED, reading, reason, remedy))
        else:
            result.append(StorageSensor(name, Health.GREEN, reading))
    for pool in found.pools:
        result.append(_pool_state(pool))
    for snapshot in found.snapshots:
        if snapshot.invalid:
            reason = "it overflowed and is lost; %s itself goes on" % snapshot.origin
            remedy = _removal(snapshot, exported)
            result.append(StorageSensor("snapshot %s" % snapshot.name, Health.YELLOW, "invalid", reason, remedy))
    result += [_raid_state(raid) for raid in found.raids]
    for name, state in found.broken:
        remedy = "see lvs -a -o +lv_health_status,devices, and dmesg"
        result.append(StorageSensor("volume %s" % name, Health.RED, state, "LVM reports it as %s" % state, remedy))
    return result


def _pool_state(pool: ThinPool) -> StorageSensor:
    name = "thin pool %s" % pool.name
    if pool.state:
        reasons = [POOL_STATES.get(part, "the kernel reports it as %s" % part) for part in pool.state.split(", ")]
        remedy = "lvextend it at once if it has no room; otherwise stop its VMs, deactivate it, and lvconvert --repair %s" % pool.name
        return StorageSensor(name, Health.RED, pool.state, "; ".join(reasons), remedy)
    if pool.percent is None:
        return StorageSensor(name, Health.UNKNOWN, "", "it is not active, so how full it is cannot be told", "lvchange -ay %s" % pool.name)
    return StorageSensor(name, Health.GREEN, "in order")


def _raid_state(raid: RaidVolume) -> StorageSensor:
    name = "RAID volume %s" % raid.name
    reading = raid.type + ("" if raid.sync_percent is None else ", %g %% in sync" % raid.sync_percent)
    if raid.state and not raid.state.startswith("mismatches"):
        remedy = "replace the disk, then lvconvert --repair %s (or lvchange --refresh, when it was only away)" % raid.name
        return StorageSensor(name, Health.RED, reading, "LVM reports it as %s: the next disk to fail may take it" % raid.state, remedy)
    if raid.sync_percent is not None and raid.sync_percent < 100:
        return StorageSensor(name, Health.YELLOW, reading, "it is being rebuilt", "wait until it is in sync")
    if raid.mismatches:
        remedy = "lvchange --syncaction repair %s" % raid.name
        return StorageSensor(name, Health.YELLOW, reading, "its copies differ in %d places" % raid.mismatches, remedy)
    return StorageSensor(name, Health.GREEN, reading)
