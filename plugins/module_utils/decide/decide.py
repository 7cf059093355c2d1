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

from collections.abc import Mapping
from dataclasses import replace

from .alarms import raise_alarms
from .brake import HostForBrake, apply_brake
from .confirm import Confirmation, confirm
from .decision import Action, Alarm, Decision, HostVerdict
from .evidence import HostEvidence, gather, judge_host
from .fencing import FenceState, fence_state, storage_servers
from .instant import Instant
from .inventory import update_vms
from .memory import HostRecord, Memory, VmRecord
from .observations import Evidence, Observation, Power
from .policy import Mode, Policy
from .precondition import unfenceable, unprotected
from .recover import plan_recovery
from .respond import choose_fences
from .state import Cluster, HostState, leads_to_fence
from .told import Told, hear, rebooting, remember_datastores, remember_storage
from .verdict import Judgement, Verdict, observer_isolated


def decide(policy: Policy, memory: Memory, observation: Observation, now: Instant, run_id: str) -> Decision:
    """Judge one look.

    Args:
        policy: What the operator wants.
        memory: What the last call returned, of whatever run; a fresh one is fine.
        observation: The look, with ``taken_at`` on the same machine's clock as *now*.
        now: The present, on the boot-time clock of the machine that decides.
        run_id: Names this run of the monitor; another one than in *memory* begins all confirmations again.
    """
    hosts, told, cut_off = _judge_all(policy, memory, observation, now, run_id)
    verdicts = {name: host.verdict for name, host in hosts.items()}
    vms, vm_alarms = update_vms(memory, observation, verdicts, told, now)
    working = [name for name, host in hosts.items() if host.evidence.storage is Evidence.OK]
    datastores, had = remember_datastores(memory, observation, working)
    storage = remember_storage(memory, observation)
    servers = storage_servers(policy, observation)
    watching_since = _watching_since(memory, now, policy)
    read = frozenset(observation.vms_read)
    records = {name: _remember_host(host, had, read, now) for name, host in hosts.items()}
    hosts = {
        name: replace(
            host,
            confirmation=replace(host.confirmation, record=records[name]),
            unfenceable=unfenceable(name, policy, records, storage, servers),
        )
        for name, host in hosts.items()
    }
    reasons = {vm.id: unprotected(vm, policy, datastores, storage) for vm in vms}
    cluster = Cluster(
        policy=policy,
        observation=observation,
        hosts=hosts,
        vms=vms,
        vms_on=_by_host(vms),
        unprotected={identity: why for identity, why in reasons.items() if why is not None},
        datastores=datastores,
        storage=storage,
        servers=servers,
        observer_isolated=cut_off,
        watched={name: _no_earlier(record.read_at, watching_since) for name, record in records.items()},
    )
    brake = apply_brake(memory.brake, {name: _for_brake(host, cluster) for name, host in hosts.items()}, policy, now)
    fences = choose_fences(cluster, brake)
    recovery = plan_recovery(cluster)
    actions: tuple[Action, ...] = (*fences.fences, *recovery.failovers, *recovery.restarts)
    # One look dates no progress: what moved since an earlier run's look may have stopped before this one.
    first_look = memory.run_id != run_id
    still_open = any(_open(host, policy) for host in hosts.values()) or (policy.mode is Mode.ACT and _acts(actions))
    settled = not first_look and not still_open
    return Decision(
        taken_at=now,
        mode=policy.mode,
        hosts=tuple(_verdict(host) for host in hosts.values()),
        alarms=_unique([*raise_alarms(cluster), *vm_alarms, *fences.alarms, *recovery.alarms]),
        held=(*fences.held, *recovery.held),
        actions=actions,
        memory=replace(
            memory,
            run_id=run_id,
            looked_at=now,
            watching_since=watching_since,
            hosts=tuple(records[name] for name in sorted(records)),
            vms=vms,
            datastores=tuple(datastores[uuid] for uuid in sorted(datastores)),
            storage=storage,
            brake=brake.record,
        ),
        settled=settled,
        next_sample_in=_next_sample(policy, settled),
    )


