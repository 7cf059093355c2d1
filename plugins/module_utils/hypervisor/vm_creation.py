# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Creating VMs on a standalone host. Apart from what serves the failover, which creates nothing.

Sources: vSphere Web Services API reference, Folder.CreateVM_Task, VirtualMachine.ReconfigVM_Task, VirtualDiskManager.CopyVirtualDisk_Task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..decide.observations import split_path
from .entity_names import api_name
from .interface import FaultKind, HypervisorFault
from .pyvmomi import vim
from .vsphere import INVENTORY_SECONDS, Vsphere

SCSI, SATA = 1000, 15000  # keys that the API gives to the first controller of each kind
RESERVED_UNIT = 7  # on a SCSI bus, the controller's own
KIB_OF_GIB = 1024 * 1024


@dataclass(frozen=True)
class Shape:
    """A VM without its disks."""

    name: str
    datastore: str
    cpu: int = 1
    memory: int = 1024  # MiB
    guest_id: str = "otherLinux64Guest"
    firmware: str = "efi"
    networks: tuple[str, ...] = ()
    iso: str = ""  # "[datastore] folder/file.iso"
    annotation: str = ""
    options: Mapping[str, str] = field(default_factory=dict)  # of the .vmx


class VmCreator(Vsphere):
    """The driver, with what makes VMs. Each method but ``has_folder`` changes something, and raises HypervisorFault."""

    def __enter__(self) -> VmCreator:
        super().__enter__()
        return self

    def has_folder(self, datastore: str, folder: str) -> bool:
        """Whether there is anything of this name at the top of the datastore."""
        tried = "looking for %s on datastore %s" % (folder, datastore)
        with self.session.acting(tried):
            found = self._reader().inventory({"Datastore": ("name", "browser")})["Datastore"]
        browsers = [properties["browser"] for _reference, properties in found if properties.get("name") == datastore]
        if not browsers:
            raise HypervisorFault(
                "%s: this host has no such datastore" % tried,
                kind=FaultKind.INACCESSIBLE,
                host=self.connection.name,
                remedy="check the datastore's name and the host's iSCSI sessions",
            )
        spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=[folder])
        with self.session.acting(tried):
            task = browsers[0].SearchDatastore_Task("[%s]" % datastore, spec)
        result = self._runner().wait(task, tried, INVENTORY_SECONDS)
        return any(file.path == folder for file in result.file or ())

    def create(self, shape: Shape) -> str:
        """Register a new VM in a folder of its own. Returns its reference."""
        tried = "creating VM %s on datastore %s" % (shape.name, shape.datastore)
        with self.session.acting(tried):
            found = self._reader().inventory({"Datacenter": ("vmFolder",), "ComputeResource": ("resourcePool",), "HostSystem": ("name",)})
            host = self._the_host(found["HostSystem"])
        folder = found["Datacenter"][0][1]["vmFolder"]
        pool = found["ComputeResource"][0][1]["resourcePool"]
        config = vim.vm.ConfigSpec(
            name=api_name(shape.name),
            files=vim.vm.FileInfo(vmPathName="[%s]" % shape.datastore),
            numCPUs=shape.cpu,
            memoryMB=shape.memory,
            guestId=shape.guest_id,
            firmware=shape.firmware,
            annotation=shape.annotation,
            extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in sorted(shape.options.items())],
            deviceChange=_controllers(shape.iso) + _cards(shape.networks) + _drives(shape.iso),
        )
        with self.session.writing(tried, self.before_write):
            task = folder.CreateVM_Task(config=config, pool=pool, host=host)
        return str(self._runner().wait(task, tried, INVENTORY_SECONDS)._moId)

    def resize(self, moid: str, cpu: int, memory: int) -> None:
        self._reconfigure(moid, "setting CPU and memory", vim.vm.ConfigSpec(numCPUs=cpu, memoryMB=memory))

    def add_cards(self, moid: str, networks: Sequence[str]) -> None:
        tried = "adding network cards to %s" % ", ".join(networks)
        self._reconfigure(moid, tried, vim.vm.ConfigSpec(deviceChange=_cards(networks)))

    def add_disk(self, moid: str, gib: int) -> None:
        """A new one, thin, in the VM's folder, under a name that the host chooses."""
        path, unit = self._place(moid)
        spec = _disk(SCSI, unit, "[%s]" % split_path(path)[0])
        spec.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.create
        spec.device.capacityInKB = gib * KIB_OF_GIB
        self._reconfigure(moid, "adding a disk of %d GiB" % gib, vim.vm.ConfigSpec(deviceChange=[spec]))

    def add_copy(self, moid: str, image: str, gib: int, seconds: float) -> None:
        """A copy of the disk *image*, made larger where *gib* is not 0. A file that is there is never overwritten."""
        path, unit = self._place(moid)
        copy = "%s%s.vmdk" % (path[: -len(".vmx")], "_%d" % unit if unit else "")
        manager = self.session.content.virtualDiskManager
        tried = "copying %s to %s" % (image, copy)
        with self.session.writing(tried, self.before_write):
            task = manager.CopyVirtualDisk_Task(sourceName=image, destName=copy, force=False)
        self._runner().wait(task, tried, seconds)
        if gib:
            tried = "making %s %d GiB large" % (copy, gib)
            with self.session.writing(tried, self.before_write):
                task = manager.ExtendVirtualDisk_Task(name=copy, newCapacityKb=gib * KIB_OF_GIB, eagerZero=False)
            self._runner().wait(task, tried, seconds)
        self._reconfigure(moid, "adding the disk %s" % copy, vim.vm.ConfigSpec(deviceChange=[_disk(SCSI, unit, copy)]))

    def _place(self, moid: str) -> tuple[str, int]:
        """The path of its .vmx, and the first unit of its SCSI controller that is free. Raises HypervisorFault."""
        with self.session.acting("reading the disks of VM %s" % moid):
            found = self._reader().objects([(self._vm(moid), ("config.files.vmPathName", "config.hardware.device"))])[moid]
        used = {device.unitNumber for device in found["config.hardware.device"] if device.controllerKey == SCSI} | {RESERVED_UNIT}
        return str(found["config.files.vmPathName"]), next(unit for unit in range(64) if unit not in used)

    def _reconfigure(self, moid: str, tried: str, spec: Any) -> None:
        with self.session.writing(tried, self.before_write):
            task = self._vm(moid).ReconfigVM_Task(spec)
        self._runner().wait(task, tried, INVENTORY_SECONDS)


