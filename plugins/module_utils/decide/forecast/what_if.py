# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What if these hosts died now? The drill's answer, found by deciding on looks that nobody took.

Invariant: the plan is not computed here. It is what ``decide`` itself plans when the very next look finds the hosts
silent, fenced and stopped, so the drill promises what a real failure gets as long as nothing else changes. Three looks are imagined:

* the hosts fall silent and stay so until the verdict on them is confirmed: what would be *held* before any fence (the brake, an
  unfenceable host, a storage server that says nothing);
* they are fenced and stopped, held or not: the plan, and what finds no place;
* the plan has been carried out: the admission state afterwards.

All VMs get their places in one plan, and only then some wait for others (start order). So the plan shows them all, in the order in
which they start, and the waiting is in the estimated time; a real failover plans those that wait anew, with the room there is by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ...instant import Instant
from ..assessment import assess
from ..decide import decide
from ..decision import Admission, Decision, FailoverAction, Held, PlannedVm, Shortfall, UnplacedVm
from ..memory import Desired, Memory, VmRecord
from ..observations import Observation, Power
from ..policy import Mode, Policy, StartOrder
from ..state import Cluster
from ..verdict import Verdict
from ..vms.start_order import StartOrderPlan
from . import hypothetical
from .admission import largest_first
from .losses import refusal_text
from .recovery_time import RecoveryTime, recovery_time

RUN = "drill"  # the run_id of all looks that a drill judges
MOST_LOOKS = 60  # imagined ones, until the verdict is confirmed


class UnknownHost(ValueError):
    """Hosts were named that the cluster does not have."""

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__("there is no host %s; the hosts are %s" % (", ".join(unknown), ", ".join(known)))
        self.unknown, self.known = tuple(unknown), tuple(known)


@dataclass(frozen=True)
class StaysDown:
    """A VM of a lost host that would not run again. ``chosen``: the policy or an operator wants it so."""

    id: str
    name: str
    host: str
    reason: str
    chosen: bool = False


@dataclass(frozen=True)
class UnfenceableHost:
    host: str
    reason: str


@dataclass(frozen=True)
class WhatIf:
    """``plan`` in start order, VMs that are only registered last; ``unplaced`` ran and found no host, ``unprotected`` and ``stays_down``
    would not be tried. ``held`` is what stands before the plan, ``warnings`` what goes with it. Seconds in ``time``."""

    lost: tuple[str, ...]
    plan: tuple[PlannedVm, ...]
    unplaced: tuple[UnplacedVm, ...]
    unprotected: tuple[StaysDown, ...]
    stays_down: tuple[StaysDown, ...]
    held: tuple[Held, ...]
    warnings: tuple[str, ...]
    admission_before: Optional[Admission]
    admission_after: Optional[Admission]
    time: RecoveryTime


@dataclass(frozen=True)
class Drill:
    """The cluster as it is judged now, and the cases asked for. ``judged``: the look at every host is fresh, its storage evidence there."""

    now: Decision
    judged: bool
    unprotected: tuple[StaysDown, ...]
    unfenceable: tuple[UnfenceableHost, ...]
    admission: Optional[Admission]
    cases: tuple[WhatIf, ...]


@dataclass(frozen=True)
class Present:
    """The look that was really taken, judged (:func:`present`)."""

    policy: Policy
    observation: Observation
    cluster: Cluster
    decision: Decision
    looks_apart: float  # seconds from the look before to this one, at least the pause between two

    @property
    def at(self) -> Instant:
        return self.decision.taken_at

    @property
    def judged(self) -> bool:
        """Whether the look at every host is fresh, and its storage evidence there: it takes the progress from one look to the next."""
        fresh = all(host.evidence.fresh for host in self.cluster.hosts.values())
        return fresh and not any(host.is_being_judged for host in self.decision.hosts)

    @property
    def memory(self) -> Memory:
        """What is remembered from it, of an armed cluster."""
        return replace(self.decision.memory, disarmed="")

    def initiators(self, hosts: Iterable[str]) -> dict[str, str]:
        return {name: self.policy.host(name).initiator for name in hosts}

    def bmc_of(self, hosts: Iterable[str]) -> list[str]:
        return [name for name in hosts if self.cluster.hosts[name].has_bmc]


