"""From the tarball to VMs that are watched, on a fresh Debian 12, as a user who is not root, by README alone.

The commands are read from README's section "Install it" and from the role's README; what is written here is what a user edits and types.
One machine is controller, storage server (the kernel's target) and the two simulated hosts. Each step is looked at with other programs than
the product's. The tests stand in the order of a user's first day and need each other: run them with -x.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from user_machine import HOME, ROOT, Machine, simulator, tarball

pytestmark = [pytest.mark.prove, pytest.mark.qemu]
PASSWORD = "a vault's password"
SECRET = "VMware1!-of-the-hosts"
PORTAL = "192.0.2.200"
TARGET = "iqn.2026-01.com.example:san1"
HOSTS = {"esx1": "127.0.0.11", "esx2": "127.0.0.12"}
INITIATOR = "iqn.1998-01.com.vmware:%s"
INVENTORY = "%s/inventory" % HOME
STATE = "dpkg -l; find /etc /opt /var/lib/libreha -printf '%p %s %t\\n' 2>/dev/null | sort"
DATABASE = """
import sqlite3
print(*sqlite3.connect("file:/var/lib/libreha/state.db?mode=ro", uri=True).execute("pragma integrity_check").fetchone())
"""
ACLS = "/sys/kernel/config/target/iscsi/%s/tpgt_1/acls" % TARGET


def hosts() -> dict[str, Any]:
    """The user's hosts.yml: machines of metal are replaced by simulated ones, the storage server is this machine."""
    simulated = {
        "vmware_server_product": "simulator",
        "vmware_server_simulator_program": "%s/esxsim" % HOME,
        "libreha_username": "root",
        "libreha_password": "{{ vault_libreha_password }}",
        "libreha_ca_path": "/etc/libreha/ca/{{ inventory_hostname }}.pem",
        "libreha_timeout": 60,
    }
    example = yaml.safe_load((ROOT / "playbooks/inventory.example/hosts.yml").read_text())
    example["libreha_hosts"] = {
        "vars": simulated,
        "hosts": {name: {"ansible_host": address, "libreha_initiator": INITIATOR % name} for name, address in HOSTS.items()},
    }
    storage = {"ansible_connection": "local", "ansible_become": True, "libreha_storage": {"driver": "lio"}}
    example["libreha_storage"]["hosts"]["san1"] = storage
    return dict(example)


def target() -> dict[str, Any]:
    """The user's libreha_storage.yml."""
    example = yaml.safe_load((ROOT / "playbooks/inventory.example/group_vars/libreha_storage.yml.example").read_text())
    return {
        **example,
        "iscsi_target_portals": [{"address": PORTAL}],
        "iscsi_target_volume_groups": [{"name": "vg_storage", "disks": ["/dev/disk/by-id/virtio-data1"]}],
        "iscsi_target_luns": [{"name": "ds1", "number": 0, "volume_group": "vg_storage", "size": "1GiB"}],
        "iscsi_target_initiators": [{"name": INITIATOR % name, "chap": {"secret": "{{ vault_%s_chap_secret }}" % name}} for name in HOSTS],
    }


def variables() -> dict[str, Any]:
    """The user's policy.yml. Looks of an emulated machine take long, as in the lab's own inventory of guests (liblab/qemu/hostfiles.py)."""
    example = yaml.safe_load((ROOT / "playbooks/inventory.example/group_vars/all/policy.yml").read_text())
    slow = {"isolation_addresses": ["10.0.2.2"], "storage_grace": 10, "io_stale": 100, "confirm_after": 120, "lease": 900}
    vm = {
        "name": "web1",
        "datastore": "ds1",
        "cpu": 1,
        "memory": 512,
        "guest_id": "debian12_64Guest",
        "disks": [{"size": 1}],
        "networks": ["VM Network"],
    }
    policy = {**example["libreha_policy"], **slow}
    del policy["vms"]
    return {**example, "libreha_policy": policy, "libreha_vms": [vm]}


