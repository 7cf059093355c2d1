# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Planned moves of VMs between hosts that work: asked for by an operator, to empty a host, to keep rules, to come home.

Invariants: a move leaves from a host whose own list, read in this look, shows the VM there; it never leads to a host that
could not take the VM if it failed over (placement refuses the same things for both); moves of one look, taken together, break
no required rule and exceed no capacity, a moving VM counting on both of its hosts. A move that stops a running VM is made only if
a person asked for it, the policy's ``degraded_response`` did, or ``automatic_moves: all`` allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .capacity import less, rooms_for, running_on, takes_vms, wish_for
from .decision import Alarm, Cause, Held, MoveAction, PlannedMove, Severity
from .memory import VmRecord
from .observations import Power
from .options import AutomaticMoves, DegradedResponse
from .placement import Place, Room, Wish, place
from .recover import Findings, planned_vm
from .starts import Starts
from .state import Cluster, HostState
from .verdict import Verdict

ASKED = (Cause.OPERATOR, Cause.MAINTENANCE, Cause.PROACTIVE)


@dataclass
class Moves(Findings):
    """``records`` are VM records that change with the plan, by id."""

    actions: list[MoveAction] = field(default_factory=list)
    records: dict[str, VmRecord] = field(default_factory=dict)
    planned: list[PlannedMove] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict)
    balanced: bool = False  # nothing is left to balance
    where: dict[str, str] = field(default_factory=dict)  # VM id -> host, as it will be


def plan_moves(cluster: Cluster, starts: Starts, rebalance: str) -> Moves:
    """The moves to begin now. Those that nobody asked for wait until nothing has to be started."""
    out = Moves()
    if cluster.observer_isolated:
        return out
    ordered = [vm for vm in cluster.vms if vm.ordered]
    leaving = [host for host in cluster.hosts.values() if _is_to_be_emptied(host, cluster) and _leads(host, cluster)]
    unasked = not starts.failovers and not starts.restarts and not starts.moves
    wrong = _misplaced(cluster) if unasked else []
    homesick = [vm for vm in cluster.vms if vm.home] if unasked else []
    if not (ordered or leaving or wrong or homesick):
        return out
    out.rooms = starts.rooms or rooms_for(cluster)
    out.where = starts.running or running_on(cluster)
    for vm in ordered:
        _operators(vm, cluster, out)
    for host in leaving:
        _empty(host, cluster, out)
    for vm in homesick:
        _return(vm, cluster, out)
    for vm in wrong:
        _correct(vm, cluster, out)
    out.actions = _by_source(out.planned)
    return out


