# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was decided, and why: the values that ``decide`` hands to act and record.

Every action and everything held back carries its reasons as sentences that a person can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Optional, Union

from ..instant import Instant
from .answers import Evidence
from .evidence import TargetEvidence
from .json_form import to_dict
from .machine import Machine
from .memory import Memory
from .observations import Power
from .policy import Mode, Priority
from .storage_health.record import ServerHealth
from .verdict import Verdict


class Severity(str, Enum):
    INFO = "info"
    WARNING = "warning"  # protection is weaker than it should be
    CRITICAL = "critical"  # a service is down, or a fault now would take one down

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Alarm:
    """``key`` is the same for as long as the same thing is wrong; ``subject`` is the host, VM or storage server."""

    key: str
    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True)
class Held:
    """What would be done but for ``reason``: fence, failover, restart, start, move or verdict. ``subject``: the host or the VM's id."""

    what: str
    subject: str
    reason: str


@dataclass(frozen=True)
class DownVm:
    """A VM that should run and is known to be down, and why it is down still."""

    id: str
    name: str
    host: str  # where it is recorded
    reason: str


@dataclass(frozen=True)
class HostVerdict:
    """What is held true of one host after this look."""

    host: str
    verdict: Verdict
    row: int  # of the table in docs/safety.md; 0 where the fence list told
    confirmed: bool
    text: str  # "esx1 dead since 12:00:15 (api timed out, ping failed, storage failed 16 s, 4 samples)"
    reason: str = ""  # why, in words that stay the same from look to look
    since: Optional[Instant] = None
    samples: int = 0
    api: Evidence = Evidence.UNKNOWN
    ping: Evidence = Evidence.UNKNOWN
    power: Power = Power.UNKNOWN
    storage: tuple[TargetEvidence, ...] = ()
    fenceable: bool = True

    @property
    def is_being_judged(self) -> bool:
        """Its storage evidence will be another one by itself within ``io_stale``; a target's grace is not waited for."""
        return any(target.pending and not target.grace and target.state is Evidence.UNKNOWN for target in self.storage)


@dataclass(frozen=True)
class NearMiss:
    """A suspicion that ended without a fence: the host works again."""

    host: str
    verdict: Verdict  # that was suspected
    silent: float  # s for which every path that it called failed was silent, from the last sign of life to the last failed probe
    needed: float  # s of silence by which it would have been confirmed
    enough: float  # s: a confirm_after no longer than this would have confirmed it
    paths: tuple[str, ...]  # that were silent

    @property
    def text(self) -> str:
        """ "near miss: esx1 was suspected dead: api and ping were silent for 9.0 s, and a fence needs 15 s" """
        paths = " and ".join(filter(None, (", ".join(self.paths[:-1]), self.paths[-1])))
        were = "was" if len(self.paths) == 1 else "were"
        said = "near miss: %s was suspected %s: %s %s silent for %.1f s, and a fence needs %.0f s"
        return said % (self.host, self.verdict.value, paths, were, self.silent, self.needed)


@dataclass(frozen=True)
class FenceAction:
    """Revoke the host's initiators on all ``storage`` servers; first contact decides, it is repeated until confirmed.

    ``power``: also switch it off through its BMC. ``stop``: try to stop its VMs (ids in ``vms``; empty: all) through
    its API, bounded and never a precondition of the fence.
    """

    host: str
    initiators: tuple[str, ...]
    storage: tuple[str, ...]
    power: bool
    stop: bool
    vms: tuple[str, ...]
    reasons: tuple[str, ...]
    machine: Machine = Machine()  # the host's own, as it told it: another one is never switched off
    by_name: bool = False  # an operator asked for it: the host is taken out of the cluster for good
    kind: str = "fence"


@dataclass(frozen=True)
class PlannedVm:
    """One VM of a failover or restart.

    ``path`` is the vmx path inside its datastore, ``datastore`` the destination's name for that datastore: the
    destination registers ``"[datastore] path"`` (``vmx``).
    """

    id: str
    name: str
    path: str
    datastore_uuid: str
    datastore: str
    vmx: str
    source: str
    destination: str
    power_on: bool  # false: only registered there (it was powered off)
    memory: int  # MiB
    cpu: int  # virtual CPUs
    priority: Priority
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    host: str
    reason: str


@dataclass(frozen=True)
class UnplacedVm:
    id: str
    name: str
    reasons: tuple[Refusal, ...]  # one for each host


@dataclass(frozen=True)
class FailoverAction:
    """Register and start the fenced host's VMs elsewhere, in this order."""

    host: str
    vms: tuple[PlannedVm, ...]
    unplaced: tuple[UnplacedVm, ...]
    unstopped: bool  # its VMs may still execute there: "network duplicate possible"
    reasons: tuple[str, ...]
    kind: str = "failover"


@dataclass(frozen=True)
class RestartAction:
    """Start VMs again where they were: the host restarted and is back."""

    host: str
    vms: tuple[PlannedVm, ...]
    reasons: tuple[str, ...]
    kind: str = "restart"


class Cause(str, Enum):
    """Why a VM is moved."""

    OPERATOR = "operator"  # migrate
    MAINTENANCE = "maintenance"  # its host is to be emptied
    RETURN = "return"  # maintenance is over
    FAILBACK = "failback"  # an operator wants it back where it belongs
    PROACTIVE = "proactive"  # its host is degraded
    RULE = "rule"  # where it is breaks a rule, or another place is preferred
    RESTART = "restart"  # it does not start where it is
    STORAGE = "storage"  # its host lost the storage that the VM lies on
    REBALANCE = "rebalance"


