"""From pyVmomi's objects to observations: what lies where, and what a question really asks."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing, Lun
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor import (
    entity_names,
    event_reading,
    host_reading,
    questions,
    storage_paths,
    vm_reading,
)
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.faults import fault_kind
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import FaultKind
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from pyVmomi import vim, vmodl

AT = Instant("boot", 1.0)
HOST = vim.HostSystem("ha-host")
IQN = "iqn.2026-01.org.example:shared"
UUIDS = {"shared": "u-shared", "local1": "u-local"}


def storage(*disks: tuple[str, str, int, str], dead: bool = False) -> dict[str, Any]:
    """Disks as (canonical name, key, LUN number, IQN or "" for a local disk); dead paths are known to multipathing only."""
    luns = [vim.host.ScsiDisk(key=key, canonicalName=name) for name, key, _lun, _iqn in disks]

    def transport(iqn: str) -> Any:
        return vim.host.InternetScsiTargetTransport(iScsiName=iqn) if iqn else vim.host.ParallelScsiTargetTransport()

    topology = vim.host.ScsiTopology(
        adapter=[
            vim.host.ScsiTopology.Interface(
                target=[
                    vim.host.ScsiTopology.Target(transport=transport(iqn), lun=[vim.host.ScsiTopology.Lun(lun=lun, scsiLun=key)])
                    for _name, key, lun, iqn in disks
                ]
            )
        ]
    )
    multipath = vim.host.MultipathInfo(
        lun=[
            vim.host.MultipathInfo.LogicalUnit(
                lun=key, path=[vim.host.MultipathInfo.Path(name="vmhba64:C0:T0:L%d" % lun, transport=transport(iqn), pathState="dead")]
            )
            for _name, key, lun, iqn in disks
        ]
    )
    return {
        "config.storageDevice.scsiLun": luns,
        "config.storageDevice.scsiTopology": None if dead else topology,
        "config.storageDevice.multipathInfo": multipath,
        "config.storageDevice.hostBusAdapter": [vim.host.BlockHba(device="vmhba0"), vim.host.InternetScsiHba(iScsiName="iqn.host")],
    }


def volume(name: str, *disks: str, accessible: bool = True) -> tuple[Any, dict[str, Any]]:
    url = "ds:///vmfs/volumes/u-%s/" % name
    summary = vim.Datastore.Summary(name=name, url=url, accessible=accessible, type="VMFS", capacity=10, freeSpace=4)
    extents = [vim.host.ScsiDisk.Partition(diskName=disk, partition=1) for disk in disks]
    info = vim.host.VmfsDatastoreInfo(name=name, url=url, vmfs=vim.host.VmfsVolume(name=name, uuid="u-" + name, extent=extents))
    return vim.Datastore("ds-" + name), {"name": name, "summary": summary, "info": info}


def one(found: tuple[Any, dict[str, Any]], host: dict[str, Any]) -> Any:
    (datastore,) = storage_paths.datastores([found], host, HOST)
    return datastore


def test_a_datastore_leads_to_the_luns_of_all_its_extents() -> None:
    host = storage(("naa.1", "k1", 1, IQN), ("naa.2", "k2", 5, IQN))
    datastore = one(volume("shared", "naa.1", "naa.2"), host)
    assert datastore.luns == (Lun(IQN, 1), Lun(IQN, 5))
    assert (datastore.uuid, datastore.local, datastore.accessible) == ("u-shared", False, True)
    assert storage_paths.initiators(host) == ("iqn.host",)


def test_a_datastore_with_one_extent_on_a_local_disk_is_local() -> None:
    datastore = one(volume("mixed", "naa.1", "t10.local"), storage(("naa.1", "k1", 1, IQN), ("t10.local", "k2", 0, "")))
    assert datastore.local
    assert datastore.luns == (Lun(IQN, 1),)


def test_a_datastore_whose_paths_died_still_tells_its_lun() -> None:
    datastore = one(volume("shared", "naa.1", accessible=False), storage(("naa.1", "k1", 1, IQN), dead=True))
    assert datastore.luns == (Lun(IQN, 1),)
    assert not datastore.accessible
    assert not datastore.local


def test_a_datastore_that_is_gone_with_its_disk_is_not_called_local() -> None:
    datastore = one(volume("shared", "naa.1", accessible=False), storage())
    assert not datastore.local
    assert datastore.luns == ()


def test_a_host_whose_own_mount_is_inaccessible_does_not_reach_the_datastore() -> None:
    found = volume("shared", "naa.1")
    mount = vim.host.MountInfo(path="/vmfs/volumes/u-shared", accessMode="readWrite", mounted=True, accessible=False)
    found[1]["host"] = [vim.Datastore.HostMount(key=HOST, mountInfo=mount)]
    assert not one(found, storage(("naa.1", "k1", 1, IQN))).accessible


def disk(path: str, parents: tuple[str, ...] = (), mode: str = "persistent") -> Any:
    backing: Any = None
    for name in reversed((path, *parents)):
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=name, diskMode=mode, parent=backing)
    return vim.vm.device.VirtualDisk(key=2000, backing=backing, capacityInKB=1)


def layout(**files: str) -> Any:
    return [vim.vm.FileLayoutEx.FileInfo(key=key, name=name, type=kind, size=1) for key, (kind, name) in enumerate(files.items())]


def test_every_file_of_a_vm_is_found_once_with_its_datastore() -> None:
    devices = [
        disk("[shared] a/a-000001.vmdk", ("[shared] a/a.vmdk", "[local1] base/base.vmdk")),
        vim.vm.device.VirtualCdrom(key=3000, backing=vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName="[iso] debian.iso")),
    ]
    files = layout(
        config="[shared] a/a.vmx",
        diskDescriptor="[shared] a/a.vmdk",
        diskExtent="[shared] a/a-flat.vmdk",
        swap="[local1] a.vswp",
        log="[shared] a/vmware.log",
    )
    folders = vim.vm.FileInfo(vmPathName="[shared] a/a.vmx", snapshotDirectory="[snaps] a/", suspendDirectory="[shared] a/")
    found = vm_reading.backings("[shared] a/a.vmx", devices, {"layoutEx.file": files, "config.files": folders}, UUIDS)
    assert found == (
        Backing("[shared] a/a.vmx", "vmx", "shared", "u-shared"),
        Backing("[shared] a/a-000001.vmdk", "disk", "shared", "u-shared"),
        Backing("[shared] a/a.vmdk", "parent", "shared", "u-shared"),
        Backing("[local1] base/base.vmdk", "parent", "local1", "u-local"),
        Backing("[iso] debian.iso", "cdrom", "iso", "", writable=False),
        Backing("[local1] a.vswp", "swap", "local1", "u-local"),
        Backing("[shared] a/vmware.log", "log", "shared", "u-shared"),
        Backing("[snaps] a/", "snapshot", "snaps", ""),
    )


def test_a_raw_device_is_a_disk_on_no_datastore() -> None:
    backing = vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="[shared] a/rdm.vmdk", deviceName="vml.0200", diskMode="persistent"
    )
    found = vm_reading.backings("[shared] a/a.vmx", [vim.vm.device.VirtualDisk(key=1, backing=backing, capacityInKB=1)], {}, UUIDS)
    assert Backing("vml.0200", "disk", "", "") in found


def vm(path: str, **more: Any) -> dict[str, Any]:
    config = vim.vm.Summary.ConfigSummary(name="a", vmPathName=path, template=more.pop("template", False))
    return {"name": "a", "summary.config": config, **more}


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("[shared] a/a.vmx", "u-shared:a/a.vmx"),
        ("[] /vmfs/volumes/u-shared/a/a.vmx", "u-shared:a/a.vmx"),
        ("/vmfs/volumes/shared/a/a.vmx", "u-shared:a/a.vmx"),
        ("[unknown] a/a.vmx", ":a/a.vmx"),
    ],
)
def test_a_vm_keeps_its_identity_when_the_host_loses_the_datastores_name(path: str, identity: str) -> None:
    seen = vm_reading.vm_observation(vim.VirtualMachine("1"), vm(path), "esx1", AT, UUIDS)
    assert seen is not None
    assert seen.id == identity


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("app%2f1", "app/1"),
        ("app%2F1%5cb", "app/1\\b"),
        ("100%25", "100%"),
        ("a%252fb", "a%2fb"),  # a name that itself looks escaped
        ("50% off", "50% off"),  # begins no escape sequence
        ("web1 (libreha: from esx1)", "web1"),  # registered so in an emergency
    ],
)
def test_a_vms_name_is_the_one_that_people_see(written: str, seen: str) -> None:
    found = vm_reading.vm_observation(vim.VirtualMachine("1"), {**vm("[shared] a/a.vmx"), "name": written}, "esx1", AT, UUIDS)
    assert found is not None and found.name == seen


@pytest.mark.parametrize("name", ["app/1", "100%", "a%2fb", "a\\b", "plain", "%%2f%25"])
def test_a_name_goes_to_the_api_and_comes_back(name: str) -> None:
    assert entity_names.seen_name(entity_names.api_name(name)) == name
    assert not set(entity_names.api_name(name)) & {"/", "\\"}


def test_a_network_is_found_however_the_host_writes_its_name() -> None:
    card = vim.vm.device.VirtualVmxnet3(key=1, backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="10.0.0.0%2f24"))
    properties = {**vm("[shared] a/a.vmx"), "config.hardware.device": [card]}
    found = vm_reading.vm_observation(vim.VirtualMachine("1"), properties, "esx1", AT, UUIDS)
    assert found is not None and found.networks == ("10.0.0.0/24",)


def test_a_template_is_no_vm() -> None:
    assert vm_reading.vm_observation(vim.VirtualMachine("1"), vm("[shared] a/a.vmtx", template=True), "esx1", AT, UUIDS) is None


def test_a_vm_whose_files_cannot_be_read_says_so() -> None:
    seen = vm_reading.vm_observation(vim.VirtualMachine("1"), vm("x", **{"runtime.connectionState": "inaccessible"}), "esx1", AT, UUIDS)
    assert seen is not None
    assert not seen.accessible


def ask(message_id: str, text: str, *choices: tuple[str, str, str]) -> Any:
    return vim.vm.QuestionInfo(
        id="1",
        text=text,
        choice=vim.option.ChoiceOption(
            choiceInfo=[vim.ElementDescription(key=key, label=label, summary=said) for key, label, said in choices]
        ),
        message=[vim.vm.Message(id=message_id, text=text)] if message_id else [],
    )


def test_moved_is_found_by_its_id_where_the_host_speaks_another_language() -> None:
    question = questions.question_of(
        ask(
            "msg.uuid.altered", "?", ("0", "button.uuid.movedTheVM", "Ich habe sie verschoben"), ("1", "button.uuid.copiedTheVM", "Kopiert")
        )
    )
    assert question is not None
    assert questions.is_moved_or_copied(question)
    assert questions.moved_choice(question) == "0"


def test_an_older_host_puts_the_messages_id_before_the_text() -> None:
    question = questions.question_of(
        ask("", "msg.uuid.moved:This virtual machine was moved or copied.", ("1", "I _moved it", "I _moved it"))
    )
    assert question is not None
    assert question.message_id == "msg.uuid.moved"
    assert question.text.startswith("This virtual machine")
    assert [choice.label for choice in question.choices] == ["I moved it"]
    assert questions.moved_choice(question) == "1"


def test_two_choices_that_say_moved_are_answered_by_nobody() -> None:
    question = questions.question_of(
        ask("msg.uuid.altered", "?", ("0", "I moved it", "I moved it"), ("1", "I always moved it", "I always moved it"))
    )
    assert question is not None
    assert questions.moved_choice(question) is None


@pytest.mark.parametrize("message_id", ["msg.uuidx", "msg.other.msg.uuid.altered", ""])
def test_other_questions_are_not_about_moving(message_id: str) -> None:
    question = questions.question_of(ask(message_id, "?", ("0", "I Moved It", "I Moved It")))
    assert question is not None
    assert not questions.is_moved_or_copied(question)


def power_on_failed(key: str, text: str = "") -> Any:
    """As a host tells that the kernel refused: the module that could not power on first, then the kernel's status."""
    module = vmodl.LocalizableMessage(key="msg.moduletable.powerOnFailed", message="Module 'MonitorLoop' power on failed.")
    return vim.fault.GenericVmConfigFault(reason="x", faultMessage=[module, vmodl.LocalizableMessage(key=key, message=text)])