def drill(here: Present, lost: Sequence[str] = ()) -> Drill:
    """The hosts *lost* at once, or each single host in turn where none is named. Raises UnknownHost."""
    require_known(lost, here.cluster.hosts)
    groups = [tuple(lost)] if lost else [(name,) for name in here.cluster.hosts]
    cases = tuple(_case(here, group) for group in groups)
    admission = here.decision.admission
    if admission is not None and not admission.exact and not lost:
        admission = _exact(admission, here, cases)
    return Drill(
        here.decision,
        here.judged,
        _unprotected(here.cluster, here.cluster.vms),
        tuple(UnfenceableHost(name, host.unfenceable) for name, host in here.cluster.hosts.items() if host.unfenceable),
        admission,
        cases,
    )


def present(policy: Policy, memory: Memory, observation: Observation, now: Instant) -> Present:
    """Judge a look. Its ``decision.memory`` is what the drill's next look is judged with."""
    cluster = assess(policy, memory, observation, now, RUN).cluster
    gap = now.since(memory.looked_at) if memory.run_id == RUN else None  # as long as this very drill takes from look to look
    apart = max(_between_looks(policy), gap if gap is not None and gap <= policy.confirm_after else 0.0)
    return Present(policy, observation, cluster, decide(policy, memory, observation, now, RUN), apart)


def require_known(lost: Iterable[str], hosts: Iterable[str]) -> None:
    """Raises UnknownHost for those of *lost* that are none of *hosts*."""
    known = sorted(hosts)
    unknown = sorted(set(lost) - set(known))
    if unknown:
        raise UnknownHost(unknown, known)


def _case(here: Present, lost: tuple[str, ...]) -> WhatIf:
    after, plan, nowhere = _plan(here, lost)
    mine = [vm for name in lost for vm in here.cluster.vms_on.get(name, ())]
    wanted = {vm.id for vm in mine if vm.desired is Desired.STARTED}
    unplaced = tuple(vm for vm in nowhere if vm.id in wanted)
    dormant = [vm for vm in nowhere if vm.id not in wanted]
    left_out = _unprotected(here.cluster, mine)
    dealt_with = {vm.id for vm in plan} | {vm.id for vm in unplaced} | {vm.id for vm in left_out}
    stays = tuple(_stays_down(vm, here, after) for vm in mine if vm.id in wanted and vm.id not in dealt_with)
    happened = hypothetical.started(_fenced(here, lost), plan, here.cluster.vms)
    records = [here.memory.host(name) for name in lost]
    return WhatIf(
        lost=lost,
        plan=plan,
        unplaced=unplaced,
        unprotected=left_out,
        stays_down=stays,
        held=_held_before(here, lost),
        warnings=(*_warnings(here, after, lost), *(_not_registered(vm) for vm in dormant)),
        admission_before=here.decision.admission,
        admission_after=decide(here.policy, after.memory, happened, here.at, RUN).admission,
        time=recovery_time(here.policy, records, plan, here.looks_apart, len(here.bmc_of(lost)) == len(lost)),
    )


def _plan(here: Present, lost: tuple[str, ...]) -> tuple[Decision, tuple[PlannedVm, ...], tuple[UnplacedVm, ...]]:
    """What the look decides that finds the hosts fenced and stopped."""
    vms = {name: replace(vm, start_order=None) for name, vm in here.policy.vms.items()}
    at_once = replace(here.policy, mode=Mode.ACT, start_order=StartOrder(), vms=vms)
    decision = decide(at_once, here.memory, _fenced(here, lost), here.at, RUN)
    actions = [action for action in decision.actions if isinstance(action, FailoverAction) and action.host in lost]
    planned = {vm.id: vm for action in actions for vm in action.vms}
    records = [vm for vm in decision.memory.vms if vm.id in planned]
    starting = [vm for vm in records if planned[vm.id].power_on]
    order = [vm.id for vm in StartOrderPlan(here.policy, decision.memory.vms, starting, here.at).sorted()]
    order += [vm.id for vm in records if not planned[vm.id].power_on]
    return decision, tuple(planned[identity] for identity in order), tuple(vm for action in actions for vm in action.unplaced)


def _fenced(here: Present, lost: tuple[str, ...]) -> Observation:
    """Fenced are only those whose fence would mean something: the others stay as unfenced as they really would."""
    fenceable = [name for name in lost if not here.cluster.hosts[name].unfenceable]
    others = [name for name in lost if name not in fenceable]
    silent = hypothetical.dead(here.observation, here.initiators(others), here.bmc_of(others))
    return hypothetical.fenced(silent, here.initiators(fenceable), here.bmc_of(fenceable))


