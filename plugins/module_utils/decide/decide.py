# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The brain: policy, memory and one look go in; verdicts, alarms, actions and the new memory come out.

It is a function and nothing else: no socket, file, clock, random number or log, so the same call runs in a playbook, in
the resident watch and in the simulator, and the same input has the same output.

Nothing is both fenced and started in one look. A lost host is first fenced; its VMs are planned elsewhere only when
a later look *finds* the fence confirmed at every storage server. So a monitor that is killed anywhere between,
or that comes back with an old memory, cannot start a VM whose host can still write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..instant import Instant
from .assessment import Assessment, assess
from .authorization import Caller, Orders, authorise, may_start, not_in_progress, still_approved
from .decision import KINDS, Action, Admission, Alarm, Decision, FenceAction, Held, HostVerdict
from .forecast.admission import admission, admission_alarm
from .hosts.alarms import raise_alarms
from .hosts.brake import Brake, HostForBrake, apply_brake
from .hosts.duplicates import note_doubtful
from .hosts.host_reports import rebooting
from .hosts.maintenance_mode import MaintenanceModes, note_modes, plan_maintenance_modes
from .hosts.near_misses import near_misses
from .hosts.rejoin import Rejoins, note_steps, plan_rejoins
from .hosts.removal import Removals, plan_removals, still_recorded, with_the_gone
from .hosts.respond import Responses, choose_fences
from .hosts.shutdown import HostShutdowns, note_requests, plan_host_shutdowns
from .memory import HostRecord, Memory, VmRecord
from .moves.moves import note_homes, plan_moves
from .moves.moving import Moves
from .moves.rebalance import note_rebalance
from .observations import ActResult, Observation, Power
from .policy import Mode, Policy
from .replacing import replace
from .state import Cluster, HostState, leads_to_fence
from .storage_health.judge import judge_storage_health
from .storage_health.record import HealthRecord
from .switch_offs import review
from .vms.down import still_down
from .vms.host_bound import host_bound_alarms
from .vms.in_progress import note_orders
from .vms.names import name_alarms
from .vms.overdue import note_down, overdue
from .vms.start_order import note_waiting
from .vms.starts import Starts, plan_starts
from .vms.vm_monitoring import Monitored, note_resets, plan_resets
from .vms.vm_stop import Stops, note_shutdowns, plan_all_stops, plan_stops


def decide(
    policy: Policy,
    memory: Memory,
    observation: Observation,
    now: Instant,
    run_id: str,
    able: Collection[str] = KINDS,
    only_host: str = "",
) -> Decision:
    """Judge one look.

    Args:
        policy: What the operator wants.
        memory: What the last call returned, of whatever run; a fresh one is fine.
        observation: The look, with ``taken_at`` on the same machine's clock as *now*.
        now: The present, on the boot-time clock of the machine that decides.
        run_id: Names this run of the monitor; another one than in *memory* begins all confirmations again.
        able: Kinds of action that the caller can carry out; others are only proposed.
        only_host: The caller asks only for what is done about the loss of this host; empty: for everything.
    """
    off = review(memory, policy, now)
    memory = off.memory
    assessment = assess(policy, memory, observation, now, run_id)
    cluster, hosts = assessment.cluster, assessment.cluster.hosts
    brake = apply_brake(memory.brake, {name: _for_brake(host, cluster) for name, host in hosts.items()}, policy, now)
    plan = _plan(assessment, brake, memory, able)
    vms = note_waiting(_with(cluster.vms, plan.records), plan.starts.waiting, plan.starts.down, now)
    approved = still_approved(memory, hosts, {vm.id: vm for vm in vms} if memory.approved else {}, plan.actions)
    memory = replace(memory, approved=approved)
    wanted = not_in_progress(plan.actions, observation.in_progress)
    authorised = authorise(wanted, memory, policy.mode, hosts, caller := Caller(able, only_host))
    # One look dates no progress: what moved since an earlier run's look may have stopped before this one.
    first_look = memory.run_id != run_id
    settled = not (first_look or observation.in_progress or _still_open(cluster, plan, authorised.orders, caller, memory))
    standing = admission(cluster)
    calm = all(host.verdict.works or not _open(host, policy) for host in hosts.values())
    health = judge_storage_health(
        policy.storage_health, memory.storage_health, observation.storage_health, cluster.servers, now, not first_look, calm
    )
    down = () if cluster.goes_down else still_down(cluster, vms, authorised.orders, authorised.proposed, plan.held)
    vms = note_down(vms, down, cluster)
    missed = near_misses(memory, hosts.values(), policy)
    others = [*authorised.alarms, *overdue(vms, down, cluster), *_about_admission(standing, cluster), *health.alarms, *off.alarms]
    remembered = _remembered(memory, assessment, health.records, brake, observation.results, run_id)
    return Decision(
        taken_at=now,
        mode=policy.mode,
        hosts=tuple(_verdict(host) for host in hosts.values()),
        alarms=_alarms(assessment, plan, others),
        held=plan.held,
        actions=authorised.orders.actions,
        proposed=authorised.proposed,
        down=down,
        admission=standing,
        storage=health.servers,
        memory=_with_orders(remembered, cluster, vms, plan, authorised.orders),
        settled=settled,
        next_sample_in=_next_sample(policy, settled),
        near_misses=missed,
    )