ON, OFF = vim.VirtualMachine.PowerState.poweredOn, vim.VirtualMachine.PowerState.poweredOff


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (vim.fault.FileLocked(), FaultKind.FILE_LOCKED),
        (vim.fault.GenericVmConfigFault(reason="x", msg="Failed to lock the file"), FaultKind.FILE_LOCKED),
        (vim.fault.GenericVmConfigFault(reason="x", msg="Could not power on"), FaultKind.OTHER),
        (vim.fault.AlreadyExists(), FaultKind.ALREADY),
        (vim.fault.DuplicateName(name="a", object=HOST), FaultKind.DUPLICATE_NAME),  # another VM of that name: not done
        (vim.fault.InvalidPowerState(existingState=ON, requestedState=ON), FaultKind.ALREADY),
        (vim.fault.InvalidPowerState(existingState=OFF, requestedState=ON), FaultKind.OTHER),
        (vim.fault.NotFound(), FaultKind.NOT_FOUND),
        (vim.fault.FileNotFound(file="x"), FaultKind.NOT_FOUND),
        (vmodl.fault.ManagedObjectNotFound(), FaultKind.NOT_FOUND),
        (vim.fault.InaccessibleDatastore(), FaultKind.INACCESSIBLE),
        (vim.fault.InvalidDatastorePath(), FaultKind.INACCESSIBLE),
        (vim.fault.InsufficientMemoryResourcesFault(), FaultKind.NO_RESOURCES),
        (power_on_failed("msg.vmk.status.VMK_MEM_ADMIT_FAILED"), FaultKind.NO_RESOURCES),
        (power_on_failed("msg.vmk.status.VMK_CPU_ADMIT_FAILED"), FaultKind.NO_RESOURCES),
        (power_on_failed("msg.memsched.notEnoughMemGuestMemVal2.esx"), FaultKind.NO_RESOURCES),
        (power_on_failed("vob.x", "Admission check failed for memory resource."), FaultKind.NO_RESOURCES),
        (power_on_failed("msg.vmk.status.VMK_NO_SUCH_ZOMBIE"), FaultKind.OTHER),
        (vim.fault.RestrictedVersion(), FaultKind.READ_ONLY),
        (vim.fault.LicenseExpired(), FaultKind.READ_ONLY),
        (vim.fault.NotAuthenticated(), FaultKind.LOST),
        (vim.fault.NoPermission(), FaultKind.OTHER),
        (vim.fault.Timedout(), FaultKind.TIMED_OUT),
    ],
)
def test_faults_that_a_failover_tells_apart(fault: Any, kind: FaultKind) -> None:
    assert fault_kind(fault) is kind


