# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role iscsi_target: from its variables, and the disks and volumes that are there, to what is to be made, and what forbids it.

Pure: what the machine has was read by layout_reading.py, here it is judged. The rules, which the role promises to its user:

* a disk becomes a physical volume only when it is empty: not mounted, no partitions, no signature of anything, in no other group;
* nothing is made smaller, and nothing is taken out of a volume group;
* what is wanted must fit, before the first of it is made. Thin volumes fit into their pool times the overcommit that is allowed.

Every problem names the variable and the remedy.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..addresses import bare_host
from ..errors import LibrehaError
from .target.names import read_size

_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,120}")
_RESERVED = re.compile(r"snapshot.*|pvmove.*|\.|\.\.|.*_(cdata|cmeta|corig|mlog|mimage|rimage|rmeta|tdata|tmeta|vdata|vorigin|pmspare).*")
"""Names that lvm(8) keeps for itself."""
_LUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LABEL_BYTES = 1 << 20  # lvm's label and metadata at the start of each disk, as it aligns them by default
_EXTENT_BYTES = 4 << 20
_CHUNK_BYTES, _CHUNK_ENTRY_BYTES = 64 << 10, 64  # lvmthin(7): of a pool's metadata
_POOL_METADATA = (2 << 20, 128 << 20)  # the least, and the most that lvm takes by itself: beyond it takes larger chunks

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class Disk:
    """A block device as it was found; ``device`` is the kernel's name, "" when there is none. ``busy`` says in words who uses it."""

    device: str = ""
    size: int = 0
    busy: str = ""
    signature: str = ""


@dataclass(frozen=True)
class Group:
    """A volume group that is there. Sizes in bytes."""

    free: int
    extent: int
    disks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Volume:
    size: int
    pool: str = ""
    layout: str = "linear"  # as lvm has it: linear, thin,sparse, thin,pool, ...

    @property
    def is_pool(self) -> bool:
        return self.layout == "thin,pool"


@dataclass
class Found:
    """What is on the machine."""

    disks: dict[str, Disk] = field(default_factory=dict)  # by the path that the variables give
    groups: dict[str, Group] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # kernel's name of a physical volume -> group, "" for none
    volumes: dict[tuple[str, str], Volume] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    missing_kernel_modules: tuple[str, ...] = ()
    firewalld: bool = False


@dataclass
class Layout:
    problems: list[str] = field(default_factory=list)
    volume_groups: list[dict[str, Any]] = field(default_factory=list)
    thin_pools: list[dict[str, Any]] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)


def make_layout(wanted: Variables, found: Found) -> Layout:
    """*wanted* has the role's variables without their prefix, and ``lacking``: packages that are missing and may not be installed."""
    layout = Layout()
    described = {group["name"]: at for at, group in enumerate(wanted["volume_groups"])}
    need: dict[str, int] = {}
    thin: dict[str, int] = {}
    _own_disks(wanted, found, layout)
    for at, group in enumerate(wanted["volume_groups"]):
        _group(group, "iscsi_target_volume_groups[%d]" % at, found, layout)
        need[group["name"]] = _pool(group, "iscsi_target_volume_groups[%d].thin_pool" % at, found, layout)
    for at, lun in enumerate(wanted["luns"]):
        option = "iscsi_target_luns[%d]" % at
        places = [key for key in ("volume_group", "disk", "file") if lun.get(key)]
        if len(places) != 1:
            layout.problems.append("%s (%s) needs one of volume_group, disk and file, it has %d" % (option, lun["name"], len(places)))
        elif places == ["volume_group"]:
            _volume(lun, option, wanted["volume_groups"], described, found, layout, need, thin)
    for name, bytes_needed in need.items():
        _fits(name, bytes_needed, wanted["volume_groups"], described, found, layout)
    for at, group in enumerate(wanted["volume_groups"]):
        _overcommit(group, "iscsi_target_volume_groups[%d].thin_pool" % at, thin, wanted["thin_overcommit"], found, layout)
    _portals(wanted["portals"], found, layout)
    _around(wanted, found, layout)
    return layout


def _own_disks(wanted: Variables, found: Found, layout: Layout) -> None:
    """One disk under two names is one disk."""
    seen: dict[str, str] = {}
    named = [
        ("iscsi_target_volume_groups[%d].disks" % at, path) for at, group in enumerate(wanted["volume_groups"]) for path in group["disks"]
    ]
    named += [("iscsi_target_luns[%d].disk" % at, lun["disk"]) for at, lun in enumerate(wanted["luns"]) if lun.get("disk")]
    for option, path in named:
        device = found.disks.get(path, Disk()).device or path
        if device in seen:
            layout.problems.append("%s: %s is also in %s. Leave it in one of them" % (option, path, seen[device]))
        seen[device] = option