@dataclass(frozen=True)
class _Plan:
    """All that this look would have done, before it is asked what may be."""

    fences: Responses
    removals: Removals
    rejoins: Rejoins
    modes: MaintenanceModes
    starts: Starts
    stops: Stops
    moves: Moves
    resets: Monitored
    shutdowns: HostShutdowns = field(default_factory=HostShutdowns)

    @property
    def actions(self) -> list[Action]:
        starts = self.starts
        return [
            *self.fences.fences,
            *self.removals.fences,
            *self.rejoins.actions,
            *self.modes.actions,
            *starts.failovers,
            *starts.restarts,
            *starts.moves,
            *self.stops.actions,
            *self.moves.actions,
            *self.resets.actions,
            *self.shutdowns.actions,
        ]

    @property
    def held(self) -> tuple[Held, ...]:
        return (*self.fences.held, *self.starts.held, *self.moves.held, *self.stops.held)

    @property
    def alarms(self) -> list[Alarm]:
        parts = (self.fences, self.removals, self.starts, self.moves, self.resets, self.rejoins, self.modes, self.shutdowns)
        return [alarm for part in parts for alarm in part.alarms]

    @property
    def records(self) -> dict[str, VmRecord]:
        return {**self.starts.records, **self.moves.records}


def _plan(assessment: Assessment, brake: Brake, memory: Memory, able: Collection[str]) -> _Plan:
    cluster = assessment.cluster
    if cluster.goes_down:
        return _Plan(
            fences=choose_fences(cluster, brake),
            removals=Removals(),
            rejoins=Rejoins(),
            modes=MaintenanceModes(),
            starts=Starts(),
            stops=plan_all_stops(cluster),
            moves=Moves(rebalance=memory.rebalance),
            resets=Monitored(),
            shutdowns=plan_host_shutdowns(cluster),
        )
    starts = plan_starts(cluster, can_move="move" in able)
    read_at = {name: host.record.read_at for name, host in cluster.hosts.items()}
    return _Plan(
        fences=choose_fences(cluster, brake),
        removals=plan_removals(cluster, memory),
        rejoins=plan_rejoins(cluster, cluster.now, {vm.id for action in starts.failovers for vm in action.vms}),
        modes=plan_maintenance_modes(cluster),
        starts=starts,
        stops=Stops(plan_stops(cluster)),
        moves=plan_moves(cluster, starts, memory.rebalance),
        resets=plan_resets(assessment.hung, read_at, cluster.policy, cluster.now),
    )


def _remembered(
    memory: Memory, assessment: Assessment, health: tuple[HealthRecord, ...], brake: Brake, results: Iterable[ActResult], run_id: str
) -> Memory:
    """*memory* with what this look found about the cluster as a whole, and how far it has read of how acts ended."""
    cluster = assessment.cluster
    return replace(
        memory,
        run_id=run_id,
        looked_at=cluster.now,
        watching_since=assessment.watching_since,
        cold_start=assessment.cold_start,
        shutdown=cluster.shutdown,
        datastores=tuple(cluster.datastores[uuid] for uuid in sorted(cluster.datastores)),
        storage=cluster.storage,
        storage_health=health,
        brake=brake.record,
        results_read=max([memory.results_read, *(result.number for result in results)]),
    )


def _with_orders(memory: Memory, cluster: Cluster, vms: tuple[VmRecord, ...], plan: _Plan, orders: Orders) -> Memory:
    """*memory* with the records of this look and what is ordered about them. It takes orders, and nothing that was only planned."""
    policy, now = cluster.policy, cluster.now
    records = {name: _remember(host.record, plan, orders, now) for name, host in cluster.hosts.items()}
    return replace(
        memory,
        hosts=with_the_gone(memory, records),
        vms=still_recorded(_ordered(vms, orders, cluster), memory, cluster),
        rebalance=note_rebalance(plan.moves.rebalance, orders, policy),
        shutdown=plan.shutdowns.record if cluster.goes_down else memory.shutdown,
    )


def _ordered(vms: tuple[VmRecord, ...], orders: Orders, cluster: Cluster) -> tuple[VmRecord, ...]:
    vms = note_orders(note_homes(vms, orders), orders, cluster.now)
    return note_shutdowns(note_resets(vms, orders, cluster.policy, cluster.now), orders, cluster)


