# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first half of the answer to a lost host: the fence.

Invariant: a host is newly fenced only for a confirmed verdict that leads to a fence, with the brake free, the observer not
cut off, and the fence meaning something; a host whose VMs still work (isolated, agent hung) only when they can be stopped,
or the policy names it. A fence that exists but is not complete is repeated for ever, whatever the
verdict: repeating it takes nothing from anybody that was not taken before.

Nothing starts here; ``recover`` starts VMs, in a later look, when the fence has been *seen*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..answers import ApiAnswer, Evidence
from ..decision import Alarm, FenceAction, Held, Severity
from ..evidence import HostEvidence
from ..machine import without_shared
from ..memory import Desired, VmRecord
from ..observations import Power, split_path
from ..placement.capacity import rooms_for, running_on, wish_for
from ..placement.place import place
from ..policy import IsolationMode
from ..state import Cluster, HostState, leads_to_fence
from ..verdict import Verdict
from .brake import Brake
from .fencing import Execution, execution, initiators_to_fence
from .host_reports import rebooting

FENCING = 10.0  # s that a fence under way may take before what it lacks is an alarm


@dataclass
class Responses:
    fences: list[FenceAction] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)


def choose_fences(cluster: Cluster, brake: Brake) -> Responses:
    """The fences to apply or repeat now, and those held with their reasons."""
    out = Responses()
    for host in cluster.hosts.values():
        if host.fence.listed:
            _repeat(host, cluster, out)
        if not host.is_fenced and leads_to_fence(host.verdict, cluster.policy):
            _begin(host, cluster, brake, out)
    if brake.held:
        out.alarms.append(Alarm("brake", Severity.CRITICAL, "cluster", brake.text))
    return out


def _begin(host: HostState, cluster: Cluster, brake: Brake, out: Responses) -> None:
    if not host.confirmation.confirmed:
        out.held.append(Held("fence", host.name, "%s; waiting for confirmation: %s" % (host.text, host.confirmation.waiting)))
        return
    if host.name in cluster.awaited:  # an alarm says so of all of them
        why = "everything is being shut down" if cluster.goes_down else "it is late after all power was away"
        out.held.append(Held("fence", host.name, "%s; not fenced: %s" % (host.text, why)))
        return
    if cluster.out_of_service(host.name):  # somebody works on it: no cause for an alarm
        out.held.append(Held("fence", host.name, "%s; not fenced: it is in maintenance and no protected VM is recorded there" % host.text))
        return
    reason = _why_not(host, cluster, brake)
    if reason:
        out.held.append(Held("fence", host.name, "%s; not fenced: %s" % (host.text, reason)))
        out.alarms.append(Alarm("held:%s" % host.name, Severity.CRITICAL, host.name, "%s; not fenced: %s" % (host.text, reason)))
        return
    # A host that lost only its storage and still listens is asked to stop those VMs; it is switched off if that fails.
    listens = host.verdict is Verdict.STORAGE_LOST and _answers_api(host)
    servers = lost_servers(host) if host.verdict is Verdict.STORAGE_PARTLY_LOST else cluster.servers
    power = host.can_be_switched and not listens and host.verdict is not Verdict.STORAGE_PARTLY_LOST
    out.fences.append(fence_action(host, cluster, servers, power=power, reasons=(host.text, host.judgement.reason)))


def _why_not(host: HostState, cluster: Cluster, brake: Brake) -> str:
    policy = cluster.policy
    protected = cluster.protected_on(host.name)
    if cluster.observer_isolated:
        return "the observer itself is cut off"
    if brake.stops(host.name):
        return "the brake holds: %s" % brake.text
    grace = rebooting(host.record, host.evidence.taken_at, policy)
    if grace is not None:
        return "it reboots in order and is given %.0f s more to come back" % grace
    if host.unfenceable:
        return "it is unfenceable: %s" % host.unfenceable
    if host.verdict is Verdict.STORAGE_PARTLY_LOST:
        return _why_not_partly(host, cluster)
    if host.verdict in (Verdict.ISOLATED, Verdict.AGENT_HUNG):
        return _why_leave_running(host, cluster, protected)
    return ""


def _why_not_partly(host: HostState, cluster: Cluster) -> str:
    """A fence takes a whole storage server from a host: it must take nothing that works, and must help a VM."""
    servers = lost_servers(host)
    if not servers:
        return "its other targets on the same storage server still work, and a fence would take those too; move its VMs away"
    if not cluster.lost_on(host.name, servers):
        return "no protected VM on it lies wholly on %s" % ", ".join(servers)
    return ""


def lost_servers(host: HostState) -> tuple[str, ...]:
    """The storage servers of which a working host has lost every target."""
    by_server: dict[str, list[bool]] = {}
    for target in host.evidence.targets:
        by_server.setdefault(target.server, []).append(target.state is Evidence.FAILED and target.accessible is False)
    return tuple(sorted(name for name, lost in by_server.items() if all(lost)))


def _why_leave_running(host: HostState, cluster: Cluster, protected: list[VmRecord]) -> str:
    """Its VMs run and write: taking it away must be able to stop them, and must be worth it."""
    if not host.has_bmc and host.name not in cluster.policy.allow_unstopped_source:
        return "its VMs still run, it has no BMC to stop them, and allow_unstopped_source does not name it"
    if cluster.policy.isolation_mode is IsolationMode.CONSERVATIVE:
        wishes = [wish_for(vm, cluster) for vm in protected if vm.desired is Desired.STARTED]
        if not any(item.host for item in place(wishes, rooms_for(cluster), cluster.rules, running_on(cluster))):
            return "none of its running protected VMs can be placed elsewhere (isolation_mode: conservative)"
    return ""


