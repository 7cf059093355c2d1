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
from typing import Any


class Mode(str, Enum):
    """What is done with a decision. The decision itself is the same in all three."""

    OBSERVE = "observe"  # reported only
    ASK = "ask"  # waits for a person's yes
    ACT = "act"  # carried out


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


@dataclass(frozen=True)
class TargetPolicy:
    """One storage server whose targets hold the VMs; all its targets are fenced together."""

    name: str
    driver: str = "tgt"


@dataclass(frozen=True)
class VmPolicy:
    """One VM, named by its name or by its id (datastore UUID and vmx path)."""

    protection: Protection = Protection.PROTECTED
    priority: Priority = Priority.MEDIUM


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

    def host(self, name: str) -> HostPolicy:
        """The host's policy; one that the policy does not name has no initiator and is therefore unfenceable."""
        return self.hosts.get(name) or HostPolicy(name)

    def vm(self, identity: str, name: str) -> VmPolicy:
        """The VM's policy: by id, else by name, else the default."""
        return self.vms.get(identity) or self.vms.get(name) or VmPolicy(self.default_protection)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Policy:
        """Read a structure that the schema has accepted. Absent keys take their defaults, null counts as absent."""
        given = _given(value)
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
        )
        enums: Mapping[str, type[Enum]] = {
            "mode": Mode,
            "isolation_response": IsolationResponse,
            "isolation_mode": IsolationMode,
            "agent_hung_response": AgentHungResponse,
        }
        fields: dict[str, Any] = {key: float(given[key]) for key in plain if key in given}
        fields.update({key: kind(given[key]) for key, kind in enums.items() if key in given})
        for key in ("isolation_addresses", "allow_unstopped_source"):
            fields[key] = tuple(given.get(key, ()))
        return cls(
            default_protection=default_protection,
            hosts={name: HostPolicy(name, **_given(entry)) for name, entry in given.get("hosts", {}).items()},
            storage={name: TargetPolicy(name, **_given(entry)) for name, entry in given.get("storage", {}).items()},
            vms={name: _vm(_given(entry), default_protection) for name, entry in given.get("vms", {}).items()},
            failover=FailoverPolicy(**_given(given.get("failover", {}))),
            **fields,
        )


def _given(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: item for key, item in (value or {}).items() if item is not None}


def _vm(value: Mapping[str, Any], default: Protection) -> VmPolicy:
    return VmPolicy(Protection(value.get("protection", default)), Priority(value.get("priority", "medium")))
