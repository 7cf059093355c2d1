# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Admission control: can this cluster still lose what its policy wants it to be able to lose?

The forms are those of vSphere HA (vSphere Availability, "vSphere HA Admission Control"):

* slots: a slot is as large as the largest protected VM, a host has as many as fit into both its memory and its CPU, and the
  VMs must fit into the slots that are left when the hosts with the most slots are gone;
* a percentage of the memory and CPU stays free;
* failover hosts stay empty of protected VMs.

All three are sums, cheap enough for every look at any size. None of them knows of datastores, networks, rules or hosts that cannot
be fenced, and slots waste room, so each can be wrong in both directions. The exact answer therefore comes beside
it: lose the hosts and really place their VMs (``tolerates``, ``shortfalls``). Its cost grows with VMs times hosts, so
a look gives it only up to ``EXACT_WORK``; ``what_if`` gives it at every size, by deciding.

Invariant: admission control only tells, and refuses an operator's start where the policy says ``enforce``. It never
refuses or delays a failover: room that was kept free is there to be used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Callable, Optional

from ..decision import Admission, Alarm, Severity, Shortfall
from ..memory import Desired, VmRecord
from ..observations import Power
from ..placement.capacity import rooms_for
from ..placement.place import Room
from ..policy import AdmissionControl, AdmissionForm, Policy
from ..state import Cluster
from .losses import loss_texts, shortfalls_without

_Without = Callable[..., list[Shortfall]]  # the names of hosts -> the VMs that stay down without them
SMALLEST_SLOT_CPU = 32  # MHz; vSphere HA's default for VMs that reserve nothing
EXACT_WORK = 1000  # pairs of a VM and a host that a look may try, at 10 to 20 microseconds each


@dataclass(frozen=True)
class _Capacity:
    """What one host has for protected VMs, all of it: used and free."""

    host: str
    memory: int  # MiB
    cpu: int  # MHz; 0: not told
    memory_total: int
    cpu_total: int


@dataclass(frozen=True)
class _Ledger:
    """``claims`` are the VMs that need a place somewhere, ``hosts`` those that can give one, the largest first."""

    claims: tuple[VmRecord, ...]
    hosts: tuple[_Capacity, ...]
    largest_memory: int  # MiB of the claim that has most
    largest_cpu: int  # MHz


def admission(cluster: Cluster, rooms: Optional[Mapping[str, Room]] = None) -> Admission:
    """How the cluster stands. *rooms* as :func:`rooms_for` gives them, before anything is planned."""
    rooms = rooms_for(cluster) if rooms is None else rooms
    ledger = _ledger(cluster, rooms)
    control = cluster.policy.admission_control
    admitted, text = _judge(ledger, cluster, control)
    if not _is_small(ledger, len(cluster.hosts)):
        return Admission(control.form.value, admitted, text, tolerates=_tolerates_in_slots(ledger, control))

    @cache
    def without(*lost: str) -> list[Shortfall]:
        return shortfalls_without(cluster, rooms, ledger.claims, lost)

    shortfalls = _single_losses(cluster, without, ledger)
    # VMs of a small host may have nowhere to go although those of the largest do: then no host may fail.
    tolerates = 0 if shortfalls else _tolerates(without, ledger)
    return Admission(control.form.value, admitted, text, tolerates, tuple(shortfalls), exact=True)


def admission_alarm(state: Admission) -> Optional[Alarm]:
    """What the operator should hear: the form's no, or VMs that would really stay down."""
    if state.form == AdmissionForm.DISABLED.value or (state.admitted and not state.shortfalls):
        return None
    parts = [] if state.admitted else [state.text]
    parts += loss_texts(state.shortfalls)
    text = "a host failure now is not provided for: %s; free or add memory, or ask drill.yml what would happen" % "; ".join(parts)
    return Alarm("admission", Severity.WARNING, "cluster", text)


def refuses_start(cluster: Cluster, vm: VmRecord, uncounted: Collection[str] = (), rooms: Optional[Mapping[str, Room]] = None) -> str:
    """Why an operator's start of *vm* is refused; empty when it is admitted. Never to be asked about a failover.

    *uncounted* are the ids of VMs that an operator wants started too and that have not been admitted yet.
    """
    control = cluster.policy.admission_control
    if not control.enforce or control.form is AdmissionForm.DISABLED:
        return ""
    if vm.host in kept_for_failover(cluster.policy):
        return "%s is kept free for failovers (spare, or admission_control: failover_hosts)" % vm.host
    if control.form is AdmissionForm.FAILOVER_HOSTS:
        return ""
    ledger = _ledger(cluster, rooms_for(cluster) if rooms is None else rooms, vm, uncounted)
    admitted, text = _judge(ledger, cluster, control)
    return "" if admitted else "admission control does not admit it: with it %s" % text


