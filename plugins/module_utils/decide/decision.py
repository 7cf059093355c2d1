# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was decided, and why: the values that ``decide`` hands to act and record.

Every action and everything held back carries its reasons as sentences that a person can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Optional, Union

from .evidence import TargetEvidence
from .instant import Instant
from .memory import Memory
from .observations import Evidence, Power, to_dict
from .policy import Mode, Priority
from .verdict import Verdict


class Severity(str, Enum):
    INFO = "info"
    WARNING = "warning"  # protection is weaker than it should be
    CRITICAL = "critical"  # a service is down, or a fault now would take one down


@dataclass(frozen=True)
class Alarm:
    """``key`` is the same for as long as the same thing is wrong; ``subject`` is the host, VM or storage server."""

    key: str
    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True)
class Held:
    """Something that would be done but for ``reason``. ``what`` is fence, failover, restart or verdict."""

    what: str
    subject: str
    reason: str


@dataclass(frozen=True)
class HostVerdict:
    """What is held true of one host after this look."""

    host: str
    verdict: Verdict
    row: int  # of safety.md's table; 0 where the fence list told
    confirmed: bool
    text: str  # "esx1 dead since 12:00:15 (api timed out, ping failed, storage failed 16 s, 4 samples)"
    since: Optional[Instant] = None
    samples: int = 0
    api: Evidence = Evidence.UNKNOWN
    ping: Evidence = Evidence.UNKNOWN
    power: Power = Power.UNKNOWN
    storage: tuple[TargetEvidence, ...] = ()
    fenceable: bool = True


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


Action = Union[FenceAction, FailoverAction, RestartAction]


@dataclass(frozen=True)
class Decision:
    """The outcome of one look. ``memory`` goes into the next call; ``next_sample_in`` is in seconds.

    ``settled``: another look would change nothing by itself - nothing is suspect without being confirmed, no evidence
    is still being judged, and (with ``mode: act``) no action is open.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON form; the memory included."""
        form: dict[str, Any] = to_dict(self)
        return form
