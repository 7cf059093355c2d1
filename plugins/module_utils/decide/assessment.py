# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look put together: every host judged, every VM recorded, before anything is answered.

Memory fills in what a lost host cannot tell any more; whatever can be asked now is taken from this look alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..instant import Instant
from .answers import Evidence
from .decision import Alarm
from .evidence import HostEvidence
from .hosts.cold_start import alive_in, awaited_hosts, cold_start
from .hosts.confirm import confirm
from .hosts.duplicates import still_doubtful
from .hosts.evidence import gather, judge_host
from .hosts.fencing import fence_state, storage_servers
from .hosts.freshness import without_old_looks
from .hosts.host_reports import HostReport, read_report, remember_datastores, remember_storage
from .hosts.mapping import distrust
from .hosts.precondition import Datastores, index_initiators, sort_datastores, unfenceable, unprotected, unprotected_by_policy
from .hosts.shutdown import awaited_hosts as awaited_after_shutdown
from .hosts.shutdown import follow
from .hosts.verdict import observer_isolated
from .memory import HostRecord, HostShutdownRecord, Memory, VmRecord, servers_of
from .observations import HostObservation, Observation
from .placement.rules import compile_rules
from .policy import Policy
from .replacing import replace
from .state import Cluster, Confirmation, FenceState, HostState, Unprotected, leads_to_fence
from .tries import results_of
from .verdict import Judgement, Verdict
from .vms.annotations import annotate
from .vms.inventory import update_vms


@dataclass(frozen=True)
class Assessment:
    cluster: Cluster
    alarms: tuple[Alarm, ...]  # about single VMs
    hung: Mapping[str, list[VmRecord]]  # running VMs without signs of life, by host
    watching_since: Instant
    cold_start: str  # the decider's boot at which all power had been away; see ``hosts/cold_start``


def assess(policy: Policy, memory: Memory, observation: Observation, now: Instant, run_id: str) -> Assessment:
    """Judge one look; the arguments are those of :func:`decide.decide`."""
    observation, wrong_bmcs = distrust(without_old_looks(observation, now, policy), memory, policy)
    hosts, reports, cut_off = _judge_all(policy, memory, observation, now, run_id, wrong_bmcs)
    verdicts = {name: host.verdict for name, host in hosts.items()}
    results = results_of(observation.results)
    shutdown, marks = follow(memory, hosts, policy, now)
    goes_down = shutdown is not None and not shutdown.ended
    seen_vms, vm_alarms = update_vms(memory, observation, verdicts, reports, results, now, goes_down)
    seen_vms, vm_alarms = _without_the_fenced(memory, seen_vms, vm_alarms, hosts)
    vms, hung = annotate(memory, observation, seen_vms, verdicts, reports, results, policy, now)
    working = [name for name, host in hosts.items() if host.evidence.storage is Evidence.OK]
    datastores, had = remember_datastores(memory, observation, working)
    storage = remember_storage(memory, observation)
    servers = storage_servers(policy, observation)
    watching_since = _watching_since(memory, now, policy, run_id)
    records = {name: _remember_host(host, had, observation, now, marks.get(name)) for name, host in hosts.items()}
    initiators = index_initiators(policy, records, storage)
    hosts = {
        name: replace(
            host,
            confirmation=replace(host.confirmation, record=records[name]),
            unfenceable=unfenceable(name, policy, records, storage, servers, initiators),
        )
        for name, host in hosts.items()
    }
    boot = cold_start(memory, hosts.values(), policy, now)
    cluster = Cluster(
        policy=policy,
        observation=observation,
        hosts=hosts,
        vms=vms,
        vms_on=_by_host(vms),
        unprotected=_unprotected(vms, policy, sort_datastores(datastores, storage)),
        datastores=datastores,
        storage=storage,
        servers=servers,
        observer_isolated=cut_off,
        watched={name: _no_earlier(record.read_at, watching_since) for name, record in records.items()},
        now=now,
        rules=compile_rules(policy, vms),
        awaited=awaited_hosts(memory, hosts, boot) | awaited_after_shutdown(shutdown, marks, memory),
        shutdown=shutdown,
    )
    return Assessment(cluster, tuple(vm_alarms), hung, watching_since, boot)


def _without_the_fenced(
    memory: Memory, vms: tuple[VmRecord, ...], alarms: list[Alarm], hosts: Mapping[str, HostState]
) -> tuple[tuple[VmRecord, ...], list[Alarm]]:
    """A host that works, but is fenced at a storage server, has no say about the VMs that lie there: they stay as they were."""
    partly = {name: host.fence for name, host in hosts.items() if host.fence.listed and not host.is_fenced}
    if not partly:
        return vms, alarms
    stores = {record.uuid: record for record in memory.datastores}
    unchanged = {}
    for vm in memory.vms:
        fence = partly.get(vm.host)
        if fence is not None and servers_of(vm, stores, memory.storage) & set(fence.servers):
            unchanged[vm.id] = vm
    after = tuple(unchanged[vm.id] if vm.id in unchanged and vm.host == unchanged[vm.id].host else vm for vm in vms)
    lost = [vm for identity, vm in unchanged.items() if identity not in {vm.id for vm in after}]
    return tuple(sorted((*after, *lost), key=lambda vm: vm.id)), [alarm for alarm in alarms if alarm.key.partition(":")[2] not in unchanged]


