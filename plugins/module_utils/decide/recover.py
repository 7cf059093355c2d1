# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The second half: VMs start again, elsewhere or where they were.

Invariant: a VM is planned on another host only if, in this very look, its recorded host's fence is confirmed on every
storage server and its execution there is proved stopped - or cannot be proved either way on a host that has no power fencing
and cannot be reached, which is the one exception and comes with an alarm. A VM that is seen running on any host
that is not fenced is recorded there and is therefore none of this module's business.

Memory may be old: if a VM's host was lost before this watch began, the VM may have moved since to a host
that cannot be read now. It is then held until that host can be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .decision import Alarm, FailoverAction, Held, PlannedVm, Refusal, RestartAction, Severity, UnplacedVm
from .fencing import Execution, execution
from .memory import Desired, VmRecord
from .observations import Power, split_path
from .placement import Place, Room, Wish, place, room_on
from .policy import Policy
from .state import Cluster, HostState
from .verdict import Verdict

STARTING = 60.0  # s in which a host may not yet count a VM that was started there in its free memory


@dataclass
class Recovery:
    failovers: list[FailoverAction] = field(default_factory=list)
    restarts: list[RestartAction] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)


@dataclass
class _Source:
    """What is to be recovered from one fenced host."""

    host: HostState
    wishes: list[Wish] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)  # VM id -> how execution was proved stopped, or why it cannot be
    doubtful: list[str] = field(default_factory=list)  # names of VMs that may still execute there


def plan_recovery(cluster: Cluster) -> Recovery:
    """Failovers from all fenced hosts in one plan, and restarts on hosts that are back."""
    out = Recovery()
    if cluster.observer_isolated:
        return out
    sources = {host.name: _source(host, cluster, out) for host in cluster.hosts.values() if host.is_fenced}
    places = place([wish for source in sources.values() for wish in source.wishes], rooms_for(cluster))
    for name, source in sources.items():
        mine = [item for item in places if item.wish.vm.host == name]
        if mine:
            out.failovers.append(_failover(source, mine, out))
    for host in cluster.hosts.values():
        _restart(host, cluster, out)
    return out


def rooms_for(cluster: Cluster) -> dict[str, Room]:
    """The room on every host, with the reason where one takes no VM."""
    rooms = {}
    for name, host in sorted(cluster.hosts.items()):
        refuses = ""
        if host.is_fenced:
            refuses = "it is fenced"
        elif host.verdict is not Verdict.HEALTHY:
            refuses = "it is %s: %s" % (host.verdict.value, host.judgement.reason)
        elif not host.evidence.fresh:
            refuses = "its observation is old"
        if host.seen is None:
            rooms[name] = Room(name, refuses or "it was not looked at")
            continue
        starting = [vm for vm in cluster.vms_on.get(name, ()) if _just_started(vm)]
        rooms[name] = room_on(host.seen, refuses, starting)
    return rooms


def wish_for(vm: VmRecord, policy: Policy) -> Wish:
    return Wish(vm, policy.vm(vm.id, vm.name).priority, vm.desired is Desired.STARTED)


def _just_started(vm: VmRecord) -> bool:
    if vm.power is not Power.ON or vm.on_since is None or vm.seen_at is None:
        return False
    age = vm.seen_at.since(vm.on_since)
    return age is not None and 0 <= age < STARTING


def _source(host: HostState, cluster: Cluster, out: Recovery) -> _Source:
    source = _Source(host)
    for vm in cluster.vms_on.get(host.name, ()):
        why = cluster.unprotected.get(vm.id)
        if why is not None:
            out.held.append(Held("failover", vm.name, "%s was on %s and is not failed over: %s" % (vm.name, host.name, why.reason)))
            continue
        reason = _why_wait(vm, host, cluster)
        if reason:
            out.held.append(Held("failover", vm.name, "%s was on %s; %s" % (vm.name, host.name, reason)))
            continue
        state, how = execution(vm.id, host.evidence, host.seen, host.has_bmc, host.record.confirmed_off, cluster.observation)
        if state is Execution.HOLD and vm.desired is Desired.STARTED:
            out.held.append(Held("failover", vm.name, "%s may still execute on %s: %s" % (vm.name, host.name, how)))
            continue
        if state is Execution.CANNOT_TELL and vm.desired is Desired.STARTED:
            source.doubtful.append(vm.name)
        source.stopped[vm.id] = how
        source.wishes.append(wish_for(vm, cluster.policy))
    return source


