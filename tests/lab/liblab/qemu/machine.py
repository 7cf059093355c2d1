"""One guest as a QEMU process: its command line, its disks, its cables."""

from __future__ import annotations

import json
import os
import random
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import LabError, run
from ..processes import alive, kill, spawn, state_of, tail
from . import ssh
from .image import Image
from .plan import DATA_DISK_BYTES, MANAGEMENT, MANAGEMENT_ADDRESS, NETWORKS, PREFIX, SLOTS, Guest
from .record import Record, Running

# Plain emulation: it works wherever QEMU does, also on machines that are virtual themselves.
ACCELERATOR = "tcg,thread=multi,tb-size=128"
# hpet is QEMU's own clock, so a guest that is resumed on another machine keeps the time; its TSC would be that of the machine it booted on.
# On a busy machine an emulated timer may tick too late for the kernel's check of it, which then panics.
CLOCKS = "tsc=unstable clocksource=hpet no_timer_check"
KERNEL = "root=/dev/vda rw console=ttyS0 loglevel=4 mitigations=off %s systemd.show_status=no TERM=dumb" % CLOCKS
CONTROL_SECONDS = 30.0
PORTS = range(20000, 30000)  # below what Linux hands out by itself (ip_local_port_range)


def free_port(kind: socket.SocketKind, taken: set[int]) -> int:
    """A port of 127.0.0.1 that nobody has now."""
    for _attempt in range(100):
        port = random.choice(PORTS)
        if port in taken:
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise LabError("No free port was found on 127.0.0.1 between %d and %d." % (PORTS.start, PORTS.stop - 1))


def new_segments() -> dict[str, str]:
    """A multicast group for each network between the guests (RFC 2365, organization-local): labs on one machine do not hear each other."""
    return {
        network: "239.192.%d.%d:%d" % (random.randrange(256), random.randrange(1, 255), free_port(socket.SOCK_DGRAM, set()))
        for network in NETWORKS
    }


def make_disks(record: Record, guest: Guest, backing: Path, kind: str) -> None:
    """An overlay over ``backing`` (of format ``kind``) as root disk, and empty sparse data disks. They outlive reboots."""
    run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", kind, str(record.root_disk(guest.name))],
        what="make the root disk of %s" % guest.name,
    )
    for disk in guest.disks:
        with open(record.data_disk(guest.name, disk), "wb") as sink:
            os.truncate(sink.fileno(), DATA_DISK_BYTES)


def identity(record: Record, guest: Guest) -> str:
    """What the guest learns of itself (image/root/usr/local/sbin/lab-identity)."""
    addresses = {MANAGEMENT: MANAGEMENT_ADDRESS, **{network: "%s/%d" % (at, PREFIX) for network, at in guest.addresses.items()}}
    words = ["lab.name=%s" % guest.name, "lab.initiator=%s" % guest.initiator, "lab.key=%s" % ssh.public_key(record)]
    words += ["lab.address=%s:%s" % item for item in addresses.items()]
    words += ["lab.mac=%s:%s" % (network, guest.mac(network)) for network in guest.addresses]
    return " ".join(words)


def command(record: Record, guest: Guest, running: Running, who: str) -> list[str]:
    """QEMU's command line. ``who``: the kernel's arguments that say who the guest is."""
    image = Image(Path(running.image))
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-name", guest.name]
    argv += ["-machine", "pc", "-accel", ACCELERATOR, "-m", str(guest.memory_mib), "-smp", "1"]
    argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", "%s lab.role=%s %s" % (KERNEL, guest.role, who)]
    argv += ["-chardev", "file,id=console,path=%s,append=on" % record.console(guest.name), "-serial", "chardev:console"]
    argv += ["-qmp", "unix:%s,server=on,wait=off" % record.qmp(guest.name), "-device", "virtio-rng-pci", "-device", "vmgenid,guid=auto"]
    disks = [("root", record.root_disk(guest.name), "qcow2")]
    disks += [(disk, record.data_disk(guest.name, disk), "raw") for disk in guest.disks]
    for name, path, kind in disks:
        argv += ["-drive", "if=none,id=%s,file=%s,format=%s,discard=unmap,detect-zeroes=unmap" % (name, path, kind)]
        argv += ["-device", "virtio-blk-pci,drive=%s,serial=%s" % (name, name)]
    # what a guest writes to /dev/virtio-ports/execution is in a file of the machine, and outlives the guest
    argv += ["-device", "virtio-serial-pci", "-chardev", "file,id=execution,path=%s,append=on" % record.execution_log(guest.name)]
    argv += ["-device", "virtserialport,chardev=execution,name=execution"]
    argv += ["-chardev", "socket,id=identity,path=%s,server=on,wait=off" % record.identity(guest.name)]
    argv += ["-device", "virtserialport,chardev=identity,name=identity"]
    forwards = ",".join("hostfwd=tcp:%s:%d-:%d" % (ssh.ADDRESS, at, port) for port, at in running.ports.items())
    restrict = "off" if guest.reaches_out else "on"
    argv += ["-netdev", "user,id=%s,restrict=%s,ipv6=off,%s" % (MANAGEMENT, restrict, forwards)]
    for network, segment in record.segments.items():
        argv += ["-netdev", "socket,id=%s,mcast=%s,localaddr=127.0.0.1" % (network, segment)]
    for network, slot in SLOTS.items():
        argv += ["-device", "virtio-net-pci,netdev=%s,mac=%s,addr=0x%x,romfile=" % (network, guest.mac(network), slot)]
    return argv


