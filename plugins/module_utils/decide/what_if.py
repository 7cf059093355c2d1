# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What if these hosts died now? The drill's answer, found by deciding on looks that nobody took.

Invariant: the plan is not computed here. It is what ``decide`` itself plans when the very next look finds the hosts
silent, fenced and stopped, so the drill promises what a real failure gets as long as nothing else changes. Three looks are imagined:

* the hosts fall silent and stay so until the verdict on them is confirmed: what would be *held* before any fence (the brake, an
  unfenceable host, a storage server that says nothing);
* they are fenced and stopped, held or not: the plan, and what finds no place;
* the plan has been carried out: the admission state afterwards.

Start order is no part of *where*: all VMs are placed in one plan, and only then some wait. So the plan shows them all, in the
order in which they start, and the waiting is in the estimated time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from . import imagined
from .decide import decide
from .decision import Admission, Decision, FailoverAction, Held, HostVerdict, PlannedVm, Shortfall, UnplacedVm
from .instant import Instant
from .memory import Desired, Memory, VmRecord
from .observations import Observation, Power
from .options import StartOrder
from .policy import Mode, Policy
from .precondition import unprotected
from .recovery_time import RecoveryTime, recovery_time
from .start_order import StartOrderPlan
from .verdict import Verdict

RUN = "drill"  # the run_id of all looks that a drill judges
MOST_LOOKS = 60  # imagined ones, until the verdict is confirmed


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
    """``plan`` in start order, VMs that are only registered last; ``unplaced`` found no host, ``unprotected`` and ``stays_down``
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
    """The cluster as it is judged now, and the cases asked for. ``judged``: no host's storage evidence is still being judged."""

    now: Decision
    judged: bool
    unprotected: tuple[StaysDown, ...]
    unfenceable: tuple[UnfenceableHost, ...]
    admission: Optional[Admission]
    cases: tuple[WhatIf, ...]


def drill(policy: Policy, memory: Memory, observation: Observation, now: Instant, lost: Sequence[str] = ()) -> Drill:
    """The hosts *lost* at once, or each single host in turn where none is named."""
    picture = decide(policy, memory, observation, now, RUN)
    groups = [tuple(lost)] if lost else [(host.host,) for host in picture.hosts]
    cases = tuple(_case(policy, picture, observation, group) for group in groups)
    admission = picture.admission
    if admission is not None and not admission.exact and not lost:
        admission = _exact(admission, policy, picture, observation, cases)
    return Drill(
        picture,
        not any(_being_judged(host) for host in picture.hosts),
        tuple(_unprotected(policy, picture.memory, picture.memory.vms)),
        tuple(UnfenceableHost(host.host, _why_unfenceable(host.host, picture)) for host in picture.hosts if not host.fenceable),
        admission,
        cases,
    )


def what_if(policy: Policy, memory: Memory, observation: Observation, now: Instant, lost: Sequence[str]) -> WhatIf:
    """What would happen to the VMs of the hosts *lost*, of which there is at least one; nothing is changed."""
    return _case(policy, decide(policy, memory, observation, now, RUN), observation, tuple(lost))


def _case(policy: Policy, picture: Decision, observation: Observation, lost: tuple[str, ...]) -> WhatIf:
    bmc = _with_bmc(policy, picture.memory, lost)
    after, plan, unplaced = _plan(policy, picture, observation, lost)
    mine = [vm for vm in picture.memory.vms if vm.host in lost]
    left_out = tuple(_unprotected(policy, picture.memory, mine))
    dealt_with = {vm.id for vm in plan} | {vm.id for vm in unplaced} | {vm.id for vm in left_out}
    stays = tuple(_stays_down(vm, picture, after) for vm in mine if vm.desired is Desired.STARTED and vm.id not in dealt_with)
    ran = replace(after, memory=replace(after.memory, disarmed=""))
    happened = imagined.started(_fenced(policy, picture, observation, lost), plan, picture.memory.vms)
    return WhatIf(
        lost=lost,
        plan=plan,
        unplaced=unplaced,
        unprotected=left_out,
        stays_down=stays,
        held=_held_before(policy, picture, observation, lost),
        warnings=tuple(_warnings(policy, picture, after, observation, lost, bmc)),
        admission_before=picture.admission,
        admission_after=decide(policy, ran.memory, happened, picture.taken_at, RUN).admission,
        time=recovery_time(
            policy, [picture.memory.host(name) for name in lost], plan, _between_looks(policy), bool(lost) and set(bmc) == set(lost)
        ),
    )


