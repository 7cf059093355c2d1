# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs out of their properties: power, question, and every file that a failover must be able to fence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..decide.observations import Backing, Power, VmObservation, split_path, vm_id
from ..decide.vms.emergency_name import own_name
from ..instant import Instant
from .entity_names import seen_name
from .io_reading import NOT_INSTALLED
from .obstacle_reading import attached_disks, obstacles
from .properties import Properties
from .pyvmomi import vim
from .questions import question_of

VM_PATHS = (
    "name",
    "summary.config",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "guestHeartbeatStatus",
    "guest.toolsRunningStatus",
    "guest.toolsVersionStatus2",
    "config.version",
    "config.files",
    "config.hardware.device",
    "layoutEx.file",
)

POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}

# Types of a VM's files as vim.vm.FileLayoutEx names them -> the backing's kind.
LAYOUT_KINDS = {
    "config": "vmx",
    "extendedConfig": "vmx",
    "nvram": "vmx",
    "diskDescriptor": "disk",
    "swap": "swap",
    "uwswap": "swap",
    "suspend": "snapshot",
    "suspendMemory": "snapshot",
    "snapshotData": "snapshot",
    "snapshotMemory": "snapshot",
    "snapshotList": "snapshot",
    "snapshotManifestList": "snapshot",
    "log": "log",
}


def vm_observation(reference: Any, properties: Properties, host: str, taken_at: Instant, uuids: Mapping[str, str]) -> VmObservation | None:
    """One VM, or None for a template. *uuids* maps a datastore's name to its UUID."""
    config = properties.get("summary.config")
    if getattr(config, "template", None):
        return None
    path = str(getattr(config, "vmPathName", None) or getattr(properties.get("config.files"), "vmPathName", None) or "")
    devices = properties.get("config.hardware.device") or ()
    return VmObservation(
        id=identity(path, uuids),
        host=host,
        name=own_name(seen_name(str(properties.get("name") or getattr(config, "name", None) or ""))),
        path=path,
        taken_at=taken_at,
        power=POWER.get(str(properties.get("runtime.powerState")), Power.UNKNOWN),
        moid=str(reference._moId),
        uuid=str(getattr(config, "uuid", None) or ""),
        instance_uuid=str(getattr(config, "instanceUuid", None) or ""),
        accessible=str(properties.get("runtime.connectionState", "connected")) == "connected",
        heartbeat=str(properties.get("guestHeartbeatStatus") or ""),
        tools=_tools(properties),
        question=question_of(properties.get("runtime.question")),
        memory=int(getattr(config, "memorySizeMB", None) or 0),
        cpu=int(getattr(config, "numCpu", None) or 1),
        cpu_reserved=int(getattr(config, "cpuReservation", None) or 0),
        memory_reserved=int(getattr(config, "memoryReservation", None) or 0),
        hardware_version=str(properties.get("config.version") or ""),
        guest=str(getattr(config, "guestFullName", None) or getattr(config, "guestId", None) or ""),
        backings=backings(path, devices, properties, uuids),
        networks=tuple(dict.fromkeys(_networks(devices))),
        obstacles=obstacles(properties, uuids),
        attached_disks=attached_disks(path, devices, uuids),
    )


def _tools(properties: Properties) -> str:
    """Their running status; that they do not run says less than that there are none."""
    if str(properties.get("guest.toolsVersionStatus2")) == NOT_INSTALLED:
        return NOT_INSTALLED
    return str(properties.get("guest.toolsRunningStatus") or "")


def identity(path: str, uuids: Mapping[str, str]) -> str:
    """The VM's id. A host that lost the datastore names the vmx by its volume: "[] /vmfs/volumes/UUID/vm/vm.vmx"."""
    datastore, inside = split_path(path)
    if not datastore and inside.startswith("/vmfs/volumes/"):
        uuid, _slash, inside = inside[len("/vmfs/volumes/") :].partition("/")
        uuid = uuids.get(uuid, uuid)
        return vm_id(uuid, inside)
    return vm_id(uuids.get(datastore, ""), path)


def backings(path: str, devices: Any, properties: Properties, uuids: Mapping[str, str]) -> tuple[Backing, ...]:
    """Every file, once: the vmx, disks with their parents, CD images, then what only the layout knows (swap, snapshots).

    A folder that is set for snapshots, suspending or logs on yet another datastore counts although no file lies in it:
    it will be written to.
    """
    found: dict[str, Backing] = {}

    def add(file: str | None, kind: str, writable: bool = True) -> None:
        if file and file not in found:
            datastore = split_path(file)[0]
            found[file] = Backing(file, kind, datastore, uuids.get(datastore, ""), writable)

    add(path, "vmx")
    for file, kind, writable in _device_files(devices):
        add(file, kind, writable)
    for entry in properties.get("layoutEx.file") or ():
        if str(entry.type) in LAYOUT_KINDS:
            add(str(entry.name), LAYOUT_KINDS[str(entry.type)])
    files = properties.get("config.files")
    for name, kind in (("snapshotDirectory", "snapshot"), ("suspendDirectory", "snapshot"), ("logDirectory", "log")):
        folder = str(getattr(files, name, None) or "")
        if folder and split_path(folder)[0] not in {backing.datastore for backing in found.values()}:
            add(folder, kind)
    return tuple(found.values())


def _device_files(devices: Any) -> Iterator[tuple[str, str, bool]]:
    for device in devices:
        backing = getattr(device, "backing", None)
        if isinstance(device, vim.vm.device.VirtualDisk):
            # A raw device mapping has a file and a device; a raw device only the latter. It is on no datastore, so
            # that it shows as what it is: a disk that no fence of ours is known to reach.
            for name in (getattr(backing, "fileName", None), getattr(backing, "deviceName", None)):
                if name:
                    yield str(name), "disk", _writable(backing)
            parent = getattr(backing, "parent", None)
            while parent is not None:
                if parent.fileName:
                    yield str(parent.fileName), "parent", True
                parent = getattr(parent, "parent", None)
        elif isinstance(backing, vim.vm.device.VirtualDevice.FileBackingInfo) and backing.fileName:
            yield str(backing.fileName), "cdrom", not isinstance(device, vim.vm.device.VirtualCdrom)


def _writable(backing: Any) -> bool:
    return "readonly" not in str(getattr(backing, "diskMode", "") or "").lower()


def _networks(devices: Any) -> Iterator[str]:
    for device in devices:
        if isinstance(device, vim.vm.device.VirtualEthernetCard):
            name = getattr(device.backing, "deviceName", None)
            if name:
                yield seen_name(str(name))
