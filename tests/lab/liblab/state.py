"""lab.json: what is up, who runs it, and what was done to it. One writer at a time, every change on disk before the next step."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from .errors import LabError
from .plan import BmcAccount, Host, LabNetwork, Options, Vm, options_from
from .processes import Process, read_boot_id

DEFAULT_FOLDER = "/run/libreha-lab"
GUESTS = "guests"  # the part of the state folder that belongs to the QEMU guests; they come and go by themselves
# Faults of the management and the storage cable; they outlast a power cycle, as a pulled cable does.
CABLES = ("partition", "storage-cut")
LOSSES = ("management-loss", "storage-loss")


def folder() -> Path:
    return Path(os.environ.get("LIBREHA_LAB_DIR") or DEFAULT_FOLDER)


@dataclasses.dataclass
class HostState:
    """How a host stands: its switch, its process, its cables."""

    powered: bool = False  # the power switch as the BMC knows it: a crashed machine is still powered
    hung: bool = False
    faults: list[str] = dataclasses.field(default_factory=list)  # what only heal ends: of its cables, of its power


class Lab:
    """The lab's plan and present state; ``save`` after every change."""

    def __init__(self, path: Path, network: LabNetwork, options: Options, hosts: list[Host], bmcs: list[BmcAccount], vms: list[Vm]) -> None:
        self.path = path
        self.network = network
        self.options = options
        self.hosts = hosts
        self.bmcs = bmcs
        self.vms = vms
        self.boot_id = read_boot_id()
        self.started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.complete = False  # whether ``up`` came to its end
        self.processes: dict[str, Process] = {}  # "esx1", "tgtd", "bmc"
        self.states: dict[str, HostState] = {host.name: HostState() for host in hosts}
        self.events: list[dict[str, Any]] = []

    # -- places ------------------------------------------------------------------------------------------------
    @property
    def lun_file(self) -> Path:
        return self.path / "lun.img"

    @property
    def ca_file(self) -> Path:
        return self.path / "ca.pem"

    @property
    def datastore(self) -> Path:
        return self.path / "datastore"

    @property
    def arbiter(self) -> Path:
        """What the arbiter keeps on its own disk: what the target is configured by, the fence list, the state database."""
        return self.path / "arbiter"

    @property
    def saved_config(self) -> Path:
        return self.arbiter / "targets.conf"

    @property
    def fence_list(self) -> Path:
        return self.arbiter / "fences.json"

    def host_folder(self, name: str) -> Path:
        return self.path / "hosts" / name

    def execution_log(self, name: str) -> Path:
        return self.path / "execution" / ("%s.log" % name)

    def tls(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a host ("esx1") or a BMC ("bmc-esx1")."""
        return self.path / "tls" / ("%s.pem" % name), self.path / "tls" / ("%s.key" % name)

    # -- parts -------------------------------------------------------------------------------------------------
    def host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError("The lab has no host '%s'; it has %s." % (name, ", ".join(host.name for host in self.hosts)))

    def bmc_of(self, name: str) -> BmcAccount | None:
        return next((bmc for bmc in self.bmcs if bmc.host == name), None)

    def has_vm(self, name: str) -> bool:
        return any(vm.name == name for vm in self.vms)

    def record(self, subject: str, what: str, action: str) -> None:
        """Note a fault or a heal with both clocks, for the referee and for timelines. ``action``: fault, heal, power."""
        self.events.append(
            {
                "subject": subject,
                "action": action,
                "what": what,
                "boottime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
                "wall": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            }
        )
        self.save()

    # -- on disk -----------------------------------------------------------------------------------------------
    def save(self) -> None:
        content = {
            "boot_id": self.boot_id,
            "started": self.started,
            "complete": self.complete,
            "number": self.network.number,
            "options": dataclasses.asdict(self.options),
            "hosts": [dataclasses.asdict(host) for host in self.hosts],
            "bmcs": [dataclasses.asdict(bmc) for bmc in self.bmcs],
            "vms": [dataclasses.asdict(vm) for vm in self.vms],
            "processes": {name: dataclasses.asdict(process) for name, process in self.processes.items()},
            "states": {name: dataclasses.asdict(state) for name, state in self.states.items()},
            "events": self.events,
        }
        write_private(self.path / "lab.json", json.dumps(content, indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only (passwords, keys)."""
    new = path.with_name(path.name + ".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as sink:
        sink.write(text)
    os.replace(new, path)


def load(path: Path | None = None) -> Lab | None:
    """The lab as recorded, or None when there is none. Raises LabError when its file cannot be understood."""
    where = (path or folder()) / "lab.json"
    try:
        raw = json.loads(where.read_text(encoding="utf-8"))
        lab = Lab(
            where.parent,
            LabNetwork(raw["number"]),
            options_from(raw["options"]),
            [Host(**host) for host in raw["hosts"]],
            [BmcAccount(**bmc) for bmc in raw["bmcs"]],
            [Vm(**vm) for vm in raw["vms"]],
        )
        lab.boot_id, lab.started, lab.complete = raw["boot_id"], raw["started"], raw["complete"]
        lab.processes = {name: Process(**process) for name, process in raw["processes"].items()}
        lab.states = {name: HostState(**state) for name, state in raw["states"].items()}
        lab.events = raw["events"]
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise LabError("%s belongs to root. Run this as root: sudo tests/lab/lab ..." % where) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError("%s cannot be understood (%s). Remove the lab with 'lab down', then 'lab up' again." % (where, error)) from error
    return lab


def processes_of(path: Path) -> list[Process]:
    """Those of the lab in this folder, as far as its record tells: no other part of it needs to be understood."""
    try:
        raw = json.loads((path / "lab.json").read_text(encoding="utf-8"))
        return [Process(**process) for process in raw["processes"].values()] if raw["boot_id"] == read_boot_id() else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def present(path: Path | None = None) -> Lab | None:
    """The lab that is up, or None."""
    lab = load(path)
    return lab if lab is not None and lab.boot_id == read_boot_id() else None


def need(path: Path | None = None) -> Lab:
    """The lab that is up; LabError when none is."""
    lab = present(path)
    if lab is None:
        raise LabError("No lab is up in %s. Start one with 'tests/lab/lab up'." % (path or folder()))
    return lab


@contextlib.contextmanager
def locked(path: Path | None = None) -> Iterator[None]:
    """Only one command (or BMC action) changes the lab at a time; the lock lies beside the folder, which comes and goes."""
    where = path or folder()
    where.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(where) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether a command is at work on the lab in this folder, for instance bringing it up."""
    if not path.parent.is_dir():
        return False
    with _lock_file(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _lock_file(path: Path) -> IO[str]:
    return open("%s.lock" % path, "w", encoding="utf-8")