def kept_for_failover(policy: Policy) -> frozenset[str]:
    """Hosts for VMs of failed hosts, and of hosts that are emptied: balancing and rules lead no VM there, and where the policy
    says ``enforce``, no operator's start or move does."""
    control = policy.admission_control
    dedicated = control.failover_hosts if control.form is AdmissionForm.FAILOVER_HOSTS else ()
    return policy.spares.union(dedicated)


# Sums


def _ledger(cluster: Cluster, rooms: Mapping[str, Room], starting: Optional[VmRecord] = None, uncounted: Collection[str] = ()) -> _Ledger:
    """One pass over the VMs. Those that are not ours to place take their room away; *starting* is counted as started."""
    ours = dict.fromkeys(rooms, 0)  # MiB of our running VMs
    memory_of_others = dict.fromkeys(rooms, 0)
    cpu_of_others = dict.fromkeys(rooms, 0)
    unprotected, extra, started, on = cluster.unprotected, starting.id if starting else "", Desired.STARTED, Power.ON
    claims = []
    largest_memory = largest_cpu = 0
    for vm in cluster.vms:
        if vm.id in uncounted and vm.id != extra:
            continue
        mine = vm.id not in unprotected and not vm.ignored
        runs = vm.power is on or vm.id == extra
        if mine and ((vm.desired is started and not vm.stopping) or vm.id == extra):
            claims.append(vm)
            if vm.memory > largest_memory:
                largest_memory = vm.memory
            if vm.cpu_reserved > largest_cpu:
                largest_cpu = vm.cpu_reserved
        if runs and vm.host in ours:
            if mine:
                ours[vm.host] += vm.memory if vm.power is on else 0
            else:
                memory_of_others[vm.host] += vm.memory
                cpu_of_others[vm.host] += vm.cpu_reserved
    hosts = []
    for name, room in rooms.items():
        if not room.refuses:
            # What is free plus what our VMs hold is also less the hypervisor's own; a VM may hold less than it is given.
            usable = min(room.memory_total - memory_of_others[name], room.memory + ours[name])
            hosts.append(_Capacity(name, max(0, usable), max(0, room.cpu_total - cpu_of_others[name]), room.memory_total, room.cpu_total))
    hosts.sort(key=lambda item: (-item.memory, -item.cpu, item.host))
    return _Ledger(tuple(claims), tuple(hosts), largest_memory, largest_cpu)


def _judge(ledger: _Ledger, cluster: Cluster, control: AdmissionControl) -> tuple[bool, str]:
    if control.form is AdmissionForm.DISABLED:
        return True, "admission control is disabled"
    if control.form is AdmissionForm.RESOURCE_PERCENTAGE:
        return _judge_percentage(ledger, control)
    if control.form is AdmissionForm.FAILOVER_HOSTS:
        return _judge_failover_hosts(ledger, cluster, control)
    return _judge_slots(ledger, control)


def _slot(ledger: _Ledger, control: AdmissionControl) -> tuple[int, int]:
    """Its memory in MiB and CPU in MHz."""
    memory = control.slot_memory or ledger.largest_memory
    cpu = control.slot_cpu or ledger.largest_cpu
    return max(1, memory), cpu if control.slot_cpu else max(SMALLEST_SLOT_CPU, cpu)


