# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operator wants, as values: the policy that ``decide`` and the acts read.

``policy/schema.py`` is the same structure as a JSON Schema and ``policy/reader.py`` the way in: it checks the
operator's YAML against the schema and only then calls :func:`Policy.from_dict`, which therefore checks nothing.
Durations are in seconds, fractions between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Optional, Union

from .options import (
    AdmissionControl,
    AutomaticMoves,
    DegradedResponse,
    HostAffinity,
    Rebalance,
    Retention,
    StartOrder,
    VmAffinity,
    VmMonitoring,
    given_only,
    read_admission_control,
    read_rule,
    read_start_order,
    read_vm_monitoring,
)
from .storage_health.options import StorageHealthOptions


class Mode(str, Enum):
    """What is done with a decision. The decision itself is the same in all three."""

    OBSERVE = "observe"  # reported only
    ASK = "ask"  # waits for a person's yes
    ACT = "act"  # carried out


class FailOnAlarm(str, Enum):
    """From which severity on a standing alarm fails the run that ends before it, and with it the job of a scheduler or of AWX."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class IsolationResponse(str, Enum):
    """What to do with an isolated host (verdict row 11), whose VMs still run and write."""

    LEAVE_RUNNING = "leave_running"
    FAILOVER = "failover"


class IsolationMode(str, Enum):
    """When ``isolation_response: failover`` really takes an isolated host away."""

    CONSERVATIVE = "conservative"  # only if at least one of its running protected VMs can be placed elsewhere
    AGGRESSIVE = "aggressive"  # always


class AgentHungResponse(str, Enum):
    """What to do with a host whose management agent hangs while its storage works (verdict row 10)."""

    ALARM = "alarm"
    FAILOVER = "failover"  # as isolation_response: failover


class Protection(str, Enum):
    PROTECTED = "protected"
    UNPROTECTED = "unprotected"


class Priority(str, Enum):
    """Restart priority, in the order in which VMs are placed and started; ``disabled`` ones are left down."""

    HIGHEST = "highest"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    LOWEST = "lowest"
    DISABLED = "disabled"

    @property
    def rank(self) -> int:
        """0 is placed first."""
        return list(Priority).index(self)


@dataclass(frozen=True)
class HostPolicy:
    """One ESXi host."""

    name: str
    initiator: str = ""  # its iSCSI initiator name (IQN); without one the host is unfenceable
    has_bmc: bool = False  # its power can be read and switched off through a BMC
    ignored_sensors: tuple[str, ...] = ()  # hardware sensors that are red for no reason


@dataclass(frozen=True)
class TargetPolicy:
    """One storage server whose targets hold the VMs; all its targets are fenced together."""

    name: str


@dataclass(frozen=True)
class VmPolicy:
    """One VM, named by its name or by its id (datastore UUID and vmx path)."""

    protection: Protection = Protection.PROTECTED
    priority: Priority = Priority.MEDIUM
    start_after: tuple[str, ...] = ()  # VMs that must be up before this one starts
    start_order: Optional[StartOrder] = None  # when others that start after it may; None: the cluster's
    max_restart: Optional[int] = None  # None: the cluster's
    max_relocate: Optional[int] = None


@dataclass(frozen=True)
class FailoverPolicy:
    """Bounds of the failover transaction."""

    lock_retry: float = 60.0  # file-lock faults are retried this long; longer than VMFS' lock lease of about 16 s
    lock_retry_interval: float = 3.0  # seconds between two such tries
    power_on_timeout: float = 60.0  # seconds that one power-on task may take
    start_bound: float = 240.0  # seconds after which a VM that is not up is reported as failed
    parallel_per_host: int = 4  # VMs that are started at the same time on one host


@dataclass(frozen=True)
class Policy:
    """The cluster. Every field is an option of ``libreha_policy`` with the default given here."""

    mode: Mode = Mode.OBSERVE
    fail_on_alarm: FailOnAlarm = FailOnAlarm.CRITICAL
    confirm_after: float = 15.0  # s that a verdict must last, with three fresh samples no further apart than this
    io_stale: float = 10.0  # s without progress after which a session at the target counts as failed
    storage_grace: float = 180.0  # s after the target's start in which missing sessions say nothing about hosts
    max_dead_fraction: float = 0.5  # brake: more than this part of the hosts lost within brake_window is held
    brake_window: float = 120.0  # s
    isolation_response: IsolationResponse = IsolationResponse.LEAVE_RUNNING
    isolation_mode: IsolationMode = IsolationMode.CONSERVATIVE
    isolation_addresses: tuple[str, ...] = ()  # that answer the observer unless it is cut off itself
    agent_hung_response: AgentHungResponse = AgentHungResponse.ALARM
    allow_unstopped_source: tuple[str, ...] = ()  # hosts without a BMC whose VMs may be moved while they still execute
    recovery_bound: float = 300.0  # s within which a VM must run again after faults stop
    reboot_grace: float = 120.0  # s that a host which reboots in order is given to come back
    lease: float = 60.0  # s for which one run may act before it must renew its lease
    default_protection: Protection = Protection.PROTECTED  # of VMs that vms does not name
    hosts: Mapping[str, HostPolicy] = field(default_factory=dict)
    storage: Mapping[str, TargetPolicy] = field(default_factory=dict)
    vms: Mapping[str, VmPolicy] = field(default_factory=dict)
    failover: FailoverPolicy = FailoverPolicy()
    max_restart: int = 1  # starts of a VM on one host that may fail before another host is tried
    max_relocate: int = 1  # other hosts tried in one round; rounds are repeated for ever, with growing pauses
    retry_interval: float = 60.0  # s before the second round, doubled up to four times
    stable_after: float = 600.0  # s of running after which earlier failed starts and crashes are forgotten
    rules: tuple[Union[HostAffinity, VmAffinity], ...] = ()
    start_order: StartOrder = StartOrder()
    admission_control: AdmissionControl = AdmissionControl()
    vm_monitoring: VmMonitoring = VmMonitoring()
    degraded_response: DegradedResponse = DegradedResponse.ALARM
    automatic_moves: AutomaticMoves = AutomaticMoves.LIVE
    rebalance: Rebalance = Rebalance()
    storage_health: StorageHealthOptions = StorageHealthOptions()
    retention: Retention = Retention()

    def host(self, name: str) -> HostPolicy:
        """The host's policy; one that the policy does not name has no initiator and is therefore unfenceable."""
        return self.hosts.get(name) or HostPolicy(name)

    def vm(self, identity: str, name: str) -> VmPolicy:
        """The VM's policy: by id, else by name, else the default."""
        return self.vms.get(identity) or self.vms.get(name) or self._unnamed_vm

    @cached_property
    def _unnamed_vm(self) -> VmPolicy:
        return VmPolicy(self.default_protection)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Policy:
        """Read a structure that the schema has accepted. Absent keys take their defaults, null counts as absent."""
        given = given_only(value)
        default_protection = Protection(given.get("default_protection", "protected"))
        plain = (
            "confirm_after",
            "io_stale",
            "storage_grace",
            "max_dead_fraction",
            "brake_window",
            "recovery_bound",
            "reboot_grace",
            "lease",
            "retry_interval",
            "stable_after",
        )
        enums: Mapping[str, type[Enum]] = {
            "mode": Mode,
            "fail_on_alarm": FailOnAlarm,
            "isolation_response": IsolationResponse,
            "isolation_mode": IsolationMode,
            "agent_hung_response": AgentHungResponse,
            "degraded_response": DegradedResponse,
            "automatic_moves": AutomaticMoves,
        }
        fields: dict[str, Any] = {key: float(given[key]) for key in plain if key in given}
        fields.update({key: kind(given[key]) for key, kind in enums.items() if key in given})
        fields.update({key: int(given[key]) for key in ("max_restart", "max_relocate") if key in given})
        for key in ("isolation_addresses", "allow_unstopped_source"):
            fields[key] = tuple(given.get(key, ()))
        return cls(
            default_protection=default_protection,
            hosts={name: _host(name, given_only(entry)) for name, entry in given.get("hosts", {}).items()},
            storage={name: TargetPolicy(name) for name in given.get("storage", {})},
            vms={name: _vm(given_only(entry), default_protection) for name, entry in given.get("vms", {}).items()},
            failover=FailoverPolicy(**given_only(given.get("failover", {}))),
            rules=tuple(read_rule(given_only(rule)) for rule in given.get("rules", ())),
            start_order=read_start_order(given.get("start_order")),
            admission_control=read_admission_control(given_only(given.get("admission_control"))),
            vm_monitoring=read_vm_monitoring(given_only(given.get("vm_monitoring"))),
            rebalance=Rebalance(**given_only(given.get("rebalance"))),
            storage_health=StorageHealthOptions(**given_only(given.get("storage_health"))),
            retention=Retention(**given_only(given.get("retention"))),
            **fields,
        )


def _host(name: str, value: Mapping[str, Any]) -> HostPolicy:
    return HostPolicy(name, **{**value, "ignored_sensors": tuple(value.get("ignored_sensors", ()))})


def _vm(value: Mapping[str, Any], default: Protection) -> VmPolicy:
    return VmPolicy(
        Protection(value.get("protection", default)),
        Priority(value.get("priority", "medium")),
        start_after=tuple(value.get("start_after", ())),
        start_order=read_start_order(value["start_order"]) if "start_order" in value else None,
        max_restart=value.get("max_restart"),
        max_relocate=value.get("max_relocate"),
    )
