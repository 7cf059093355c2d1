"""A BMC that speaks IPMI on loopback: OpenIPMI's ipmi_sim, with a file for the machine's power."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice

USER, PASSWORD = "ha", "horse'batt$ry"  # IPMI allows 20 characters; these are hard on a shell
LAN = """name "bmc"
set_working_mc 0x20
  chassis_control "%(folder)s/chassis 0x20"
  startlan 1
    addr 127.0.0.1 %(port)d
    priv_limit admin
    allowed_auths_callback md5
    allowed_auths_user md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid a123456789abcdefa123456789abcdef
  endlan
  user 2 true "%(user)s" "%(password)s" admin 10
"""
COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
# What the simulator calls to read and to switch the machine. A file "stuck" makes it one that ignores its BMC.
CHASSIS = """#!/bin/sh
cd %(folder)s
shift
case "$1 $2" in
    "get power") echo "power:$(cat power)" ;;
    "set power") echo "$3" >>asked; [ -e stuck ] || echo "$3" >power ;;
esac
"""


class IpmiBmc:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        names = {"folder": folder, "port": self.port, "user": USER, "password": PASSWORD}
        (folder / "lan.conf").write_text(LAN % names)
        (folder / "commands").write_text(COMMANDS)
        (folder / "chassis").write_text(CHASSIS % names)
        (folder / "chassis").chmod(0o755)
        (folder / "state").mkdir()
        self.set_power("1")
        command = ["ipmi_sim", "-c", str(folder / "lan.conf"), "-f", str(folder / "commands"), "-s", str(folder / "state"), "-n"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self._wait_until_it_answers()

    def set_power(self, digit: str) -> None:
        (self.folder / "power").write_text(digit + "\n")

    @property
    def is_on(self) -> bool:
        return (self.folder / "power").read_text().strip() == "1"

    @property
    def asked(self) -> list[str]:
        """The digits that were set through the BMC, in order."""
        log = self.folder / "asked"
        return log.read_text().split() if log.exists() else []

    def stick(self) -> None:
        """From now on the machine ignores what its BMC asks."""
        (self.folder / "stuck").touch()

    def device(self, **changes: object) -> PowerDevice:
        own = {"lanplus": "1", "cipher": "3", "power_wait": "0", "ipport": str(self.port), **changes.pop("options", {})}  # type: ignore[dict-item]
        given = {"name": "esx1", "address": "127.0.0.1", "username": USER, "password": PASSWORD, "timeout": 15.0, "options": own}
        return PowerDevice(**{**given, "driver": "fence_agent", "agent": "fence_ipmilan", **changes})  # type: ignore[arg-type]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _wait_until_it_answers(self) -> None:
        """RMCP's presence ping (DSP0114) is answered by everything that speaks IPMI."""
        ping = bytes.fromhex("06 00 ff 06 00 00 11 be 80 00 00 00")
        end = time.monotonic() + 20
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            probe.connect(("127.0.0.1", self.port))
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    probe.send(ping)
                    probe.recv(512)
                    return
                except OSError:
                    time.sleep(0.05)
        raise AssertionError("ipmi_sim did not start: %s" % (self.folder / "log").read_text())


def missing() -> str:
    """The programs that are not there; tests/tools/setup installs them."""
    return ", ".join(name for name in ("ipmi_sim", "ipmitool", "fence_ipmilan", "fence_redfish") if shutil.which(name) is None)