def _group(group: Variables, option: str, found: Found, layout: Layout) -> None:
    name = group["name"]
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        layout.problems.append("%s.name is %r, which lvm does not take. Use letters, digits and _.+-" % (option, name))
    there = found.groups.get(name)
    for path in group["disks"]:
        disk = found.disks.get(path, Disk())
        if not (there and disk.device in there.disks):
            problem = _not_empty(path, disk, found)
            if problem:
                layout.problems.append("%s.disks: %s" % (option, problem))
    if there and group["disks"] and not any(found.disks.get(path, Disk()).device in there.disks for path in group["disks"]):
        layout.problems.append(
            "%s: a volume group %s is there already, on other disks (%s). Name those, or give the group another name"
            % (option, name, ", ".join(sorted(there.disks)) or "none of which is present")
        )
    if there is None and not group["disks"]:
        layout.problems.append("%s: there is no volume group %s, and disks is empty. Name the disks to make it of" % (option, name))
    if group["disks"]:
        layout.volume_groups.append({"name": name, "disks": list(group["disks"])})


def _not_empty(path: str, disk: Disk, found: Found) -> str:
    """ "" for a disk that may become a physical volume."""
    if not disk.device:
        return "there is no block device %s. Correct the path; lsblk lists what there is" % path
    owner = found.owners.get(disk.device)
    if owner:
        return "%s belongs to the volume group %s. Take another disk, or free it (vgreduce) knowing what you do" % (path, owner)
    if disk.busy:
        return "%s is in use on this machine: %s. Take another disk, or free this one" % (path, disk.busy)
    if owner == "" or disk.signature:
        return (
            "%s is not empty, it carries %s. Take another disk, or wipe it (wipefs --all) knowing that its data is lost"
            % (path, disk.signature or "a physical volume of no group")
        )  # fmt: skip
    return ""


