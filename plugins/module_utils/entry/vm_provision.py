# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vm_provision``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..configure.vm_provision import WAITS, Disk, Limits, Wanted, set_up
from ..decide.observations import split_path
from ..errors import LibrehaError
from ..hypervisor.vm_creation import Shape
from .options.hosts import hosts_spec, read_hosts

NOT_IN_NAMES = "/\\[]*?%@"


def argument_spec() -> dict[str, Any]:
    disk = {"size": {"type": "int"}, "image": {"type": "str"}}
    vm = {
        "name": {"type": "str", "required": True},
        "datastore": {"type": "str", "required": True},
        "host": {"type": "str"},
        "state": {"type": "str", "choices": ["powered_on", "present"], "default": "powered_on"},
        "cpu": {"type": "int", "default": 1},
        "memory": {"type": "int", "default": 1024},
        "guest_id": {"type": "str", "default": "otherLinux64Guest"},
        "firmware": {"type": "str", "choices": ["bios", "efi"], "default": "efi"},
        "disks": {"type": "list", "elements": "dict", "options": disk, "default": []},
        "networks": {"type": "list", "elements": "str", "default": []},
        "iso": {"type": "str"},
        "annotation": {"type": "str"},
        "options": {"type": "dict", "default": {}},
    }
    return {
        **hosts_spec(),
        "vms": {"type": "list", "elements": "dict", "required": True, "options": vm},
        "wait_for": {"type": "str", "choices": list(WAITS), "default": "power"},
        "wait_timeout": {"type": "float", "default": 300.0},
        "copy_timeout": {"type": "float", "default": 1800.0},
        "power_on_timeout": {"type": "float", "default": 60.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError: nothing was changed where it says so, otherwise details have what was done."""
    wanted = read_wanted(params["vms"])
    limits = Limits(params["wait_for"], params["wait_timeout"], params["copy_timeout"], params["power_on_timeout"])
    return set_up(read_hosts(params), wanted, limits, check_mode)


def read_wanted(vms: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """Raises LibrehaError that names all that is wrong."""
    wrong: list[str] = []
    names = [str(one["name"]) for one in vms]
    wrong += ["%s is listed twice" % name for name in sorted({name for name in names if names.count(name) > 1})]
    wanted = []
    for one in vms:
        name, disks = one["name"], tuple(Disk(disk["size"] or 0, disk["image"] or "") for disk in one["disks"] or ())
        networks = tuple(one["networks"] or ())
        if not name or name != name.strip() or len(name) > 80 or any(sign in NOT_IN_NAMES for sign in name):
            wrong.append("%r is no name for a VM and its folder: 1 to 80 characters, none of %s" % (name, NOT_IN_NAMES))
        if len(set(networks)) < len(networks):
            wrong.append("%s has one network twice" % name)
        wrong += ["%s has a disk without a size and without an image" % name for disk in disks if not disk.size and not disk.image]
        paths = [disk.image for disk in disks if disk.image] + ([one["iso"]] if one["iso"] else [])
        wrong += ["%s: %s is no path such as [datastore] folder/file" % (name, path) for path in paths if not all(split_path(path))]
        if one["cpu"] < 1 or one["memory"] < 4 or one["memory"] % 4 or any(disk.size < 0 for disk in disks):
            wrong.append("%s: cpu is at least 1, memory a multiple of 4 MiB, and no size is negative" % name)
        shape = Shape(
            name=name,
            datastore=one["datastore"],
            cpu=one["cpu"],
            memory=one["memory"],
            guest_id=one["guest_id"],
            firmware=one["firmware"],
            networks=networks,
            iso=one["iso"] or "",
            annotation=one["annotation"] or "",
            options={str(key): str(value) for key, value in (one["options"] or {}).items()},
        )
        wanted.append(Wanted(shape, one["host"] or "", disks, one["state"] == "powered_on"))
    if wrong:
        raise LibrehaError("; ".join(wrong), remedy="correct vms; nothing was changed")
    return wanted
