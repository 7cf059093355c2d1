"""A real Redfish service on loopback: sushy-tools' emulator with its fake machines, TLS and basic authentication."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import bcrypt
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice

USER, PASSWORD = "ha", "correct horse battery"
# Its fake machines take 1 to 11 s, by chance, to change their power. Here 1 or 2 s: whoever switches must still read until they have.
EMULATOR = """
import random, sys
from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import fakedriver
fakedriver.random = random.Random()
fakedriver.random.randint = lambda least, most: random.choice((1, 2))
sys.exit(main.main())
"""
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class Emulator:
    def __init__(self, folder: Path, systems: list[str], power: str = "On") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = "https://127.0.0.1:%d" % self.port
        self.ca = folder / "cert.pem"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=bmc",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ]
            + ["-keyout", str(folder / "key.pem"), "-out", str(self.ca)],
            check=True,
            capture_output=True,
        )
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
        (folder / "htpasswd").write_text("%s:%s\n" % (USER, hashed))
        fakes = [{"uuid": uuid, "name": "fake%d" % number, "power_state": power, "nics": []} for number, uuid in enumerate(systems)]
        (folder / "emulator.conf").write_text(
            "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = %d\nSUSHY_EMULATOR_FAKE_DRIVER = True\n" % self.port
            + "SUSHY_EMULATOR_AUTH_FILE = %r\nSUSHY_EMULATOR_SSL_CERT = %r\n" % (str(folder / "htpasswd"), str(self.ca))
            + "SUSHY_EMULATOR_SSL_KEY = %r\nSUSHY_EMULATOR_FAKE_SYSTEMS = %r\n" % (str(folder / "key.pem"), fakes)
            + "SUSHY_EMULATOR_STATE_DIR = %r\n" % str(folder)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", EMULATOR, "--config", str(folder / "emulator.conf")],
            stdout=(folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("the emulator did not start: %s" % (folder / "log").read_text())

    def bmc(self, **changes) -> PowerDevice:
        options = {
            "name": "esx1",
            "address": self.address,
            "username": USER,
            "password": PASSWORD,
            "ca_path": str(self.ca),
            "timeout": 10.0,
        }
        return PowerDevice(**{**options, **changes})

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
