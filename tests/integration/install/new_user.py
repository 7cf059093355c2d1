"""Playbooks of the collection as a user runs them, on this machine alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HANG_GUARD = 600  # seconds


class Playing:
    """Runs of ansible-playbook in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"

    def example(self, **variables: object) -> None:
        """The shipped inventory as it tells a user to make it, with every address on loopback, and *variables* for the storage server."""
        shutil.copytree(ROOT / "playbooks/inventory.example", self.inventory)
        shutil.copy(self.inventory / "group_vars/all/vault.yml.example", self.inventory / "group_vars/all/vault.yml")
        hosts = self.inventory / "hosts.yml"
        hosts.write_text(hosts.read_text().replace("192.0.2.", "127.0.2."))
        (self.inventory / "host_vars").mkdir()
        here = {"ansible_connection": "local", "ansible_become": False, "libreha_state_url": "sqlite:///%s/state/state.db" % self.folder}
        (self.inventory / "host_vars/san1.yml").write_text(json.dumps({**here, **variables}))

    def play(self, playbook: str, *options: str) -> tuple[int, str]:
        """Exit status, and everything that was printed."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), playbook, *options]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, timeout=HANG_GUARD, check=False)
        return done.returncode, done.stdout + done.stderr
