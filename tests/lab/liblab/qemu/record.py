"""guests.json: which guests there are, who runs them and how to reach them. One writer at a time, on disk before the next step."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import LabError
from ..processes import Process, read_boot_id
from ..state import GUESTS, folder, write_private


@dataclasses.dataclass
class Running:
    """A guest that was started once. ``image``: the image's folder that its root disk lies on, whatever the recipe is by now.
    ``ports``: port of the guest to port on 127.0.0.1; the same through all its boots. ``identity``: whether it has taken its own."""

    name: str
    image: str
    ports: dict[int, int]
    process: Process | None = None
    console_start: int = 0  # where in its console log the present boot begins
    pulled: list[str] = dataclasses.field(default_factory=list)  # networks whose cable is pulled
    identity: bool = False


@dataclasses.dataclass
class Record:
    """All guests of one lab. ``disks``: their disks' folder, on a real disk (the state folder may be memory)."""

    path: Path
    disks: Path
    segments: dict[str, str]  # network to the multicast GROUP:PORT that is its cable
    boot_id: str = dataclasses.field(default_factory=read_boot_id)
    guests: dict[str, Running] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.path / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"

    def console(self, name: str) -> Path:
        return self.path / ("%s.console.log" % name)

    def qemu_log(self, name: str) -> Path:
        return self.path / ("%s.qemu.log" % name)

    def execution_log(self, name: str) -> Path:
        """What a host in this guest executed, in its own words (tests/lab/README.md, "Execution log")."""
        return self.path / ("%s.execution.log" % name)

    def qmp(self, name: str) -> Path:
        """QEMU's control socket, beside the disks: its path must stay short."""
        return self.disks / ("%s.qmp" % name)

    def identity(self, name: str) -> Path:
        """The other end of the guest's port "identity" (snapshot.py)."""
        return self.disks / ("%s.identity" % name)

    def ssh_control(self, name: str) -> Path:
        """The socket of ssh's connection to the guest, which all commands share."""
        return self.disks / ("%s.ssh" % name)

    def root_disk(self, name: str) -> Path:
        return self.disks / ("%s.qcow2" % name)

    def data_disk(self, name: str, disk: str) -> Path:
        return self.disks / ("%s-%s.raw" % (name, disk))

    def guest(self, name: str) -> Running:
        try:
            return self.guests[name]
        except KeyError:
            raise LabError(
                "No guest '%s' was started; there are: %s. Start it with 'lab up --only-qemu --guests %s'."
                % (name, ", ".join(self.guests) or "none", name)
            ) from None

    def save(self) -> None:
        content = {
            "disks": str(self.disks),
            "segments": self.segments,
            "boot_id": self.boot_id,
            "guests": {name: dataclasses.asdict(guest) for name, guest in self.guests.items()},
        }
        write_private(self.path / "guests.json", json.dumps(content, indent=1) + "\n")


def place() -> Path:
    """The guests' part of the lab's state folder."""
    return folder().absolute() / GUESTS


def load(path: Path) -> Record | None:
    """As recorded, or None when there are no guests. After a reboot of the machine no process of the record runs."""
    where = path / "guests.json"
    try:
        raw = json.loads(where.read_text(encoding="utf-8"))
        record = Record(path, Path(raw["disks"]), raw["segments"])
        same_boot = raw["boot_id"] == record.boot_id
        for name, guest in raw["guests"].items():
            process = Process(**guest["process"]) if guest["process"] and same_boot else None
            ports = {int(port): at for port, at in guest["ports"].items()}
            record.guests[name] = Running(name, guest["image"], ports, process, guest["console_start"], guest["pulled"], guest["identity"])
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise LabError("%s belongs to root. Run this as root: sudo tests/lab/lab ..." % where) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError("%s cannot be understood (%s). End its QEMU processes by hand, then remove %s." % (where, error, path)) from error
    return record


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one command changes guests at a time. The lock lies beside the lab's state folder, which comes and goes."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    with open("%s.%s.lock" % (path.parent, path.name), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(record: Record) -> None:
    """Disks first: without the record nobody would know where they are."""
    shutil.rmtree(record.disks, ignore_errors=True)
    shutil.rmtree(record.path)
    with contextlib.suppress(OSError):
        record.path.parent.rmdir()  # unless the quick lab is there too