def event(kind: type, key: int, **more: Any) -> Any:
    return kind(key=key, chainId=key, createdTime=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), userName="root", **more)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (event(vim.event.VmPoweredOffEvent, 1, template=False), "vm_powered_off"),
        (event(vim.event.VmPoweredOnEvent, 1, template=False), "vm_powered_on"),
        (event(vim.event.HostShutdownEvent, 1, reason="maintenance"), "host_shutdown"),
        (event(vim.event.HostShutdownEvent, 1, reason="Reboot of the host"), "host_reboot"),
        (event(vim.event.EventEx, 1, eventTypeId="esx.audit.host.stop.reboot"), "host_reboot"),
        (event(vim.event.EventEx, 1, eventTypeId="esx.problem.net.lost"), "other"),
        (event(vim.event.UserLoginSessionEvent, 1, ipAddress="x", locale="en", sessionId="s"), "other"),
    ],
)
def test_events_by_kind(seen: Any, kind: str) -> None:
    assert event_reading.kind_of(seen) == kind


def test_an_event_names_its_vm_by_identity() -> None:
    argument = vim.event.VmEventArgument(name="a", vm=vim.VirtualMachine("12"))
    seen = event(vim.event.VmPoweredOffEvent, 4, template=False, vm=argument, fullFormattedMessage="off")
    read = event_reading.event_of(seen, "esx1", {"12": "u:a/a.vmx"})
    assert (read.vm, read.key, read.user, read.text, read.at) == ("u:a/a.vmx", 4, "root", "off", "2026-01-01T00:00:00+00:00")


