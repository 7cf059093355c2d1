"""The inventory plugins by ansible-inventory and ansible-playbook, on real (simulated) hosts, a real target and real (emulated) BMCs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import ROOT, Host, StorageServer, until, write_vm

sys.path.insert(0, str(ROOT / "tests" / "unit" / "fence"))
from redfish_emulator import PASSWORD, USER, Emulator  # noqa: E402

SECRET = "VMware1!"


@dataclass
class Site:
    """A folder that is an inventory, and the commands that read it."""

    folder: Path
    ca_path: Path

    def write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    def hosts_file(self, hosts: list[Any], **options: Any) -> None:
        self.write("cluster.libreha_hosts.yml", {"plugin": "libreha.vmware.hosts", "hosts": hosts, **self.shared(options)})

    def vms_file(self, hosts: list[Any], **options: Any) -> None:
        self.write("cluster.libreha_vms.yml", {"plugin": "libreha.vmware.vms", "hosts": hosts, **self.shared(options)})

    def shared(self, options: dict[str, Any]) -> dict[str, Any]:
        password = "{{ lookup('ansible.builtin.env', 'OUR_SECRET') }}"
        return {"username": "root", "password": password, "ca_path": str(self.ca_path), "timeout": 10, **options}

    def run(self, program: str, *words: str, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), "-i", str(self.folder), *words],
            env={
                **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
                "ANSIBLE_HOME": str(self.folder.parent / "ansible"),
                "OUR_SECRET": SECRET, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", **environment,
            },
            cwd=self.folder.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert SECRET not in done.stdout + done.stderr, "the password was shown"
        return done.returncode, done.stdout, " ".join(done.stderr.split())

    def listed(self, **environment: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """(the groups, the variables of each host, the warnings)"""
        rc, said, warnings = self.run("ansible-inventory", "--list", **environment)
        assert rc == 0, warnings
        groups = json.loads(said, object_hook=lambda one: one.get("__ansible_unsafe", one))  # text that is no template
        return groups, groups.pop("_meta")["hostvars"], warnings


@pytest.fixture
def site(tmp_path: Path, ca_path: Path) -> Site:
    (tmp_path / "inventory").mkdir()
    return Site(tmp_path / "inventory", ca_path)


@pytest.fixture
def bmcs(tmp_path: Path) -> Iterator[Callable[[str], Emulator]]:
    made: list[Emulator] = []

    def make(uuid: str) -> Emulator:
        made.append(Emulator(tmp_path / ("bmc%d" % len(made)), [uuid]))
        return made[-1]

    yield make
    for emulator in made:
        emulator.stop()


def entry(host: Host) -> dict[str, Any]:
    return {"name": host.name, "hostname": "127.0.0.1", "port": host.port}


def serving(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(store.accessible for store in opened.health().datastores)


def cluster(storage: StorageServer, new_host: Callable[..., Host], ca_path: Path) -> tuple[Host, Host]:
    for number, name in enumerate(("vm01", "vm02", "dc1")):
        write_vm(storage.datastore, name, extent=number, **{"libreha.guest_address": "198.51.100.%d" % number})
    one, two = new_host(), new_host()
    write_vm(one.folder / "local", "scratch")
    one.start(["[shared] vm01/vm01.vmx", "[local1] scratch/scratch.vmx"])
    two.start(["[shared] vm02/vm02.vmx", "[shared] dc1/dc1.vmx", "[shared] vm01/vm01.vmx"])
    for host in (one, two):
        until(lambda host=host: serving(host, ca_path), "the datastore of %s" % host.name)
    return one, two


def test_addresses_are_an_inventory_that_the_playbooks_take(
    site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path
) -> None:
    """Nobody typed an initiator's name, and the drill judges the hosts by it."""
    hosts = cluster(storage, new_host, ca_path)
    site.hosts_file([entry(host) for host in hosts])
    saved = site.folder.parent / "targets.conf"
    saved.write_text("")
    here = {"driver": "tgt", "control_port": int(storage.control), "saved_config": str(saved), "fence_list": str(saved.with_name("fences"))}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "libreha_storage": here}
    site.write("storage.yml", {"libreha_storage": {"hosts": {"san1": local}}})
    site.write("group_vars/all/policy.yml", {"libreha_policy": {"io_stale": 3}})

    _groups, variables, warnings = site.listed()
    assert {host.name: variables[host.name]["libreha_initiator"] for host in hosts} == {host.name: host.initiator for host in hosts}
    assert variables["esx1"]["libreha_password"] == "{{ lookup('ansible.builtin.env', 'OUR_SECRET') }}"
    assert variables["esx2"]["libreha_host_facts"]["vms"] == ["dc1", "vm01", "vm02"]
    assert "WARNING" not in warnings

    rc, said, errors = site.run("ansible-playbook", "libreha.vmware.drill", "-e", "libreha_max_looks=1")
    assert rc == 0, said + errors
    assert "esx1" in said and "the policy names no initiator for it" not in said
    assert "it says that its initiator is" not in said