def _pool(group: Variables, option: str, found: Found, layout: Layout) -> int:
    """Bytes that the group's thin pool takes more than now."""
    pool = group.get("thin_pool")
    if not pool:
        return 0
    size = _size(pool["size"], option + ".size", layout)
    extent = _extent(group["name"], found)
    there = found.volumes.get((group["name"], pool["name"]))
    if there is not None and not there.is_pool:
        layout.problems.append("%s: %s is there already and no thin pool (%s). Choose another name" % (option, pool["name"], there.layout))
        return 0
    layout.thin_pools.append({"volume_group": group["name"], "name": pool["name"], "bytes": max(size, there.size if there else 0)})
    if there is not None:
        return max(0, _whole(size, extent) - there.size)  # one that has grown by itself stays as large as it is
    metadata = min(max(size // _CHUNK_BYTES * _CHUNK_ENTRY_BYTES, _POOL_METADATA[0]), _POOL_METADATA[1])
    return _whole(size, extent) + 2 * _whole(metadata, extent)  # lvm keeps a spare of it


def _volume(
    lun: Variables,
    option: str,
    groups: Sequence[Variables],
    described: Mapping[str, int],
    found: Found,
    layout: Layout,
    need: dict[str, int],
    thin: dict[str, int],
) -> None:
    name, group = lun["name"], lun["volume_group"]
    what = "%s (%s)" % (option, name)
    if not _LUN_NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        layout.problems.append("%s: lvm does not take that name. Use up to 64 letters, digits and _.-" % what)
    if group not in described and group not in found.groups:
        layout.problems.append(
            "%s: volume_group %s is neither in iscsi_target_volume_groups nor on this machine. Add it, or correct the name" % (what, group)
        )
        return
    if not lun.get("size"):
        layout.problems.append("%s: size is missing. Say how large the volume is to be, such as 500GiB" % what)
        return
    pool = (groups[described[group]].get("thin_pool") or {}).get("name", "") if lun.get("thin") and group in described else ""
    if lun.get("thin") and not pool:
        layout.problems.append("%s is thin, and its volume group has no thin_pool in iscsi_target_volume_groups. Describe one" % what)
        return
    size = _whole(_size(lun["size"], option + ".size", layout), _extent(group, found))
    there = found.volumes.get((group, name))
    if there is not None and there.pool != pool:
        layout.problems.append(
            "%s: the volume is there already and %s, not %s. Correct thin; a volume cannot be turned into the other kind"
            % (what, "lies in the thin pool %s" % there.pool if there.pool else "is thick", "in %s" % pool if pool else "thick")
        )
    elif there is not None and there.is_pool:
        layout.problems.append("%s: %s/%s is a thin pool. Give the LUN another name" % (what, group, name))
    elif there is not None and there.size > size:
        layout.problems.append(
            "%s: the volume has %s, its size says %s. A volume is never made smaller: write at least its size"
            % (what, _text(there.size), _text(size))
        )
    if pool:
        thin[group] = thin.get(group, 0) + max(size, there.size if there else 0)
    else:
        need[group] = need.get(group, 0) + max(0, size - (there.size if there else 0))
    layout.volumes.append({"volume_group": group, "name": name, "bytes": size, "thin_pool": pool})


def _fits(name: str, need: int, groups: Sequence[Variables], described: Mapping[str, int], found: Found, layout: Layout) -> None:
    there = found.groups.get(name)
    new = [found.disks.get(path, Disk()) for path in groups[described[name]]["disks"]] if name in described else []
    extent = _extent(name, found)
    room = there.free if there else 0
    room += sum((disk.size - _LABEL_BYTES) // extent * extent for disk in new if disk.size and not (there and disk.device in there.disks))
    if need > room:
        layout.problems.append(
            "iscsi_target_luns: what is to be made in the volume group %s needs %s more, and %s is free. Make the sizes smaller, or add a "
            "disk to it in iscsi_target_volume_groups" % (name, _text(need), _text(room))
        )


def _overcommit(group: Variables, option: str, thin: Mapping[str, int], allowed: float, found: Found, layout: Layout) -> None:
    pool = group.get("thin_pool")
    used = thin.get(group["name"], 0)
    if not pool or not used:
        return
    there = found.volumes.get((group["name"], pool["name"]))
    size = max(_size(pool["size"], option + ".size", layout), there.size if there else 0)
    if used > size * allowed:
        layout.problems.append(
            "%s: the thin volumes in it may grow to %s, and %s x iscsi_target_thin_overcommit %g allow %s. A pool that is full stops all "
            "VMs on it. Enlarge the pool, or raise iscsi_target_thin_overcommit and watch it"
            % (option, _text(used), _text(size), allowed, _text(int(size * allowed)))
        )


def _portals(portals: Sequence[Variables], found: Found, layout: Layout) -> None:
    for at, portal in enumerate(portals):
        try:
            address = str(ipaddress.ip_address(bare_host(str(portal["address"]))))
        except ValueError:
            continue  # the model says so
        if address not in found.addresses and not portal.get("floating"):
            layout.problems.append(
                "iscsi_target_portals[%d].address is %s: this machine does not have that address (it has %s). Correct it, configure "
                "the network first, or say floating if the address comes with a takeover"
                % (at, address, ", ".join(sorted(found.addresses)) or "none")
            )


def _around(wanted: Variables, found: Found, layout: Layout) -> None:
    """What is not of disks: kernel, firewall, packages, snapshots."""
    if found.missing_kernel_modules:
        layout.problems.append(
            "this kernel has no iSCSI target, it lacks the modules %s. Install a kernel that has them (containers and some cloud kernels "
            "have none), or set iscsi_target_driver to tgt" % ", ".join(found.missing_kernel_modules)
        )
    if not wanted["networks"] and (wanted["firewall"] in ("nftables", "firewalld") or wanted["firewall"] == "auto" and found.firewalld):
        layout.problems.append(
            "iscsi_target_networks is empty, and the firewall (iscsi_target_firewall: %s) lets in only these. Name the storage networks, "
            "such as 192.0.2.0/24, or set iscsi_target_firewall to none" % wanted["firewall"]
        )
    for network in wanted["networks"]:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            layout.problems.append("iscsi_target_networks: %s. Write a network as 192.0.2.0/24" % error)
    if wanted["lacking"]:
        layout.problems.append(
            "iscsi_target_manage_packages is false, and these packages are missing: %s. Install them, or let the role do it"
            % ", ".join(wanted["lacking"])
        )
    others = sorted(set(wanted["snapshot_luns"]) - {lun["name"] for lun in wanted["luns"] if lun.get("thin")})
    if others:
        layout.problems.append(
            "iscsi_target_snapshot_luns names %s, no thin LUN of iscsi_target_luns. A snapshot of a thick volume needs room of its own and "
            "breaks when that is full: make the LUN thin, or leave it out" % ", ".join(others)
        )


def _size(text: Any, option: str, layout: Layout) -> int:
    try:
        return read_size(str(text), option)
    except LibrehaError as error:
        if str(error) not in layout.problems:
            layout.problems.append(str(error))
        return 0


def _extent(group: str, found: Found) -> int:
    return found.groups[group].extent if group in found.groups else _EXTENT_BYTES


def _whole(size: int, extent: int) -> int:
    return math.ceil(size / extent) * extent


def _text(size: int) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB")):
        if size >= unit:
            return "%.2f %s" % (size / unit, name)
    return "%.0f MiB" % (size / (1 << 20))


# -- what the machine said -----------------------------------------------------------------------------------------


def read_found(answers: Mapping[str, Any]) -> Found:
    """What the module storage_layout_info returned (layout_reading.py)."""
    found = Found(
        addresses=frozenset(answers["addresses"]),
        missing_kernel_modules=tuple(answers["missing_kernel_modules"]),
        firewalld=answers["firewalld"],
    )
    for disk in answers["disks"]:
        found.disks[disk["path"]] = Disk(disk["device"], disk["size"], disk["use"], disk["signature"])
    for row in answers["lvm"]["pv"]:
        found.owners[row["pv_name"]] = row["vg_name"]
    for row in answers["lvm"]["vg"]:
        disks = frozenset(disk for disk, group in found.owners.items() if group == row["vg_name"])
        found.groups[row["vg_name"]] = Group(int(row["vg_free"]), int(row["vg_extent_size"]), disks)
    for row in answers["lvm"]["lv"]:
        found.volumes[row["vg_name"], row["lv_name"]] = Volume(int(row["lv_size"]), row["pool_lv"], row["lv_layout"])
    return found
