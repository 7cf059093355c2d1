"""The resident monitor of a lab. The role ha_monitor writes its configuration; whoever asks for it runs ``command``, as systemd would."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import LabError

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT / ".cache" / "collections"
PLAY = ROOT / "tests" / "lab" / "configure_monitor.yml"
UTILS = "ansible_collections.libreha.vmware.plugins.module_utils"


class Resident:
    """A monitor that is configured. ``inventory`` is the lab's; *variables* are laid over it."""

    def __init__(self, inventory: str, folder: Path, variables: Mapping[str, Any] | None = None) -> None:
        self.config, self.socket = folder / "monitor.json", folder / "monitor.sock"
        self._inventory = inventory
        self._given = {**(variables or {}), "libreha_lab_folder": str(folder), "libreha_lab_collections": str(COLLECTIONS)}
        self.configure()

    def configure(self) -> None:
        """Have the role write the configuration, as the inventory is now. Raises LabError."""
        play = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", self._inventory, str(PLAY), "-e", json.dumps(self._given)]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(play, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError("the role ha_monitor does not configure the monitor: %s%s" % (done.stdout[-3000:], done.stderr[-1000:]))
        # A service of systemd has /run/libreha for itself; labs share this machine.
        written = json.loads(self.config.read_text())
        self.config.write_text(json.dumps({**written, "socket": str(self.socket)}, indent=2))

    @property
    def command(self) -> list[str]:
        return self._python("entry.monitor", "--config", str(self.config))

    def libreha(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The operator's command."""
        command = self._python("service.cli", words[0], "--config", str(self.config), *words[1:])
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        """What it answers at its socket; empty while nobody is there."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(str(self.socket))
            channel.sendall(b'{"request": "status"}\n')
            found: dict[str, Any] = json.loads(channel.makefile().readline())
            return found
        return {}

    def looks(self) -> bool:
        status = self.status()
        return bool(status.get("service", {}).get("state") == "looking" and status.get("hosts"))

    def _python(self, module: str, *words: str) -> list[str]:
        return ["/usr/bin/env", "PYTHONPATH=%s" % COLLECTIONS, sys.executable, "-m", "%s.%s" % (UTILS, module), *words]
