"""Small clients that ask what the read-only samples of pyvmomi-community-samples ask, in the same calls: code that people have lying about
for a host works against esxsim. pyVmomi's own connection is used, not ours."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl
from real_hosts import Host, StorageServer, until, write_vm


@pytest.fixture
def instance(new_host: Callable[..., Host], storage: StorageServer, ca_path: Path) -> Iterator[Any]:
    """A ServiceInstance of a host with two VMs, of which one runs."""
    for number, name in enumerate(("vm01", "vm02")):
        write_vm(storage.datastore, name, extent=number, **{"libreha.guest_address": "198.51.100.%d" % number})
    host = new_host().start(["[shared] vm01/vm01.vmx", "[shared] vm02/vm02.vmx"])
    context = ssl.create_default_context(cafile=str(ca_path))
    connected = SmartConnect(host="127.0.0.1", port=host.port, user="root", pwd="VMware1!", sslContext=context)
    until(lambda: all(store.summary.accessible for store in view(connected, vim.Datastore)), "the datastores are there")
    WaitForTask(connected.content.searchIndex.FindByDatastorePath(datacenter(connected), "[shared] vm01/vm01.vmx").PowerOn())
    yield connected
    Disconnect(connected)


def view(instance: Any, kind: Any) -> list[Any]:
    """As nearly every sample looks things up."""
    content = instance.RetrieveContent()
    container = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    found = list(container.view)
    container.Destroy()
    return found


def datacenter(instance: Any) -> Any:
    return instance.content.rootFolder.childEntity[0]


def test_hello_world(instance: Any) -> None:
    """hello_world_vcenter: the session and the product."""
    assert instance.content.about.apiType == "HostAgent"
    assert instance.content.sessionManager.currentSession.userName == "root"
    assert instance.CurrentTime() is not None


def test_sessions_list(instance: Any) -> None:
    """sessions_list. Its last line, the session after the logout, is where esxsim differs: ESXi says none, govmomi refuses to say."""
    sessions = instance.content.sessionManager.sessionList
    mine = instance.content.sessionManager.currentSession.key
    assert mine in [session.key for session in sessions]
    assert [(session.userName, bool(session.ipAddress), session.loginTime is not None) for session in sessions if session.key == mine] == [
        ("root", True, True)
    ]
    instance.content.sessionManager.Logout()
    with pytest.raises(vim.fault.NotAuthenticated):
        print(instance.content.sessionManager.currentSession)


def test_getallvms_and_vminfo(instance: Any) -> None:
    """getallvms, get_vm_names, get_vm_power_state: the summary, property by property."""
    found = {vm.summary.config.name: vm.summary for vm in view(instance, vim.VirtualMachine)}
    assert set(found) == {"vm01", "vm02"}
    one = found["vm01"]
    assert (one.config.vmPathName, one.config.guestFullName, one.runtime.powerState) == (
        "[shared] vm01/vm01.vmx",
        "debian11-64",
        vim.VirtualMachine.PowerState.poweredOn,
    )
    assert one.guest.ipAddress == "198.51.100.0" and one.runtime.question is None
    assert one.config.instanceUuid is not None and one.config.uuid


def test_vms_below_the_datacenter(instance: Any) -> None:
    """getallvms before it had views: walks the folders."""
    assert [vm.name for vm in datacenter(instance).vmFolder.childEntity] == ["vm01", "vm02"]


def test_list_vms_by_property_collector(instance: Any) -> None:
    """One RetrieveContents over a view, as those samples do that read many VMs."""
    content = instance.RetrieveContent()
    container = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    collector = vmodl.query.PropertyCollector
    traversal = collector.TraversalSpec(name="traverseEntities", path="view", skip=False, type=type(container))
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=container, skip=True, selectSet=[traversal])],
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "config.uuid", "guest.guestState"], all=False)],
    )
    found = content.propertyCollector.RetrieveContents([spec])
    assert sorted(item.val for content in found for item in content.propSet if item.name == "name") == ["vm01", "vm02"]


def test_list_datastore_info(instance: Any) -> None:
    """list_datastore_info: the file systems of each host."""
    (host,) = view(instance, vim.HostSystem)
    volumes = host.configManager.storageSystem.fileSystemVolumeInfo.mountInfo
    vmfs = [mount.volume for mount in volumes if mount.volume.type == "VMFS"]
    assert {volume.name for volume in vmfs} == {"shared", "local1"}
    assert all(volume.capacity > 0 and volume.uuid and volume.version for volume in vmfs)


def test_find_by_uuid(instance: Any) -> None:
    """find_by_uuid."""
    vm = view(instance, vim.VirtualMachine)[0]
    assert instance.content.searchIndex.FindByUuid(None, vm.summary.config.uuid, True, False)._moId == vm._moId


def test_hardware_and_portgroups_of_the_host(instance: Any) -> None:
    """get_hosts_memsize, get_host_info, get_portgroup: the hardware, its load, and networks."""
    (host,) = view(instance, vim.HostSystem)
    assert host.hardware.memorySize == 65536 << 20 and host.summary.quickStats.overallMemoryUsage > 0
    assert [network.name for network in host.network] == ["VM Network"]
    assert [group.spec.name for group in host.config.network.portgroup]


def test_devices_of_a_vm(instance: Any) -> None:
    """getallvm_nics and others: controllers, disks, cards."""
    devices = view(instance, vim.VirtualMachine)[0].config.hardware.device
    kinds = {type(device) for device in devices}
    assert kinds >= {vim.vm.device.ParaVirtualSCSIController, vim.vm.device.VirtualDisk, vim.vm.device.VirtualVmxnet3}


def test_events_and_tasks(instance: Any) -> None:
    """The newest events."""
    events = instance.content.eventManager.QueryEvents(vim.event.EventFilterSpec())
    assert any(isinstance(event, vim.event.VmPoweredOnEvent) for event in events)
