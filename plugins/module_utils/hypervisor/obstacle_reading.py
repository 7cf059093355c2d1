# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ties a VM to its host, and what a host has for such VMs, out of the properties that are read anyway.

The paths are asked for only where the host's API knows them: a host answers one that it does not know with InvalidProperty, and
with nothing else. The versions are those of the vSphere Web Services API reference ("Since").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..decide.observations import split_path, vm_id
from ..decide.obstacles import NESTED_VIRTUALIZATION, PERFORMANCE_COUNTERS, Obstacle, ObstacleKind, cpu, datastore, encryption_key, vgpu
from .properties import Properties
from .pyvmomi import vim

Since = tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]

VM_PATHS: Since = (
    ((5, 1), ("config.nestedHVEnabled", "config.vPMCEnabled")),
    ((6, 5), ("config.keyId",)),
)
HOST_PATHS: Since = (
    ((5, 1), ("capability.nestedHVSupported", "capability.vPMCSupported")),
    ((6, 0), ("config.sharedPassthruGpuTypes",)),
    ((6, 5), ("runtime.cryptoState",)),
)
CPU_PATHS: Since = (((5, 1), ("config.featureCapability",)),)
"""A hundred entries and more, which do not change while the host runs: read once a session."""
READY_FOR_KEYS = "safe"  # runtime.cryptoState: encryption is enabled, so that the host may hold keys
SEVERAL_WRITERS = "sharingMultiWriter"


def known_paths(paths: Since, api_version: str) -> tuple[str, ...]:
    """Those of *paths* that an API of that version has.

    >>> known_paths(VM_PATHS, "6.0")
    ('config.nestedHVEnabled', 'config.vPMCEnabled')
    """
    version = tuple(int(part) for part in api_version.split(".") if part.isdigit())
    return tuple(path for since, names in paths if version >= since for path in names)


def capabilities(host: Properties, keys: Iterable[str]) -> tuple[str, ...]:
    """*keys* are the ids of the encryption keys that the host holds."""
    found = [vgpu(str(profile)) for profile in host.get("config.sharedPassthruGpuTypes") or ()]
    found += [encryption_key(key) for key in keys]
    if host.get("capability.nestedHVSupported"):
        found.append(NESTED_VIRTUALIZATION)
    if host.get("capability.vPMCSupported"):
        found.append(PERFORMANCE_COUNTERS)
    features = host.get("config.featureCapability")
    if features:
        found.append(cpu(_digest("%s=%s" % (item.key, item.value) for item in features)))
    return tuple(sorted(found))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def obstacles(properties: Properties, uuids: Mapping[str, str]) -> tuple[Obstacle, ...]:
    """*properties* has the VM's devices and VM_PATHS, *uuids* maps a datastore's name to its UUID."""
    found = [item for device in properties.get("config.hardware.device") or () for item in _of_device(device, uuids)]
    key = properties.get("config.keyId")
    if key is not None:
        found.append(Obstacle(ObstacleKind.ENCRYPTION_KEY, "the key of its encryption", encryption_key(str(key.keyId))))
    if properties.get("config.nestedHVEnabled"):
        found.append(Obstacle(ObstacleKind.CPU_FEATURE, "hardware virtualization for its guest", NESTED_VIRTUALIZATION))
    if properties.get("config.vPMCEnabled"):
        found.append(Obstacle(ObstacleKind.CPU_FEATURE, "access to CPU performance counters", PERFORMANCE_COUNTERS))
    return tuple(found)


def attached_disks(path: str, devices: Any, uuids: Mapping[str, str]) -> tuple[str, ...]:
    """Disks that do not lie beside the .vmx at *path* and are not meant for several VMs: each its datastore's UUID and path in it. A
    backup proxy has such ones, the disks of the VMs that it reads."""
    home = path.rpartition("/")[0]
    shared = {
        device.key
        for device in devices
        if isinstance(device, vim.vm.device.VirtualSCSIController) and str(device.sharedBus or "noSharing") != "noSharing"
    }
    found = []
    for device in devices:
        if not isinstance(device, vim.vm.device.VirtualDisk) or device.controllerKey in shared:
            continue
        file = str(getattr(device.backing, "fileName", None) or "")
        if file and file.rpartition("/")[0] != home and str(getattr(device.backing, "sharing", None)) != SEVERAL_WRITERS:
            found.append(vm_id(uuids.get(split_path(file)[0], ""), file))
    return tuple(found)


def _of_device(device: Any, uuids: Mapping[str, str]) -> Iterator[Obstacle]:
    devices, backing = vim.vm.device, device.backing
    label = str(getattr(device.deviceInfo, "label", None) or type(device).__name__.rpartition(".")[2])
    if isinstance(device, devices.VirtualPCIPassthrough):
        yield _pci(backing, label)
    elif isinstance(device, devices.VirtualUSB) and not isinstance(backing, devices.VirtualUSB.RemoteClientBackingInfo):
        yield Obstacle(ObstacleKind.USB_DEVICE, label)
    elif isinstance(device, devices.VirtualSCSIPassthrough):
        yield Obstacle(ObstacleKind.SCSI_DEVICE, label)
    elif isinstance(device, (devices.VirtualCdrom, devices.VirtualFloppy, devices.VirtualSerialPort, devices.VirtualParallelPort)):
        if not getattr(device.connectable, "startConnected", False):
            return
        if isinstance(backing, devices.VirtualDevice.DeviceBackingInfo):
            yield Obstacle(ObstacleKind.HOST_DEVICE, label)
        elif isinstance(backing, devices.VirtualDevice.FileBackingInfo) and backing.fileName:
            uuid = uuids.get(split_path(str(backing.fileName))[0], "")
            yield Obstacle(ObstacleKind.MEDIA, label, datastore(uuid) if uuid else "")


def _pci(backing: Any, label: str) -> Obstacle:
    passthrough = vim.vm.device.VirtualPCIPassthrough
    if isinstance(backing, passthrough.VmiopBackingInfo):
        return Obstacle(ObstacleKind.VGPU, "vGPU profile %s" % backing.vgpu, vgpu(str(backing.vgpu)))
    # Not in every pyVmomi that this collection works with: since vSphere API 7.0.
    dynamic = getattr(passthrough, "DynamicBackingInfo", None)
    if dynamic is not None and isinstance(backing, dynamic):
        return Obstacle(ObstacleKind.DYNAMIC_PCI_DEVICE, label)
    return Obstacle(ObstacleKind.PCI_DEVICE, label)
