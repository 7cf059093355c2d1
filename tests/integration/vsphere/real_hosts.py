"""Simulated ESXi hosts (esxsim) on loopback, on the LUN of a real tgtd: TLS, iSCSI, locks and questions are real."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "lab"))
from liblab.certificates import Authority  # noqa: E402

ESXSIM = ROOT / "tests" / "lab" / "esxsim" / "esxsim"
TARGET = "iqn.2026-01.test.libreha:shared"
DATASTORE_UUID = "65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f"
LOCAL_UUID = "11111111-22222222-3333-444444444444"
EXTENT_BYTES = 131072 * 512
FIRST_EXTENT = 2048 * 512
HANG = 30.0  # a guard against hanging, never a measure

_control_ports = itertools.count(25000 + os.getpid() % 5000)


def until(condition: Callable[[], Any], what: str) -> Any:
    end = clock.now().seconds + HANG
    while clock.now().seconds < end:
        value = condition()
        if value:
            return value
        clock.sleep(0.05)
    raise AssertionError("still not: %s" % what)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_us() -> None:
    """A child that outlived a killed test run would hold its port and its session."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class StorageServer:
    """A real tgtd with one LUN and the folder that is the datastore."""

    def __init__(self, folder: Path, extents: int = 4) -> None:
        self.folder = folder
        self.control = str(next(_control_ports))
        self.portal = "127.0.0.1:%d" % free_port()
        self.datastore = folder / "datastore"
        self.datastore.mkdir()
        self.image = folder / "lun.img"
        with self.image.open("wb") as image:
            image.write(b"LIBREHALAB1\0")
            image.truncate(FIRST_EXTENT + extents * EXTENT_BYTES)
        self.daemon = subprocess.Popen(["tgtd", "-f", "-C", self.control, "--iscsi", "portal=" + self.portal], preexec_fn=die_with_us)
        until(lambda: self._ask("--op", "show", "--mode", "sys").returncode == 0, "tgtd answers")
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET)
        self.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(self.image))

    def admin(self, *words: str) -> str:
        done = self._ask(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", *words], capture_output=True, text=True, check=False)

    def overwrite(self, at: int, data: bytes) -> None:
        """Change the LUN below everybody."""
        with self.image.open("r+b") as image:
            image.seek(at)
            image.write(data)

    def content(self, size: int = 1 << 20) -> bytes:
        with self.image.open("rb") as image:
            return image.read(size)

    def sessions(self, initiator: str) -> int:
        return len(self._sessions(initiator))

    def admit(self, initiator: str) -> None:
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", initiator)

    def fence(self, initiator: str) -> None:
        """Take the right, then end the sessions; one that ends by itself meanwhile is as good."""
        self.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-Q", initiator)

        def without_session() -> bool:
            sessions = self._sessions(initiator)
            for sid in sessions:
                self._ask("--op", "delete", "--mode", "conn", "--tid", "1", "--sid", sid, "--cid", "0")
            return not sessions

        until(without_session, "no session of %s" % initiator)

    def _sessions(self, initiator: str) -> list[str]:
        found, sid = [], ""
        for line in self.admin("--op", "show", "--mode", "target").splitlines():
            if "I_T nexus:" in line:
                sid = line.split(":")[1].strip()
            elif "Initiator: %s " % initiator in line + " ":
                found.append(sid)
        return found

    def end(self) -> None:
        self.daemon.kill()
        self.daemon.wait()


class Host:
    """One esxsim process."""

    def __init__(self, storage: StorageServer, authority: Authority, index: int, **changes: Any) -> None:
        self.storage = storage
        self.name = "esx%d" % (index + 1)
        self.folder = storage.folder / self.name
        for part in ("state", "local"):
            (self.folder / part).mkdir(parents=True)
        self.port = free_port()
        self.initiator = "iqn.1998-01.com.vmware:" + self.name
        certificate, key = self.folder / "tls.pem", self.folder / "tls.key"
        authority.issue(self.name, ["127.0.0.1"], certificate, key)
        self.config = {
            "name": self.name, "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name)), "address": "127.0.0.1", "port": self.port,
            "username": "root", "password": "VMware1!", "certificate": str(certificate), "key": str(key),
            "state_dir": str(self.folder / "state"), "execution_log": str(self.folder / "execution.log"),
            "memory_mib": 65536, "cpu_cores": 16, "cpu_mhz": 2400,
            "iscsi": {"initiator": self.initiator, "portal": storage.portal, "target": TARGET, "lun": 1, "host_index": index},
            "datastore": {"name": "shared", "uuid": DATASTORE_UUID, "folder": str(storage.datastore)},
            "local_datastore": {"name": "local1", "uuid": LOCAL_UUID, "folder": str(self.folder / "local")},
            "lease_seconds": 2, "record_interval_ms": 200, "heartbeat_interval_ms": 500, "iscsi_login_retry_ms": 200, "iscsi_timeout_s": 2,
            "question_on_other_host": True, "session_idle_s": 1800, **changes,
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        storage.admit(self.initiator)

    def connection(self, ca_path: Path, **changes: Any) -> Connection:
        given: dict[str, Any] = {"hostname": "127.0.0.1", "username": "root", "password": "VMware1!", "timeout": 10.0, **changes}
        return Connection(self.name, port=self.port, ca_path=str(ca_path), **given)

    @property
    def parameters(self) -> dict[str, Any]:
        """The host's options, as a module of its own is given them; the CA is the caller's."""
        return {
            "name": self.name, "hostname": "127.0.0.1", "port": self.port, "username": "root", "password": "VMware1!",
            "validate_certs": True, "proxy_host": None, "proxy_port": None, "timeout": 10.0,
        }  # fmt: skip

    def start(self, vms: list[str] | None = None) -> Host:
        """*vms*: paths that it has registered already."""
        if vms is not None:
            registered = [{"id": number, "path": path} for number, path in enumerate(vms, 1)]
            (self.folder / "state" / "registrations.json").write_text(json.dumps({"next": len(vms) + 1, "vms": registered}))
        (self.folder / "config.json").write_text(json.dumps(self.config))
        log = (self.folder / "esxsim.log").open("a")
        self.process = subprocess.Popen(
            [str(ESXSIM), "--config", str(self.folder / "config.json")],
            stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=die_with_us,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said == "ready", "esxsim did not start: %s" % (self.folder / "esxsim.log").read_text()[-2000:]
        return self

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


def write_vm(folder: Path, name: str, extent: int | None = None, **settings: str) -> None:
    """A VM's files: .vmx and .vmdk descriptor."""
    bios = uuid.uuid5(uuid.NAMESPACE_DNS, name).bytes
    octets = ["%02x" % octet for octet in bios]
    lines = {
        ".encoding": "UTF-8", "config.version": "8", "virtualHW.version": "19", "displayName": name, "guestOS": "debian11-64",
        "memSize": "1024", "numvcpus": "2", "uuid.bios": " ".join(octets[:8]) + "-" + " ".join(octets[8:]),
        "scsi0.present": "TRUE", "scsi0.virtualDev": "pvscsi", "scsi0:0.present": "TRUE", "scsi0:0.deviceType": "scsi-hardDisk",
        "scsi0:0.fileName": name + ".vmdk", "ethernet0.present": "TRUE", "ethernet0.networkName": "VM Network", **settings,
    }  # fmt: skip
    if extent is not None:
        lines["libreha.extent"] = str(extent)
    home = folder / name
    home.mkdir()
    (home / (name + ".vmx")).write_text("".join('%s = "%s"\n' % line for line in lines.items()))
    (home / (name + ".vmdk")).write_text('# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="vmfs"\n')


def missing() -> str:
    """What these tests need and do not find; empty when all is there."""
    if not ESXSIM.exists():
        return "esxsim is not built: run `make` (or: cd tests/lab/esxsim && go build -o esxsim .)"
    if shutil.which("tgtd") is None or shutil.which("tgtadm") is None:
        return "tgtd is missing: install the Debian package tgt"
    if os.geteuid() != 0:
        return "tgtd needs root"
    return ""
