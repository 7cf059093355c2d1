# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ties a VM to its host although its files lie on storage that all hosts have.

"Protected" means that it will power on elsewhere. Each obstacle says what another host must offer for that: a word of
:func:`offers`, or nothing that any other host could offer. There are two sorts, as a host treats them at power-on:

* one that *blocks*: without it the VM does not power on. No host that lacks it is given the VM;
* one that does not: the VM powers on, and the device is missing or disconnected. A host that has it comes first; with none left, a
  failover starts the VM all the same, since a running VM without its CD is better than none. A *move* of a VM that works is
  not made there: vSphere refuses to migrate a VM with such a device as well (vSphere API, fault CannotAccessVmDevice).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


class ObstacleKind(str, Enum):
    PCI_DEVICE = "pci_device"
    DYNAMIC_PCI_DEVICE = "dynamic_pci_device"
    VGPU = "vgpu"
    SCSI_DEVICE = "scsi_device"
    ENCRYPTION_KEY = "encryption_key"
    CPU_FEATURE = "cpu_feature"
    USB_DEVICE = "usb_device"
    HOST_DEVICE = "host_device"
    MEDIA = "media"

    @property
    def blocks(self) -> bool:
        """Whether the VM does not power on without it."""
        return self in BLOCKING


BLOCKING = frozenset(
    {
        ObstacleKind.PCI_DEVICE,
        ObstacleKind.VGPU,
        ObstacleKind.SCSI_DEVICE,
        ObstacleKind.ENCRYPTION_KEY,
        ObstacleKind.CPU_FEATURE,
    }
)

#: What another host lacks, said of the obstacle's ``device``; and what an operator does about it.
_LACKS = {
    ObstacleKind.PCI_DEVICE: "%s is a PCI device of one host (DirectPath I/O)",
    ObstacleKind.DYNAMIC_PCI_DEVICE: "%s is a PCI device that it may not have (Dynamic DirectPath I/O)",
    ObstacleKind.VGPU: "%s is missing there",
    ObstacleKind.SCSI_DEVICE: "%s is a SCSI device of one host",
    ObstacleKind.ENCRYPTION_KEY: "%s is missing there",
    ObstacleKind.CPU_FEATURE: "%s is missing there",
    ObstacleKind.USB_DEVICE: "%s is a USB device of one host",
    ObstacleKind.HOST_DEVICE: "%s is a device of one host",
    ObstacleKind.MEDIA: "the image of %s lies on a datastore that is not accessible there",
}
_UNPROTECT = "or leave the VM out on purpose (protection: unprotected)"
_REMEDIES = {
    ObstacleKind.PCI_DEVICE: "remove the device from the VM, " + _UNPROTECT,
    ObstacleKind.DYNAMIC_PCI_DEVICE: "make sure that another host has such a device enabled for passthrough, " + _UNPROTECT,
    ObstacleKind.VGPU: "put a graphics card with this profile into another host, " + _UNPROTECT,
    ObstacleKind.SCSI_DEVICE: "remove the device from the VM, " + _UNPROTECT,
    ObstacleKind.ENCRYPTION_KEY: (
        "give the other hosts the key, and the monitor's user the privilege to list keys (Cryptographer.ManageKeys), " + _UNPROTECT
    ),
    ObstacleKind.CPU_FEATURE: "switch the feature off in the VM, or on in the firmware of the other hosts, " + _UNPROTECT,
    ObstacleKind.USB_DEVICE: "connect the device over the network (a USB server), or remove it from the VM",
    ObstacleKind.HOST_DEVICE: "set 'connect at power on' of the device to no, or remove it from the VM",
    ObstacleKind.MEDIA: "set 'connect at power on' of the device to no, or put the image on a datastore that all hosts have",
}


@dataclass(frozen=True)
class Obstacle:
    """``device`` is the label that people see ("USB 1"); ``needs`` a word of :func:`offers`, or empty: no other host can have it."""

    kind: ObstacleKind
    device: str
    needs: str = ""

    @property
    def blocks(self) -> bool:
        return self.kind.blocks

    @property
    def lacks(self) -> str:
        """What a host lacks that does not offer it, in words that follow "esx2: "."""
        return _LACKS[self.kind] % self.device

    @property
    def remedy(self) -> str:
        return _REMEDIES[self.kind]


def vgpu(profile: str) -> str:
    return "vgpu:%s" % profile


def encryption_key(key: str) -> str:
    return "key:%s" % key


def datastore(uuid: str) -> str:
    return "datastore:%s" % uuid


def cpu(identity: str) -> str:
    """*identity* is the same on hosts whose CPUs offer the same to VMs."""
    return CPU + identity


def cpu_of(offered: Iterable[str]) -> str:
    """The word of :func:`cpu` among *offered*; empty where the host did not tell."""
    return next((word for word in offered if word.startswith(CPU)), "")


CPU = "cpu_features:"
NESTED_VIRTUALIZATION = "cpu:nested_virtualization"
PERFORMANCE_COUNTERS = "cpu:performance_counters"


def offers(capabilities: Iterable[str], datastores: Iterable[str]) -> frozenset[str]:
    """What a host has for VMs that need it: its *capabilities* in the words above, and its accessible *datastores*, by UUID."""
    return frozenset((*capabilities, *(datastore(uuid) for uuid in datastores)))


def unmet(obstacles: Iterable[Obstacle], offered: Collection[str]) -> list[Obstacle]:
    """Those of *obstacles* for which a host does not have what it takes, the blocking ones first."""
    return sorted((item for item in obstacles if item.needs not in offered), key=lambda item: not item.blocks)
