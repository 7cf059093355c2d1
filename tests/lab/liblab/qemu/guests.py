"""The guests of one lab: started, broken, healed, reached and removed. For fixtures; the command line does nothing else."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import LabError
from ..processes import alive, kill, send, tail
from ..state import GUESTS
from . import image, machine, record, snapshot, ssh
from .plan import NETWORKS, STANDARD, Guest, guest_named
from .record import Record, Running
from .snapshot import GAVE_UP

BOOT_SECONDS = 600.0  # a hang guard: 20 s where nothing else runs, minutes on a busy machine
DISKS = Path("/var/tmp")  # a real disk: the state folder in /run is memory


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Guests:
    """The guests below one lab's state folder (``$LIBREHA_LAB_DIR`` or /run/libreha-lab, unless one is given).

    Guests of different state folders have nothing in common but the image: they neither see nor disturb each other.
    Every method raises LabError with what to do next.
    """

    def __init__(self, state_folder: Path | None = None) -> None:
        self.path = record.place() if state_folder is None else state_folder.absolute() / GUESTS

    # -- their lives -------------------------------------------------------------------------------------------
    def up(self, names: Sequence[str] = STANDARD) -> None:
        """Switch on those of the named guests that do not run, and wait until ssh answers in all of them.

        New ones go on from a snapshot of a booted guest; those with disks boot. Builds the image if there is none for the present recipe,
        and the snapshots. If a guest does not come up, those started here are switched off again; their disks and logs stay until ``down``.
        """
        wanted = [guest_named(name) for name in dict.fromkeys(names)]
        base = image.ready()
        started: list[str] = []
        try:
            with self._changing(create=True) as present:
                ssh.make_key(present)
                new = [guest for guest in wanted if guest.name not in present.guests or not present.guest(guest.name).identity]
                saved = _snapshots(base, {guest.role for guest in new})
                for guest in wanted:
                    if guest in new:
                        started.append(guest.name)
                        _begin(present, guest, base, saved[guest.role])
                    elif not alive(present.guest(guest.name).process):
                        started.append(guest.name)
                        machine.start(present, guest)
                with ThreadPoolExecutor() as pool:
                    list(pool.map(lambda guest: snapshot.take_identity(present, guest), new))
                for guest in new:
                    present.guest(guest.name).identity = True
                present.save()
            self.wait(guest.name for guest in wanted)
        except BaseException:
            for name in started:
                self.kill(name)
            raise

    def boot(self, name: str, *, wait: bool = True) -> None:
        """Switch a guest on again, with the disks that it had."""
        with self._changing() as present:
            machine.start(present, guest_named(name))
        if wait:
            self.wait([name])

    def kill(self, name: str) -> None:
        """SIGKILL to QEMU: the power is cut. Its disks stay. A guest that is off stays off."""
        with self._changing() as present:
            machine.stop_at_once(present, name)

    def stop(self, name: str) -> None:
        """SIGSTOP to QEMU: the guest hangs, and knows nothing of it."""
        if not send(self._present().guest(name).process, signal.SIGSTOP):
            raise LabError("%s is off and cannot hang; 'lab heal %s' boots it." % (name, name))

    def cont(self, name: str) -> None:
        """SIGCONT to QEMU: it goes on where it was."""
        if not send(self._present().guest(name).process, signal.SIGCONT):
            raise LabError("%s is off and cannot go on; 'lab heal %s' boots it." % (name, name))

    def reboot_hard(self, name: str, *, wait: bool = True) -> None:
        """Power cut and switched on again, with the same disks."""
        with self._changing() as present:
            machine.stop_at_once(present, name)
            machine.start(present, guest_named(name))
        if wait:
            self.wait([name])

    def set_cable(self, name: str, network: str, *, plugged: bool) -> None:
        """Pull or plug the cable of a network (stor0, stor1, lan0). It stays pulled through reboots."""
        if network not in NETWORKS:
            raise LabError("There is no network '%s'; there are %s." % (network, ", ".join(NETWORKS)))
        with self._changing() as present:
            running = present.guest(name)
            word = machine.state_word(running)
            if word == "hung":
                raise LabError("%s hangs: its cables can be changed after 'lab heal %s'." % (name, name))
            if word == "on":
                machine.set_cable(present, name, network, plugged=plugged)
            running.pulled = [other for other in running.pulled if other != network] + ([] if plugged else [network])
            present.save()

    def plug_nvme(self, name: str, serial: str) -> None:
        """Plug an empty NVMe disk of 64 MiB into a running guest, until it is switched off; unlike a virtio disk it has SMART."""
        with self._changing() as present:
            path = present.data_disk(name, serial)
            with open(path, "wb") as sink:
                sink.truncate(64 << 20)
            machine.control(present, name, "blockdev-add", {"driver": "file", "filename": str(path), "node-name": "%s-file" % serial})
            machine.control(present, name, "device_add", {"driver": "nvme", "drive": "%s-file" % serial, "serial": serial, "id": serial})

    def set_nvme_warning(self, name: str, serial: str, bits: int) -> None:
        """The "critical warning" of the SMART log of a plugged NVMe disk (NVMe base specification)."""
        arguments = {"path": "/machine/peripheral/%s" % serial, "property": "smart_critical_warning", "value": bits}
        machine.control(self._present(), name, "qom-set", arguments)

    def heal(self, name: str) -> str:
        """Whatever was done to it: thaw it, plug its cables in, or boot it and wait. Returns a sentence of what was done."""
        running = self._present().guest(name)
        word = machine.state_word(running)
        if word == "hung":
            self.cont(name)
        for network in running.pulled:
            self.set_cable(name, network, plugged=True)
        if word == "off":
            self.boot(name)
            return "%s: booted, ssh answers" % name
        return "%s: %s" % (name, "thawed" if word == "hung" else "its cables are plugged in" if running.pulled else "nothing to do")

    def down(self) -> bool:
        """End all guests and remove their disks; whether there were any. Safe to repeat."""
        with record.locked(self.path):
            present = record.load(self.path)
            if present is None:
                return False
            for running in present.guests.values():
                kill(running.process)
            record.remove(present)
        return True

    # -- reaching them -----------------------------------------------------------------------------------------
    def ssh(
        self, name: str, command: str, input: str | None = None, timeout: float | None = 300.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root. Secrets belong into ``input``, which no process list shows.

        Raises LabError when it ends with another status than 0 (unless ``check`` is false), or not within ``timeout`` seconds.
        """
        done = ssh.execute(self._present(), name, command, text=input, timeout=timeout)
        if check and done.returncode != 0:
            answer = (done.stderr.strip() or done.stdout.strip() or "no message")[-4000:]
            raise LabError("On %s '%s' ended with %d: %s" % (name, command, done.returncode, answer))
        return done

    def ssh_command(self, name: str, command: str = "") -> list[str]:
        """The command line that ``ssh`` runs, for programs that keep the connection themselves."""
        return ssh.argv(self._present(), name, command)

    def put(self, name: str, source: Path, destination: str) -> None:
        """Copy a file into a guest, with its mode."""
        ssh.copy(self._present(), name, source, destination)

    def wait(self, names: Iterable[str], seconds: float = BOOT_SECONDS) -> None:
        """Until ssh answers in each, with progress on standard error. Raises LabError with the end of the console of one that does not."""
        present = self._present()
        begin = time.monotonic()
        waiting = list(names)
        if waiting:
            say("waiting for %s to boot" % ", ".join(waiting))
        said = begin
        while waiting:
            for name in list(waiting):
                if _answers(present, name):
                    waiting.remove(name)
                    say("%s answers after %.0f s" % (name, time.monotonic() - begin))
                elif not alive(present.guest(name).process):
                    raise LabError("QEMU of %s ended while it booted.\n%s" % (name, _logs(present, name)))
                elif any(mark in _console(present, name) for mark in GAVE_UP):
                    raise LabError("%s gave up booting.\n%s" % (name, _logs(present, name)))
            now = time.monotonic()
            if waiting and now - begin > seconds:
                raise LabError("%s gives no answer by ssh within %g s.\n%s" % (waiting[0], seconds, _logs(present, waiting[0])))
            if waiting and now - said > 15:
                said = now
                say("%.0f s: waiting for %s" % (now - begin, ", ".join(waiting)))

    # -- what there is -----------------------------------------------------------------------------------------
    def status(self) -> list[dict[str, Any]]:
        """One entry a guest: name, role, state (on, hung, off), addresses by network, initiator, pulled cables, data disks
        (in the guest), how to reach it by ssh (address, port, username, key_file, known_hosts) and ``ports``, those of the guest that
        are on 127.0.0.1 (``{"443": 21234}``). Empty when there are none."""
        present = record.load(self.path)
        return [] if present is None else [_entry(present, running) for running in present.guests.values()]

    # -- inside ------------------------------------------------------------------------------------------------
    def _present(self) -> Record:
        present = record.load(self.path)
        if present is None:
            raise LabError("No guests are up in %s. Start them with 'tests/lab/lab up --only-qemu'." % self.path.parent)
        return present

    @contextmanager
    def _changing(self, create: bool = False) -> Iterator[Record]:
        """The record, while nobody else changes it."""
        with record.locked(self.path):
            if create and record.load(self.path) is None:
                self.path.mkdir(parents=True, mode=0o700, exist_ok=True)
                fresh = Record(self.path, DISKS / ("libreha-guests-%s" % uuid4().hex[:12]), machine.new_segments())
                fresh.save()  # before the folder of the disks is made: whatever happens, 'lab down' finds it
                fresh.disks.mkdir(mode=0o700)
            yield self._present()


