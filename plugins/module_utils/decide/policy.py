# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operator wants, as values: the policy that ``decide`` and the acts read.

This is the only place where an option of ``libreha_policy`` is written: its type, default, unit, bounds, meaning and example
(``option.py``). ``policy/reader.py`` reads the operator's YAML by it. docs/policy.md and docs/policy.schema.json are written from it:
``python tests/unit/policy/write_policy.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Optional, Union

from .option import REQUIRED, Choice, count, days, fraction, option, percent, seconds

INITIATOR = r"^(iqn\.[0-9]{4}-[0-9]{2}\.[^\s]+|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})$"


class Mode(Choice):
    """What is done with a decision. The decision itself is the same in all three."""

    OBSERVE = "observe", "they are reported only"
    ASK = "ask", "they wait for a person's yes"
    ACT = "act", "they are carried out"


class FailOnAlarm(Choice):
    """A severity; the run fails, and with it the job of a scheduler or of AWX."""

    NONE = "none", "no alarm fails a run"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class IsolationResponse(Choice):
    """Verdict row 11."""

    LEAVE_RUNNING = "leave_running", "an alarm only"
    FAILOVER = "failover", "it is fenced and stopped, and its VMs are started elsewhere"


class IsolationMode(Choice):
    """When ``isolation_response: failover`` really takes an isolated host away."""

    CONSERVATIVE = "conservative", "only if at least one of its running protected VMs can be placed elsewhere"
    AGGRESSIVE = "aggressive", "always"


class AgentHungResponse(Choice):
    """Verdict row 10."""

    ALARM = "alarm", "an alarm only"
    FAILOVER = "failover", "as `isolation_response: failover`"


class DegradedResponse(Choice):
    """Verdict row 4."""

    ALARM = "alarm", "an alarm only"
    QUARANTINE = "quarantine", "it takes no further VM"
    EVACUATE = "evacuate", "it takes no further VM, and its VMs are moved away"


class AutomaticMoves(Choice):
    """Which moves of running VMs decide makes unasked."""

    NONE = "none", "no move"
    LIVE = "live", "only where the hosts can move a VM without stopping it"
    ALL = "all", "also by stopping the VM, moving it, and starting it again"


class Protection(Choice):
    PROTECTED = "protected", "it is started elsewhere when its host is lost"
    UNPROTECTED = "unprotected", "it is left alone"


class Priority(Choice):
    """Restart priority, in the order in which VMs are placed and started."""

    HIGHEST = "highest"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    LOWEST = "lowest"
    DISABLED = "disabled", "the VM is left down"

    @property
    def rank(self) -> int:
        """0 is placed first."""
        return list(Priority).index(self)


class ReadyCondition(Choice):
    """When a VM counts as up for those that start after it."""

    RESOURCES_ALLOCATED = "resources_allocated", "it has its place; the others follow at once, in order"
    POWERED_ON = "powered_on", "it is powered on"
    GUEST_HEARTBEAT = "guest_heartbeat", "VMware Tools in its guest answer"


class AdmissionForm(Choice):
    """vSphere HA's three forms of admission control."""

    DISABLED = "disabled", "not at all"
    HOST_FAILURES = "host_failures", "the protected VMs still fit, in slots, when that many of the largest hosts are gone"
    RESOURCE_PERCENTAGE = "resource_percentage", "that part of the cluster's memory and CPU stays free"
    FAILOVER_HOSTS = "failover_hosts", "those hosts are kept empty for failovers"


class HeartbeatResponse(Choice):
    ALARM = "alarm", "an alarm only"
    RESET = "reset", "the VM is reset"


@dataclass(frozen=True)
class HostPolicy:
    """One ESXi host."""

    initiator: str = option(
        "",
        "The host's own iSCSI initiator name, as the host itself tells it. Without one the host is unfenceable. "
        "The inventory's `libreha_initiator` is the usual place for it.",
        unit="an iSCSI name",
        pattern=INITIATOR,
        example="iqn.1998-01.com.vmware:esx1",
    )
    has_bmc: bool = option(
        False,
        "Whether the host's power can be read and switched off through a BMC. The inventory's `libreha_bmc` is the usual place for it.",
    )
    spare: bool = option(
        False,
        "It stands by without VMs: at a failure it takes VMs before the other hosts do, planned moves lead there only where no other "
        "host takes the VM, and rules and balancing lead nothing there. It is watched as the others are. The inventory's `libreha_spare` "
        "is the usual place for it.",
    )
    ignored_sensors: tuple[str, ...] = option(
        (),
        "Hardware sensors, named as the host names them, whose red does not count: a sensor that is red for no reason degrades the host "
        "for ever.",
        example=["System Chassis 1 UID"],
    )


