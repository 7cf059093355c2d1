# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One way to talk to one virtualization host, in the field's words.

A driver (``vsphere`` on pyVmomi; others will follow) is a context manager: entering connects and logs in, leaving logs
out. The number of round trips of every method is constant in the number of VMs. A driver never retries and never
sleeps, except to poll the task that it started itself; retrying is the failover transaction's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Callable

from ..decide.answers import ApiAnswer
from ..decide.observations import Event, HostObservation, Question, VmObservation
from ..errors import LibrehaError


@dataclass(frozen=True)
class Connection:
    """How to reach one host; ``name`` is the inventory's name for it, ``hostname`` its management address."""

    name: str
    hostname: str
    username: str
    password: str = field(repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: str | None = None  # a CA bundle; None is the system's
    proxy_host: str | None = None
    proxy_port: int | None = None
    timeout: float = 5.0  # seconds for connecting and for each answer


class HostUnavailable(LibrehaError):
    """The host did not let us in; ``answer`` tells how, as evidence for the verdict."""

    def __init__(self, message: str, *, answer: ApiAnswer, host: str | None = None, remedy: str = "") -> None:
        super().__init__(message, host=host, remedy=remedy)
        self.answer = answer


class FaultKind(str, Enum):
    """The faults that the failover transaction tells apart; anything else is OTHER."""

    FILE_LOCKED = "file_locked"  # the files are locked by another host, or were until a moment ago: retry
    ALREADY = "already"  # already registered, already in that power state: the step is done
    DUPLICATE_NAME = "duplicate_name"  # another VM of that name is registered there
    NOT_FOUND = "not_found"  # no such VM or file
    INACCESSIBLE = "inaccessible"  # the datastore is not accessible on this host
    NO_RESOURCES = "no_resources"  # memory, CPU: another host may do
    READ_ONLY = "read_only"  # the licence forbids changes through this API
    TIMED_OUT = "timed_out"  # no answer in time: the outcome is unknown, look before acting again
    LOST = "lost"  # connection or session lost: likewise
    OTHER = "other"


class HypervisorFault(LibrehaError):
    """A host refused or failed what was asked of it."""

    def __init__(self, message: str, *, kind: FaultKind, host: str | None = None, remedy: str = "") -> None:
        super().__init__(message, host=host, remedy=remedy)
        self.kind = kind


class PowerOnOutcome(str, Enum):
    DONE = "done"
    QUESTION = "question"  # a question other than moved-or-copied waits: not answered


@dataclass(frozen=True)
class EventsRead:
    """Events, oldest first. ``skipped`` single ones among them could not be read; not ``complete``: events older than these, that
    are new as well, were not reached."""

    events: list[Event]
    skipped: int = 0
    complete: bool = True


@dataclass(frozen=True)
class Guest:
    """What VMware Tools tell of a guest; empty without them, and of a VM that is off."""

    hostname: str = ""
    addresses: tuple[str, ...] = ()  # those that other machines can reach, the guest's main one first


@dataclass(frozen=True)
class Writes:
    """A VM's writes to its disks, in seconds before the host's present: ``last``, the end of the newest sample in which a write was done,
    None for none of them; ``since``, when the samples begin."""

    last: float | None
    since: float


class Hypervisor(ABC):
    """One host. Methods that change something call ``before_write`` directly before each request is sent."""

    connection: Connection
    before_write: Callable[[], None] | None = None  # raises LeaseLost when this run may act no more
    on_answer: Callable[[str, Question], None] | None = None  # told the VM's reference when power_on or power_off answered its question

    @abstractmethod
    def __enter__(self) -> Hypervisor:
        """Connect and log in. Raises HostUnavailable with the answer's kind."""

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None:
        """Log out and close; never raises, never hangs longer than the timeout."""

    @property
    def usable(self) -> bool:
        """Whether the session can be asked again: it is not ended, as far as the host's last answer tells."""
        return True

    @abstractmethod
    def cut_off(self) -> None:
        """Have every call under way, in whatever thread, end now with an error. Nothing can be asked afterwards."""

    @abstractmethod
    def health(self) -> HostObservation:
        """Product, boot time, uptime, maintenance, sensors, datastores with their LUNs, load, initiators."""

    @abstractmethod
    def virtual_machines(self) -> list[VmObservation]:
        """All registered VMs, templates excluded."""

    def guests(self) -> dict[str, Guest]:
        """What is known from inside the guests of all registered VMs: VM reference -> guest. A driver that cannot tell knows none.
        Raises HostUnavailable."""
        return {}

    def writes(self, vms: Iterable[VmObservation]) -> dict[str, Writes]:
        """When those of *vms* that run last wrote: VM reference -> writes. VMs of which the statistics say nothing are left out.
        Raises HostUnavailable."""
        return {}

    @abstractmethod
    def io_idle(self, vms: Iterable[VmObservation]) -> dict[str, float]:
        """How long those of *vms* that run without a guest heartbeat have done no disk and network I/O: VM reference -> seconds,
        up to the host's newest statistics. VMs of which the statistics say nothing, or nothing recent, are left out. Nothing is
        asked of the host when no VM needs it. Raises HostUnavailable when nothing could be read."""

    @abstractmethod
    def events(self, after_key: int = 0, limit: int = 500) -> EventsRead:
        """Events with a key greater than *after_key*, the newest *limit* of them; what can be read of them. Raises HostUnavailable."""

    @abstractmethod
    def register(self, path: str, name: str) -> str:
        """Register the vmx at *path* under *name*; the VM's reference on this host. Raises HypervisorFault."""

    @abstractmethod
    def unregister(self, moid: str) -> None:
        """Take the VM out of the host's inventory; its files stay. Raises HypervisorFault."""

    @abstractmethod
    def power_on(self, moid: str, timeout: float, answer_moved: bool = True) -> tuple[PowerOnOutcome, Question | None]:
        """Power on and poll the task for at most *timeout* seconds; meanwhile answer the moved-or-copied question
        (recognised by its message id, "msg.uuid...") with "moved", chosen by the choice's key and label, never by
        position. Any other question is left alone and returned. Raises HypervisorFault."""

    @abstractmethod
    def power_off(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        """Hard power-off of several VMs in parallel; VM reference -> "" or the reason it failed. A host that lost a VM's lock asks
        about that ("msg.hbacommon.locklost") and refuses to switch the VM off before; this question is answered with the choice
        that says "OK", by its key and label, which ends the VM. Any other question is left alone."""

    @abstractmethod
    def suspend(self, moid: str, timeout: float) -> None:
        """Write the memory of a running VM to its datastore and stop it; power_on reads it again, here or on another host with the same
        CPU that has the VM registered. A suspension that is under way already is taken up. Raises HypervisorFault, with the kind ALREADY
        of a VM that does not run."""

    @abstractmethod
    def reset(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        """Hard reset of several running VMs in parallel; VM reference -> "" or the reason it failed."""

    @abstractmethod
    def shut_down(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        """Ask the guests of several VMs to shut down and wait until the VMs are off; VM reference -> "" or why it is not off."""

    @abstractmethod
    def answer(self, moid: str, question: Question, choice: str) -> None:
        """Answer a pending question with the choice of that key. Raises HypervisorFault."""

    @abstractmethod
    def rescan_storage(self, timeout: float) -> None:
        """Have the host look for disks and datastores on all its adapters: it logs in again where it was not admitted before. Returns when
        the host is done, which may take minutes where targets do not answer. Raises HypervisorFault, also after *timeout* seconds."""

    @abstractmethod
    def set_maintenance_mode(self, enter: bool, timeout: float) -> None:
        """Enter the host's maintenance mode, or leave it, within *timeout* seconds. It is entered when no VM runs any more; none is
        stopped or moved for it. Raises HypervisorFault, also when the host is so already."""

    @abstractmethod
    def shut_down_host(self, timeout: float) -> None:
        """Have the host shut itself down; VMs that run are not waited for. Returns when it has begun to, or after *timeout* seconds. Raises
        HypervisorFault when it refuses."""

    @abstractmethod
    def unregistered(self, datastore: str) -> list[str]:
        """Paths of .vmx files on *datastore* that this host has not registered."""
