"""What ties a VM to its host is read from real (simulated) hosts, in the calls that read the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import ObstacleKind, offers, unmet
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import HypervisorFault
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import DATASTORE_UUID, LOCAL_UUID, Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]
KEY_SAFE = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/kms/key-1,HMAC-SHA-256,abc))"
ISO = "/vmfs/volumes/%s/debian.iso"

TIES = {
    "pci": {"pciPassthru0.present": "TRUE", "pciPassthru0.id": "0000:03:00.0", "pciPassthru0.systemId": "another host"},
    "vgpu": {"pciPassthru0.present": "TRUE", "pciPassthru0.vgpu": "grid_p40-2q"},
    "key": {"vtpm.present": "TRUE", "encryption.keySafe": KEY_SAFE},
    "nested": {"vhv.enable": "TRUE"},
    "counters": {"vpmc.enable": "TRUE"},
    "usb": {"usb.autoConnect.device0": "path:1/0/1"},
    "serial": {"serial0.present": "TRUE", "serial0.fileType": "device", "serial0.fileName": "/dev/char/serial/uart0"},
    "cd": {"ide1:0.present": "TRUE", "ide1:0.deviceType": "cdrom-image", "ide1:0.fileName": ISO % LOCAL_UUID},
    "shared-cd": {"ide1:0.present": "TRUE", "ide1:0.deviceType": "cdrom-image", "ide1:0.fileName": ISO % DATASTORE_UUID},
    "parked-cd": {
        "ide1:0.present": "TRUE",
        "ide1:0.deviceType": "cdrom-image",
        "ide1:0.fileName": ISO % LOCAL_UUID,
        "ide1:0.startConnected": "FALSE",
    },
    "plain": {},
}
OFFERS = {
    "vgpu_profiles": ["grid_p40-2q"],
    "encryption_keys": ["key-1"],
    "nested_virtualization": True,
    "performance_counters": True,
}


@pytest.fixture
def vms(storage: StorageServer) -> list[str]:
    for number, (name, settings) in enumerate(TIES.items()):
        write_vm(storage.datastore, name, extent=number if number < 4 else None, **settings)
    return ["[shared] %s/%s.vmx" % (name, name) for name in TIES]


def read(host: Host, ca_path: Path) -> tuple[dict[str, VmObservation], frozenset[str]]:
    def whole() -> bool:
        with open_hypervisor(host.connection(ca_path)) as opened:
            return all(vm.accessible for vm in opened.virtual_machines())

    until(whole, "the host has read all VMs")
    with open_hypervisor(host.connection(ca_path)) as opened:
        seen = opened.health()
        found = opened.virtual_machines()
    return {vm.name: vm for vm in found}, offers(seen.capabilities, [store.uuid for store in seen.datastores])


def test_every_obstacle_is_read_and_the_host_that_has_it_all_lacks_only_what_is_anothers(
    vms: list[str], new_host: NewHost, ca_path: Path
) -> None:
    found, offered = read(new_host(offers=OFFERS).start(vms), ca_path)
    assert {name: [(item.kind, item.needs) for item in vm.obstacles] for name, vm in found.items()} == {
        "pci": [(ObstacleKind.PCI_DEVICE, "")],
        "vgpu": [(ObstacleKind.VGPU, "vgpu:grid_p40-2q")],
        "key": [(ObstacleKind.ENCRYPTION_KEY, "key:key-1")],
        "nested": [(ObstacleKind.CPU_FEATURE, "cpu:nested_virtualization")],
        "counters": [(ObstacleKind.CPU_FEATURE, "cpu:performance_counters")],
        "usb": [(ObstacleKind.USB_DEVICE, "")],
        "serial": [(ObstacleKind.HOST_DEVICE, "")],
        "cd": [(ObstacleKind.MEDIA, "datastore:" + LOCAL_UUID)],
        "shared-cd": [(ObstacleKind.MEDIA, "datastore:" + DATASTORE_UUID)],
        "parked-cd": [],
        "plain": [],
    }
    lacking = {name: [item.kind.value for item in unmet(vm.obstacles, offered)] for name, vm in found.items()}
    assert {name for name, items in lacking.items() if items} == {"pci", "usb", "serial"}


def test_a_bare_host_offers_nothing_and_what_is_said_to_block_does(vms: list[str], new_host: NewHost, ca_path: Path) -> None:
    host = new_host(local_datastore=None).start(vms)
    found, offered = read(host, ca_path)
    blocked = {name for name, vm in found.items() if any(item.blocks for item in unmet(vm.obstacles, offered))}
    assert blocked == {"pci", "vgpu", "key", "nested", "counters"}
    refused = set()
    with open_hypervisor(host.connection(ca_path)) as opened:
        for name, vm in found.items():
            try:
                opened.power_on(vm.moid, 20.0)
            except HypervisorFault:
                refused.add(name)
    assert refused == blocked


def test_a_backup_proxy_has_another_vms_disk_attached(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    write_vm(storage.datastore, "app", extent=0)
    foreign = {"scsi0:1.present": "TRUE", "scsi0:1.fileName": "/vmfs/volumes/%s/app/app.vmdk" % DATASTORE_UUID}
    write_vm(storage.datastore, "proxy", extent=1, **foreign)
    found, _offered = read(new_host().start(["[shared] app/app.vmx", "[shared] proxy/proxy.vmx"]), ca_path)
    assert found["proxy"].attached_disks == (DATASTORE_UUID + ":app/app.vmdk",)
    assert found["app"].attached_disks == ()