def _still_open(cluster: Cluster, plan: _Plan, orders: Orders, caller: Caller, memory: Memory) -> bool:
    """Whether another look, soon, can change something by itself. What a person asked for can while this caller may carry it out."""
    if any(_open(host, cluster.policy) for host in cluster.hosts.values()) or _acts(orders, caller.host):
        return True
    if memory.disarmed:
        return False
    returning = any(record is not None and caller.host in ("", name) for name, record in plan.rejoins.records.items())
    leaving = plan.removals.awaited and "fence" in caller.able and not caller.host
    if leaving or ("rejoin" in caller.able and returning):
        return True
    waiting = [identity for identity in (*plan.starts.waiting, *plan.starts.soon) if caller.host in ("", cluster.vm_host(identity))]
    if any(may_start(identity, cluster.vm_host(identity), memory, cluster.policy.mode) for identity in waiting):
        return True
    coming = any(host.record.failback for host in cluster.hosts.values()) and not plan.moves.failed_back
    planned_work = (coming and "move" in caller.able) or (plan.modes.awaited and "maintenance" in caller.able)
    planned_work = planned_work or (plan.shutdowns.awaited and "shutdown" in caller.able)
    return planned_work and not caller.host and cluster.policy.mode is not Mode.OBSERVE


def _with(vms: tuple[VmRecord, ...], changed: Mapping[str, VmRecord]) -> tuple[VmRecord, ...]:
    return tuple(changed.get(vm.id, vm) for vm in vms) if changed else vms


def _remember(record: HostRecord, plan: _Plan, orders: Orders, now: Instant) -> HostRecord:
    """What is asked of the host and ordered about it."""
    rejoins = plan.rejoins
    record = plan.removals.records.get(record.name, record)
    record = replace(record, mode=plan.modes.records.get(record.name, record.mode))
    if record.name in plan.moves.failed_back:
        record = replace(record, failback=False, failback_left=plan.moves.failed_back[record.name])
    if record.name in rejoins.records:
        record = replace(record, rejoin=rejoins.records[record.name], refused=rejoins.given_up.get(record.name, ""))
    fenced_at = {server for action in orders.of(FenceAction) if action.host == record.name for server in action.storage}
    if fenced_at:
        record = replace(record, fence_scope=tuple(sorted({*record.fence_scope, *fenced_at})))
    return note_doubtful(note_requests(note_modes(note_steps(record, orders, now), orders, now), orders, now), orders)


def _for_brake(host: HostState, cluster: Cluster) -> HostForBrake:
    return HostForBrake(
        # Row 7 too: a storage server that hangs looks like many hosts that fail, one a second earlier than the others.
        condemned=not host.is_fenced
        and host.name not in cluster.awaited
        and (leads_to_fence(host.verdict, cluster.policy) or host.judgement.row == 7),
        answers=host.verdict.works and not leads_to_fence(host.verdict, cluster.policy),
        proved_off=host.judgement.certain or (host.is_fenced and host.evidence.power is Power.OFF),
        fenced=host.fence.listed,
        maintenance=cluster.out_of_service(host.name),
    )


def _open(host: HostState, policy: Policy) -> bool:
    """Whether more looks at this host, soon, can change the decision by themselves."""
    if host.is_fenced:
        return False
    if host.evidence.pending:
        return True
    if rebooting(host.record, host.evidence.taken_at, policy) is not None:
        return True
    return (not host.verdict.works or leads_to_fence(host.verdict, policy)) and not host.confirmation.confirmed


def _acts(orders: Orders, only_host: str) -> bool:
    """Whether something that was asked for is under way."""
    mine = [action for action in orders.actions if only_host in ("", action.host)]
    return any(action.kind in ("fence", "rejoin", "maintenance", "shutdown") or bool(getattr(action, "vms", ())) for action in mine)


def _next_sample(policy: Policy, settled: bool) -> float:
    """Often enough that three samples fit into the confirmation time and progress can be judged within io_stale."""
    if settled:
        return max(1.0, min(policy.confirm_after, policy.io_stale) / 2)
    return max(1.0, min(policy.confirm_after / 5, policy.io_stale / 3))


def _verdict(host: HostState) -> HostVerdict:
    return HostVerdict(
        host=host.name,
        verdict=host.verdict,
        row=host.judgement.row,
        confirmed=host.confirmation.confirmed,
        text=host.text,
        reason=host.reason,
        since=host.record.since,
        samples=host.record.samples,
        api=host.evidence.api,
        ping=host.evidence.ping,
        power=host.evidence.power,
        storage=host.evidence.targets,
        fenceable=not host.unfenceable,
    )


def _about_admission(standing: Admission, cluster: Cluster) -> list[Alarm]:
    """Hosts that go down on purpose provide for no failure."""
    alarm = None if cluster.goes_down else admission_alarm(standing)
    return [alarm] if alarm is not None else []


def _alarms(assessment: Assessment, plan: _Plan, others: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """Each once, by key."""
    cluster = assessment.cluster
    alarms = [*raise_alarms(cluster), *name_alarms(cluster), *host_bound_alarms(cluster), *assessment.alarms, *plan.alarms, *others]
    return tuple({alarm.key: alarm for alarm in sorted(alarms, key=lambda item: item.key)}.values())
