"""A cluster as a user has it, out of simulated hosts and a real target: an inventory, and the playbooks run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from real_hosts import ROOT, Host, StorageServer


class Cluster:
    """*folder* becomes the inventory. The storage server is this machine."""

    def __init__(self, folder: Path, hosts: list[Host], storage: StorageServer, ca_path: Path) -> None:
        self.folder, self.hosts = folder, hosts
        folder.mkdir()
        (folder / "targets.conf").write_text("")
        driver = {
            "driver": "tgt",
            "control_port": int(storage.control),
            "saved_config": str(folder / "targets.conf"),
            "fence_list": str(folder / "fences.json.txt"),
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "libreha_storage": driver}
        self.inventory: dict[str, Any] = {
            "libreha_hosts": {
                "vars": {
                    "libreha_username": "root",
                    "libreha_password": "VMware1!",
                    "libreha_ca_path": str(ca_path),
                    "libreha_timeout": 10,
                },
                "hosts": {
                    host.name: {"ansible_host": "127.0.0.1", "libreha_port": host.port, "libreha_initiator": host.initiator}
                    for host in hosts
                },
            },
            "libreha_storage": {"vars": local, "hosts": {"san1": {}}},
            "all": {
                "vars": {"libreha_state_url": "sqlite:///%s/state.db.txt" % folder, "libreha_policy": {"io_stale": 3, "storage_grace": 0.1}}
            },
        }

    def play(self, playbook: str, *options: str, **variables: Any) -> tuple[int, int, str]:
        """(exit status, how many tasks changed something, everything that was printed)"""
        (self.folder / "hosts.json").write_text(json.dumps(self.inventory))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.json", "libreha.vmware.%s" % playbook, *options]
            + ["-e", json.dumps(variables)],
            env={
                **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_ENABLED": "yaml", "ANSIBLE_YAML_FILENAME_EXT": ".json",
            },
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        changed = sum(int(line.partition("changed=")[2].split()[0]) for line in done.stdout.splitlines() if " changed=" in line)
        return done.returncode, changed, done.stdout + done.stderr
