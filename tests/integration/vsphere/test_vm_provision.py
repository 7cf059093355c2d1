"""The module vm_provision on real (simulated) hosts: what is described is there once, whichever host has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.entry import esxi_iscsi, vm_provision, vmfs_datastore
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import hosts_spec
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import EXTENT_BYTES, FIRST_EXTENT, TARGET, Host, StorageServer, until

WEB = {"name": "web1", "datastore": "shared", "cpu": 2, "memory": 2048, "disks": [{"size": 2}, {"size": 1}], "networks": ["VM Network"]}


class Cluster:
    """Hosts on one LUN, and the module with their connections."""

    def __init__(self, hosts: list[Host], ca_path: Path) -> None:
        self.hosts, self.ca_path = hosts, ca_path

    def run(self, *vms: dict[str, Any], check_mode: bool = False, **options: Any) -> dict[str, Any]:
        hosts = [{**host.parameters, "ca_path": str(self.ca_path)} for host in self.hosts]
        given = {"hosts": hosts, "vms": list(vms), **options}
        checked = ArgumentSpecValidator({**vm_provision.argument_spec(), **hosts_spec()}).validate(given)
        assert not checked.error_messages
        return vm_provision.run(checked.validated_parameters, check_mode)

    def vms(self) -> dict[str, VmObservation]:
        return {vm.name: vm for host in self.hosts for vm in self.of(host)}

    def of(self, host: Host) -> list[VmObservation]:
        with open_hypervisor(host.connection(self.ca_path)) as opened:
            return opened.virtual_machines()

    def serves(self, host: Host) -> bool:
        with open_hypervisor(host.connection(self.ca_path)) as opened:
            return all(store.accessible for store in opened.health().datastores)


@pytest.fixture
def cluster(new_host: Callable[..., Host], ca_path: Path) -> Cluster:
    made = Cluster([new_host().start() for _host in range(2)], ca_path)
    for host in made.hosts:
        until(lambda host=host: made.serves(host), "the datastore of %s" % host.name)
    return made


def test_what_is_described_is_created_once_and_runs(cluster: Cluster, storage: StorageServer) -> None:
    other = {"name": "db1", "datastore": "shared", "host": "esx2", "state": "present", "disks": [{"size": 1}]}
    would = cluster.run(WEB, other, check_mode=True)
    assert not cluster.vms() and not any(storage.datastore.iterdir()), "check mode acted"
    done = cluster.run(WEB, other)
    assert [vm["steps"] for vm in done["vms"]] == [vm["steps"] for vm in would["vms"]]
    assert [(vm["name"], vm["created"]) for vm in done["vms"]] == [("web1", True), ("db1", True)]
    vms = cluster.vms()
    assert (vms["web1"].power, vms["web1"].cpu, vms["web1"].memory, vms["web1"].networks) == (Power.ON, 2, 2048, ("VM Network",))
    assert sorted(backing.path for backing in vms["web1"].backings if backing.kind == "disk") == [
        "[shared] web1/web1.vmdk",
        "[shared] web1/web1_1.vmdk",
    ]
    assert (vms["db1"].power, vms["db1"].host) == (Power.OFF, "esx2")
    for check_mode in (False, True):
        again = cluster.run(WEB, other, check_mode=check_mode)
        assert (again["changed"], again["warnings"]) == (False, [])


def test_a_vm_that_runs_on_another_host_is_not_created_again(cluster: Cluster) -> None:
    """It failed over since it was described."""
    cluster.run({**WEB, "host": "esx1"})
    with open_hypervisor(cluster.hosts[0].connection(cluster.ca_path)) as host:
        moid = host.virtual_machines()[0].moid
        host.power_off([moid], 20.0)
        host.unregister(moid)
    with open_hypervisor(cluster.hosts[1].connection(cluster.ca_path)) as host:
        host.power_on(host.register("[shared] web1/web1.vmx", "web1"), 20.0)
    again = cluster.run({**WEB, "host": "esx1"})
    assert (again["changed"], again["vms"][0]["host"]) == (False, "esx2")


def test_a_folder_without_a_registered_vm_is_refused(cluster: Cluster, storage: StorageServer) -> None:
    """It may be a VM whose host is fenced, and that is about to be started elsewhere."""
    (storage.datastore / "web1").mkdir()
    with pytest.raises(LibrehaError, match="has a folder web1, and no host has such a VM registered.*nothing was changed"):
        cluster.run(WEB)
    assert not cluster.vms()


def test_a_host_that_does_not_answer_stops_the_run(cluster: Cluster) -> None:
    cluster.hosts[1].end()
    with pytest.raises(LibrehaError, match="esx2.*may be there.*nothing was changed"):
        cluster.run(WEB)
    assert not cluster.of(cluster.hosts[0])


def test_a_run_that_failed_half_way_is_completed_by_the_next(cluster: Cluster, storage: StorageServer) -> None:
    image = {**WEB, "disks": [{"image": "[shared] images/debian.vmdk", "size": 3}]}
    with pytest.raises(LibrehaError, match="web1: esx1: copying .*FileNotFound") as failure:
        cluster.run(image)
    assert failure.value.details["vms"][0]["steps"] == ["create it on esx1 with 2 CPU, 2048 MiB, VM Network"]
    assert cluster.vms()["web1"].power is Power.OFF
    (storage.datastore / "images").mkdir()
    (storage.datastore / "images" / "debian.vmdk").write_text('# Disk DescriptorFile\nRW 2097152 VMFS "debian-flat.vmdk"\n')
    done = cluster.run(image)["vms"][0]
    assert (done["created"], done["steps"]) == (False, ["add a disk, 3 GiB, a copy of [shared] images/debian.vmdk", "power it on"])
    assert "RW %d VMFS" % (3 << 21) in (storage.datastore / "web1" / "web1.vmdk").read_text()
    assert cluster.run(image)["changed"] is False


def test_a_file_in_its_folder_is_never_overwritten(cluster: Cluster, storage: StorageServer) -> None:
    cluster.run({**WEB, "disks": [], "state": "present"})
    (storage.datastore / "images").mkdir()
    (storage.datastore / "images" / "debian.vmdk").write_text('# Disk DescriptorFile\nRW 2097152 VMFS "debian-flat.vmdk"\n')
    (storage.datastore / "web1" / "web1.vmdk").write_text("somebody's")
    with pytest.raises(LibrehaError, match="FileAlreadyExists"):
        cluster.run({**WEB, "disks": [{"image": "[shared] images/debian.vmdk"}]})
    assert (storage.datastore / "web1" / "web1.vmdk").read_text() == "somebody's"


def test_a_vm_that_runs_is_not_changed_and_the_difference_is_named(cluster: Cluster) -> None:
    cluster.run(WEB)
    grown = {**WEB, "memory": 4096, "disks": [*WEB["disks"], {"size": 5}]}
    done = cluster.run(grown)
    assert (done["changed"], done["vms"][0]["differences"]) == (
        False,
        ["set 2 CPU and 4096 MiB (not done: it is on)", "add a disk, a blank one of 5 GiB (not done: it is on)"],
    )
    with open_hypervisor(cluster.hosts[0].connection(cluster.ca_path)) as host:
        host.power_off([host.virtual_machines()[0].moid], 20.0)
    assert cluster.run(grown)["vms"][0]["steps"] == ["set 2 CPU and 4096 MiB", "add a disk, a blank one of 5 GiB", "power it on"]
    assert cluster.vms()["web1"].memory == 4096


def test_it_waits_until_the_guest_tells_its_address(cluster: Cluster) -> None:
    done = cluster.run({**WEB, "options": {"libreha.guest_address": "198.51.100.7"}}, wait_for="address")
    assert done["vms"][0]["addresses"] == ["198.51.100.7"]
    with pytest.raises(LibrehaError, match="mute: esx.: it tells no address after 2 s.*wait_for: power"):
        cluster.run({"name": "mute", "datastore": "shared"}, wait_for="address", wait_timeout=2)


def test_the_host_with_most_memory_left_takes_it_and_one_without_the_network_does_not(new_host: Callable[..., Host], ca_path: Path) -> None:
    made = Cluster([new_host(memory_mib=memory).start() for memory in (8192, 32768, 16384)], ca_path)
    for host in made.hosts:
        until(lambda host=host: made.serves(host), "the datastore of %s" % host.name)
    vms = [{**WEB, "name": "web%d" % number, "memory": 12288, "state": "present", "disks": []} for number in range(3)]
    assert [vm["host"] for vm in made.run(*vms, check_mode=True)["vms"]] == ["esx2", "esx2", "esx3"]
    with pytest.raises(LibrehaError, match="esx1 has no network Nowhere; esx2 has no network Nowhere"):
        made.run({**WEB, "networks": ["Nowhere"]})


def test_vms_of_two_hosts_on_one_vmfs_share_nothing(bare_host: Callable[..., Host], storage: StorageServer, ca_path: Path) -> None:
    """Their files and disks are on the LUN itself; both are created, and run, at the same time."""
    hosts = [bare_host() for _host in range(2)]
    reach = {"hosts": [{**host.parameters, "ca_path": str(ca_path)} for host in hosts]}
    address, port = storage.portal.rsplit(":", 1)
    for host in reach["hosts"]:
        given = {"purge": False, "rescan": False, "require_login": True, "rescan_timeout": 30.0, "login_timeout": 5.0}
        esxi_iscsi.run({**host, **given, "send_targets": [{"address": address, "port": int(port)}]}, False)
    blank = {"target": TARGET, "lun": 1, "path": "lun", "size": storage.image.stat().st_size, "blank": True, "content": ""}
    wish = {
        "datastore": "ds1",
        "target": TARGET,
        "lun": 1,
        "lun_contents": [blank],
        "create": True,
        "resignature": None,
        "rescan_timeout": 30.0,
    }
    vmfs_datastore.run({**reach, **wish}, False)
    made = Cluster(hosts, ca_path)
    vms = [{"name": "web%d" % number, "datastore": "ds1", "host": "esx%d" % number, "disks": [{"size": 1}]} for number in (1, 2)]
    made.run(*vms)
    assert {(vm.name, vm.host, vm.power) for vm in made.vms().values()} == {("web1", "esx1", Power.ON), ("web2", "esx2", Power.ON)}
    assert made.run(*vms)["changed"] is False
    records = [b"LHRECORD", b"esx1", b"esx2"]
    until(lambda: all(word in storage.content(FIRST_EXTENT + 2 * EXTENT_BYTES) for word in records), "both write, each into its own extent")


def test_an_iso_is_in_its_drive(cluster: Cluster, storage: StorageServer) -> None:
    (storage.datastore / "iso").mkdir()
    (storage.datastore / "iso" / "debian.iso").write_bytes(b"CD001")
    cluster.run({**WEB, "iso": "[shared] iso/debian.iso"})
    assert "[shared] iso/debian.iso" in [backing.path for backing in cluster.vms()["web1"].backings]


def test_all_that_is_wrong_in_the_list_is_named(cluster: Cluster) -> None:
    with pytest.raises(LibrehaError, match="web1 is listed twice; 'a/b' is no name.*a/b has a disk without.*a/b: images is no path"):
        cluster.run(WEB, WEB, {"name": "a/b", "datastore": "shared", "disks": [{}, {"image": "images"}]})
