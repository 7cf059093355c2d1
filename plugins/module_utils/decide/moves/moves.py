# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Planned moves of VMs between hosts that work: asked for by an operator, to empty a host, to keep rules, to come home.

Invariants: a move leaves from a host whose own list, read in this look, shows the VM there; it never leads to a host that
could not take the VM if it failed over (placement refuses the same things for both); moves of one look, taken together, break
no required rule and exceed no capacity, a moving VM counting on both of its hosts. A move that stops a running VM is made only if
a person asked for it, the policy's ``degraded_response`` did, or ``automatic_moves: all`` allows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..authorization import Orders
from ..decision import Alarm, Cause, Held, MoveAction, Severity
from ..forecast.admission import kept_for_failover
from ..memory import VmRecord
from ..observations import Power
from ..placement.candidates import refusals
from ..placement.capacity import rooms_for, running_on, takes_vms
from ..placement.place import Place
from ..policy import DegradedResponse
from ..replacing import replace
from ..state import Cluster, HostState
from ..verdict import Verdict
from ..vms.in_progress import unsettled
from ..vms.starts import Starts
from .failback import fail_back
from .moving import Moves, accept, by_source, moving, no_way, pause_of, refusal_of, stays, try_places, unit_of
from .rebalance import balance_load


def plan_moves(cluster: Cluster, starts: Starts, rebalance: str) -> Moves:
    """The moves to begin now. Those that nobody asked for wait until nothing has to be started."""
    out = Moves(rebalance=rebalance)
    if cluster.observer_isolated:
        return out
    ordered = [vm for vm in cluster.vms if vm.ordered]
    leaving = [host for host in cluster.hosts.values() if _is_to_be_emptied(host, cluster) and cluster.leads(host)]
    unasked = not starts.failovers and not starts.restarts and not starts.moves
    wrong = _misplaced(cluster) if unasked else []
    homesick = [vm for vm in cluster.vms if vm.home] if unasked else []
    failing_back = [host for host in cluster.hosts.values() if host.record.failback]
    even_out = bool(out.rebalance) and unasked and not starts.waiting
    if not (ordered or leaving or wrong or homesick or even_out or failing_back):
        return out
    out.rooms = starts.rooms or rooms_for(cluster)
    out.where = starts.running or running_on(cluster)
    for vm in ordered:
        _operators(vm, cluster, out)
    for host in leaving:
        _empty(host, cluster, out)
    for host in failing_back:
        fail_back(host, cluster, out)
    for vm in homesick:
        _return(vm, cluster, out)
    for vm in wrong:
        _correct(vm, cluster, out)
    if even_out and not out.planned:
        balance_load(cluster, out)
    out.actions = by_source(out.planned)
    return out


def note_homes(vms: tuple[VmRecord, ...], orders: Orders) -> tuple[VmRecord, ...]:
    """*vms* with the hosts to which they return when the maintenance for which *orders* move them away is over."""
    leaving = {vm.id: vm.source for action in orders.of(MoveAction) for vm in action.vms if vm.cause is Cause.MAINTENANCE}
    if not leaving:
        return vms
    return tuple(replace(vm, home=leaving[vm.id]) if vm.id in leaving and not vm.home else vm for vm in vms)