def _slots_of(host: _Capacity, slot: tuple[int, int]) -> int:
    in_memory = host.memory // slot[0]
    return min(in_memory, host.cpu // slot[1]) if host.cpu_total else in_memory


def _slots_needed(ledger: _Ledger, slot: tuple[int, int], control: AdmissionControl) -> int:
    """A VM that is larger than a slot of a given size takes several (vSphere Availability, "Slot Size Calculation")."""
    if not (control.slot_memory or control.slot_cpu):
        return len(ledger.claims)
    return sum(max(1, -(-vm.memory // slot[0]), -(-vm.cpu_reserved // slot[1])) for vm in ledger.claims)


def _judge_slots(ledger: _Ledger, control: AdmissionControl) -> tuple[bool, str]:
    slot = _slot(ledger, control)
    needed = _slots_needed(ledger, slot, control)
    by_slots = sorted(ledger.hosts, key=lambda item: -_slots_of(item, slot))
    gone, left = by_slots[: control.host_failures], by_slots[control.host_failures :]
    slots = sum(_slots_of(host, slot) for host in left)
    wanted = _count(control.host_failures, "host failure")
    if len(by_slots) <= control.host_failures:
        return False, "%s to tolerate, and only %s can take VMs" % (wanted, _count(len(by_slots), "host"))
    text = "%sthere are %s of %d MiB and %d MHz, and %s" % (
        "without %s " % ", ".join(host.host for host in gone) if gone else "",
        _count(slots, "slot"),
        *slot,
        "1 protected VM needs %d" % needed if len(ledger.claims) == 1 else "%d protected VMs need %d" % (len(ledger.claims), needed),
    )
    return needed <= slots, text


def _tolerates_in_slots(ledger: _Ledger, control: AdmissionControl) -> int:
    slot = _slot(ledger, control)
    needed = _slots_needed(ledger, slot, control)
    slots = sorted((_slots_of(host, slot) for host in ledger.hosts), reverse=True)
    return max((lost for lost in range(len(slots)) if sum(slots[lost:]) >= needed), default=0)


def _judge_percentage(ledger: _Ledger, control: AdmissionControl) -> tuple[bool, str]:
    hosts, claims = ledger.hosts, ledger.claims
    memory = sum(host.memory for host in hosts) - sum(vm.memory for vm in claims)
    cpu = sum(host.cpu for host in hosts) - sum(max(SMALLEST_SLOT_CPU, vm.cpu_reserved) for vm in claims)
    enough, parts = True, []
    for what, left, total, wanted in (
        ("memory", memory, sum(host.memory_total for host in hosts), control.memory_percent),
        ("CPU", cpu, sum(host.cpu_total for host in hosts), control.cpu_percent),
    ):
        if not total:  # no host that takes VMs tells it: nothing says that there is enough
            enough = False
            parts.append("no host that takes VMs tells its %s" % what)
            continue
        free = 100.0 * left / total
        enough = enough and free >= wanted
        parts.append("%.0f %% of the %s free, %.0f %% wanted" % (free, what, wanted))
    return enough, ", ".join(parts)


def _judge_failover_hosts(ledger: _Ledger, cluster: Cluster, control: AdmissionControl) -> tuple[bool, str]:
    able = {host.host for host in ledger.hosts}
    problems = ["it names no host"] if not control.failover_hosts else []
    for name in control.failover_hosts:
        busy = sorted(vm.name for vm in ledger.claims if vm.host == name and vm.power is Power.ON)
        if name not in able:
            problems.append("%s cannot take VMs now" % name)
        elif busy:
            problems.append("%s runs %s" % (name, ", ".join(busy[:3]) + (" and %d more" % (len(busy) - 3) if len(busy) > 3 else "")))
    if problems:
        return False, "the failover hosts are not free: %s" % "; ".join(problems)
    return True, "%s kept free for failovers" % ", ".join(control.failover_hosts)


def _count(number: int, what: str) -> str:
    return "%d %s%s" % (number, what, "" if number == 1 else "s")


# Really placing


def _is_small(ledger: _Ledger, hosts: int) -> bool:
    """Each host lost alone tries VMs x hosts pairs; one more after the other, until VMs stay down, up to hosts / 6 times as many."""
    return len(ledger.claims) * hosts * (6 + hosts) <= 6 * EXACT_WORK


def _single_losses(cluster: Cluster, without: _Without, ledger: _Ledger) -> list[Shortfall]:
    """What would stay down that does not stay down anyhow, for each host that runs something."""
    busy = sorted({vm.host for vm in ledger.claims if vm.host in cluster.hosts and not cluster.hosts[vm.host].is_fenced})
    found = []
    down = {item.id for item in without()}
    for name in busy:
        found += [item for item in without(name) if item.id not in down]
    return found


def _tolerates(without: _Without, ledger: _Ledger) -> int:
    order = [host.host for host in ledger.hosts]
    lost = 0
    while lost + 1 < len(order) and not without(*order[: lost + 1]):
        lost += 1
    return lost


def largest_first(cluster: Cluster) -> list[str]:
    """The hosts that take VMs, in the order in which the worst case loses them."""
    return [host.host for host in _ledger(cluster, rooms_for(cluster)).hosts]
