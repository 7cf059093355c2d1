"""A real tgtd on 127.0.0.1 with its own control port, loaded from a real targets.conf by tgt-admin, and real initiators."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fencing import Fencer
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.control import Control
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.driver import TgtTarget

TARGET = "iqn.2026-01.test.libreha:shared"
ESX1 = "iqn.1998-01.com.vmware:esx1"
ESX2 = "iqn.1998-01.com.vmware:esx2"
HANG = 20.0  # a guard against hanging, never a measure

_numbers = itertools.count(20000 + os.getpid() % 5000)


def until(condition, what: str, seconds: float = HANG):
    """Wait until *condition* gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("still not: %s" % what)


class Writer:
    """tests/integration/storage/initiator.py as a process."""

    def __init__(self, storage: Storage, initiator: str, *options: str, lun: int = 1, target: str = TARGET) -> None:
        self.acked = storage.folder / ("acked.%d" % next(_numbers))
        script = str(Path(__file__).with_name("initiator.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, storage.portal, target, str(lun), initiator, str(self.acked), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def acknowledged(self) -> int:
        """How many records the target has acknowledged."""
        return self.acked.read_bytes().count(b"\n") if self.acked.exists() else 0

    def running(self) -> Writer:
        until(lambda: self.acknowledged() > 5 or self.process.poll() is not None, "records written")
        assert self.process.poll() is None, self.process.stderr.read()
        return self

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def ended(self) -> str:
        """What it said when it ended."""
        _out, error = self.process.communicate(timeout=HANG)
        return error

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Storage:
    """A storage server: tgtd, saved configuration, fence list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control_port = next(_numbers)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.portal = "127.0.0.1:%d" % self.port
        self.disk = folder / "lun.img"
        self.disk.touch()
        os.truncate(self.disk, 64 << 20)
        self.saved = folder / "targets.conf"
        self.list_path = folder / "fences.json"
        self.environment: dict[str, str] = {}
        self.settings = ""  # more of tgtd --iscsi
        self.daemon: subprocess.Popen[bytes] | None = None
        self.writers: list[Writer] = []
        self.save([ESX1, ESX2])

    def save(self, initiators: list[str], *, closed: bool = True, extra: str = "", name: str = TARGET) -> None:
        lines = [
            "# the lab's storage",
            "default-driver iscsi",
            "<target %s>" % name,
            "  backing-store %s" % self.disk,
            "  allow-in-use yes",
            "  write-cache off",
        ]
        lines += ["  initiator-name %s" % initiator for initiator in initiators]
        lines += ["  initiator-address 255.255.255.255"] if closed else []
        self.saved.write_text("\n".join([*lines, "</target>", extra, ""]))

    def start(self) -> Storage:
        self.daemon = subprocess.Popen(
            ["tgtd", "-f", "-C", str(self.control_port), "--iscsi", "portal=%s%s" % (self.portal, self.settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
        )
        control = Control(self.control_port)

        def answers() -> bool:
            with contextlib.suppress(Exception):
                control.ask(1, 2)
                return True
            return False

        until(answers, "tgtd answers")
        self.load()
        return self

    def load(self) -> None:
        subprocess.run(["tgt-admin", "-e", "-c", str(self.saved), "-C", str(self.control_port)], check=True, capture_output=True)

    def stop(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()  # tgtd takes no notice of SIGTERM
            self.daemon.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/var/run/tgtd/socket.%d.lock" % self.control_port)

    def admin(self, *arguments: str) -> str:
        command = ["tgtadm", "-C", str(self.control_port), "--lld", "iscsi", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def target(self, **options) -> TgtTarget:
        return TgtTarget(Control(self.control_port, timeout=3.0), str(self.saved), **options)

    def fence_list(self) -> FenceList:
        return FenceList(str(self.list_path))

    def fencer(self, seconds: float = 60.0, **options) -> Fencer:
        return Fencer(self.target(**options), self.fence_list(), Permit(clock.now().seconds + seconds), interval=0.1)

    def fence(self, token: int = 7, initiator: str = ESX1, host: str = "esx1", wait: float = 10.0, **options):
        return self.fencer(**options).fence(host, [initiator], token, "test", wait=wait)

    def write(self, initiator: str = ESX1, *options: str, **more) -> Writer:
        writer = Writer(self, initiator, *options, **more)
        self.writers.append(writer)
        return writer

    def landed(self) -> int:
        """How many records are on the disk, read from its backing file."""
        return self.disk.read_bytes().count(b"LHTEST01")

    def login_refused(self, initiator: str = ESX1) -> bool:
        url = "iscsi://%s/%s/1" % (self.portal, TARGET)
        return subprocess.run(["iscsi-inq", "-i", initiator, url], capture_output=True, timeout=HANG, check=False).returncode != 0

    def end(self) -> None:
        for writer in self.writers:
            writer.kill()
        self.stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/var/run/tgtd/socket.%d" % self.control_port)