@dataclass(frozen=True)
class TargetPolicy:
    """One storage server; all targets that it exports are fenced together."""


@dataclass(frozen=True)
class StartOrder:
    """When the next restart priority, or a VM that starts after this one, may start."""

    condition: ReadyCondition = option(ReadyCondition.RESOURCES_ALLOCATED, "What the VMs that are waited for must have reached.")
    delay: float = option(0.0, "Time after the condition is met.", unit="seconds", at_least=0, example=30)
    timeout: float = seconds(600.0, "After this time the others start all the same.")


@dataclass(frozen=True)
class VmPolicy:
    """One VM. What is not given holds for it as for the cluster."""

    protection: Optional[Protection] = option(None, "Whether the VM is failed over.", inherits="default_protection")
    priority: Priority = option(Priority.MEDIUM, "Restart priority: the order in which VMs are placed and started.")
    start_after: tuple[str, ...] = option((), "VMs that must be up before this one starts.", example=["db1"])
    start_order: Optional[StartOrder] = option(None, inherits="start_order")
    max_restart: Optional[int] = count(None, "As the cluster's max_restart, for this VM.", inherits="max_restart", example=1)
    max_relocate: Optional[int] = count(None, "As the cluster's max_relocate, for this VM.", inherits="max_relocate", example=1)


@dataclass(frozen=True)
class HostAffinity:
    """VMs that belong on certain hosts."""

    type: ClassVar[str] = "host_affinity"

    vms: tuple[str, ...] = option(REQUIRED, "VMs by name, or by id (datastore UUID and vmx path).", example=["web1", "web2"])
    hosts: Mapping[str, int] = option(
        REQUIRED, "Hosts and their preference, higher is preferred.", unit="a whole number", at_least=0, example={"esx1": 2, "esx2": 1}
    )
    required: bool = option(True, "Never broken by a start or a move; otherwise a preference.")
    name: str = option("", "For people: the rule's name in reports.", example="licensed hosts")


@dataclass(frozen=True)
class VmAffinity:
    """VMs that belong on one host, or each on another one."""

    type: ClassVar[str] = "vm_affinity"

    vms: tuple[str, ...] = option(REQUIRED, "VMs by name, or by id (datastore UUID and vmx path).", example=["dc1", "dc2"])
    together: bool = option(REQUIRED, "On one host, or each on another one.", example=False)
    required: bool = option(True, "Never broken by a start or a move; otherwise a preference.")
    name: str = option("", "For people: the rule's name in reports.", example="domain controllers apart")


Rule = Union[HostAffinity, VmAffinity]


LOCK_LEASE = 16.0  # s after which VMFS gives the lock of a host that is silent to another one


@dataclass(frozen=True)
class FailoverPolicy:
    """Bounds of the failover of one VM."""

    lock_retry: float = seconds(60.0, "How long file-lock faults are retried; longer than VMFS' lock lease of about 16 s.", at_least=20)
    lock_retry_interval: float = seconds(3.0, "Time between two such tries.")
    power_on_timeout: float = seconds(60.0, "How long one power-on task may take.")
    start_bound: float = seconds(240.0, "After this time a VM that is not up is reported as failed.")
    parallel_per_host: int = count(4, "VMs that are started at the same time on one host.", at_least=1)


@dataclass(frozen=True)
class AdmissionControl:
    """What the cluster must be able to lose. Failovers are never refused by it."""

    form: AdmissionForm = option(AdmissionForm.HOST_FAILURES, "How it is counted, as in vSphere HA.")
    host_failures: int = count(1, "With form host_failures: how many hosts, the largest first.", at_least=1)
    slot_memory: int = count(0, "With form host_failures: memory of a slot; 0 is the largest protected VM.", unit="MiB", example=4096)
    slot_cpu: int = count(0, "With form host_failures: CPU of a slot; 0 is the largest reservation, at least 32.", unit="MHz", example=500)
    memory_percent: float = percent(25.0, "With form resource_percentage: part of the cluster's memory that stays free.")
    cpu_percent: float = percent(25.0, "With form resource_percentage: part of the cluster's CPU that stays free.")
    failover_hosts: tuple[str, ...] = option((), "With form failover_hosts: hosts that are kept empty for failovers.", example=["esx3"])
    enforce: bool = option(False, "Refuse an operator's start that it does not admit; otherwise it is only an alarm.")


