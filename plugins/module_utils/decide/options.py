# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The blocks of the policy: rules, start order, admission control, VM monitoring, moves. See ``policy``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class AutomaticMoves(str, Enum):
    """Which moves of running VMs the brain makes unasked: to keep rules, to return after maintenance, to balance."""

    NONE = "none"
    LIVE = "live"  # only where the hosts can move a VM without stopping it
    ALL = "all"  # also by stopping it, moving it, and starting it again


class DegradedResponse(str, Enum):
    """What to do with a host whose hardware sensors are red while it works (verdict row 4)."""

    ALARM = "alarm"
    QUARANTINE = "quarantine"  # it takes no further VM
    EVACUATE = "evacuate"  # and its VMs are moved away


class ReadyCondition(str, Enum):
    """When a VM counts as up for those that start after it."""

    RESOURCES_ALLOCATED = "resources_allocated"  # it has its place: the others follow at once, in order
    POWERED_ON = "powered_on"
    GUEST_HEARTBEAT = "guest_heartbeat"


class AdmissionForm(str, Enum):
    """vSphere HA's three forms of admission control."""

    DISABLED = "disabled"
    HOST_FAILURES = "host_failures"  # the protected VMs still fit, in slots, when that many of the largest hosts are gone
    RESOURCE_PERCENTAGE = "resource_percentage"  # that part of the cluster's memory and CPU stays free
    FAILOVER_HOSTS = "failover_hosts"  # these hosts are kept empty for failovers


class HeartbeatResponse(str, Enum):
    """What to do with a VM whose guest heartbeat is lost and that does no I/O."""

    ALARM = "alarm"
    RESET = "reset"


@dataclass(frozen=True)
class HostAffinity:
    """``vms`` belong on ``hosts``, those with the higher number first; ``required``: nowhere else."""

    vms: tuple[str, ...]
    hosts: Mapping[str, int]
    required: bool = True
    name: str = ""


@dataclass(frozen=True)
class VmAffinity:
    """``vms`` run on one host (``together``) or each on another one; without ``required`` it is a wish."""

    vms: tuple[str, ...]
    together: bool
    required: bool = True
    name: str = ""


@dataclass(frozen=True)
class StartOrder:
    """When the next restart priority, or a VM that starts after this one, may start."""

    condition: ReadyCondition = ReadyCondition.RESOURCES_ALLOCATED
    delay: float = 0.0  # s after the condition is met
    timeout: float = 600.0  # s after which the others start all the same


@dataclass(frozen=True)
class AdmissionControl:
    """What the cluster must be able to lose. Failovers are never refused by it."""

    form: AdmissionForm = AdmissionForm.HOST_FAILURES
    host_failures: int = 1
    slot_memory: int = 0  # MiB; 0: the largest protected VM
    slot_cpu: int = 0  # MHz; 0: the largest reservation, at least 32
    memory_percent: float = 25.0
    cpu_percent: float = 25.0
    failover_hosts: tuple[str, ...] = ()
    enforce: bool = False  # refuse an operator's start that it does not admit; otherwise only an alarm


@dataclass(frozen=True)
class VmMonitoring:
    """Guests that hang: vSphere HA's VM monitoring, with its defaults."""

    response: HeartbeatResponse = HeartbeatResponse.ALARM
    failure_interval: float = 30.0  # s without heartbeat
    io_interval: float = 120.0  # s without disk and network I/O
    min_uptime: float = 120.0  # s after its start in which a VM is left alone
    max_resets: int = 3  # within reset_window
    reset_window: float = 3600.0  # s


@dataclass(frozen=True)
class Rebalance:
    """Moves that bring the hosts' load within ``band`` of each other."""

    after_failover: bool = False
    band: float = 0.2  # the most loaded host may be this far above the least loaded one
    max_moves: int = 8  # in one plan


@dataclass(frozen=True)
class Retention:
    """How much of the record is kept, by age and by number; what is still needed is kept in any case (``record/retention.py``)."""

    journal_days: float = 90.0
    journal_entries: int = 100000
    transaction_days: float = 365.0
    transactions: int = 10000


def given_only(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: item for key, item in (value or {}).items() if item is not None}


def read_rule(rule: Mapping[str, Any]) -> HostAffinity | VmAffinity:
    common = {"vms": tuple(rule["vms"]), "required": rule.get("required", True), "name": rule.get("name", "")}
    if rule["type"] == "host_affinity":
        return HostAffinity(hosts=dict(rule["hosts"]), **common)
    return VmAffinity(together=rule["together"], **common)


def read_start_order(value: Mapping[str, Any] | None) -> StartOrder:
    given = given_only(value)
    if "condition" in given:
        given["condition"] = ReadyCondition(given["condition"])
    return StartOrder(**given)


def read_admission_control(given: dict[str, Any]) -> AdmissionControl:
    if "form" in given:
        given["form"] = AdmissionForm(given["form"])
    if "failover_hosts" in given:
        given["failover_hosts"] = tuple(given["failover_hosts"])
    return AdmissionControl(**given)


def read_vm_monitoring(given: dict[str, Any]) -> VmMonitoring:
    if "response" in given:
        given["response"] = HeartbeatResponse(given["response"])
    return VmMonitoring(**given)
