# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was seen: the values that observe hands to decide.

The ``*_info`` modules return these as dictionaries (:func:`json_form.to_dict`), the playbook passes them on untouched, and
:func:`Observation.from_dict` reads them back. A field that could not be read is None or ``unknown``, never a guess.
Units: MiB for memory, MHz for CPU, seconds for durations, bytes for sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Optional, TypeVar

from ..instant import Instant
from .answers import ApiAnswer, Evidence
from .json_form import from_dict
from .machine import Machine
from .obstacles import Obstacle
from .storage_health.sensors import StorageHealth

TOOLS_RUN = "guestToolsRunning"  # VirtualMachineToolsRunningStatus of the vSphere API


class Power(str, Enum):
    """A VM's power state, or a host's as its BMC tells it."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Lun:
    """A logical unit as an initiator sees it: the target's IQN and the LUN's number there."""

    target: str
    lun: int


@dataclass(frozen=True)
class Datastore:
    """A datastore as one host sees it.

    ``uuid`` is the VMFS UUID (from its ``ds:///vmfs/volumes/UUID/`` URL), the same on every host; ``luns`` are the
    iSCSI LUNs of all its extents, empty for a local datastore; ``local`` is true when an extent is not on iSCSI.
    """

    name: str
    uuid: str
    type: str = "VMFS"
    accessible: bool = True
    maintenance: bool = False
    capacity: int = 0
    free: int = 0
    local: bool = False
    luns: tuple[Lun, ...] = ()


@dataclass(frozen=True)
class Sensor:
    """A hardware sensor: ``health`` is green, yellow, red or unknown as the host reports it."""

    name: str
    health: str
    reading: str = ""


@dataclass(frozen=True)
class SampleTimes:
    """When each path to a host was asked, and when its answer came or the time for it was over, on the decider's clock: of observers that
    keep a pace of their own, so that one sample may serve several looks. What an age may prove is ``hosts/freshness.py``."""

    api: Instant
    api_answered: Instant
    ping: Instant
    ping_answered: Instant
    power: Instant


@dataclass(frozen=True)
class HostObservation:
    """One look at one host. Fields below ``behind_bmc`` are None or empty unless ``api_answer`` is ``answered``."""

    name: str
    taken_at: Instant
    api_answer: ApiAnswer = ApiAnswer.NOT_ASKED
    api_reason: str = ""
    ping: Evidence = Evidence.UNKNOWN
    ping_reason: str = ""
    power: Power = Power.UNKNOWN  # from the BMC, two equal reads; unknown without a BMC
    power_reason: str = ""
    has_bmc: bool = False
    proves_no_off: str = ""  # why none of its power devices can prove that it is off; "" when one can, and without any
    behind_bmc: tuple[Machine, ...] = ()  # the machines that its BMCs say they belong to; those that tell none are left out
    machine: Machine = Machine()  # as the host itself tells it
    product: str = ""
    version: str = ""
    build: str = ""
    boot_time: Optional[str] = None  # ISO 8601, the host's own clock
    uptime: Optional[float] = None  # seconds since the host booted
    maintenance: Optional[bool] = None
    cpu_cores: Optional[int] = None
    cpu_total: Optional[int] = None  # MHz
    cpu_free: Optional[int] = None  # MHz
    memory_total: Optional[int] = None  # MiB
    memory_free: Optional[int] = None  # MiB
    sensors: tuple[Sensor, ...] = ()
    datastores: tuple[Datastore, ...] = ()
    networks: tuple[str, ...] = ()
    initiators: tuple[str, ...] = ()  # IQNs of its iSCSI adapters, as the host tells them
    capabilities: tuple[str, ...] = ()  # what some VMs need of a host, in the words of ``obstacles``
    live_migration: bool = False  # it can hand a running VM to another such host without stopping it (vCenter's vMotion)
    sampled: Optional[SampleTimes] = None  # None: all of it was asked at ``taken_at``, for this look

    @property
    def asked_at(self) -> Instant:
        """When its API was asked, and so of when everything is that the host told."""
        return self.sampled.api if self.sampled is not None else self.taken_at

    @property
    def api(self) -> Evidence:
        return self.api_answer.evidence


@dataclass(frozen=True)
class Choice:
    """One answer to a question; ``key`` is what the API wants, ``label`` what a person reads ("I Moved It")."""

    key: str
    label: str


@dataclass(frozen=True)
class Question:
    """A pending question of a VM; ``message_id`` names its kind ("msg.uuid.altered"), ``id`` this very one."""

    id: str
    message_id: str
    text: str = ""
    choices: tuple[Choice, ...] = ()


class Backing(NamedTuple):
    """A file of a VM: ``kind`` is vmx, disk, parent (of a snapshot), swap, snapshot, log or cdrom.

    A named tuple and not a dataclass: a look has several for each VM, and all are compared with those of the look before.
    """

    path: str  # "[datastore] folder/file"
    kind: str
    datastore: str
    datastore_uuid: str = ""
    writable: bool = True


@dataclass(frozen=True)
class VmObservation:
    """One VM as one host has it registered. ``id`` is :func:`vm_id`: datastore UUID and vmx path, never the name."""

    id: str
    host: str
    name: str
    path: str  # vmx path on that host: "[datastore] folder/file.vmx"
    taken_at: Instant
    power: Power = Power.UNKNOWN
    moid: str = ""  # the host's own reference
    uuid: str = ""  # BIOS UUID
    instance_uuid: str = ""
    accessible: bool = True  # false when the host cannot read its files
    heartbeat: str = ""  # guest heartbeat: green, yellow, red, gray
    tools: str = ""  # VMware Tools running status
    question: Optional[Question] = None
    memory: int = 0  # MiB
    cpu: int = 1  # virtual CPUs
    cpu_reserved: int = 0  # MHz
    memory_reserved: int = 0  # MiB
    hardware_version: str = ""  # "vmx-13"
    guest: str = ""
    io_idle: Optional[float] = None  # s without disk and network I/O, up to the host's newest statistics; None: no evidence
    backings: tuple[Backing, ...] = ()
    networks: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()  # what ties it to its host
    attached_disks: tuple[str, ...] = ()  # outside its folder, not for several writers: the datastore's UUID and the path in it

    @property
    def guest_listens(self) -> bool:
        """Whether VMware Tools run in its guest, so that it can be asked to shut down."""
        return self.tools == TOOLS_RUN


@dataclass(frozen=True)
class Event:
    """An event of a host, in order of ``key``; ``kind`` is one of vm_powered_on, vm_powered_off, vm_suspended,
    vm_registered, vm_removed, vm_failed, host_shutdown, host_reboot, host_connection, other."""

    host: str
    key: int
    kind: str
    at: str  # ISO 8601, the host's own clock
    vm: str = ""  # VM id, where the host still lists the VM
    user: str = ""
    text: str = ""
    vm_name: str = ""  # as the VM was called then; of one that was removed the host tells nothing else


@dataclass(frozen=True)
class EventGap:
    """Events of a host that this look could not read. With ``skipped`` only so many single ones, of a kind that the API's library does
    not know; without, nobody knows which are missing."""

    host: str
    reason: str
    skipped: int = 0


@dataclass(frozen=True)
class Session:
    """An iSCSI session at a target. Counters grow only within one ``sid``; None where they could not be read."""

    initiator: str
    target: str  # IQN
    sid: str
    address: str = ""
    commands_done: Optional[int] = None
    bytes_done: Optional[int] = None
    in_flight: Optional[int] = None  # commands submitted to the back end and not yet done
    still_since: Optional[Instant] = None  # the reading that found these counters first, where it was read between two looks too


@dataclass(frozen=True)
class TargetAccess:
    """Who a target admits. ``anybody`` is true for demo mode, ALL, or any rule that admits by address."""

    target: str  # IQN
    initiators: tuple[str, ...] = ()
    anybody: bool = False
    reason: str = ""  # which rule admits anybody
    luns: tuple[int, ...] = ()
    unfenceable: str = ""  # why a fence there proves nothing, whoever is admitted; empty: it does


@dataclass(frozen=True)
class Fence:
    """A line of the storage server's fence list.

    ``confirmed`` is the present truth in the sense of docs/safety.md, "The fence" (persistent, right gone, no session, nothing in flight),
    read anew at each observation; ``admitted`` says that the target admits the initiator although it is fenced.
    """

    host: str
    initiator: str
    token: int
    at: Instant  # the storage server's boot-time clock
    reason: str = ""
    confirmed: bool = False
    admitted: bool = False
    why_not: str = ""  # what is missing for confirmed


@dataclass(frozen=True)
class StorageObservation:
    """One look at one storage server."""

    name: str  # inventory name of the storage server
    taken_at: Instant
    driver: str = ""
    serving: Optional[bool] = None  # None: could not be asked
    reason: str = ""
    up_for: Optional[float] = None  # seconds since the target service started
    sessions: Optional[tuple[Session, ...]] = None  # None: counters or sessions unreadable
    access: tuple[TargetAccess, ...] = ()
    fences: tuple[Fence, ...] = ()
    highest_token: int = 0

    @cached_property
    def _sessions_of(self) -> Mapping[str, list[Session]]:
        return _grouped(self.sessions or (), lambda session: session.initiator.lower())

    @cached_property
    def _admits(self) -> Mapping[str, set[str]]:
        """Initiator in lower case -> targets that name it."""
        targets: dict[str, set[str]] = {}
        for access in self.access:
            for name in access.initiators:
                targets.setdefault(name.lower(), set()).add(access.target)
        return targets

    def sessions_of(self, initiator: str) -> list[Session]:
        """Its sessions; iSCSI names are compared without regard to case (RFC 3722), and no name is nobody."""
        return self._sessions_of.get(initiator.lower(), []) if initiator else []

    def targets_for(self, initiator: str) -> set[str]:
        """The targets that admit it, or anybody."""
        named = self._admits.get(initiator.lower(), set()) if initiator else set()
        return named | {access.target for access in self.access if access.anybody}


class Act(str, Enum):
    """What was done to a VM."""

    START = "start"
    STOP = "stop"
    RESET = "reset"
    MOVE = "move"


@dataclass(frozen=True)
class ActResult:
    """How an act on a VM ended, told at the looks that follow. ``key`` is its own and sorts after those of earlier acts on
    the same VM, so that each is counted once."""

    key: str
    vm: str  # VM id
    host: str  # where it was started, or was to go
    act: Act
    ok: bool
    at: Instant  # the decider's clock
    reason: str = ""
    asked: bool = True  # the host may have got the request; False: it is certain that nothing was asked of it
    blocked: bool = False  # it waits for a person
    reached: bool = True  # False: the act had no connection to the host, so nothing was tried there
    number: int = 0  # in the record, where it grows; 0: it is in none


@dataclass(frozen=True)
class IsolationProbe:
    """Whether an isolation address answered the observer."""

    address: str
    answers: bool


@dataclass(frozen=True)
class ActInProgress:
    """An act that was ordered and has not ended: on the whole ``host``, on one VM there (``vm``, its id), or a request to the host for its
    maintenance mode or its shutdown (``mode``), for which no fence waits."""

    host: str
    vm: str = ""
    mode: bool = False


@dataclass(frozen=True)
class Observation:
    """Everything seen in one look."""

    taken_at: Instant
    hosts: tuple[HostObservation, ...] = ()
    vms: tuple[VmObservation, ...] = ()
    vms_read: tuple[str, ...] = ()  # hosts whose VM list was read in this look (an absent VM is gone only there)
    events: tuple[Event, ...] = ()
    storage: tuple[StorageObservation, ...] = ()
    storage_health: tuple[StorageHealth, ...] = ()  # of the storage servers at which it was read in this look
    isolation: tuple[IsolationProbe, ...] = ()
    results: tuple[ActResult, ...] = ()  # of acts since the last look; repeating older ones does no harm
    event_gaps: tuple[EventGap, ...] = ()
    in_progress: tuple[ActInProgress, ...] = ()  # when the look began

    @cached_property
    def _host_named(self) -> Mapping[str, HostObservation]:
        return {host.name: host for host in reversed(self.hosts)}

    @cached_property
    def _events_of(self) -> Mapping[str, list[Event]]:
        return _grouped(self.events, lambda event: event.host)

    @cached_property
    def _events_unread(self) -> frozenset[str]:
        return frozenset(gap.host for gap in self.event_gaps if not gap.skipped)

    @cached_property
    def _listed_on(self) -> Mapping[str, list[VmObservation]]:
        return _grouped(self.vms, lambda vm: vm.host)

    @cached_property
    def _sightings(self) -> Mapping[tuple[str, str], VmObservation]:
        return {(vm.id, vm.host): vm for vm in self.vms}

    @cached_property
    def _read(self) -> frozenset[str]:
        return frozenset(self.vms_read)

    def host(self, name: str) -> Optional[HostObservation]:
        return self._host_named.get(name)

    def events_of(self, host: str) -> Sequence[Event]:
        return self._events_of.get(host, ())

    def events_unread(self, host: str) -> bool:
        """Whether nobody knows which of its new events are missing."""
        return host in self._events_unread

    def listed_on(self, host: str) -> Sequence[VmObservation]:
        """The VMs as *host* has them registered."""
        return self._listed_on.get(host, ())

    def sighting(self, vm: str, host: str) -> Optional[VmObservation]:
        """The VM of that id as *host* has it registered."""
        return self._sightings.get((vm, host))

    def was_read(self, host: str) -> bool:
        """Whether its VM list was read in this look."""
        return host in self._read

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Observation:
        """Read what :func:`to_dict` wrote. Raises ValueError naming the place of a wrong or missing key."""
        observation: Observation = from_dict(cls, value, "observation")
        return observation


_Item = TypeVar("_Item")


def _grouped(items: Iterable[_Item], by: Callable[[_Item], str]) -> dict[str, list[_Item]]:
    groups: dict[str, list[_Item]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    return groups


def same_initiator(one: str, other: str) -> bool:
    """iSCSI names are compared without regard to case (RFC 3722)."""
    return bool(one) and one.lower() == other.lower()


def vm_id(datastore_uuid: str, path: str) -> str:
    """A VM's identity: datastore UUID plus the vmx path inside it.

    >>> vm_id("65a1-b2", "[shared] vm01/vm01.vmx")
    '65a1-b2:vm01/vm01.vmx'
    """
    return "%s:%s" % (datastore_uuid, split_path(path)[1])


def split_path(path: str) -> tuple[str, str]:
    """Datastore name and the path in it: ``"[shared] vm01/vm01.vmx"`` -> ``("shared", "vm01/vm01.vmx")``."""
    if not path.startswith("["):
        return "", path
    name, _bracket, rest = path[1:].partition("]")
    return name, rest.strip()
