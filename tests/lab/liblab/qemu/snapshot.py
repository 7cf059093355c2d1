"""Booted guests, saved: to boot costs an emulated machine a minute of computing, to go on from there some seconds.

A guest of each role is booted once as nobody in particular, stopped and saved, disk and memory, beside the image that it came from. A new
guest begins as an overlay over that disk and with that memory. It is told who it is over its port "identity", and only then is it used.

What is renewed before that, so that no test sees two machines with one past (image/root/usr/local/sbin/lab-resume):

* who it is: host name, initiator name, machine id, boot id, addresses and MAC addresses, the ssh host key (sshd reads it at each
  connection), the key that lets the lab in, the journal's folder;
* random numbers: QEMU's vmgenid makes the kernel seed its own anew, and the seed on disk is written anew;
* the wall clock, from the board's, which went on. CLOCK_BOOTTIME goes on from the saved boot at the machine's pace (clocksource hpet), so a
  guest's uptime is its own and counts from that boot; nothing compares it with another machine's without ``clock.measure``.

What there is not: a connection. Nobody had logged in, no target was served, no data disk had been written; its storage networks are down
until it has its identity, so nobody hears the nobodies. Data disks are new files. Every later start of a guest is a boot from its disk.

The snapshot depends on the image, on QEMU's version and on its command line; another one of any of these gets another snapshot. A fresh
machine makes them in the run that needs them: two boots, and each guest of that run costs a boot less.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import LabError, run
from ..processes import alive, kill, tail
from . import image, machine
from .plan import MANAGEMENT, MANAGEMENT_ADDRESS, Guest, nobody
from .record import Record, Running

BOOT_SECONDS = 900.0  # hang guards; 30 s and 5 s where nothing else runs
RESUME_SECONDS = 300.0
WHO = "lab.resume lab.address=%s:%s" % (MANAGEMENT, MANAGEMENT_ADDRESS)
# What the console shows when nobody will ever answer: the kernel gave up, its initial file system did, or systemd did.
GAVE_UP = (b"Kernel panic", b"(initramfs)", b"emergency mode")


@dataclass(frozen=True)
class Snapshot:
    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "nobody.qcow2"

    @property
    def memory(self) -> Path:
        return self.folder / "memory"


def ready(base: image.Image, role: str) -> Snapshot:
    """The snapshot of a role, made if it is not there yet. Raises LabError with the end of the console when that fails."""
    with open(base.folder / ("%s.lock" % role), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Snapshot(base.folder / ("booted-%s-%s" % (role, _key(base, role))))
        if not found.folder.exists():
            _make(base, role, found)
        return found


def take_identity(record: Record, guest: Guest) -> None:
    """Tell a guest that has just been resumed who it is, and wait until it is. Raises LabError when it does not answer."""
    with _port(record, guest.name) as port:
        port.sendall(("%s\n" % machine.identity(record, guest)).encode("ascii"))
        _expect(port, b"taken\n", record, guest.name, RESUME_SECONDS)


def _key(base: image.Image, role: str) -> str:
    """Over what the saved memory depends on beside the image: QEMU itself, and the machine that it emulates."""
    where = Path("/")
    version = run(["qemu-system-x86_64", "--version"], what="ask for the version of QEMU")
    guest = nobody(role)
    command = machine.command(Record(where, where, dict.fromkeys(guest.addresses, "")), guest, Running(guest.name, "/", {}), WHO)
    return hashlib.sha256("\0".join([version, *command]).encode()).hexdigest()[:16]


def _make(base: image.Image, role: str, snapshot: Snapshot) -> None:
    print("booting a %s guest to save it (once; a minute)" % role, file=sys.stderr, flush=True)
    begin = time.monotonic()
    for left in base.folder.glob("booting-%s-*" % role):  # by one that was killed; the caller holds the lock
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix="booting-%s-" % role, dir=base.folder))
    guest = nobody(role)
    present = Record(scratch, scratch, machine.new_segments())
    running = present.guests[guest.name] = Running(guest.name, str(base.folder), {})
    try:
        machine.make_disks(present, guest, base.disk, "raw")
        machine.start(present, guest, WHO)
        with _port(present, guest.name) as port:
            _expect(port, b"ready\n", present, guest.name, BOOT_SECONDS)
        _save(present, guest.name, scratch / "memory")
        kill(running.process)
        for path in scratch.iterdir():
            if path.name not in (snapshot.disk.name, snapshot.memory.name):
                path.unlink()
        os.rename(scratch, snapshot.folder)
    finally:
        kill(running.process)
        shutil.rmtree(scratch, ignore_errors=True)
    print("a booted %s guest is saved after %.0f s" % (role, time.monotonic() - begin), file=sys.stderr, flush=True)


def _save(present: Record, name: str, memory: Path) -> None:
    """Write the machine's memory, which ends with the machine at a stand and its disks flushed."""
    machine.control(present, name, "migrate-set-parameters", {"max-bandwidth": 1 << 40})
    machine.control(present, name, "migrate", {"uri": "exec:cat >%s" % memory})
    while (status := machine.control(present, name, "query-migrate", {})["status"]) != "completed":
        if status == "failed":
            raise LabError("QEMU could not save the memory of a booted guest to %s. Its log:\n%s" % (memory, tail(present.qemu_log(name))))
        time.sleep(0.2)


@contextlib.contextmanager
def _port(record: Record, name: str) -> Iterator[socket.socket]:
    """The guest's port "identity"."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        machine.connect(connection, record.identity(name), record, name)
        connection.settimeout(1.0)
        yield connection


def _expect(port: socket.socket, word: bytes, record: Record, name: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    said = b""
    while word not in said:
        with contextlib.suppress(TimeoutError):
            said += port.recv(100)
        gave_up = any(mark in record.console(name).read_bytes() for mark in GAVE_UP)
        if gave_up or time.monotonic() > deadline or not alive(record.guest(name).process):
            why = "it gave up booting" if gave_up else "QEMU ended, or %g s are over" % seconds
            raise LabError(
                "%s did not say '%s' on its port 'identity': %s.\nThe end of its console:\n%s\nWhat QEMU said:\n%s"
                % (name, word.decode().strip(), why, tail(record.console(name)), tail(record.qemu_log(name), lines=5))
            )