def _snapshots(base: image.Image, roles: set[str]) -> dict[str, snapshot.Snapshot]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(roles, pool.map(lambda role: snapshot.ready(base, role), roles)))


def _begin(present: Record, guest: Guest, base: image.Image, saved: snapshot.Snapshot) -> None:
    """A new guest, or one that was left half made."""
    if guest.name in present.guests:
        machine.stop_at_once(present, guest.name)
    present.guests[guest.name] = Running(guest.name, str(base.folder), _ports(present, guest.ports))
    present.save()
    machine.make_disks(present, guest, saved.disk, "qcow2")
    machine.start(present, guest, memory=saved.memory)


def _ports(present: Record, wanted: Iterable[int]) -> dict[int, int]:
    taken = {at for running in present.guests.values() for at in running.ports.values()}
    found: dict[int, int] = {}
    for port in wanted:
        found[port] = machine.free_port(socket.SOCK_STREAM, taken)
        taken.add(found[port])
    return found


def _answers(present: Record, name: str) -> bool:
    try:
        return ssh.execute(present, name, "true", timeout=20, connect_seconds=10).returncode == 0
    except LabError:
        return False
    finally:
        time.sleep(0.5)


def _console(present: Record, name: str) -> bytes:
    try:
        with open(present.console(name), "rb") as source:
            source.seek(present.guest(name).console_start)
            return source.read()
    except FileNotFoundError:
        return b""


def _logs(present: Record, name: str) -> str:
    console = present.console(name)
    return "The end of its console %s:\n%s\nWhat QEMU said, %s:\n%s" % (
        console,
        tail(console, start=present.guest(name).console_start),
        present.qemu_log(name),
        tail(present.qemu_log(name), lines=5),
    )


def _entry(present: Record, running: Running) -> dict[str, Any]:
    guest = guest_named(running.name)
    return {
        "name": guest.name,
        "role": guest.role,
        "state": machine.state_word(running),
        "addresses": guest.addresses,
        "initiator": guest.initiator,
        "pulled": list(running.pulled),
        "disks": ["/dev/disk/by-id/virtio-%s" % disk for disk in guest.disks],
        "ssh": {
            "address": ssh.ADDRESS,
            "port": running.ports[22],
            "username": ssh.USER,
            "key_file": str(present.key),
            "known_hosts": str(present.known_hosts),
            "options": ssh.options(present, guest.name),
        },
        "ports": {str(port): at for port, at in running.ports.items() if port != 22},
        "pid": running.process.pid if running.process and alive(running.process) else None,
        "console": str(present.console(guest.name)),
    }
