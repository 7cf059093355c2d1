"""From a bare Debian 12 to a protected cluster, by README's installation section, as a user who has the tarball and is not root.

The commands of that section are taken out of README.md and typed as they stand there; what a person edits, this test writes. The hosts are
the product `simulator` of the role vmware_server, on the storage server itself, with their datastore on its LUN.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fresh_debian import ROOT, FreshDebian, booted

ESXSIM = ROOT / "tests/lab/esxsim/esxsim"
HOSTS = ("esx1", "esx2", "esx3")
ADDRESS = "10.0.2.15"  # the guest's, which QEMU's user network wants
ACTIVATE = ". ~/libreha/bin/activate"
PLAY = "ansible-playbook -i ~/inventory --ask-vault-pass --ask-become-pass"
PATIENT = 120  # s; emulated, an answer takes its time


def section(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("\n## %s\n" % title)[2].partition("\n## ")[0]


def typed() -> list[str]:
    """The commands of README's installation section, block by block, as a user types them where sudo asks for a password."""
    blocks = re.findall(r"```console\n(.*?)```", section("Install it"), re.DOTALL)
    return [re.sub(r"(--ask-vault-pass)", r"\1 --ask-become-pass", block) for block in blocks]


def changed(said: str, host: str) -> int:
    recap = re.findall(r"^%s +: ok=.* changed=(\d+)" % host, said, re.MULTILINE)
    assert recap, "the recap does not name %s" % host
    return int(recap[-1])


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    command = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", "build", str(ROOT), "--output-path", str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")})
    return next(folder.glob("libreha-vmware-*.tar.gz"))


@pytest.fixture(scope="module")
def guest(tarball: Path) -> Iterator[FreshDebian]:
    with booted() as machine:
        machine.put(tarball, ".")
        yield machine


def edit_the_inventory(guest: FreshDebian) -> None:
    """What the section tells a person to edit."""
    local = {"ansible_connection": "local", "ansible_become": True, "ansible_python_interpreter": "/opt/libreha/venv/bin/python"}
    simulated = {
        "vmware_server_product": "simulator",
        "vmware_server_simulator_program": "/home/admin/esxsim",
        "libreha_username": "root",
        "libreha_password": "{{ vault_libreha_password }}",
        "libreha_ca_path": "/etc/libreha/ca/{{ inventory_hostname }}.pem",
        "libreha_timeout": PATIENT,
    }
    addresses = {
        name: {"ansible_host": "127.0.0.1%d" % number, "libreha_initiator": "iqn.1998-01.com.vmware:" + name}
        for number, name in enumerate(HOSTS, 1)
    }
    hosts = {
        "libreha_hosts": {"vars": simulated, "hosts": addresses},
        "libreha_storage": {"hosts": {"san1": {**local, "libreha_storage": {"driver": "lio"}}}},
    }
    target = {
        "iscsi_target_name": "iqn.2026-01.com.example:san1",
        "iscsi_target_portals": [{"address": ADDRESS}],
        "iscsi_target_volume_groups": [{"name": "vg_storage", "disks": ["/dev/disk/by-id/virtio-data"]}],
        "iscsi_target_luns": [{"name": "ds1", "number": 0, "volume_group": "vg_storage", "size": "2GiB"}],
        "iscsi_target_initiators": [
            {"name": host["libreha_initiator"], "chap": {"secret": "{{ vault_%s_chap_secret }}" % name}} for name, host in addresses.items()
        ],
    }
    policy = {
        "libreha_policy": {
            "mode": "observe",
            "isolation_addresses": ["10.0.2.2"],
            # Emulated, looks are slow: silence must not be shorter than the time between two of them.
            "confirm_after": PATIENT,
            "io_stale": PATIENT,
            "storage_grace": 10,
            "lease": 600,
        },
        "libreha_state_url": "sqlite:////var/lib/libreha/state.db",
        "libreha_vms": [
            {"name": "web%d" % number, "datastore": "ds1", "memory": 1024, "disks": [{"size": 1}], "networks": ["VM Network"]}
            for number in (1, 2)
        ],
    }
    # The play that roles/vmware_server/README.md has as its example.
    play = [{"hosts": "libreha_hosts", "gather_facts": False, "roles": ["libreha.vmware.vmware_server"]}]
    secrets = {"vault_libreha_password": "a-password", **{"vault_%s_chap_secret" % name: "a-secret-of-%s" % name for name in HOSTS}}
    files = {
        "inventory/hosts.yml": hosts,
        "inventory/group_vars/all/policy.yml": policy,
        "inventory/group_vars/all/vault.yml": secrets,
        "inventory/group_vars/libreha_storage.yml": target,
        "hosts.yml": play,
    }
    guest.run("rm ~/inventory/group_vars/libreha_storage.yml.example")
    for path, content in files.items():
        guest.write(path, yaml.safe_dump(content))
    guest.run("%s\ncd ~/inventory/group_vars/all\nansible-vault encrypt vault.yml" % ACTIVATE)


def test_the_section_has_the_commands_that_this_test_expects() -> None:
    blocks = typed()
    assert [word in block for word, block in zip(("pip install ansible", "cp -r", "id -u", "libreha.vmware.site"), blocks)] == [True] * 4
    assert len(blocks) == 4


@pytest.mark.prove
@pytest.mark.qemu
def test_from_a_bare_machine_to_a_protected_cluster(guest: FreshDebian) -> None:
    ansible, inventory, way, site = typed()
    guest.run(ansible)
    guest.run(inventory)
    edit_the_inventory(guest)
    guest.put(ESXSIM, "esxsim")
    assert re.search(r"^0$", guest.run("%s\n%s" % (ACTIVATE, way)), re.MULTILINE), "the tasks run as root"
    guest.run("%s\n%s" % (ACTIVATE, site))
    run_hosts = "%s\n%s ~/hosts.yml" % (ACTIVATE, PLAY)
    guest.run(run_hosts + " --check --diff")
    guest.run("! systemctl --quiet is-active libreha-simulator-esx1.service\n[ ! -e /etc/libreha/simulator ]")
    guest.run(run_hosts)
    again = guest.run(run_hosts)
    assert [changed(again, host) for host in HOSTS] == [0, 0, 0], "a second run changes nothing"
    guest.run("systemd-analyze security --no-pager --threshold=30 libreha-simulator-esx1.service | tail -n 1")
    guest.run("%s\n%s libreha.vmware.provision" % (ACTIVATE, PLAY))
    table = guest.run("%s\n%s libreha.vmware.vm_check -e vm=web1,web2 -e libreha_vm_check_wait=300" % (ACTIVATE, PLAY))
    for check in ("power", "disk", "tools", "failover"):
        assert len(re.findall(r"web[12] +esx[123] +%s +passed" % check, table)) == 2, check
    found = guest.run("%s\n%s libreha.vmware.preflight" % (ACTIVATE, PLAY))
    assert "critical" not in re.findall(r"^\W*(critical|warning|unknown)\b", found, re.MULTILINE)
    looked = guest.run("%s\n%s libreha.vmware.monitor" % (ACTIVATE, PLAY))
    for host in HOSTS:
        assert re.search(r"%s\W.*healthy" % host, looked), host
    guest.run(run_hosts + " -e vmware_server_simulator_state=absent")
    guest.run("[ ! -e /opt/libreha/simulator ]\n! ls /etc/systemd/system/libreha-simulator-*\n! ls /etc/libreha/ca/*")
    gone = guest.run(run_hosts + " -e vmware_server_simulator_state=absent")
    assert [changed(gone, host) for host in HOSTS] == [0, 0, 0]
