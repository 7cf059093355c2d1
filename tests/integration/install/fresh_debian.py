"""A fresh Debian 12 in a QEMU guest, used as a person uses it: by ssh, as a user who is not root, who answers what is asked.

The guest is emulated (no /dev/kvm) and reaches package servers through QEMU, as this machine does. Its disk is an overlay over an image
that is built once (fresh_debian/build) and is forgotten at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(__file__).with_name("fresh_debian") / "build"
CACHE = ROOT / ".cache" / "fresh-debian"
USER, PASSWORD, VAULT_PASSWORD = "admin", "admin-password", "vault-password"
MACHINE = "/tmp/qemu.lock"  # emulated guests of several work trees wait for each other
MEMORY_MIB = 3072
DISK_BYTES = 4 << 30  # of the empty disk, sparse
BOOT_SECONDS = 900.0  # hang guards
BUILD_SECONDS = 1800.0
COMMAND_SECONDS = 5400.0
# What a program asks a person, and what the person types. A "New ..." comes before its confirmation, which ends alike.
ANSWERS = (
    (r"\[sudo\] password for \w+: ?$|BECOME password(\[[^]]*\])?: ?$", PASSWORD),
    (r"(Confirm )?(New )?[Vv]ault password: ?$", VAULT_PASSWORD),
    (r"Do you want to continue\? \[Y/n\] ?$", "y"),
)


def image() -> Path:
    """Its folder: disk.raw, vmlinuz, initrd, and the key for ssh."""
    folder = CACHE / hashlib.sha256(BUILD.read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        subprocess.run([str(ROOT / "tests/tools/setup-qemu")], check=True)
        scratch = Path(tempfile.mkdtemp(prefix="building-", dir=CACHE))
        try:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(scratch / "key")], check=True)
            # What the build mounts nobody else sees, and all that it started ends with it.
            enclosed = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
            key = (scratch / "key.pub").read_text().strip()
            subprocess.run([*enclosed, str(BUILD), str(scratch), PASSWORD, key], check=True, timeout=BUILD_SECONDS)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FreshDebian:
    """The guest while it runs."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder, self.port = base, folder, free_port()
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base / "disk.raw"), "-F", "raw", str(folder / "root.qcow2")], check=True
        )
        with (folder / "data.raw").open("wb") as disk:
            disk.truncate(DISK_BYTES)
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc"]
        argv += ["-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", "2", "-device", "virtio-rng-pci"]
        argv += ["-kernel", str(base / "vmlinuz"), "-initrd", str(base / "initrd")]
        argv += ["-append", "root=/dev/vda rw console=ttyS0 loglevel=4 mitigations=off TERM=dumb"]
        argv += ["-serial", "file:%s" % (folder / "console.log")]
        for name, path, kind in (("root", folder / "root.qcow2", "qcow2"), ("data", folder / "data.raw", "raw")):
            argv += ["-drive", "if=none,id=%s,file=%s,format=%s,cache=unsafe" % (name, path, kind)]
            argv += ["-device", "virtio-blk-pci,drive=%s,serial=%s" % (name, name)]
        argv += ["-netdev", "user,id=lan,ipv6=off,hostfwd=tcp:127.0.0.1:%d-:22" % self.port]
        argv += ["-device", "virtio-net-pci,netdev=lan,romfile="]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> None:
        """Until ssh answers."""
        until = time.monotonic() + BOOT_SECONDS
        while subprocess.run([*self._ssh(), "true"], capture_output=True, check=False).returncode != 0:
            assert self.process.poll() is None, "QEMU ended"
            assert time.monotonic() < until, "the guest did not boot: %s" % (self.folder / "console.log").read_text()[-3000:]
            time.sleep(2)

    def put(self, source: Path, destination: str) -> None:
        options = ["-q", "-P", str(self.port), *self._options()]
        subprocess.run(["scp", *options, str(source), "%s@127.0.0.1:%s" % (USER, destination)], check=True)

    def write(self, path: str, content: str) -> None:
        subprocess.run([*self._ssh(), "mkdir -p $(dirname %s) && cat >%s" % (path, path)], input=content, text=True, check=True)

    def run(self, commands: str, expect: int = 0) -> str:
        """Type *commands* at a terminal of the guest, answer what is asked, and return what was printed; the status must be *expect*."""
        print("\n$ " + commands.strip().replace("\n", "\n$ "), flush=True)
        began = time.monotonic()
        self.write("commands", "set -e\n%s\n" % commands)
        status, said = _at_a_terminal([*self._ssh("-tt"), "bash commands"])
        print("%s[status %d after %.0f s]" % (said, status, time.monotonic() - began), flush=True)
        assert status == expect, "status %d in place of %d" % (status, expect)
        return said

    def _ssh(self, *more: str) -> list[str]:
        return ["ssh", *more, "-p", str(self.port), *self._options(), "%s@127.0.0.1" % USER]

    def _options(self) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
        }
        return ["-F", "/dev/null", "-i", str(self.base / "key"), *(word for item in settings.items() for word in ("-o", "%s=%s" % item))]


def _at_a_terminal(argv: list[str]) -> tuple[int, str]:
    """Run *argv* with a terminal, answer by ANSWERS, and return its status and all that it printed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    said, answered, until = "", 0, time.monotonic() + COMMAND_SECONDS
    while True:
        assert time.monotonic() < until, "no end: %s" % said[-2000:]
        if not select.select([terminal], [], [], 5)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how a terminal says that nobody has it open any more
            data = b""
        if not data:
            break
        said += data.decode(errors="replace").replace("\r", "")
        for pattern, answer in ANSWERS:
            if re.search(pattern, said[answered:]):
                os.write(terminal, (answer + "\n").encode())
                answered = len(said)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(r"\x1b\[[0-9;]*m", "", said)


@contextlib.contextmanager
def booted() -> Iterator[FreshDebian]:
    base = image()
    with open(MACHINE, "w", encoding="utf-8") as lock, tempfile.TemporaryDirectory(prefix="fresh-debian-", dir="/var/tmp") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        guest = FreshDebian(base, Path(folder))
        try:
            guest.wait()
            yield guest
        finally:
            guest.end()
