# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The second half of the answer to a lost host: its VMs start again, elsewhere.

Invariant: a VM is planned on another host only if, in this very look, its recorded host's fence is confirmed on every
storage server and its execution there is proved stopped - or cannot be proved either way on a host that has no power fencing
and cannot be reached, which is the one exception and comes with an alarm. A VM that is seen running on any host
that is not fenced is recorded there and is therefore none of this module's business.

Memory may be old: if a VM's host was lost before this watch began, the VM may have moved since to a host
that cannot be read now. It is then held until that host can be read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..decision import Alarm, Cause, FailoverAction, Held, PlannedMove, PlannedVm, Refusal, Severity, UnplacedVm, Way
from ..hosts.duplicates import duplicate_possible
from ..hosts.fence_coverage import fence_gap
from ..hosts.fencing import Execution, execution
from ..memory import Desired, VmRecord
from ..observations import Power, split_path
from ..placement.capacity import wish_for
from ..placement.place import Place, Wish
from ..state import Cluster, HostState
from ..tries import waits


@dataclass
class Source:
    """What is to be recovered from one fenced host."""

    host: HostState
    wishes: list[Wish] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)  # VM id -> how execution was proved stopped, or why it cannot be
    doubtful: list[str] = field(default_factory=list)  # names of VMs that may still execute there


@dataclass
class Findings:
    """What is not done, and what the operator should hear, while a plan is made."""

    held: list[Held] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    soon: set[str] = field(default_factory=set)  # ids of VMs that are held for some seconds only


def sources(cluster: Cluster, out: Findings) -> dict[str, Source]:
    """What is to be started elsewhere, by fenced host."""
    return {host.name: _source(host, cluster, out) for host in cluster.hosts.values() if host.fence.listed}


def _source(host: HostState, cluster: Cluster, out: Findings) -> Source:
    source = Source(host)
    for vm in cluster.vms_on.get(host.name, ()):
        if vm.desired is Desired.DISABLED or not (host.is_fenced or cluster.servers_of(vm) & set(host.fence.servers)):
            continue
        why = cluster.unprotected.get(vm.id)
        if why is not None:
            out.held.append(Held("failover", vm.id, "%s was on %s and is not failed over: %s" % (vm.name, host.name, why.reason)))
            continue
        reason = _why_wait(vm, host, cluster)
        if reason:
            out.held.append(Held("failover", vm.id, "%s was on %s; %s" % (vm.name, host.name, reason)))
            continue
        state, how = execution(vm.id, host.evidence, host.seen, host.has_bmc, host.record.confirmed_off, cluster.observation)
        if state is Execution.HOLD and vm.desired is Desired.STARTED:
            out.held.append(Held("failover", vm.id, "%s may still execute on %s: %s" % (vm.name, host.name, how)))
            continue
        if state is Execution.CANNOT_TELL and vm.desired is Desired.STARTED:
            source.doubtful.append(vm.name)
        source.stopped[vm.id] = how
        source.wishes.append(wish_for(vm, cluster))
    return source


def _why_wait(vm: VmRecord, host: HostState, cluster: Cluster) -> str:
    pause = waits(vm, cluster.now)
    if pause > 0:
        return "it is tried again in %.0f s: %s" % (pause, vm.tries.reason)
    gap = fence_gap(host.fence, cluster.servers_of(vm))
    if gap:
        return "nothing starts before the fence is confirmed (%s)" % gap
    if host.unfenceable:
        return "the fence proves nothing: %s is unfenceable, %s" % (host.name, host.unfenceable)
    if cluster.watched.get(host.name, False):
        return ""
    unread = [name for name, other in sorted(cluster.hosts.items()) if name != host.name and _may_have_it(other, host, cluster)]
    if unread:
        return "that was recorded before the monitor was away; it may have moved to %s since, which cannot be read now" % ", ".join(unread)
    return ""


def _may_have_it(other: HostState, source: HostState, cluster: Cluster) -> bool:
    """Whether a VM may have moved from *source* to *other* unseen: not if *other* was out of reach before *source* was."""
    if other.is_fenced or cluster.observation.was_read(other.name) or other.evidence.power is Power.OFF:
        return False
    if source.record.read_at is None or other.record.read_at is None:
        return True
    earlier = source.record.read_at.since(other.record.read_at)
    return earlier is None or earlier <= 0


def failover(source: Source, places: list[Place], out: Findings) -> FailoverAction:
    host = source.host
    reasons = ["%s is fenced, %s" % (host.name, host.fence_proof)]
    if source.doubtful:
        alarm = duplicate_possible(host.name, source.doubtful)
        reasons.append(alarm.text)
        out.alarms.append(alarm)
    proof = "fenced %s" % host.fence_proof if host.fence.by_word else "fence confirmed"
    planned = tuple(planned_vm(item, host.name, source.stopped[item.wish.vm.id], proof) for item in places if item.host)
    nowhere = tuple(unplaced(item, out) for item in places if not item.host)
    return FailoverAction(host.name, planned, nowhere, bool(source.doubtful), tuple(reasons))


def unplaced(item: Place, out: Findings) -> UnplacedVm:
    """A VM that no host takes, with each host's reason: it is planned anew at each look."""
    vm = item.wish.vm
    refusals = tuple(Refusal(name, reason) for name, reason in item.refusals)
    text = "%s finds no host: %s" % (vm.name, "; ".join("%s: %s" % (refusal.host, refusal.reason) for refusal in refusals))
    out.held.append(Held("failover", vm.id, text))
    out.alarms.append(Alarm("unplaced:%s" % vm.id, Severity.CRITICAL if item.wish.power_on else Severity.WARNING, vm.name, text))
    return UnplacedVm(vm.id, vm.name, refusals)


def planned_vm(item: Place, source: str, stopped: str, fence: str = "fence confirmed") -> PlannedVm:
    """One VM of a failover from *source*; *stopped* says how its execution there was proved to have ended, *fence* why it cannot write."""
    vm = item.wish.vm
    path = split_path(vm.path)[1]
    others = "; ".join("%s: %s" % refusal for refusal in item.refusals if refusal[0] != source)
    reason = "vm %s -> %s: %s %s, %s" % (vm.name, item.host, source, fence, stopped)
    if not item.wish.power_on:
        reason += "; only registered, it was not running"
    return PlannedVm(
        id=vm.id,
        name=vm.name,
        path=path,
        datastore_uuid=vm.id.partition(":")[0],
        datastore=item.datastore,
        vmx="[%s] %s" % (item.datastore, path),
        source=source,
        destination=item.host,
        power_on=item.wish.power_on,
        memory=vm.memory,
        cpu=vm.cpu,
        priority=item.wish.priority,
        reasons=(reason,) + ((others,) if others else ()),
    )


def planned_move(item: Place, cause: Cause, reason: str, *, way: Way = Way.REGISTER, untold: Collection[str] = ()) -> PlannedMove:
    """One VM of a move from where it is recorded to where *item* places it. *reason* is followed by why other hosts do not
    take it, but for the hosts *untold*."""
    vm = item.wish.vm
    planned = planned_vm(item, vm.host, "")
    refusals = "; ".join("%s: %s" % refusal for refusal in item.refusals if refusal[0] not in untold)
    return PlannedMove(
        id=vm.id,
        name=vm.name,
        path=planned.path,
        datastore_uuid=planned.datastore_uuid,
        datastore=planned.datastore,
        vmx=planned.vmx,
        source=vm.host,
        destination=item.host,
        running=way is not Way.REGISTER,
        way=way,
        power_on=item.wish.power_on,
        cause=cause,
        reasons=(reason,) + ((refusals,) if refusals else ()),
    )