def _operators(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """An operator's migration, with all VMs that a required rule keeps together with it; all of them or none."""
    unit = _unit(vm, cluster)
    places = _try(unit, cluster, out, only=frozenset((vm.wanted_host,)))
    refused = next((item for item in places if not item.host), None)
    source = cluster.hosts.get(vm.host)
    reason = ""
    if source is None or not _leads(source, cluster):
        reason = "%s, where it is, is %s" % (vm.host, source.verdict.value if source is not None else "not known")
    elif refused is not None:
        why = next((why for host, why in refused.refusals if host == vm.wanted_host), "it takes no VM")
        reason = "%s: %s" % (vm.wanted_host, why)
        if refused.wish.vm.id != vm.id:
            reason = "%s has to go with it, but %s" % (refused.wish.vm.name, reason)
    if reason:
        out.records[vm.id] = replace(vm, ordered=False, wanted_host="")
        text = "%s is not moved to %s: %s" % (vm.name, vm.wanted_host, reason)
        out.held.append(Held("move", vm.name, text))
        out.alarms.append(Alarm("refused:%s" % vm.id, Severity.WARNING, vm.name, text))
        return
    _accept(places, Cause.OPERATOR, "an operator wants it on %s" % vm.wanted_host, cluster, out)


def _empty(host: HostState, cluster: Cluster, out: Moves) -> None:
    cause = Cause.MAINTENANCE if host.record.wanted_maintenance else Cause.PROACTIVE
    why = "%s is to be emptied for maintenance" % host.name
    if cause is Cause.PROACTIVE:
        why = "%s is degraded: %s" % (host.name, host.judgement.reason)
    going = [vm for vm in cluster.vms_on.get(host.name, ()) if vm.power is Power.ON and vm.id not in _moving(out)]
    movable = []
    for vm in going:
        blocked = cluster.unprotected.get(vm.id)
        if blocked is not None:
            _stays(vm, "%s stays on %s: %s" % (vm.name, host.name, blocked.reason), out, alarm=not blocked.chosen)
        else:
            movable.append(vm)
    places = _try(movable, cluster, out)
    for item in places:
        vm = item.wish.vm
        if not item.host:
            reasons = "; ".join("%s: %s" % refusal for refusal in item.refusals if refusal[0] != host.name)
            _stays(vm, "%s stays on %s, %s, but no host takes it: %s" % (vm.name, host.name, why, reasons), out, alarm=True)
        elif cause is Cause.MAINTENANCE and not vm.home:
            out.records[vm.id] = replace(vm, home=host.name)
    _accept([item for item in places if item.host], cause, why, cluster, out)


def _return(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """Back to where it was before its host was emptied, as soon as that host takes VMs again."""
    home = cluster.hosts.get(vm.home)
    if vm.host == vm.home or home is None:
        out.records[vm.id] = replace(vm, home="")
        return
    source = cluster.hosts.get(vm.host)
    if not takes_vms(home, cluster.policy) or home.record.maintenance or source is None or not _leads(source, cluster):
        return
    if vm.power is not Power.ON or vm.id in _moving(out):
        return
    unit = _unit(vm, cluster)
    places = _try(unit, cluster, out, only=frozenset((vm.home,)))
    if all(item.host for item in places):
        _accept(places, Cause.RETURN, "the maintenance of %s is over" % vm.home, cluster, out)


def _correct(vm: VmRecord, cluster: Cluster, out: Moves) -> None:
    """Keep a required rule that is broken now, or take a VM to a host that its rules prefer."""
    if vm.id in _moving(out):
        return
    broken = cluster.rules.violation(vm.id, vm.host, out.where)
    for unit in ([vm], _unit(vm, cluster)):
        places = _try(unit, cluster, out)
        if not all(item.host for item in places):
            continue
        if broken:
            _accept(places, Cause.RULE, broken, cluster, out)
        elif cluster.rules.host_preference(vm.id, places[0].host) < cluster.rules.host_preference(vm.id, vm.host):
            _accept(places, Cause.RULE, "its rules prefer %s" % places[0].host, cluster, out)
        return
    if broken:
        text = "%s on %s breaks a rule and no move mends it: %s" % (vm.name, vm.host, broken)
        out.alarms.append(Alarm("rule:%s" % vm.id, Severity.WARNING, vm.name, text))


def _misplaced(cluster: Cluster) -> list[VmRecord]:
    """Running VMs whose place breaks a required rule, or is not the one that their rules prefer; the fewest first to move."""
    if not cluster.rules:
        return []
    where = running_on(cluster)
    concerned = {*cluster.rules.hosts, *cluster.rules.groups}
    found = []
    for vm in cluster.vms:
        if vm.id not in concerned or vm.power is not Power.ON or vm.id in cluster.unprotected:
            continue
        source = cluster.hosts.get(vm.host)
        if source is None or not _leads(source, cluster):
            continue
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


def _unit(vm: VmRecord, cluster: Cluster) -> list[VmRecord]:
    """*vm* first, and the running VMs that a required rule keeps together with it."""
    group = cluster.rules.kept_together(vm.id)
    others = [other for other in cluster.vms if other.id in group and other.id != vm.id and other.power is Power.ON] if group else []
    return [vm, *others]


def _try(vms: Sequence[VmRecord], cluster: Cluster, out: Moves, only: frozenset[str] | None = None) -> list[Place]:
    """Places for *vms*, in their order, the rest of the cluster being where it will be."""
    wishes: list[Wish] = []
    for vm in vms:
        wish = replace(wish_for(vm, cluster.policy), only=only)
        wishes.append(replace(wish, power_on=vm.power is Power.ON or wish.power_on))
    going = {vm.id for vm in vms}
    where = {identity: host for identity, host in out.where.items() if identity not in going}
    found = {item.wish.vm.id: item for item in place(wishes, out.rooms, cluster.rules, where)}
    return [found[vm.id] for vm in vms]


def _accept(places: Iterable[Place], cause: Cause, why: str, cluster: Cluster, out: Moves) -> None:
    """Plan the moves, unless they would stop VMs that nobody allowed to be stopped."""
    moves = [_move(item, cause, why, cluster) for item in places if item.host != item.wish.vm.host]
    stopping = [move.name for move in moves if move.running and not move.live]
    if cause not in ASKED:
        allowed = cluster.policy.automatic_moves
        if allowed is AutomaticMoves.NONE or (stopping and allowed is not AutomaticMoves.ALL):
            for move in moves:
                text = "%s should be moved from %s to %s (%s); automatic_moves: %s leaves that to you" % (
                    move.name,
                    move.source,
                    move.destination,
                    why,
                    allowed.value,
                )
                out.held.append(Held("move", move.name, text))
                out.alarms.append(Alarm("should_move:%s" % move.id, Severity.WARNING, move.name, text))
            return
    out.planned += moves
    out.rooms = less(out.rooms, places)
    out.where.update({item.wish.vm.id: item.host for item in places})


def _move(item: Place, cause: Cause, why: str, cluster: Cluster) -> PlannedMove:
    vm = item.wish.vm
    planned = planned_vm(item, vm.host, "")
    running = vm.power is Power.ON
    live = running and _hands_over(cluster.hosts[vm.host]) and _hands_over(cluster.hosts[item.host])
    refusals = "; ".join("%s: %s" % refusal for refusal in item.refusals if refusal[0] not in (vm.host, item.host))
    return PlannedMove(
        id=vm.id,
        name=vm.name,
        path=planned.path,
        datastore_uuid=planned.datastore_uuid,
        datastore=planned.datastore,
        vmx=planned.vmx,
        source=vm.host,
        destination=item.host,
        running=running,
        live=live,
        power_on=item.wish.power_on,
        cause=cause,
        reasons=("vm %s %s -> %s: %s" % (vm.name, vm.host, item.host, why),) + ((refusals,) if refusals else ()),
    )


def _by_source(planned: Iterable[PlannedMove]) -> list[MoveAction]:
    by_host: dict[str, list[PlannedMove]] = {}
    for move in planned:
        by_host.setdefault(move.source, []).append(move)
    return [
        MoveAction(host, tuple(moves), tuple(dict.fromkeys(move.cause.value for move in moves))) for host, moves in sorted(by_host.items())
    ]


def _stays(vm: VmRecord, text: str, out: Moves, alarm: bool) -> None:
    out.held.append(Held("move", vm.name, text))
    if alarm:
        out.alarms.append(Alarm("stays:%s" % vm.id, Severity.WARNING, vm.name, text))


def _is_to_be_emptied(host: HostState, cluster: Cluster) -> bool:
    if host.record.wanted_maintenance:
        return True
    by_sensors = host.verdict is Verdict.DEGRADED and not host.fence.listed
    return by_sensors and cluster.policy.degraded_response is DegradedResponse.EVACUATE


def _leads(host: HostState, cluster: Cluster) -> bool:
    """Whether VMs can be taken from it in order: it works, and its list was read in this look."""
    return host.verdict.works and host.evidence.fresh and cluster.observation.was_read(host.name)


def _hands_over(host: HostState) -> bool:
    return host.seen is not None and host.seen.live_migration


def _moving(out: Moves) -> set[str]:
    return {move.id for move in out.planned}