def _repeat(host: HostState, cluster: Cluster, out: Responses) -> None:
    """A fenced host: complete its fence, and stop what still executes there and is to start elsewhere."""
    reasons: list[str] = []
    if host.fence.admitted:
        reasons.append("%s is fenced and yet admitted: %s" % (host.name, host.fence.missing))
        out.alarms.append(Alarm("fence_undone:%s" % host.name, Severity.CRITICAL, host.name, reasons[-1] + "; it is fenced again"))
    elif (not host.fence.confirmed and not _is_being_fenced(host, cluster)) or host.fence.by_word:
        reasons.append("the fence of %s is not confirmed: %s" % (host.name, host.fence.missing or host.fence.by_word))
        then = "nothing starts until it is" if len(cluster.servers) < 2 else "no VM with files there starts until it is"
        if host.fence.confirmed:
            then = "its VMs start elsewhere all the same, on the word of %s" % host.record.confirmed_off
        out.alarms.append(
            Alarm("fence_open:%s" % host.name, Severity.CRITICAL, host.name, "%s; it is repeated, and %s" % (reasons[-1], then))
        )
    executing = unstopped(host, cluster)
    if executing:
        text = "%s is fenced, but %s may still execute there: %s" % (
            host.name,
            ", ".join(vm.name for vm, _why in executing),
            executing[0][1],
        )
        reasons.append(text)
        if not _is_being_fenced(host, cluster):  # which is about to stop them
            text += "; nothing of it is started elsewhere until it is stopped"
            out.alarms.append(Alarm("not_stopped:%s" % host.name, Severity.CRITICAL, host.name, text))
    if reasons:
        # A host that is being let in again had its power cut for that already.
        rejoins = host.record.rejoin is not None and host.record.rejoin.cycled_at is not None
        power = host.has_bmc and host.is_fenced and bool(executing) and host.evidence.power is not Power.OFF and not rejoins
        out.fences.append(fence_action(host, cluster, cluster.servers if host.is_fenced else host.fence.servers, power, tuple(reasons)))


def _is_being_fenced(host: HostState, cluster: Cluster) -> bool:
    """Whether its first fence is still under way: what is missing yet is no news, and no cause for an alarm."""
    lasted = cluster.now.since(host.record.since)
    fresh = lasted is not None and lasted < FENCING
    return fresh and any(act.host == host.name and not act.vm and not act.mode for act in cluster.observation.in_progress)


def unstopped(host: HostState, cluster: Cluster) -> list[tuple[VmRecord, str]]:
    """VMs that should run elsewhere, or do, but may still execute on their fenced host, with the reason."""
    found = []
    mine = cluster.protected_on(host.name) if host.is_fenced else cluster.lost_on(host.name, host.fence.servers)
    for vm in mine:
        if vm.desired is Desired.STARTED:
            state, why = executes(vm, host, cluster)
            if state is Execution.HOLD:
                found.append((vm, why))
    return found + _left_over(host, cluster)


def _left_over(host: HostState, cluster: Cluster) -> list[tuple[VmRecord, str]]:
    """VMs that run elsewhere by now and that a fenced host, found again, lists as running: it froze, and does not know.

    Also those that an operator took out of HA since: their twin there is none of his wishes.
    """
    if not cluster.observation.was_read(host.name) or not _answers_api(host):
        return []
    listed = [item for item in cluster.observation.listed_on(host.name) if item.power is Power.ON]
    if not listed:
        return []
    names = {item.id for item in listed}
    paths = {split_path(item.path)[1] for item in listed if not item.accessible}
    return [
        (vm, "its own API says that %s runs, which was started on %s since" % (vm.name, vm.host))
        for vm in cluster.vms
        if vm.host != host.name
        and (vm.id in names or vm.id.partition(":")[2] in paths)
        and cluster.servers_of(vm) & set(host.fence.servers)
    ]


def executes(vm: VmRecord, host: HostState, cluster: Cluster) -> tuple[Execution, str]:
    evidence: HostEvidence = host.evidence
    return execution(vm.id, evidence, host.seen, host.has_bmc, host.record.confirmed_off, cluster.observation)


def fence_action(host: HostState, cluster: Cluster, servers: tuple[str, ...], power: bool, reasons: tuple[str, ...]) -> FenceAction:
    """The fence of *host* at *servers*, with all that it takes."""
    lost = cluster.protected_on(host.name) if servers == cluster.servers else cluster.lost_on(host.name, servers)
    recorded = [vm.id for vm in lost if vm.desired is Desired.STARTED]
    recorded += [vm.id for vm, _why in _left_over(host, cluster)] if host.fence.listed else []
    machines, _shared = without_shared({name: other.record.machine for name, other in cluster.hosts.items()})
    return FenceAction(
        host=host.name,
        initiators=initiators_to_fence(host.name, cluster.policy, host.fence),
        storage=servers,
        power=power,
        stop=bool(recorded) and host.evidence.answers,
        vms=tuple(recorded),
        reasons=reasons,
        machine=machines[host.name],
    )


def _answers_api(host: HostState) -> bool:
    seen: Optional[ApiAnswer] = host.seen.api_answer if host.seen is not None else None
    return seen is ApiAnswer.ANSWERED
