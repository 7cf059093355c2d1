"""The VMs' files on the shared datastore: a real .vmx and a .vmdk descriptor for each."""

from __future__ import annotations

import secrets
import uuid

from .plan import EXTENT_SECTORS, Options, Vm
from .state import Lab


def _vmware_uuid(value: str) -> str:
    """564d7a31 ... as VMware writes it: ``56 4d 7a 31 c9 1e 5b 0c-8a 1d 33 0e 7f 52 9c 44``."""
    octets = ["%02x" % octet for octet in uuid.UUID(value).bytes]
    return " ".join(octets[:8]) + "-" + " ".join(octets[8:])


def vmx(vm: Vm, options: Options) -> str:
    """No uuid.location: the host that powers the VM on first writes its own, as ESXi does for a VM made by hand."""
    settings = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": "19",
        "displayName": vm.name,
        "guestOS": "debian11-64",
        "memSize": str(options.vm_memory_mib),
        "numvcpus": str(options.vm_cpus),
        "uuid.bios": _vmware_uuid(vm.uuid),
        "vc.uuid": _vmware_uuid(str(uuid.uuid5(uuid.UUID(vm.uuid), "vc"))),
        "scsi0.present": "TRUE",
        "scsi0.virtualDev": "pvscsi",
        "scsi0:0.present": "TRUE",
        "scsi0:0.deviceType": "scsi-hardDisk",
        "scsi0:0.fileName": "%s.vmdk" % vm.name,
        "ethernet0.present": "TRUE",
        "ethernet0.virtualDev": "vmxnet3",
        "ethernet0.networkName": "VM Network",
        "ethernet0.addressType": "generated",
        "libreha.extent": str(vm.extent),
    }
    if vm.name in options.no_tools:
        settings["libreha.tools"] = "FALSE"
    if not options.workload:
        settings["libreha.workload"] = "FALSE"
    return "".join('%s = "%s"\n' % setting for setting in settings.items())


def vmdk(vm: Vm) -> str:
    return (
        "# Disk DescriptorFile\n"
        "version=1\n"
        'encoding="UTF-8"\n'
        "CID=%s\n"
        "parentCID=ffffffff\n"
        'createType="vmfs"\n\n'
        "# Extent description\n"
        'RW %d VMFS "%s-flat.vmdk"\n\n'
        "# The Disk Data Base\n"
        "#DDB\n\n"
        'ddb.adapterType = "lsilogic"\n'
        'ddb.uuid = "%s"\n'
        'ddb.virtualHWVersion = "19"\n' % (secrets.token_hex(4), EXTENT_SECTORS, vm.name, _vmware_uuid(vm.uuid))
    )


def write_vms(lab: Lab) -> None:
    for vm in lab.vms:
        home = lab.datastore / vm.name
        home.mkdir(parents=True)
        (home / ("%s.vmx" % vm.name)).write_text(vmx(vm, lab.options), encoding="utf-8")
        (home / ("%s.vmdk" % vm.name)).write_text(vmdk(vm), encoding="utf-8")