def _judge_all(
    policy: Policy, memory: Memory, observation: Observation, now: Instant, run_id: str
) -> tuple[dict[str, HostState], dict[str, Told], bool]:
    """Every host's evidence, fence, verdict and confirmation."""
    names = sorted(set(policy.hosts) | {host.name for host in observation.hosts})
    seen = {host.name: host for host in observation.hosts}
    evidence = {name: gather(name, observation, memory, policy, now) for name in names}
    fences = {name: fence_state(name, observation, memory.host(name), evidence[name], policy) for name in names}
    unfenced = [name for name in names if not fences[name].listed and evidence[name].taken_at is not None]
    cut_off = observer_isolated(tuple(probe.answers for probe in observation.isolation), tuple(evidence[name].answers for name in unfenced))
    told = {name: hear(memory.host(name), seen.get(name), observation.events, policy) for name in names}
    same_run = memory.run_id == run_id
    hosts = {}
    for name in names:
        judgement, confirmation = _judge_one(told[name].record, evidence[name], fences[name], cut_off, same_run, policy)
        hosts[name] = HostState(
            policy=policy.host(name),
            seen=seen.get(name),
            evidence=evidence[name],
            judgement=judgement,
            confirmation=confirmation,
            fence=fences[name],
            has_bmc=policy.host(name).has_bmc or told[name].record.has_bmc,
            restarted=told[name].restarted,
        )
    return hosts, told, cut_off


def _judge_one(
    record: HostRecord, evidence: HostEvidence, fence: FenceState, cut_off: bool, same_run: bool, policy: Policy
) -> tuple[Judgement, Confirmation]:
    if fence.listed:
        verdict = Verdict.FENCED if fence.confirmed else Verdict.FENCING
        record = replace(record, verdict=verdict.value, since=None, samples=0, last_sample=None, condemned=False)
        return Judgement(verdict, 0, fence.missing or "on the fence list"), Confirmation(record, True, 0.0, 0.0)
    judgement = judge_host(evidence, cut_off)
    condemned = leads_to_fence(judgement.verdict, policy)
    return judgement, confirm(record, evidence, judgement, condemned, same_run, policy)


def _remember_host(host: HostState, had: Mapping[str, tuple[str, ...]], read: frozenset[str], now: Instant) -> HostRecord:
    record = host.record
    return replace(
        record,
        has_bmc=host.has_bmc,
        datastores=had.get(host.name, ()),
        sessions=host.evidence.sessions,
        read_at=now if host.name in read and not host.is_fenced and host.evidence.fresh else record.read_at,
        fenced=host.fence.on_a_list,
        confirmed_off="" if host.fence.let_in_again else record.confirmed_off,
    )


def _by_host(vms: tuple[VmRecord, ...]) -> dict[str, tuple[VmRecord, ...]]:
    found: dict[str, list[VmRecord]] = {}
    for vm in vms:
        found.setdefault(vm.host, []).append(vm)
    return {host: tuple(mine) for host, mine in found.items()}


def _watching_since(memory: Memory, now: Instant, policy: Policy) -> Instant:
    gap = now.since(memory.looked_at)
    unbroken = gap is not None and 0 <= gap <= policy.confirm_after
    return memory.watching_since if unbroken and memory.watching_since is not None else now


def _no_earlier(instant: Instant | None, than: Instant) -> bool:
    age = than.since(instant)
    return age is not None and age <= 0


def _for_brake(host: HostState, cluster: Cluster) -> HostForBrake:
    return HostForBrake(
        condemned=not host.is_fenced and leads_to_fence(host.verdict, cluster.policy),
        answers=host.verdict.works,
        proved_off=host.judgement.certain or (host.is_fenced and host.evidence.power is Power.OFF),
        fenced=host.is_fenced,
        maintenance=host.record.maintenance and not cluster.protected_on(host.name),
    )


def _open(host: HostState, policy: Policy) -> bool:
    """Whether more looks at this host, soon, can change the decision by themselves."""
    if host.is_fenced:
        return False
    if host.evidence.pending:
        return True
    if rebooting(host.record, host.evidence.taken_at, policy) is not None:
        return True
    return not host.verdict.works and not host.confirmation.confirmed


def _acts(actions: tuple[Action, ...]) -> bool:
    return any(action.kind == "fence" or bool(getattr(action, "vms", ())) for action in actions)


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
        since=host.record.since,
        samples=host.record.samples,
        api=host.evidence.api,
        ping=host.evidence.ping,
        power=host.evidence.power,
        storage=host.evidence.targets,
        fenceable=not host.unfenceable,
    )


def _unique(alarms: list[Alarm]) -> tuple[Alarm, ...]:
    return tuple({alarm.key: alarm for alarm in sorted(alarms, key=lambda item: item.key)}.values())