@dataclass(frozen=True)
class VmMonitoring:
    """Guests that hang, as vSphere HA's VM monitoring sees them."""

    response: HeartbeatResponse = option(HeartbeatResponse.ALARM, "What to do when a guest's heartbeat is lost and it does no I/O.")
    failure_interval: float = seconds(30.0, "Time without heartbeat.")
    io_interval: float = seconds(
        120.0, "Time without disk and network I/O, by the host's statistics, of which it makes one every 20 s.", at_least=20, at_most=300
    )
    min_uptime: float = seconds(120.0, "Time after its start in which a VM is left alone.")
    max_resets: int = count(3, "Resets of one VM within reset_window.", at_least=1)
    reset_window: float = seconds(3600.0, "The window in which resets are counted.")


@dataclass(frozen=True)
class Rebalance:
    """Moves that bring the hosts' load closer together."""

    after_failover: bool = option(False, "Rebalance when a failover is complete; otherwise only when asked.")
    band: float = fraction(0.2, "How far the most loaded host may be above the least loaded one.")
    max_moves: int = count(8, "Moves in one plan.", at_least=1)


@dataclass(frozen=True)
class StorageHealthOptions:
    """From when on the state of a storage server itself is worth an alarm. Nothing is done on any host because of it."""

    interval: float = seconds(60.0, "How often space and RAID are read, at most.")
    disk_interval: float = seconds(1800.0, "How often the disks' SMART state is read, at most.")
    space_warning: float = percent(80.0, "Thin pools, file systems and snapshots that are this full: an early alarm.")
    space_critical: float = percent(90.0, "Thin pools and file systems that are this full: a critical alarm.")
    metadata_warning: float = percent(70.0, "Thin pools whose metadata is this full: an early alarm.")
    metadata_critical: float = percent(85.0, "Thin pools whose metadata is this full: a critical alarm.")
    hysteresis: float = percent(3.0, "How far below its threshold it must be again before an alarm ends.")
    full_within: float = seconds(
        14400.0, "However much room there is: an early alarm when it would be full within this time at the present rate."
    )
    growth_window: float = seconds(
        3600.0, "The time over which that rate is measured; 10 minutes of watching give the first.", at_least=600
    )
    wear_warning: float = percent(80.0, "Disks of whose rated writes this much is used up: an early alarm.")
    wear_critical: float = percent(95.0, "Disks of whose rated writes this much is used up: a critical alarm.")


@dataclass(frozen=True)
class Retention:
    """How much of the record the monitor keeps. What is older or more is removed while no host is suspect and nothing is under way; what
    is still needed stays whatever its age, as do the newest 1000 of each."""

    journal_days: float = days(90.0, "Journal entries older than this go.")
    journal_entries: int = count(100000, "Of more journal entries than this the oldest go.", at_least=1000)
    transaction_days: float = days(365.0, "Closed failover transactions older than this go.")
    transactions: int = count(10000, "Of more failover transactions than this the oldest closed ones go.", at_least=1000)


@dataclass(frozen=True)
class SwitchOffPolicy:
    """For how long a person switches something off, where the command does not say. Disarming, ignoring and a shutdown of everything end
    by themselves; maintenance does not, and is an alarm from then on. What was given more time is an alarm when it stands for longer
    than this."""

    disarm: float = seconds(4 * 3600.0, "The cluster is disarmed.", at_least=60)
    maintenance: float = seconds(24 * 3600.0, "A host is in maintenance.", at_least=60)
    ignore: float = seconds(7 * 86400.0, "A VM is taken out of HA as it is.", at_least=60)
    shutdown: float = seconds(
        3600.0,
        "Everything is being shut down. What is still up by then starts again; what is off is waited for as after a loss of all power.",
        at_least=60,
    )