def test_a_host_that_is_dead_keeps_what_was_read_of_it(
    site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path
) -> None:
    """When it is to be fenced is when it does not answer."""
    one, two = cluster(storage, new_host, ca_path)
    site.hosts_file([entry(one), entry(two)])
    before = site.listed()[1]
    two.end()
    groups, after, warnings = site.listed()
    assert groups["libreha_hosts"]["hosts"] == ["esx1", "esx2"]
    assert after["esx2"]["libreha_initiator"] == before["esx2"]["libreha_initiator"] == two.initiator
    assert after["esx2"]["libreha_host_facts"]["answered"] is False
    assert "its initiator is taken from the record" in warnings


def test_a_host_that_never_answered_is_listed_without_an_initiator(site: Site, new_host: Callable[..., Host]) -> None:
    site.hosts_file([entry(new_host())], timeout=1)
    _groups, variables, warnings = site.listed()
    assert "libreha_initiator" not in variables["esx1"]
    assert "its initiator is not known, so it cannot be fenced" in warnings


def test_another_host_at_the_address_does_not_take_over_the_name(
    site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path
) -> None:
    one, two = cluster(storage, new_host, ca_path)
    site.hosts_file([entry(one)])
    site.listed()
    site.hosts_file([{**entry(two), "name": "esx1"}])
    _groups, variables, warnings = site.listed()
    assert variables["esx1"]["libreha_initiator"] == one.initiator
    assert "esx1 says that its initiator is %s, the record says %s" % (two.initiator, one.initiator) in warnings
    assert "answers as another machine" in warnings


def test_each_bmc_finds_its_host(
    site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path, bmcs: Callable[[str], Emulator]
) -> None:
    one, two = cluster(storage, new_host, ca_path)
    of_two, of_one = bmcs(two.config["uuid"]), bmcs(one.config["uuid"])  # in the wrong order
    site.write("authorities.pem.txt", of_one.ca.read_text() + of_two.ca.read_text())
    given = {"addresses": [of_two.address, of_one.address], "username": USER, "ca_path": str(site.folder / "authorities.pem.txt")}
    site.hosts_file([entry(one), entry(two)], bmcs={**given, "password": "{{ lookup('ansible.builtin.env', 'BMC_SECRET') }}"})
    _groups, variables, _warnings = site.listed(BMC_SECRET=PASSWORD)
    assert [variables[name]["libreha_bmc"]["address"] for name in ("esx1", "esx2")] == [of_one.address, of_two.address]
    assert variables["esx1"]["libreha_bmc"]["password"] == "{{ lookup('ansible.builtin.env', 'BMC_SECRET') }}"
    of_two.stop()
    _groups, variables, warnings = site.listed(BMC_SECRET=PASSWORD)
    assert variables["esx2"]["libreha_bmc"]["address"] == of_two.address, "a BMC that is dead is its host's still"
    assert of_two.address in warnings


def test_a_bare_host_gets_the_name_that_the_role_gives_it(site: Site, bare_host: Callable[..., Host]) -> None:
    site.hosts_file([entry(bare_host())])
    assert site.listed()[1]["esx1"]["libreha_initiator"] == "iqn.1998-01.com.vmware:esx1"