def _judge_all(
    policy: Policy, memory: Memory, observation: Observation, now: Instant, run_id: str, wrong_bmcs: Mapping[str, str]
) -> tuple[dict[str, HostState], dict[str, HostReport], bool]:
    """Every host's evidence, fence, verdict and confirmation."""
    names = sorted(set(policy.hosts) | {host.name for host in observation.hosts})
    seen = {host.name: host for host in observation.hosts}
    evidence = {name: gather(name, observation, memory, policy, now) for name in names}
    fences = {name: fence_state(name, observation, memory.host(name), evidence[name], policy) for name in names}
    unfenced = [name for name in names if not fences[name].listed and evidence[name].taken_at is not None]
    cut_off = observer_isolated(tuple(probe.answers for probe in observation.isolation), tuple(evidence[name].answers for name in unfenced))
    reports = {
        name: read_report(
            memory.host(name),
            seen.get(name) if evidence[name].fresh else None,
            observation.events_of(name),
            policy,
            observation.events_unread(name),
        )
        for name in names
    }
    same_run = memory.run_id == run_id
    hosts = {}
    for name in names:
        judgement, confirmation = _judge_one(reports[name].record, evidence[name], fences[name], cut_off, same_run, policy, now)
        hosts[name] = HostState(
            name=name,
            policy=policy.host(name),
            seen=seen.get(name),
            evidence=evidence[name],
            judgement=judgement,
            confirmation=confirmation,
            fence=fences[name],
            has_bmc=_has_bmc(name, policy, reports[name].record, seen.get(name)) and name not in wrong_bmcs,
            wrong_bmc=wrong_bmcs.get(name, ""),
            restarted=reports[name].restarted,
        )
    return hosts, reports, cut_off


def _has_bmc(name: str, policy: Policy, record: HostRecord, seen: Optional[HostObservation]) -> bool:
    """Whether it has one that can prove that it is off."""
    return (policy.host(name).has_bmc or record.has_bmc) and not (seen is not None and seen.proves_no_off)


def _judge_one(
    record: HostRecord, evidence: HostEvidence, fence: FenceState, cut_off: bool, same_run: bool, policy: Policy, now: Instant
) -> tuple[Judgement, Confirmation]:
    if fence.whole:
        verdict = Verdict.FENCED if fence.confirmed else Verdict.FENCING
        since = record.since if record.verdict in (Verdict.FENCED.value, Verdict.FENCING.value) else evidence.taken_at
        record = replace(record, verdict=verdict.value, since=since, samples=0, last_sample=None, condemned=False, silences=())
        return Judgement(verdict, 0, fence.missing or "on the fence list"), Confirmation(record, True, 0.0, 0.0)
    judgement = judge_host(evidence, cut_off)
    if fence.listed and judgement.verdict is Verdict.HEALTHY:
        judgement = Judgement(Verdict.DEGRADED, judgement.row, "it is fenced at %s, where it lost its storage" % ", ".join(fence.servers))
    condemned = leads_to_fence(judgement.verdict, policy)
    return judgement, confirm(record, evidence, judgement, condemned, same_run, policy, now)


def _remember_host(
    host: HostState, had: Mapping[str, tuple[str, ...]], observation: Observation, now: Instant, shut_down: Optional[HostShutdownRecord]
) -> HostRecord:
    record = host.record
    return replace(
        record,
        shut_down=shut_down,
        has_bmc=host.has_bmc,
        wrong_bmc=host.wrong_bmc,
        alive_in=alive_in(record, host.evidence, now),
        datastores=had.get(host.name, ()),
        sessions=host.evidence.sessions,
        read_at=_read_at(host, observation, now),
        fenced=host.fence.on_a_list,
        fenced_at=host.fence.servers,
        fence_scope=record.fence_scope if host.fence.listed else (),
        doubtful=still_doubtful(host, observation),
        confirmed_off="" if host.fence.let_in_again else record.confirmed_off,
        removal=None if host.fence.let_in_again else record.removal,
        gone=False,
    )


def _read_at(host: HostState, observation: Observation, now: Instant) -> Optional[Instant]:
    if not observation.was_read(host.name) or host.is_fenced or not host.evidence.fresh:
        return host.record.read_at
    listed = observation.listed_on(host.name) if host.evidence.sampled is not None else ()
    return listed[0].taken_at if listed else now


def _by_host(vms: tuple[VmRecord, ...]) -> dict[str, tuple[VmRecord, ...]]:
    found: dict[str, list[VmRecord]] = defaultdict(list)
    for vm in vms:
        found[vm.host].append(vm)
    return {host: tuple(mine) for host, mine in found.items()}


def _watching_since(memory: Memory, now: Instant, policy: Policy, run_id: str) -> Instant:
    """Looks follow each other without a gap in which somebody else may have acted. Within one run, which holds the lease
    all the time, its own acts may take as long as they are allowed to."""
    gap = now.since(memory.looked_at)
    allowed = policy.confirm_after + (policy.failover.start_bound if memory.run_id == run_id else 0.0)
    unbroken = gap is not None and 0 <= gap <= allowed
    return memory.watching_since if unbroken and memory.watching_since is not None else now


def _no_earlier(instant: Instant | None, than: Instant) -> bool:
    age = than.since(instant)
    return age is not None and age <= 0


def _unprotected(vms: Iterable[VmRecord], policy: Policy, datastores: Datastores) -> dict[str, Unprotected]:
    found = {}
    named, safe = policy.vms, datastores.safe
    by_default = unprotected_by_policy(policy.vm("", "")) is None
    for vm in vms:
        # Most VMs are named nowhere and lie on our targets: for them this is all that has to be asked.
        if by_default and vm.files and not vm.ignored and vm.name not in named and vm.id not in named:
            for item in vm.files:
                if item.datastore_uuid not in safe:
                    break
            else:
                continue
        why = Unprotected("an operator took it out of HA (ignore)", True) if vm.ignored else unprotected(vm, policy, datastores)
        if why is not None:
            found[vm.id] = why
    return found
