"""The role vmware_server by ansible-playbook: three hosts as installed become hosts with a shared datastore, on a real target with CHAP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import host_certificate
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import ROOT, TARGET, Host, StorageServer

SECRETS = {"esx1": "secret-of-esx1", "esx2": "secret-of-esx2", "esx3": "secret-of-esx3"}
MUTUAL = "secret-of-the-san"
MONITOR_PASSWORD = "Secret-of-the-monitor-1"


@dataclass
class Site:
    """An inventory as a user writes it for the role iscsi_target, and the playbook."""

    folder: Path
    hosts: list[Host]
    storage: StorageServer
    ca_path: Path
    changes: dict[str, Any] = field(default_factory=dict)

    def write(self) -> None:
        address, port = self.storage.portal.rsplit(":", 1)
        chap = [
            {
                "name": host.initiator,
                "chap": {"user": host.name, "secret": SECRETS[host.name], "mutual_user": "san", "mutual_secret": MUTUAL},
            }
            for host in self.hosts
        ]
        inventory = {
            "libreha_hosts": {
                "vars": {"libreha_username": "root", "libreha_password": "VMware1!", "libreha_ca_path": str(self.ca_path), **self.changes},
                "hosts": {
                    host.name: {"ansible_host": "127.0.0.1", "libreha_port": host.port, "libreha_initiator": host.initiator}
                    for host in self.hosts
                },
            },
            "libreha_storage": {
                "vars": {
                    "ansible_connection": "local",
                    "ansible_python_interpreter": sys.executable,
                    "libreha_storage": {"driver": "tgt", "control_port": int(self.storage.control)},
                    "iscsi_target_name": TARGET,
                    "iscsi_target_portals": [{"address": address, "port": int(port), "floating": False}],
                    "iscsi_target_luns": [{"name": "ds1", "number": 1, "volume_group": "vg", "size": "1GiB"}],
                    "iscsi_target_initiators": chap,
                },
                "hosts": {"san1": {}},
            },
        }
        (self.folder / "inventory.json").write_text(json.dumps({**inventory, "all": {}}))
        play = {"name": "Hosts", "hosts": "libreha_hosts", "gather_facts": False, "roles": ["libreha.vmware.vmware_server"]}
        (self.folder / "play.json").write_text(json.dumps([play]))

    def run(self, *options: str) -> tuple[int, dict[str, dict[str, int]], str]:
        """(rc, the statistics of each host, everything that was said)"""
        self.write()
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_INVENTORY_ENABLED": "yaml",
            "ANSIBLE_YAML_FILENAME_EXT": ".json",
        }
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory.json", "play.json", "--diff", *options],
            env=environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert not any(secret in said for secret in [*SECRETS.values(), MUTUAL, MONITOR_PASSWORD]), "a secret was shown"
        assert "{" in done.stdout, said
        return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])["stats"], said


@pytest.fixture
def site(tmp_path: Path, bare_host: Callable[..., Host], storage: StorageServer, ca_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    hosts = [bare_host() for _host in range(3)]
    for user, secret in [*SECRETS.items(), ("san", MUTUAL)]:
        storage.admin("--op", "new", "--mode", "account", "--user", user, "--password", secret)
        storage.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", user, *(["--outgoing"] if user == "san" else []))
    return Site(folder, hosts, storage, ca_path)


def shown_by(host: Host) -> dict[str, Any]:
    return {"name": host.name, "hostname": "127.0.0.1", "port": host.port, "timeout": 5.0, "fingerprint": None, "path": None}


def changed(stats: dict[str, dict[str, int]]) -> int:
    return sum(one["changed"] for one in stats.values())


def test_from_installed_to_a_shared_datastore(site: Site) -> None:
    rc, stats, said = site.run("--check")
    assert (rc, changed(stats)) == (0, 3), said  # the settings are as ESXi has them; the path policy is of a disk that nobody sees yet
    assert not any(site.storage.content()) and not any(site.storage.sessions(host.initiator) for host in site.hosts), "check mode acted"
    rc, stats, said = site.run()
    assert (rc, changed(stats)) == (0, 3 + 1 + 3), said
    assert [site.storage.sessions(host.initiator) for host in site.hosts] == [1, 1, 1]
    for options in ((), ("--check",)):
        rc, stats, said = site.run(*options)
        assert (rc, changed(stats)) == (0, 0), said


def test_the_administrator_sets_up_and_the_monitor_logs_in_as_its_own_user(site: Site) -> None:
    site.changes = {
        "libreha_username": "libreha",
        "libreha_password": MONITOR_PASSWORD,
        "vmware_server_username": "root",
        "vmware_server_password": "VMware1!",
        "vmware_server_monitor_user": "{{ libreha_username }}",
        "vmware_server_monitor_password": "{{ libreha_password }}",
    }
    rc, stats, said = site.run()
    assert (rc, changed(stats)) == (0, 3 + 1 + 3 + 3), said
    for options in ((), ("--check",)):
        rc, stats, said = site.run(*options)
        assert (rc, changed(stats)) == (0, 0), said
    for host in site.hosts:
        with open_hypervisor(host.connection(site.ca_path, username="libreha", password=MONITOR_PASSWORD)) as opened:
            assert [datastore.name for datastore in opened.health().datastores if datastore.luns] == ["ds1"]


def test_a_certificate_is_taken_by_its_fingerprint_before_anything_is_asked(site: Site) -> None:
    folder = site.folder / "ca"
    fingerprints = {host.name: host_certificate.run(shown_by(host), False)["fingerprint"] for host in site.hosts}
    site.changes = {
        "libreha_ca_path": "%s/{{ inventory_hostname }}.pem" % folder,
        "vmware_server_certificate_fingerprint": "{{ %s[inventory_hostname] }}" % json.dumps(fingerprints),
    }
    rc, stats, said = site.run("--check")
    assert (rc, changed(stats)) == (0, 6) and not folder.exists(), said
    rc, stats, said = site.run()
    # The three hosts are delegated to one arbiter, so the folder is made by whoever comes first, and by others that looked at once.
    assert rc == 0 and 3 + 3 + 1 + 3 + 1 <= changed(stats) <= 3 + 3 + 1 + 3 + 3, said
    assert sorted(file.name for file in folder.iterdir()) == ["esx1.pem", "esx2.pem", "esx3.pem"]
    rc, stats, said = site.run()
    assert (rc, changed(stats)) == (0, 0), said


def test_a_lun_with_a_file_system_stops_the_role_before_anything_is_formatted(site: Site) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", str(site.storage.image)], check=True, capture_output=True)
    before = site.storage.content()
    rc, _stats, said = site.run()
    assert rc != 0 and "an ext file system" in said and "nothing was formatted" in said, said
    assert site.storage.content() == before


def test_two_hosts_with_one_initiator_are_refused(site: Site) -> None:
    site.hosts[1].initiator = site.hosts[0].initiator
    rc, stats, said = site.run()
    assert rc != 0 and "the same for esx1, esx2" in said and changed(stats) == 0, said