def _plan(
    policy: Policy, picture: Decision, observation: Observation, lost: tuple[str, ...]
) -> tuple[Decision, tuple[PlannedVm, ...], tuple[UnplacedVm, ...]]:
    """What the look decides that finds the hosts fenced and stopped."""
    at_once = replace(
        policy, mode=Mode.ACT, start_order=StartOrder(), vms={name: replace(vm, start_order=None) for name, vm in policy.vms.items()}
    )
    armed = replace(picture.memory, disarmed="")
    decision = decide(at_once, armed, _fenced(policy, picture, observation, lost), picture.taken_at, RUN)
    actions = [action for action in decision.actions if isinstance(action, FailoverAction) and action.host in lost]
    planned = {vm.id: vm for action in actions for vm in action.vms}
    records = [vm for vm in decision.memory.vms if vm.id in planned]
    starting = [vm for vm in records if planned[vm.id].power_on]
    order = [vm.id for vm in StartOrderPlan(policy, decision.memory.vms, starting, picture.taken_at).sorted()]
    order += [vm.id for vm in records if not planned[vm.id].power_on]
    return decision, tuple(planned[identity] for identity in order), tuple(vm for action in actions for vm in action.unplaced)


def _fenced(policy: Policy, picture: Decision, observation: Observation, lost: tuple[str, ...]) -> Observation:
    """Fenced are only those whose fence would mean something: the others stay as unfenced as they really would."""
    fenceable = {host.host for host in picture.hosts if host.fenceable}
    bmc = _with_bmc(policy, picture.memory, lost)
    look = imagined.dead(observation, {name: policy.host(name).initiator for name in lost if name not in fenceable}, bmc)
    mine = {name: policy.host(name).initiator for name in lost if name in fenceable}
    return imagined.fenced(look, mine, [name for name in bmc if name in mine])


def _held_before(policy: Policy, picture: Decision, observation: Observation, lost: tuple[str, ...]) -> tuple[Held, ...]:
    """What stands between the failure and the fence, when the hosts stay silent for long enough to be confirmed."""
    bmc = _with_bmc(policy, picture.memory, lost)
    silent = imagined.dead(observation, {name: policy.host(name).initiator for name in lost}, bmc)
    step = _between_looks(policy)
    memory = replace(picture.memory, disarmed="")
    decision = picture
    for number in range(1, MOST_LOOKS + 1):
        look = imagined.later(silent, number * step)
        now = replace(picture.taken_at, seconds=picture.taken_at.seconds + number * step)
        decision = decide(replace(policy, mode=Mode.ACT), memory, look, now, RUN)
        memory = decision.memory
        if all(host.confirmed for host in decision.hosts if host.host in lost):
            break
    held = [item for item in decision.held if item.what == "fence" and item.subject in lost]
    told = {item.subject for item in held} | {action.host for action in decision.actions if action.kind == "fence"}
    for host in decision.hosts:
        if host.host in lost and host.host not in told and host.verdict not in (Verdict.FENCED, Verdict.FENCING):
            held.append(Held("verdict", host.host, "%s; it would not be fenced" % host.text))
    return tuple(held)