def test_vms_are_listed_once_in_their_groups(site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path) -> None:
    one, two = cluster(storage, new_host, ca_path)
    with open_hypervisor(one.connection(ca_path)) as host:
        host.power_on(next(vm.moid for vm in host.virtual_machines() if vm.name == "vm01"), 20.0)
    site.write("group_vars/all/policy.yml", {"libreha_policy": {"mode": "act", "vms": {"dc1": {"protection": "unprotected"}}}})
    site.vms_file(
        [entry(one), entry(two)],
        keyed_groups=[{"prefix": "net", "key": "libreha_vm.networks"}],
        groups={"small": "libreha_vm.memory < 2048"},
        compose={"where": "libreha_vm.host"},
    )
    groups, variables, warnings = site.listed()
    members = {name: sorted(group.get("hosts", [])) for name, group in groups.items()}
    assert members["libreha_vms_on_esx1"] == ["scratch", "vm01"], "a VM is listed where it runs, not where it is registered as well"
    assert members["libreha_vms_on_esx2"] == ["dc1", "vm02"]
    assert (members["libreha_vms_power_on"], members["libreha_vms_power_off"]) == (["vm01"], ["dc1", "scratch", "vm02"])
    assert (members["libreha_vms_protected"], members["libreha_vms_unprotected"]) == (["vm01", "vm02"], ["dc1", "scratch"])
    assert members["net_VM_Network"] == members["small"] == ["dc1", "scratch", "vm01", "vm02"]
    assert (variables["vm01"]["ansible_host"], variables["vm01"]["where"]) == ("198.51.100.0", "esx1")
    assert "ansible_host" not in variables["vm02"], "a VM that is off has no address"
    assert variables["vm01"]["libreha_vm"]["also_registered_on"] == ["esx2"]
    assert "not on iSCSI" in variables["scratch"]["libreha_vm"]["unprotected_because"]
    assert "WARNING" not in warnings


def test_a_dead_host_costs_its_own_vms_and_no_others(
    site: Site, storage: StorageServer, new_host: Callable[..., Host], ca_path: Path
) -> None:
    one, two = cluster(storage, new_host, ca_path)
    site.vms_file(
        [entry(one), entry(two)],
        timeout=2,
        cache=True,
        cache_plugin="ansible.builtin.jsonfile",
        cache_connection=str(site.folder.parent / "cached"),
    )
    assert two.process is not None
    two.process.send_signal(signal.SIGSTOP)
    _groups, variables, warnings = site.listed()
    assert set(variables) == {"vm01", "scratch"}
    assert "the VMs of esx2 are not in the inventory" in warnings
    two.process.send_signal(signal.SIGCONT)
    assert set(site.listed()[1]) == {"vm01", "vm02", "dc1", "scratch"}, "what was read without a host is not what the next run sees"
    one.end()
    two.end()
    _groups, variables, warnings = site.listed()
    assert set(variables) == {"vm01", "vm02", "dc1", "scratch"} and "WARNING" not in warnings, "from the cache"
    assert SECRET not in "".join(path.read_text() for path in (site.folder.parent / "cached").iterdir())


def test_two_vms_of_one_name_have_their_host_with_it(site: Site, new_host: Callable[..., Host]) -> None:
    hosts = [new_host(), new_host()]
    for host in hosts:
        write_vm(host.folder / "local", "web")
        host.config["local_datastore"]["uuid"] = "11111111-22222222-3333-%012d" % host.port
        host.start(["[local1] web/web.vmx"])
    site.vms_file([entry(host) for host in hosts])
    assert set(site.listed()[1]) == {"web@esx1", "web@esx2"}


def test_no_host_that_answers_is_an_error(site: Site, new_host: Callable[..., Host]) -> None:
    site.vms_file([entry(new_host())], timeout=1)
    rc, _said, errors = site.run("ansible-inventory", "--list")
    assert rc != 0 and "no host answers" in errors


def test_what_is_wrong_in_the_file_is_named(site: Site) -> None:
    site.hosts_file([], nonsense=1)
    rc, _said, errors = site.run("ansible-inventory", "--list")
    assert rc != 0 and "hosts is []" in errors