def steps() -> list[str]:
    """The commands of README's section "Install it", one for each line of its blocks."""
    section = (ROOT / "README.md").read_text().partition("\n## Install it\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def those(first: str, last: str) -> list[str]:
    """The commands from the one that has *first* in it up to the one that has *last*."""
    found = steps()
    begin = next(number for number, line in enumerate(found) if first in line)
    return found[begin : next(number for number, line in enumerate(found) if number >= begin and last in line) + 1]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Who works on these tests keeps the machine: $LIBREHA_QEMU_LAB names a folder, as for tests/integration/qemu_lab."""
    folder = Path(os.environ.get("LIBREHA_QEMU_LAB") or tmp_path_factory.mktemp("user"))
    found = Machine(folder)
    try:
        if not found.guests.status():
            found.up()
            found.give(tarball(folder))
            found.give(simulator())
        yield found
    finally:
        if "LIBREHA_QEMU_LAB" not in os.environ:
            found.guests.down()


def test_ansible_and_the_collection_are_installed(machine: Machine) -> None:
    for command in those("apt", "collection install"):
        machine.run(command)
    assert machine.run("id -u").strip() != "0"
    machine.run("ansible-doc libreha.vmware.ha_run >/dev/null")


def test_the_inventory_is_written_and_reaches_the_storage_server(machine: Machine) -> None:
    for command in those("inventory.example", "vault.yml.example"):
        machine.run(command)
    machine.write("%s/hosts.yml" % INVENTORY, json.dumps(hosts()))
    machine.write("%s/group_vars/all/policy.yml" % INVENTORY, json.dumps(variables()))
    machine.run("mv ~/inventory/group_vars/libreha_storage.yml.example ~/inventory/group_vars/libreha_storage.yml")
    machine.write("%s/group_vars/libreha_storage.yml" % INVENTORY, json.dumps(target()))
    vault = "%s/group_vars/all/vault.yml" % INVENTORY
    machine.write(vault, machine.root("cat %s" % vault).replace("vault_libreha_password: change-me", "vault_libreha_password: %s" % SECRET))
    machine.run("cd ~/inventory/group_vars/all && ansible-vault encrypt vault.yml", "%s\n%s\n" % (PASSWORD, PASSWORD))
    assert machine.root("head -n 1 %s" % vault).startswith("$ANSIBLE_VAULT;")
    (command,) = those("id -u", "id -u")
    assert "\n0\n" in machine.run(command, PASSWORD + "\n")


def test_site_in_check_mode_changes_nothing(machine: Machine) -> None:
    before = machine.root(STATE).splitlines()
    (command,) = those("site --check", "site --check")
    said = machine.run(command, PASSWORD + "\n")
    assert "Would install into /opt/libreha/venv: " in said
    assert machine.root(STATE).splitlines() == before


def test_site_makes_the_virtualenv_the_target_and_the_database(machine: Machine) -> None:
    """The hosts are not there yet: it ends with an error that says what makes them, after all else is done."""
    command = next(line for line in steps() if line.endswith("libreha.vmware.site"))
    said = machine.attempt(command, PASSWORD + "\n")
    assert said.returncode != 0 and "let the role vmware_server write it" in " ".join(said.stdout.split())
    assert machine.root("/opt/libreha/venv/bin/python -c 'import pyVmomi, sqlalchemy, icmplib, sushy, rtslib_fb; print(1)'") == "1\n"
    assert ":3260" in machine.root("ss --no-header --listening --tcp --numeric src %s" % PORTAL)
    assert set(machine.root("ls %s" % ACLS).split()) == {INITIATOR % name for name in HOSTS}
    assert machine.root("python3 -", DATABASE) == "ok\n"


def test_the_role_vmware_server_brings_hosts_to_the_storage_and_site_ends_well(machine: Machine) -> None:
    page = (ROOT / "roles/vmware_server/README.md").read_text()
    (play,) = [block for block in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "roles:" in block]
    machine.write("%s/hosts.yml" % HOME, play)
    role, site = those("~/hosts.yml", "libreha.vmware.site")
    machine.run(role, PASSWORD + "\n")
    logged_in = machine.root("cd %s && grep -l LOGGED_IN */info | cut -d/ -f1" % ACLS)  # by the kernel
    assert set(logged_in.split()) == {INITIATOR % name for name in HOSTS}
    assert machine.root("systemctl is-active libreha-simulator-esx1 libreha-simulator-esx2").split() == ["active", "active"]
    said = machine.run(site, PASSWORD + "\n")
    assert all("%s healthy (api answered, ping ok, storage ok)" % name in said for name in HOSTS)


def test_provision_creates_a_vm_that_writes_to_the_lun(machine: Machine) -> None:
    (command,) = those("provision", "provision")
    machine.run(command, PASSWORD + "\n")
    records = "dd if=/dev/vg_storage/ds1 bs=4M iflag=direct status=none | grep --text --only-matching LHRECORD | wc --lines"
    before = int(machine.root(records))
    assert 0 < before < int(machine.root("sleep 20; " + records))


def test_vm_check_preflight_and_monitor_find_a_cluster_that_is_well(machine: Machine) -> None:
    check, preflight, monitor = those("vm_check", "monitor")
    said = machine.run(check, PASSWORD + "\n")
    for passed in ("power", "disk", "failover"):
        assert re.search(r"web1 +esx\d +%s +passed" % passed, said)
    said = machine.run(preflight, PASSWORD + "\n")
    assert re.search(r'"ok +fencing +cluster', said) and not re.search(r'"critical ', said)
    said = machine.run(monitor, PASSWORD + "\n")
    assert all("%s healthy (api answered, ping ok, storage ok)" % name in said for name in HOSTS)
    assert "1 VMs known, 1 running" in said