def test_only_newer_events_are_new_unless_the_host_counts_anew() -> None:
    found = [event(vim.event.GeneralEvent, key, message="") for key in (1, 2, 3)]
    assert [one.key for one in event_reading.events_after(found, 2)] == [3]
    assert event_reading.events_after(found, 3) == []
    assert [one.key for one in event_reading.events_after(found, 900)] == [1, 2, 3]


def test_a_host_tells_which_machine_it_is() -> None:
    """Newer ESXi gives the serial number by name, older ones as a service tag among other things."""
    tag = vim.host.SystemIdentificationInfo(
        identifierType=vim.ElementDescription(key="ServiceTag", label="", summary=""), identifierValue="5Q3W2J2"
    )
    system = vim.host.SystemInfo(vendor="v", model="m", uuid="4c4c4544-0051-3310-8057-b7c04f4a3332", otherIdentifyingInfo=[tag])
    assert host_reading.machine_of(system, None) == Machine("4c4c4544-0051-3310-8057-b7c04f4a3332", "5Q3W2J2")
    system.serialNumber = "7XK91P3"
    assert host_reading.machine_of(system, None).serial == "7XK91P3"
    assert host_reading.machine_of(None, vim.host.Summary.HardwareSummary(uuid="u")) == Machine("u")
    assert host_reading.machine_of(None, None) == Machine()