def _held_before(here: Present, lost: tuple[str, ...]) -> tuple[Held, ...]:
    """What stands between the failure and the fence, when the hosts stay silent for long enough to be confirmed."""
    silent = hypothetical.dead(here.observation, here.initiators(lost), here.bmc_of(lost))
    step, memory, decision = _between_looks(here.policy), here.memory, here.decision
    for number in range(1, MOST_LOOKS + 1):
        now = replace(here.at, seconds=here.at.seconds + number * step)
        decision = decide(replace(here.policy, mode=Mode.ACT), memory, hypothetical.later(silent, number * step), now, RUN)
        memory = decision.memory
        if all(host.confirmed for host in decision.hosts if host.host in lost):
            break
    held = [item for item in decision.held if item.what == "fence" and item.subject in lost]
    named = {item.subject for item in held} | {action.host for action in decision.actions if action.kind == "fence"}
    for host in decision.hosts:
        if host.host in lost and host.host not in named and host.verdict not in (Verdict.FENCED, Verdict.FENCING):
            held.append(Held("verdict", host.host, "%s; it would not be fenced" % host.text))
    return tuple(held)


def _warnings(here: Present, after: Decision, lost: tuple[str, ...]) -> Iterable[str]:
    if here.policy.mode is Mode.OBSERVE:
        yield "mode: observe: the plan would be reported, and not carried out"
    elif here.policy.mode is Mode.ASK:
        yield "mode: ask: the plan would wait for a person's yes"
    if here.decision.memory.disarmed:
        yield "the cluster is disarmed (%s): nothing would be carried out" % here.decision.memory.disarmed
    for alarm in after.alarms:
        if alarm.key.startswith("duplicate:") and alarm.subject in lost:
            yield alarm.text
    text = "the BMC of %s gives no answer now (%s): unless it does then, its VMs wait until a person confirms that it is off"
    for name in here.bmc_of(lost):
        seen = here.cluster.hosts[name].seen
        if seen is not None and seen.power is Power.UNKNOWN:
            yield text % (name, seen.power_reason or "power unknown")


def _not_registered(vm: UnplacedVm) -> str:
    return "%s is switched off, and no other host could take it over: %s" % (
        vm.name,
        refusal_text((item.host, item.reason) for item in vm.reasons),
    )


def _stays_down(vm: VmRecord, here: Present, after: Decision) -> StaysDown:
    why = here.cluster.hosts[vm.host].unfenceable
    if why:
        return StaysDown(vm.id, vm.name, vm.host, "%s is unfenceable: %s" % (vm.host, why))
    reasons = [item.reason for item in after.held if item.subject == vm.id]
    reasons = reasons or ["the fence of %s cannot be confirmed: %s could not be asked" % (vm.host, name) for name in _unasked(here)]
    return StaysDown(vm.id, vm.name, vm.host, "; ".join(reasons) or "decide plans no start of it")


def _unasked(here: Present) -> list[str]:
    asked = {server.name for server in here.observation.storage if server.serving is not None}
    return [name for name in here.cluster.servers if name not in asked]


def _unprotected(cluster: Cluster, vms: Iterable[VmRecord]) -> tuple[StaysDown, ...]:
    found = ((vm, cluster.unprotected.get(vm.id)) for vm in vms)
    return tuple(StaysDown(vm.id, vm.name, vm.host, why.reason, why.chosen) for vm, why in found if why is not None)


def _exact(admission: Admission, here: Present, cases: Iterable[WhatIf]) -> Admission:
    """At a size at which a look only counts slots: if each host may fail alone, how many of the largest may together."""
    shortfalls = tuple(item for case in cases for item in shortfalls_of(case))
    order = [] if shortfalls else largest_first(here.cluster)
    lost = 0
    while lost + 1 < len(order):
        gone = tuple(order[: lost + 1])
        back = {vm.id for vm in _plan(here, gone)[1]}
        mine = [vm for name in gone for vm in here.cluster.protected_on(name)]
        if any(vm.desired is Desired.STARTED and vm.id not in back for vm in mine):
            break
        lost += 1
    return replace(admission, tolerates=lost, shortfalls=shortfalls, exact=True)


def shortfalls_of(case: WhatIf) -> list[Shortfall]:
    """The protected VMs of a case that would stay down, whatever the reason."""
    found = [Shortfall(vm.id, vm.name, case.lost, refusal_text((item.host, item.reason) for item in vm.reasons)) for vm in case.unplaced]
    return found + [Shortfall(vm.id, vm.name, case.lost, vm.reason) for vm in case.stays_down]


def _between_looks(policy: Policy) -> float:
    """As often as a monitor looks that has a suspicion."""
    return max(1.0, min(policy.confirm_after / 5, policy.io_stale / 3))