def state_word(running: Running) -> str:
    """on, hung or off."""
    letter = state_of(running.process)
    return "off" if letter is None else "hung" if letter == "T" else "on"


def start(record: Record, guest: Guest, who: str = "", memory: Path | None = None) -> None:
    """Switch on; does not wait for it to boot, or to go on with the saved ``memory``. Cables that were pulled stay pulled.

    ``who``: other kernel arguments than the guest's own.
    """
    running = record.guest(guest.name)
    if alive(running.process):
        raise LabError("%s runs already." % guest.name)
    if memory is None and not who and not running.identity:
        raise LabError(
            "%s was left before it had an identity of its own. Start it with 'lab up --only-qemu --guests %s'." % (guest.name, guest.name)
        )
    if not Path(running.image).is_dir():
        raise LabError("The image that %s was made from is gone: %s. Remove the guests with 'lab down'." % (guest.name, running.image))
    console = record.console(guest.name)
    running.console_start = console.stat().st_size if console.exists() else 0
    argv = command(record, guest, running, who or identity(record, guest))
    if memory is not None:
        argv += ["-incoming", "exec:cat %s" % shlex.quote(str(memory))]
    running.process = spawn(argv, record.qemu_log(guest.name))
    record.save()
    for network in running.pulled:
        set_cable(record, guest.name, network, plugged=False)


def stop_at_once(record: Record, name: str) -> None:
    """Power is cut: what the guest's kernel had not written is lost, what its disks had acknowledged is not."""
    running = record.guest(name)
    kill(running.process)
    running.process = None
    record.save()


def set_cable(record: Record, name: str, network: str, *, plugged: bool) -> None:
    """Plug or pull the cable of a network: the guest's card loses its carrier and nothing passes."""
    control(record, name, "set_link", {"name": network, "up": plugged})


def control(record: Record, name: str, what: str, arguments: dict[str, Any]) -> Any:
    """One command over QEMU's control socket (QMP), and what it returns. Raises LabError when QEMU refuses it."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONTROL_SECONDS)
            connect(connection, record.qmp(name), record, name)
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # the greeting
                requests: list[dict[str, Any]] = [{"execute": "qmp_capabilities"}, {"execute": what, "arguments": arguments}]
                for number, request in enumerate(requests):
                    stream.write(json.dumps({**request, "id": number}) + "\n")
                    stream.flush()
                    answer = _answer(stream, number)
                    if "error" in answer:
                        raise LabError("QEMU refused %s for %s: %s" % (what, name, answer["error"].get("desc")))
                return answer["return"]
    except (OSError, ValueError) as error:
        raise LabError("QEMU of %s did not answer to %s: %s. Its log:\n%s" % (name, what, error, tail(record.qemu_log(name)))) from error


def connect(connection: socket.socket, where: Path, record: Record, name: str) -> None:
    """To a socket of QEMU, which needs a moment until it listens when it has just been started."""
    deadline = time.monotonic() + CONTROL_SECONDS
    while True:
        try:
            connection.connect(str(where))
            return
        except (FileNotFoundError, ConnectionRefusedError):
            if not alive(record.guest(name).process) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _answer(stream: Any, number: int) -> dict[str, Any]:
    """The answer with this id; events in between are passed over."""
    for line in stream:
        answer: dict[str, Any] = json.loads(line)
        if answer.get("id") == number:
            return answer
    raise OSError("the connection was closed")