def _added(device: Any) -> Any:
    return vim.vm.device.VirtualDeviceSpec(operation=vim.vm.device.VirtualDeviceSpec.Operation.add, device=device)


def _controllers(iso: str) -> list[Any]:
    scsi = vim.vm.device.ParaVirtualSCSIController(key=SCSI, busNumber=0, sharedBus="noSharing")
    return [_added(scsi)] + ([_added(vim.vm.device.VirtualAHCIController(key=SATA, busNumber=0))] if iso else [])


def _cards(networks: Sequence[str]) -> list[Any]:
    return [
        _added(
            vim.vm.device.VirtualVmxnet3(
                key=-1 - number,
                backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name),
                connectable=vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False),
                addressType="generated",
            )
        )
        for number, name in enumerate(networks)
    ]


def _drives(iso: str) -> list[Any]:
    """Connected at power-on, as an installation needs it."""
    if not iso:
        return []
    drive = vim.vm.device.VirtualCdrom(
        key=-100,
        controllerKey=SATA,
        unitNumber=0,
        backing=vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=iso),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False),
    )
    return [_added(drive)]


def _disk(controller: int, unit: int, file: str) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent", thinProvisioned=True)
    return _added(vim.vm.device.VirtualDisk(key=-200, controllerKey=controller, unitNumber=unit, backing=backing, capacityInKB=0))
