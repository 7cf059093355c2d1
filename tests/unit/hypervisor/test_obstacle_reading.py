"""What ties a VM to its host, out of the API's objects; what esxsim shows of it is tests/integration/vsphere/test_obstacles.py."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import ObstacleKind
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor import obstacle_reading
from pyVmomi import vim

UUIDS = {"shared": "u-shared", "local1": "u-local"}
device = vim.vm.device


def connected(start: bool) -> Any:
    return device.VirtualDevice.ConnectInfo(startConnected=start, allowGuestControl=True, connected=False)


def kinds(*devices: Any) -> list[tuple[ObstacleKind, str]]:
    found = obstacle_reading.obstacles({"config.hardware.device": list(devices)}, UUIDS)
    return [(item.kind, item.needs) for item in found]


def test_a_removable_device_counts_only_where_it_is_connected_at_power_on() -> None:
    for start, expected in ((True, [(ObstacleKind.HOST_DEVICE, "")]), (False, [])):
        drive = device.VirtualCdrom.AtapiBackingInfo(deviceName="cdrom0")
        assert kinds(device.VirtualCdrom(key=1, backing=drive, connectable=connected(start))) == expected
        floppy = device.VirtualFloppy.DeviceBackingInfo(deviceName="fd0")
        assert kinds(device.VirtualFloppy(key=1, backing=floppy, connectable=connected(start))) == expected


def test_what_the_persons_own_machine_has_is_not_the_hosts() -> None:
    client = device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
    assert kinds(device.VirtualCdrom(key=1, backing=client, connectable=connected(True))) == []
    usb = device.VirtualUSB.RemoteClientBackingInfo(deviceName="", hostname="pc")
    assert kinds(device.VirtualUSB(key=1, backing=usb, connected=True)) == []
    pipe = device.VirtualSerialPort.URIBackingInfo(serviceURI="tcp://:9", direction="server")
    assert kinds(device.VirtualSerialPort(key=1, backing=pipe, connectable=connected(True), yieldOnPoll=True)) == []


def test_an_image_needs_its_datastore_and_one_on_none_that_the_host_knows_is_nowhere_else() -> None:
    for path, needs in (("[shared] a.iso", "datastore:u-shared"), ("[gone] a.iso", "")):
        cd = device.VirtualCdrom(key=1, backing=device.VirtualCdrom.IsoBackingInfo(fileName=path), connectable=connected(True))
        assert kinds(cd) == [(ObstacleKind.MEDIA, needs)]


def test_a_network_card_is_no_device_of_the_host() -> None:
    card = device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    assert kinds(device.VirtualVmxnet3(key=1, backing=card, connectable=connected(True))) == []


def test_the_kinds_of_pci_passthrough_are_told_apart() -> None:
    passthrough = device.VirtualPCIPassthrough
    fixed = passthrough.DeviceBackingInfo(deviceName="x", id="0000:03:00.0", deviceId="1", systemId="s", vendorId=1)
    assert kinds(passthrough(key=1, backing=fixed)) == [(ObstacleKind.PCI_DEVICE, "")]
    assert kinds(passthrough(key=1, backing=passthrough.VmiopBackingInfo(vgpu="grid"))) == [(ObstacleKind.VGPU, "vgpu:grid")]
    assert kinds(passthrough(key=1, backing=passthrough.DynamicBackingInfo(deviceName=""))) == [(ObstacleKind.DYNAMIC_PCI_DEVICE, "")]


def disk(path: str, controller: int = 1000, sharing: str | None = None) -> Any:
    backing = device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent", sharing=sharing)
    return device.VirtualDisk(key=2000, controllerKey=controller, backing=backing, capacityInKB=1)


def test_a_disk_of_another_folder_is_attached_unless_several_vms_are_meant_to_write_it() -> None:
    cluster = device.VirtualLsiLogicSASController(key=1001, busNumber=1, sharedBus="physicalSharing")
    devices = [
        cluster,
        disk("[shared] proxy/proxy.vmdk"),
        disk("[shared] app/app.vmdk"),
        disk("[shared] rac/data.vmdk", sharing="sharingMultiWriter"),
        disk("[shared] wsfc/quorum.vmdk", controller=1001),
    ]
    assert obstacle_reading.attached_disks("[shared] proxy/proxy.vmx", devices, UUIDS) == ("u-shared:app/app.vmdk",)


@pytest.mark.parametrize(
    ("version", "paths"),
    [
        ("5.0", set()),
        ("5.5", {"config.nestedHVEnabled", "config.vPMCEnabled"}),
        ("8.0.3.0", {"config.nestedHVEnabled", "config.vPMCEnabled", "config.keyId"}),
        ("", set()),
    ],
)
def test_an_old_host_is_not_asked_for_what_it_does_not_know(version: str, paths: set[str]) -> None:
    assert set(obstacle_reading.known_paths(obstacle_reading.VM_PATHS, version)) == paths


@pytest.mark.parametrize("paths", [obstacle_reading.VM_PATHS, obstacle_reading.HOST_PATHS])
def test_each_path_is_one_that_the_api_has(paths: obstacle_reading.Since) -> None:
    """A misspelt one would cost the whole look on every host."""
    root = vim.VirtualMachine if paths is obstacle_reading.VM_PATHS else vim.HostSystem
    for _since, names in paths:
        for name in names:
            kind: Any = root
            for part in name.split("."):
                kind = kind._GetPropertyInfo(part).type