@dataclass(frozen=True)
class Policy:
    """What the operator wants from libreha.vmware."""

    mode: Mode = option(Mode.OBSERVE, "What is done with decisions.")
    fail_on_alarm: FailOnAlarm = option(
        FailOnAlarm.CRITICAL,
        "From which severity on a standing alarm fails a run of monitor. The exit status of ansible-playbook and the colour of a job in "
        "AWX follow it. A run for planned work (failover, migrate, evacuate, rejoin) fails for such an alarm about its own host or VM "
        "only.",
    )
    lease: float = seconds(
        60.0,
        "A run may act for this long before it must renew its lease; longer than a look at hosts that do not answer.",
        at_least=5,
    )
    confirm_after: float = seconds(
        15.0, "How long every path to a host must have been silent before it is fenced, by at least three probes of each."
    )
    io_stale: float = seconds(10.0, "Without progress for this long, a host's session at the target counts as failed.")
    storage_grace: float = seconds(180.0, "For this long after the target's start, missing sessions say nothing about hosts.")
    reboot_grace: float = seconds(120.0, "A host that reboots in order is given this long to come back.")
    cold_start_grace: float = seconds(
        900.0,
        "After all power was away: a host that does not show itself is not fenced for that until so long after the start of the machine "
        "that decides; after a shutdown of everything, so long after the first host is back. Servers with much memory take long to boot.",
    )
    recovery_bound: float = seconds(300.0, "A VM must run again within this time after faults stop.")
    max_dead_fraction: float = fraction(
        0.5, "The brake: when more than this part of the hosts is lost within brake_window, all fences are held."
    )
    brake_window: float = seconds(120.0, "The window in which lost hosts are counted for the brake.")
    isolation_addresses: tuple[str, ...] = option(
        (), "Addresses that answer the observer unless it is cut off itself, such as the gateway.", example=["192.0.2.1"]
    )
    isolation_response: IsolationResponse = option(
        IsolationResponse.LEAVE_RUNNING, "What to do with a host that cannot be reached while its storage works, so that its VMs still run."
    )
    isolation_mode: IsolationMode = option(
        IsolationMode.CONSERVATIVE, "With isolation_response failover: when such a host is really taken away."
    )
    agent_hung_response: AgentHungResponse = option(
        AgentHungResponse.ALARM, "What to do with a host whose management agent hangs while its storage works."
    )
    degraded_response: DegradedResponse = option(
        DegradedResponse.ALARM, "What to do with a host whose hardware sensors are red while it works."
    )
    allow_unstopped_source: tuple[str, ...] = option(
        (), "Hosts without a BMC whose VMs may be moved although they may still execute there, without a disk.", example=["esx1"]
    )
    default_protection: Protection = option(Protection.PROTECTED, "Protection of VMs that vms does not name, or names without it.")
    automatic_moves: AutomaticMoves = option(
        AutomaticMoves.LIVE, "Which moves of running VMs are made unasked, to keep rules, to return after maintenance, to balance."
    )
    max_restart: int = count(1, "Starts of a VM on one host that may fail before another host is tried.")
    max_relocate: int = count(1, "Other hosts tried in one round; rounds are repeated for ever, with growing pauses.")
    retry_interval: float = seconds(60.0, "Pause before the second round, doubled up to four times.")
    stable_after: float = seconds(600.0, "Time of running after which earlier failed starts and crashes of a VM are forgotten.")
    hosts: Mapping[str, HostPolicy] = option({}, "The hosts by their inventory names.")
    storage: Mapping[str, TargetPolicy] = option({}, "The storage servers by their inventory names.")
    vms: Mapping[str, VmPolicy] = option({}, "VMs by name, or by id (datastore UUID and vmx path).")
    rules: tuple[Rule, ...] = option((), "Where VMs may run: on which hosts (host_affinity), or together or apart (vm_affinity).")
    start_order: StartOrder = option(StartOrder())
    failover: FailoverPolicy = option(FailoverPolicy())
    admission_control: AdmissionControl = option(AdmissionControl())
    vm_monitoring: VmMonitoring = option(VmMonitoring())
    rebalance: Rebalance = option(Rebalance())
    storage_health: StorageHealthOptions = option(StorageHealthOptions())
    retention: Retention = option(Retention())
    switch_off: SwitchOffPolicy = option(SwitchOffPolicy())

    def host(self, name: str) -> HostPolicy:
        """The host's policy; one that the policy does not name has no initiator and is therefore unfenceable."""
        return self.hosts.get(name) or HostPolicy()

    def vm(self, identity: str, name: str) -> VmPolicy:
        """The VM's policy: by id, else by name, else the default. Its protection is never None."""
        return self._named_vms.get(identity) or self._named_vms.get(name) or self._unnamed_vm

    @cached_property
    def spares(self) -> frozenset[str]:
        """Hosts that stand by without VMs."""
        return frozenset(name for name, host in self.hosts.items() if host.spare)

    @cached_property
    def _named_vms(self) -> Mapping[str, VmPolicy]:
        return {name: vm if vm.protection else replace(vm, protection=self.default_protection) for name, vm in self.vms.items()}

    @cached_property
    def _unnamed_vm(self) -> VmPolicy:
        return VmPolicy(self.default_protection)
