# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is remembered from one look to the next.

Memory makes decisions better, never safer: it may be old, or lost. What must never be wrong - who is fenced, who is
admitted, what is switched off - is read anew at every look and not kept here. A record is replaced, never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any, Optional

from ..instant import Instant
from .json_form import from_dict, to_dict
from .machine import Machine
from .observations import Backing, Power
from .obstacles import Obstacle
from .storage_health.record import HealthRecord

VERSION = 3
"""Of the stored form. A field that has its default is not stored: so a default that changes, or a field that changes its meaning,
makes a new version, with a step in :data:`MIGRATIONS` that writes down what the older release meant. A new field needs none: its
default says that nothing is known. ``tests/unit/decide/memory_form.json`` has the form of each version, and a test compares."""


def _without_heard(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """1 to 2: which commands were applied is told by their rows in the state database."""
    return {name: value for name, value in form.items() if name != "heard"}


def _in_progress(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """2 to 3: a VM's open order has another name."""
    vms = [{"in_progress" if name == "under_way" else name: value for name, value in vm.items()} for vm in form.get("vms", ())]
    return {**form, "vms": vms} if vms else form


MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {1: _without_heard, 2: _in_progress}
"""Version -> the step that makes the form of the next version of it."""


class Desired(str, Enum):
    STARTED = "started"
    STOPPED = "stopped"  # goes along when its host is lost, and stays down
    DISABLED = "disabled"  # stays where it is, down, until an operator starts it


@dataclass(frozen=True)
class SessionRecord:
    """Counters of one session at its last look, on the storage server's clock."""

    server: str
    target: str
    sid: str
    commands_done: Optional[int]
    bytes_done: Optional[int]
    seen_at: Instant
    since: Instant  # from when on progress is being judged
    progress_at: Optional[Instant] = None  # the reading that saw progress last; None: none seen since ``since``


@dataclass(frozen=True)
class Silence:
    """One path to a host, in the present run of the monitor; see ``silence``. Instants are on the clock of whoever probes the path."""

    path: str
    since: Instant  # its last sign of life; of a path that was never alive in this run, its first failed probe
    first: Optional[Instant] = None  # the first failed probe after that
    last: Optional[Instant] = None  # and the latest
    probes: int = 0  # that failed, since then


@dataclass(frozen=True)
class RejoinRecord:
    """An operator's wish to let a fenced host in again; see ``rejoin``."""

    asked_at: Instant  # the decider's clock
    by: str = ""
    cycled_at: Optional[Instant] = None  # when its power was last cycled or switched on for it
    word: str = ""  # a person's word that it was started after its fence: who, and why
    let_in_at: Optional[Instant] = None  # the first look that found no fence of it any more
    step: str = ""  # that was ordered last
    step_at: Optional[Instant] = None


@dataclass(frozen=True)
class MaintenanceModeRecord:
    """ESXi's maintenance mode of a host that was asked from here to enter it; see ``hosts/maintenance_mode``."""

    since: Instant  # the first request to enter it, or to leave it again
    leaving: bool = False
    entered: bool = False  # it was seen in it
    asked_at: Optional[Instant] = None  # the last request


@dataclass(frozen=True)
class RemovalRecord:
    """An operator's wish to take a host out of the cluster for good; see ``hosts/removal``."""

    asked_at: Instant  # the decider's clock
    by: str = ""  # who, and why
    proved: bool = False  # that it runs nothing, before it is locked out
    done: bool = False  # it is locked out: its record goes when the inventory does not name it any more


@dataclass(frozen=True)
class SwitchOff:
    """Something that a person switched off for a while; see ``switch_offs``. Instants are on the decider's clock."""

    by: str  # who, and why
    since: Instant
    until: Instant
    seconds: float  # from the person's word until then


@dataclass(frozen=True)
class HostShutdownRecord:
    """One host in a shutdown of everything; see ``hosts/shutdown``. Instants are on the decider's clock."""

    since: Instant  # the first look that had the order; after the end of the shutdown, that look
    first_asked: Optional[Instant] = None  # to shut down
    asked_at: Optional[Instant] = None  # the last such request
    silent_since: Optional[Instant] = None  # the first of the consecutive looks in which it gave no sign of life on any path
    back: bool = False  # it has started anew since it was asked


@dataclass(frozen=True)
class ShutdownRecord:
    """The shutdown of everything that a person or a UPS ordered, until the cluster has been started again; see ``hosts/shutdown``."""

    order: SwitchOff
    ended: str = ""  # why it is over; empty: it is under way
    started_at: Optional[Instant] = None  # the first look after its end that saw a host alive
    hosts_down: tuple[str, ...] = ()  # of which the last look proved that they are off, or can write no more
    hosts_up: tuple[str, ...] = ()  # all others of that look
    hindrances: tuple[str, ...] = ()  # what does not go down, and why


@dataclass(frozen=True)
class HostRecord:
    """One host. Instants are on the clock of the machine that looked at it, unless said otherwise."""

    name: str
    verdict: str = ""  # at the last fresh sample
    since: Optional[Instant] = None  # first of the consecutive samples with that verdict
    samples: int = 0
    last_sample: Optional[Instant] = None
    condemned: bool = False  # the last verdict would lead to a fence
    flaps: int = 0  # suspicions that ended without being confirmed
    last_flap: Optional[Instant] = None
    uptime: Optional[float] = None  # seconds, as last told
    uptime_at: Optional[Instant] = None
    initiators: tuple[str, ...] = ()  # as last told by itself
    maintenance: bool = False  # in ESXi's maintenance mode, as last told
    has_bmc: bool = False
    machine: Machine = Machine()  # as last told by itself
    wrong_bmc: str = ""  # why its BMC is another machine's, as last read; empty: nothing speaks against it
    datastores: tuple[str, ...] = ()  # UUIDs of those on iSCSI that it had
    offers: tuple[str, ...] = ()  # what it has for VMs that need it, as last told; see ``obstacles``
    sessions: tuple[SessionRecord, ...] = ()
    silences: tuple[Silence, ...] = ()
    last_event: Optional[int] = None  # highest event key dealt with
    going_down: str = ""  # shutdown or reboot: announced by an event, not yet back
    going_down_at: Optional[Instant] = None
    read_at: Optional[Instant] = None  # when its VMs were last read, on the decider's clock
    fenced: bool = False  # on a fence list when the storage servers were last asked
    fenced_at: tuple[str, ...] = ()  # the storage servers that listed it when they were last asked
    fence_scope: tuple[str, ...] = ()  # the storage servers at which a fence of it was ordered
    doubtful: tuple[str, ...] = ()  # ids of VMs that were to start elsewhere although they might execute here still; see ``duplicates``
    confirmed_off: str = ""  # a named person's word that it is off, with the reason
    wanted_maintenance: bool = False  # an operator wants it empty
    maintenance_order: Optional[SwitchOff] = None  # that wish
    maintenance_way: str = ""  # the way that an operator named for its VMs, as ``VmRecord.wanted_way``
    mode: Optional[MaintenanceModeRecord] = None  # it entered maintenance mode from here; None: if it is in it, somebody else put it there
    alive_in: str = ""  # the decider's boot in which it last showed life; see ``cold_start``
    shut_down: Optional[HostShutdownRecord] = None  # it goes, or went, down with everything; None: it shows life, or nothing of that kind
    failback: bool = False  # an operator wants the VMs to come that belong there
    failback_left: str = ""  # why some did not come when he last did
    rejoin: Optional[RejoinRecord] = None  # an operator wants it back in
    refused: str = ""  # why the last wish to let it in, or to take it out, was given up
    removal: Optional[RemovalRecord] = None  # an operator wants it out for good
    gone: bool = False  # the inventory does not name it any more


@dataclass(frozen=True)
class Tries:
    """Starts that failed, and crashes, since the VM last ran for ``stable_after``; see ``vm_restart``."""

    failed: tuple[str, ...] = ()  # the host of each, in their order, since the round began
    failed_at: Optional[Instant] = None  # when a host that was reached last failed it, or it stopped by itself
    tried: bool = False  # in this round a host was reached that did not start it, or it stopped by itself
    rounds: int = 0  # complete rounds in vain
    not_before: Optional[Instant] = None  # no further start until then
    last_key: str = ""  # ActResult that was counted last
    reason: str = ""
    blocked: str = ""  # why its last start waits for a person


@dataclass(frozen=True)
class Hang:
    """A guest that may hang; see ``vm_monitoring``."""

    since: Optional[Instant] = None  # the first look without a heartbeat; None: it has one, or there is no evidence
    blind: Optional[Instant] = None  # the first look without a heartbeat and without evidence of its I/O
    idle: float = 0.0  # s without disk and network I/O, as the last look saw it
    resets: tuple[Instant, ...] = ()  # ordered within the window
    was_up: Optional[Instant] = None  # its ``up_since`` before the last reset, until its heartbeat is back

    @property
    def suspected(self) -> bool:
        return not (self.since is None and self.blind is None and self.was_up is None)


@dataclass(frozen=True)
class OrderInProgress:
    """An ordered start or move to ``host`` whose end was not seen; see ``vms/in_progress``."""

    host: str
    at: Instant
    came_from: str = ""  # where it was recorded before it was taken to run on ``host``; empty: it is not
    first: Optional[Instant] = None  # when the first of several open orders to ``host`` was given


@dataclass(frozen=True)
class FailedMove:
    """A planned move to ``host`` that came to nothing, while the VM ran on where it was."""

    host: str
    at: Instant
    reason: str


@dataclass(frozen=True)
class VmRecord:
    """One VM: ``host`` is where it last ran (or is registered, if it never ran)."""

    id: str
    name: str
    path: str
    host: str
    desired: Desired = Desired.STARTED
    power: Power = Power.UNKNOWN
    memory: int = 0  # MiB
    cpu: int = 1
    cpu_reserved: int = 0  # MHz
    memory_reserved: int = 0  # MiB
    files: tuple[Backing, ...] = ()  # that it writes or needs
    networks: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()  # what ties it to its host
    attached_disks: tuple[str, ...] = ()  # outside its folder: datastore UUID and path, as an id
    on_since: Optional[Instant] = None  # the look that saw it come on at ``host``; None: it was on from the first look
    clean_off: bool = False  # a clean power-off event came while it was still listed as on
    restart: bool = False  # down because its host restarted, or because a move that came to nothing stopped it
    asked: bool = False  # an operator wants it started, and admission control has not been asked yet
    registered: str = ""  # another unfenced host that has it registered, not running
    ignored: bool = False  # an operator took it out of HA as it is
    ignore: Optional[SwitchOff] = None  # that wish
    stopping: bool = False  # an operator wants it stopped, and it still runs
    shut_down_at: Optional[Instant] = None  # when we last had its guest shut down, with everything or to move it: nobody wants it down
    wanted_host: str = ""  # where an operator wants it; it is not moved away unasked
    wanted_way: str = ""  # the way that an operator named for going there: a value of ``decision.Way``; empty: the best one
    ordered: bool = False  # the operator's migration is still to be done; without ``wanted_host``, to whichever host suits it best
    refused: str = ""  # why the operator's last migration was given up
    failed_move: Optional[FailedMove] = None  # the last one, until another is ordered by a person or it runs elsewhere
    home: str = ""  # where it came from when its host was emptied for maintenance
    hardware_version: str = ""  # "vmx-13"
    heartbeat: str = ""  # as last seen: green, yellow, red, gray
    up_since: Optional[Instant] = None  # the look that first saw it up by its readiness condition; see ``start_order``
    waiting_since: Optional[Instant] = None  # it waits for others in the start order
    down_since: Optional[Instant] = None  # the first look that knew it down though it should run; None: it runs; see ``overdue``
    in_progress: Optional[OrderInProgress] = None
    tries: Tries = Tries()
    hang: Hang = Hang()

    @property
    def awaits_result(self) -> bool:
        """Whether how an act on it ended may still change something, although it was read before."""
        return self.in_progress is not None or self.hang.was_up is not None


@dataclass(frozen=True)
class DatastoreRecord:
    uuid: str
    name: str
    local: bool
    targets: tuple[str, ...]  # IQNs of its extents' targets


@dataclass(frozen=True)
class StorageRecord:
    """One storage server: ``looked_at`` is on its own clock."""

    name: str
    looked_at: Optional[Instant] = None
    targets: tuple[str, ...] = ()  # IQNs it exports
    anybody: str = ""  # why a fence proves nothing there: a target admits anybody, or is unfenceable; empty: it does
    admits: tuple[str, ...] = ()  # initiators that it admits


@dataclass(frozen=True)
class Condemned:
    """A host that counts for the brake; ``at`` is the last look that condemned it (on the decider's clock)."""

    host: str
    at: Instant


@dataclass(frozen=True)
class BrakeRecord:
    counted: tuple[Condemned, ...] = ()
    held: bool = False
    since: Optional[Instant] = None
    released: tuple[str, ...] = ()  # hosts that a person has let through
    released_by: str = ""  # who and why


@dataclass(frozen=True)
class Approval:
    """A person's yes (``mode: ask``) to what is done about one host or VM.

    About one that is down it holds until that is well again. About one that works (``works``) it is a yes to moves and resets only,
    and holds while one is planned. With ``failover`` a person ordered the failover of this host: it is carried out whatever the mode.
    """

    subject: str
    by: str
    works: bool = False
    failover: bool = False


@dataclass(frozen=True)
class Memory:
    run_id: str = ""
    looked_at: Optional[Instant] = None
    watching_since: Optional[Instant] = None  # looks have followed each other without a long gap since then
    hosts: tuple[HostRecord, ...] = ()
    vms: tuple[VmRecord, ...] = ()
    datastores: tuple[DatastoreRecord, ...] = ()
    storage: tuple[StorageRecord, ...] = ()
    storage_health: tuple[HealthRecord, ...] = ()
    brake: BrakeRecord = BrakeRecord()
    disarmed: str = ""  # who disarmed the cluster, and why; empty: it is armed
    disarm: Optional[SwitchOff] = None  # for how long
    approved: tuple[Approval, ...] = ()  # with mode: ask
    shutdown: Optional[ShutdownRecord] = None
    cold_start: str = ""  # the decider's boot at which all power had been away, while hosts are awaited for that
    rebalance: str = ""  # who asked for it; empty: nobody
    results_read: int = 0  # the highest number of an ActResult that was counted

    @cached_property
    def _host_named(self) -> Mapping[str, HostRecord]:
        return {record.name: record for record in reversed(self.hosts)}

    @cached_property
    def vms_by_id(self) -> Mapping[str, VmRecord]:
        return {record.id: record for record in self.vms}

    @cached_property
    def _targets_of(self) -> Mapping[str, tuple[str, ...]]:
        return {record.uuid: record.targets for record in reversed(self.datastores)}

    @property
    def goes_down(self) -> bool:
        """Whether everything is being shut down."""
        return self.shutdown is not None and not self.shutdown.ended

    @property
    def awaiting(self) -> frozenset[str]:
        """Ids of the VMs of which it still waits to hear how an act ended."""
        return frozenset(vm.id for vm in self.vms if vm.awaits_result)

    def host(self, name: str) -> HostRecord:
        return self._host_named.get(name) or HostRecord(name)

    def vm(self, identity: str) -> Optional[VmRecord]:
        return self.vms_by_id.get(identity)

    def targets_of(self, datastore_uuid: str) -> tuple[str, ...]:
        return self._targets_of.get(datastore_uuid, ())

    def with_host(self, record: HostRecord) -> Memory:
        others = [other for other in self.hosts if other.name != record.name]
        return replace(self, hosts=tuple(sorted((*others, record), key=lambda item: item.name)))

    def with_vm(self, record: VmRecord) -> Memory:
        """*record* in place of the one with its id."""
        return replace(self, vms=tuple(record if other.id == record.id else other for other in self.vms))

    def to_dict(self) -> dict[str, Any]:
        """For :func:`from_dict`; what has its default is left out, and the version says which defaults those are."""
        form: dict[str, Any] = to_dict(self, whole=False)
        return {"version": VERSION, **form}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None) -> Memory:
        """Read what :func:`to_dict` wrote, by this release or an older one; nothing or an empty mapping is a fresh memory.

        Raises ValueError for what cannot be understood, and for the memory of a newer release: what that knows and this one does
        not would be lost with the next save.
        """
        form: Mapping[str, Any] = value or {}
        version = form.get("version", 1)  # the first release wrote none
        if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION:
            raise ValueError("memory: its version is %r, and this release reads versions 1 to %d" % (version, VERSION))
        for older in range(version, VERSION):
            form = MIGRATIONS[older](form)
        memory: Memory = from_dict(cls, form, "memory")
        return memory


def servers_of(vm: VmRecord, datastores: Mapping[str, DatastoreRecord], storage: Iterable[StorageRecord]) -> frozenset[str]:
    """Names of the storage servers that hold the VM's files; empty when that is not known of all of them."""
    exports = [(server.name, frozenset(server.targets)) for server in storage]
    found: set[str] = set()
    for item in vm.files:
        store = datastores.get(item.datastore_uuid)
        targets = frozenset(store.targets) if store is not None else frozenset()
        names = {name for name, exported in exports if exported & targets}
        if not names:
            return frozenset()
        found |= names
    return frozenset(found)