def _operators(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """An operator's migration, with all VMs that a required rule keeps together with it; all of them or none."""
    unit = [vm, *(replace(other, wanted_way=vm.wanted_way) for other in unit_of(vm, cluster)[1:])]
    only = frozenset((vm.wanted_host,)) if vm.wanted_host else _others(vm.host, cluster)
    places = try_places(unit, cluster, out, only=only)
    if not vm.wanted_host and all(item.host for item in places):  # from now on it is as if that host had been named
        vm = out.records[vm.id] = replace(vm, wanted_host=places[0].host)
    failed = vm.failed_move
    reason = failed.reason if failed is not None and failed.host == vm.wanted_host else "; ".join(_against(vm, places, cluster, out))
    if reason:
        text = "%s is not moved%s: %s" % (vm.name, " to %s" % vm.wanted_host if vm.wanted_host else "", reason)
        out.records[vm.id] = replace(vm, ordered=False, wanted_host="", wanted_way="", refused=text)
        out.held.append(Held("move", vm.id, text))
        out.alarms.append(Alarm("refused:%s" % vm.id, Severity.WARNING, vm.name, text))
        return
    accept(places, Cause.OPERATOR, "an operator wants it on %s" % vm.wanted_host, cluster, out)


def _others(source: str, cluster: Cluster) -> frozenset[str]:
    """The hosts that come into question where none is named: those that are not kept free for failovers."""
    return frozenset(cluster.hosts) - {source} - kept_for_failover(cluster.policy)


def _against(vm: VmRecord, places: Sequence[Place], cluster: Cluster, out: Moves) -> list[str]:
    """Everything that speaks against an operator's migration, so that one run names it all."""
    wanted, found = vm.wanted_host, []
    source = cluster.hosts.get(vm.host)
    if source is None or not cluster.leads(source):
        found.append("%s, where it is, is %s" % (vm.host, source.verdict.value if source is not None else "not known"))
    kept = kept_for_failover(cluster.policy) if not wanted or cluster.policy.admission_control.enforce else ()
    for name in (wanted,) if wanted else sorted(cluster.hosts.keys() - {vm.host}):
        if name in kept:
            found.append("%s is kept free for failovers (spare, or admission_control: failover_hosts)" % name)
        for item in places:
            who = "" if item.wish.vm.id == vm.id else "%s has to go with it, but " % item.wish.vm.name
            ways = no_way(item.wish.vm, name, cluster)
            why = _refused(item, name, out) or ([] if ways or name in kept else ["it takes no VM"])
            if not item.host and why:
                found.append("%s%s: %s" % (who, name, "; ".join(why)))
            found += ["%s%s" % (who, text) for text in ways]
    return list(dict.fromkeys(found))


def _refused(item: Place, host: str, out: Moves) -> list[str]:
    """Why *host* does not take it."""
    only = item.wish.only or frozenset()
    room = out.rooms.get(host)
    found = list(refusals(replace(item.wish, only=None), room)) if room is not None else []
    return list(dict.fromkeys([*found, *(text for name, text in item.refusals if name == host and host in only)]))


def _empty(host: HostState, cluster: Cluster, out: Moves) -> None:
    cause = Cause.MAINTENANCE if host.record.wanted_maintenance else Cause.PROACTIVE
    why = "%s is to be emptied for maintenance" % host.name
    if cause is Cause.PROACTIVE:
        why = "%s is degraded: %s" % (host.name, host.judgement.reason)
    going = [vm for vm in cluster.vms_on.get(host.name, ()) if vm.power is Power.ON and vm.id not in moving(out)]
    movable = []
    for vm in going:
        blocked = cluster.unprotected.get(vm.id)
        pause = pause_of(vm, cluster)
        if blocked is not None:
            stays(vm, "%s stays on %s: %s" % (vm.name, host.name, blocked.reason), out, alarm=not blocked.chosen)
        elif pause:
            stays(vm, "%s stays on %s, %s; %s" % (vm.name, host.name, why, pause), out, alarm=True)
        else:
            movable.append(replace(vm, wanted_way=host.record.maintenance_way))
    places, parted = _together_or_not(movable, cluster, out)
    for item in places:
        vm = item.wish.vm
        if not item.host:
            refused = dict.fromkeys(name for name, _text in item.refusals if name != host.name)
            reasons = "; ".join("%s: %s" % (name, refusal_of(item, name, cluster)) for name in refused)
            stays(vm, "%s stays on %s, %s, but no host takes it: %s" % (vm.name, host.name, why, reasons), out, alarm=True)
    for vm in parted:
        text = "%s stays on %s, %s, but VMs that a rule keeps together with it cannot leave" % (vm.name, host.name, why)
        stays(vm, text, out, alarm=True)
    accept([item for item in places if item.host], cause, why, cluster, out)


def _together_or_not(vms: Sequence[VmRecord], cluster: Cluster, out: Moves) -> tuple[list[Place], list[VmRecord]]:
    """Places for *vms*, and those that stay because others, which a required rule keeps together with them, find no place."""
    going, parted = list(vms), list[VmRecord]()
    unplaced: dict[str, Place] = {}
    while True:
        places = try_places(going, cluster, out)
        left = {item.wish.vm.id: item for item in places if not item.host}
        torn = [item.wish.vm for item in places if item.host and cluster.rules.kept_together(item.wish.vm.id) & left.keys()]
        if not torn:
            return [*places, *unplaced.values()], parted
        # Those without a place stay, and with them their whole group; the others are planned again, in the room that this leaves.
        unplaced.update(left)
        parted += torn
        stay = {vm.id for vm in torn} | left.keys()
        going = [vm for vm in going if vm.id not in stay]


def _return(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """Back to where it was before its host was emptied, as soon as that host takes VMs again."""
    home = cluster.hosts.get(vm.home)
    if home is None or (vm.host == vm.home and not home.record.wanted_maintenance):  # one that is still on its way out keeps its home
        out.records[vm.id] = replace(vm, home="")
        return
    source = cluster.hosts.get(vm.host)
    if not takes_vms(home, cluster.policy) or home.record.maintenance or source is None or not cluster.leads(source):
        return
    if vm.power is not Power.ON or vm.id in moving(out):
        return
    unit = unit_of(vm, cluster)
    places = try_places(unit, cluster, out, only=frozenset((vm.home,)))
    if all(item.host for item in places):
        accept(places, Cause.RETURN, "the maintenance of %s is over" % vm.home, cluster, out)


def _correct(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """Keep a required rule that is broken now, or take a VM to a host that its rules prefer."""
    if moving(out) & {vm.id, *cluster.rules.kept_together(vm.id)}:
        return  # one of those that it is to be with is about to come: where to is known when it is there
    reserved = kept_for_failover(cluster.policy)
    only = frozenset(cluster.hosts) - reserved if reserved else None
    broken = cluster.rules.violation(vm.id, vm.host, out.where)
    for unit in ([vm], unit_of(vm, cluster)):
        places = try_places(unit, cluster, out, only)
        if not all(item.host for item in places):
            continue
        if broken:
            accept(places, Cause.RULE, broken, cluster, out)
        elif cluster.rules.host_preference(vm.id, places[0].host) < cluster.rules.host_preference(vm.id, vm.host):
            accept(places, Cause.RULE, "its rules prefer %s" % places[0].host, cluster, out)
        return
    if broken:
        text = "%s on %s breaks a rule and no move mends it: %s" % (vm.name, vm.host, broken)
        out.alarms.append(Alarm("rule:%s" % vm.id, Severity.WARNING, vm.name, text))


def _misplaced(cluster: Cluster) -> list[VmRecord]:
    """Running VMs whose place breaks a required rule, or is not the one that their rules prefer; the fewest first to move."""
    if not cluster.rules:
        return []
    where, moving_now = running_on(cluster), unsettled(cluster.vms)
    concerned = {*cluster.rules.hosts, *cluster.rules.groups}
    leading = {name for name, host in cluster.hosts.items() if cluster.leads(host)}
    found = []
    for vm in cluster.vms:
        if vm.id not in concerned or vm.power is not Power.ON or vm.host not in leading or vm.id in cluster.unprotected:
            continue
        if moving_now and moving_now & {vm.id, *(member for group in cluster.rules.groups.get(vm.id, ()) for member in group.members)}:
            continue  # where it, or who it is to be with or without, is about to change
        if cluster.rules.violation(vm.id, vm.host, where) or (not vm.wanted_host and _preferred_elsewhere(vm, cluster)):
            found.append(vm)

    def order(vm: VmRecord) -> tuple[int, int, str, str]:
        peers = sum(1 for other in cluster.rules.kept_together(vm.id) if where.get(other) == vm.host)
        return peers, -cluster.policy.vm(vm.id, vm.name).priority.rank, vm.name, vm.id

    return sorted(found, key=order)


def _preferred_elsewhere(vm: VmRecord, cluster: Cluster) -> bool:
    here = cluster.rules.host_preference(vm.id, vm.host)
    return here > 0 and any(
        cluster.rules.host_preference(vm.id, name) < here and takes_vms(host, cluster.policy) and not host.record.maintenance
        for name, host in cluster.hosts.items()
    )


def _is_to_be_emptied(host: HostState, cluster: Cluster) -> bool:
    if host.record.wanted_maintenance:
        return True
    by_sensors = host.verdict is Verdict.DEGRADED and not host.fence.listed
    return by_sensors and cluster.policy.degraded_response is DegradedResponse.EVACUATE