def _warnings(
    policy: Policy, picture: Decision, after: Decision, observation: Observation, lost: tuple[str, ...], bmc: Sequence[str]
) -> Iterable[str]:
    if policy.mode is Mode.OBSERVE:
        yield "mode: observe: the plan would be reported, and not carried out"
    elif policy.mode is Mode.ASK:
        yield "mode: ask: the plan would wait for a person's yes"
    if picture.memory.disarmed:
        yield "the cluster is disarmed (%s): nothing would be carried out" % picture.memory.disarmed
    for alarm in after.alarms:
        if alarm.key.startswith("duplicate:") and alarm.subject in lost:
            yield alarm.text
    seen = {host.name: host for host in observation.hosts}
    for name in bmc:
        if name in seen and seen[name].power is Power.UNKNOWN:
            reason = seen[name].power_reason or "unknown power"
            text = "the BMC of %s gives no answer now (%s): unless it does then, its VMs wait until a person confirms that it is off"
            yield text % (
                name,
                reason,
            )


def _stays_down(vm: VmRecord, picture: Decision, after: Decision) -> StaysDown:
    fenceable = {host.host: host.fenceable for host in picture.hosts}
    if not fenceable.get(vm.host, False):
        return StaysDown(vm.id, vm.name, vm.host, "%s is unfenceable: %s" % (vm.host, _why_unfenceable(vm.host, picture)))
    reasons = [item.reason for item in after.held if item.subject in (vm.name, vm.id)]
    return StaysDown(vm.id, vm.name, vm.host, "; ".join(reasons) or "decide plans no start of it")


def _unprotected(policy: Policy, memory: Memory, vms: Iterable[VmRecord]) -> Iterable[StaysDown]:
    datastores = {record.uuid: record for record in memory.datastores}
    for vm in vms:
        if vm.ignored:
            yield StaysDown(vm.id, vm.name, vm.host, "an operator took it out of HA (ignore)", True)
            continue
        why = unprotected(vm, policy, datastores, memory.storage)
        if why is not None:
            yield StaysDown(vm.id, vm.name, vm.host, why.reason, why.chosen)


def _why_unfenceable(host: str, picture: Decision) -> str:
    text = next((alarm.text for alarm in picture.alarms if alarm.key == "unfenceable:%s" % host), "")
    return text.partition("not failed over: ")[2] or text or "its fence would prove nothing"


def _exact(admission: Admission, policy: Policy, picture: Decision, observation: Observation, cases: Iterable[WhatIf]) -> Admission:
    """At a size at which a look only counts slots: place the VMs of the largest hosts, one host more each time, until some stay down."""
    shortfalls = tuple(item for case in cases for item in shortfalls_of(case))
    memory = {host.name: host.memory_total or 0 for host in observation.hosts}
    order = sorted((host.host for host in picture.hosts if host.verdict.works), key=lambda name: (-memory.get(name, 0), name))
    lost = 0
    while lost + 1 < len(order):
        gone = tuple(order[: lost + 1])
        _decision, plan, _unplaced = _plan(policy, picture, observation, gone)
        back = {vm.id for vm in plan}
        mine = [vm for vm in picture.memory.vms if vm.host in gone and vm.desired is Desired.STARTED]
        left_out = {item.id for item in _unprotected(policy, picture.memory, mine)}
        if any(vm.id not in back and vm.id not in left_out for vm in mine):
            break
        lost += 1
    return replace(admission, tolerates=lost, shortfalls=shortfalls, exact=True)


def shortfalls_of(case: WhatIf) -> list[Shortfall]:
    """The protected VMs of a case that would stay down, whatever the reason."""
    found = [
        Shortfall(vm.id, vm.name, case.lost, "; ".join("%s: %s" % (item.host, item.reason) for item in vm.reasons)) for vm in case.unplaced
    ]
    return found + [Shortfall(vm.id, vm.name, case.lost, vm.reason) for vm in case.stays_down]


def _with_bmc(policy: Policy, memory: Memory, lost: Iterable[str]) -> list[str]:
    return [name for name in lost if policy.host(name).has_bmc or memory.host(name).has_bmc]


def _between_looks(policy: Policy) -> float:
    """As often as a monitor looks that has a suspicion."""
    return max(1.0, min(policy.confirm_after / 5, policy.io_stale / 3))


def _being_judged(host: HostVerdict) -> bool:
    """Its storage evidence will be another one by itself within ``io_stale``; a target's grace is not waited for."""
    return any(target.pending and not target.grace and target.state.value == "unknown" for target in host.storage)