def _why_wait(vm: VmRecord, host: HostState, cluster: Cluster) -> str:
    if not host.fence.confirmed:
        return "nothing starts before the fence is confirmed (%s)" % host.fence.missing
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
    if other.is_fenced or other.name in cluster.observation.vms_read or other.evidence.power is Power.OFF:
        return False
    if source.record.read_at is None or other.record.read_at is None:
        return True
    earlier = source.record.read_at.since(other.record.read_at)
    return earlier is None or earlier <= 0


def _failover(source: _Source, places: list[Place], out: Recovery) -> FailoverAction:
    host = source.host
    reasons = ["%s is fenced, confirmed on every storage server" % host.name]
    if host.fence.by_word:
        reasons = ["%s: confirmed off by %s (%s)" % (host.name, host.record.confirmed_off, host.fence.by_word)]
    if source.doubtful:
        text = "network duplicate possible: %s cannot be reached and has no power fencing, %s may still execute there without a disk"
        reasons.append(text % (host.name, ", ".join(source.doubtful)))
        out.alarms.append(Alarm("duplicate:%s" % host.name, Severity.CRITICAL, host.name, reasons[-1]))
    planned = tuple(_planned(item, host.name, source.stopped[item.wish.vm.id]) for item in places if item.host)
    unplaced = []
    for item in (item for item in places if not item.host):
        vm = item.wish.vm
        refusals = tuple(Refusal(name, reason) for name, reason in item.refusals)
        unplaced.append(UnplacedVm(vm.id, vm.name, refusals))
        text = "%s finds no host: %s" % (vm.name, "; ".join("%s: %s" % (item.host, item.reason) for item in refusals))
        out.held.append(Held("failover", vm.name, text))
        out.alarms.append(Alarm("unplaced:%s" % vm.id, Severity.CRITICAL if item.wish.power_on else Severity.WARNING, vm.name, text))
    return FailoverAction(host.name, planned, tuple(unplaced), bool(source.doubtful), tuple(reasons))


def _planned(item: Place, source: str, stopped: str) -> PlannedVm:
    vm = item.wish.vm
    path = split_path(vm.path)[1]
    others = "; ".join("%s: %s" % refusal for refusal in item.refusals if refusal[0] != source)
    reason = "vm %s -> %s: %s fence confirmed, %s" % (vm.name, item.host, source, stopped)
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


def _restart(host: HostState, cluster: Cluster, out: Recovery) -> None:
    """VMs that are down only because their host restarted start where they were; it needs no fence, nobody else has them."""
    if not host.verdict.works or host.seen is None or host.record.going_down or not host.evidence.fresh:
        return
    waiting = [vm for vm in cluster.vms_on.get(host.name, ()) if vm.restart and vm.desired is Desired.STARTED]
    waiting = [vm for vm in waiting if host.name in cluster.observation.vms_read]
    planned = []
    names = {store.uuid: store.name for store in host.seen.datastores if store.accessible}
    for vm in sorted(waiting, key=lambda item: (cluster.policy.vm(item.id, item.name).priority.rank, item.name)):
        why = cluster.unprotected.get(vm.id)
        home = vm.id.partition(":")[0]
        if why is not None and why.chosen:
            out.held.append(Held("restart", vm.name, "%s is not restarted on %s: %s" % (vm.name, host.name, why.reason)))
        elif host.record.maintenance:
            out.held.append(Held("restart", vm.name, "%s waits: %s is in maintenance mode" % (vm.name, host.name)))
        elif home not in names:
            out.held.append(Held("restart", vm.name, "%s waits: %s does not have its datastore yet" % (vm.name, host.name)))
        else:
            item = Place(wish_for(vm, cluster.policy), host.name, names[home], ())
            reason = "vm %s -> %s: its host restarted and is back" % (vm.name, host.name)
            planned.append(_as_restart(_planned(item, host.name, ""), reason))
    if planned:
        out.restarts.append(RestartAction(host.name, tuple(planned), ("%s restarted; its VMs start where they were" % host.name,)))


def _as_restart(vm: PlannedVm, reason: str) -> PlannedVm:
    return PlannedVm(**{**vm.__dict__, "reasons": (reason,)})