class Way(str, Enum):
    """How a VM leaves a host that works."""

    REGISTER = "register"  # it is off: registered at the destination, and off the source
    COLD = "cold"  # its guest is shut down, and it is started at the destination
    POWER_OFF = "power_off"  # it is switched off without asking its guest, and started at the destination; only when a person names it
    SUSPEND = "suspend"  # its memory is written to its datastore, and read again at the destination
    VMOTION = "vmotion"  # it is handed over while it runs; a vCenter can, hosts alone cannot


DEAF = "its guest hears no shutdown (VMware Tools do not run in it); way: power_off switches it off"  # why it cannot go cold


@dataclass(frozen=True)
class PlannedMove:
    """One VM from one working host to another, and by which ``way``; it is started there if ``power_on``."""

    id: str
    name: str
    path: str
    datastore_uuid: str
    datastore: str  # the destination's name for it
    vmx: str
    source: str
    destination: str
    running: bool
    way: Way
    power_on: bool
    cause: Cause
    reasons: tuple[str, ...]

    @property
    def live(self) -> bool:
        return self.way is Way.VMOTION


@dataclass(frozen=True)
class MoveAction:
    """Move VMs off ``host``. Moves of one look may be made at the same time; together they keep all required rules."""

    host: str
    vms: tuple[PlannedMove, ...]
    reasons: tuple[str, ...]
    kind: str = "move"


@dataclass(frozen=True)
class VmTarget:
    """A VM to stop or reset."""

    id: str
    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class StopAction:
    """Stop VMs, the guest first: an operator wants them stopped, or everything is shut down."""

    host: str
    vms: tuple[VmTarget, ...]
    reasons: tuple[str, ...]
    kind: str = "stop"


@dataclass(frozen=True)
class ResetAction:
    """Reset VMs whose guest hangs."""

    host: str
    vms: tuple[VmTarget, ...]
    reasons: tuple[str, ...]
    kind: str = "reset"


@dataclass(frozen=True)
class StaleVm:
    """A VM that a fenced host still has registered, and another host by now."""

    id: str
    name: str
    host: str  # that has it by now


@dataclass(frozen=True)
class RejoinAction:
    """The next step of letting a fenced host in again: ``power_on``, ``power_cycle``, ``unregister``, ``unfence`` or ``rescan``."""

    host: str
    step: str
    reasons: tuple[str, ...]
    storage: tuple[str, ...] = ()  # the storage servers that list it
    stale: tuple[StaleVm, ...] = ()  # to unregister there
    on_word: tuple[str, ...] = ()  # the storage servers at which a person's word stands in for the proof of a fresh start
    word: str = ""  # that word: who said it, and why
    machine: Machine = Machine()  # as the host itself told it; its BMC must be the same one's
    kind: str = "rejoin"


@dataclass(frozen=True)
class MaintenanceAction:
    """Have a host enter ESXi's maintenance mode, or leave it."""

    host: str
    enter: bool
    reasons: tuple[str, ...]
    kind: str = "maintenance"


@dataclass(frozen=True)
class ShutdownAction:
    """Shut a host down on which no VM runs."""

    host: str
    reasons: tuple[str, ...]
    kind: str = "shutdown"


Action = Union[
    FenceAction, FailoverAction, RestartAction, MoveAction, StopAction, ResetAction, RejoinAction, MaintenanceAction, ShutdownAction
]
KINDS = ("fence", "failover", "restart", "move", "stop", "reset", "rejoin", "maintenance", "shutdown")  # of actions


@dataclass(frozen=True)
class Proposed:  # not carried out now
    action: Action
    why_not: str


@dataclass(frozen=True)
class Shortfall:
    """A VM that would stay down if ``lost`` were."""

    id: str
    name: str
    lost: tuple[str, ...]  # hosts
    reason: str


@dataclass(frozen=True)
class Admission:
    """Whether the cluster can still lose what the policy wants it to be able to lose."""

    form: str
    admitted: bool
    text: str  # "2 of 3 hosts' slots are used; 1 host may fail"
    tolerates: int = 0  # hosts that may fail, the largest first, with every protected VM placed; 0 unless each one may alone
    shortfalls: tuple[Shortfall, ...] = ()
    exact: bool = False  # tolerates and shortfalls come from placing every VM; otherwise tolerates is counted in slots


@dataclass(frozen=True)
class Decision:
    """The outcome of one look. ``memory`` goes into the next call; ``next_sample_in`` is in seconds.

    ``settled``: another look would change nothing by itself - nothing is suspect without being confirmed, no evidence
    is still being judged, and (with ``mode: act``) no action is open.

    ``actions`` are to be carried out now, in their order; ``proposed`` would be, if the mode were ``act`` (``observe``), or a
    person said yes (``ask``), or the cluster were armed, or the caller could. ``down`` are VMs that should run, whatever the mode.
    """

    taken_at: Instant
    mode: Mode
    hosts: tuple[HostVerdict, ...]
    alarms: tuple[Alarm, ...]
    held: tuple[Held, ...]
    actions: tuple[Action, ...]
    memory: Memory
    settled: bool
    next_sample_in: float
    proposed: tuple[Proposed, ...] = ()
    down: tuple[DownVm, ...] = ()
    storage: tuple[ServerHealth, ...] = ()
    admission: Optional[Admission] = None
    near_misses: tuple[NearMiss, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form; the memory included."""
        return dict(to_dict(self))
