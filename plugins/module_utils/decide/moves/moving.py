# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mechanics of planned moves: which VMs go together, whether a host takes them, and who may move what unasked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..decision import Alarm, Cause, Held, MoveAction, PlannedMove, Severity, Way
from ..memory import VmRecord
from ..observations import Power
from ..placement.capacity import less, wish_for
from ..placement.place import Place, Room, Wish, place
from ..policy import AutomaticMoves
from ..state import Cluster
from ..vms.in_doubt import writes_in_doubt
from ..vms.recover import Findings, planned_move
from .ways import hindrances, listens, way_of

ASKED = (Cause.OPERATOR, Cause.MAINTENANCE, Cause.PROACTIVE, Cause.FAILBACK)


@dataclass
class Moves(Findings):
    """``records`` are VM records that change with the plan, by id."""

    actions: list[MoveAction] = field(default_factory=list)
    records: dict[str, VmRecord] = field(default_factory=dict)
    planned: list[PlannedMove] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict)
    rebalance: str = ""  # who wants the load balanced, as long as something is left to do
    where: dict[str, str] = field(default_factory=dict)  # VM id -> host, as it will be
    failed_back: dict[str, str] = field(default_factory=dict)  # hosts to which all have come that could; why others did not


def unit_of(vm: VmRecord, cluster: Cluster) -> list[VmRecord]:
    """*vm* first, and the running VMs that a required rule keeps together with it."""
    group = cluster.rules.kept_together(vm.id)
    others = [other for other in cluster.vms if other.id in group and other.id != vm.id and other.power is Power.ON] if group else []
    return [vm, *others]


def try_places(vms: Sequence[VmRecord], cluster: Cluster, out: Moves, only: frozenset[str] | None = None) -> list[Place]:
    """Places for *vms*, in their order, the rest of the cluster being where it will be."""
    wishes: list[Wish] = []
    spares = cluster.policy.spares
    for vm in vms:
        wish = wish_for(vm, cluster)
        runs = vm.power is Power.ON
        may_go = only
        if runs and (vm.wanted_way or not listens(vm, cluster)):  # to some hosts it may have no way
            may_go = frozenset(name for name in (cluster.hosts if only is None else only) if not no_way(vm, name, cluster))
        wishes.append(replace(wish, only=may_go, power_on=runs or wish.power_on, whole=runs, first=frozenset(), last=spares))
    going = {vm.id for vm in vms}
    where = {identity: host for identity, host in out.where.items() if identity not in going}
    found = {item.wish.vm.id: item for item in place(wishes, out.rooms, cluster.rules, where)}
    return [found[vm.id] for vm in vms]


def no_way(vm: VmRecord, destination: str, cluster: Cluster) -> list[str]:
    """What speaks against every way of *vm* to the host of that name."""
    source, there = cluster.hosts.get(vm.host), cluster.hosts.get(destination)
    return hindrances(vm, source, there, cluster) if source is not None and there is not None and source is not there else []


def refusal_of(item: Place, host: str, cluster: Cluster) -> str:
    """Why the host of that name does not take it."""
    refused = next((text for name, text in item.refusals if name == host), "it takes no VM")
    return "; ".join(no_way(item.wish.vm, host, cluster)) or refused


def pause_of(vm: VmRecord, cluster: Cluster) -> str:
    """Why it is not moved unasked so soon after a move of it failed; empty where nothing is to be waited for."""
    failed = vm.failed_move
    age = cluster.now.since(failed.at) if failed is not None else None
    if failed is None or age is None or age >= cluster.policy.retry_interval:
        return ""
    return "it is moved again in %.0f s: %s" % (cluster.policy.retry_interval - age, failed.reason)


def accept(places: Iterable[Place], cause: Cause, why: str, cluster: Cluster, out: Moves) -> None:
    """Plan the moves, unless they would stop VMs that nobody allowed to be stopped, or writes of one may still be on their way."""
    places = tuple(places)
    vms = [item.wish.vm for item in places]
    doubts = [(vm, doubt) for vm in vms if (doubt := writes_in_doubt(vm, cluster.hosts[vm.host]))]
    if doubts:
        out.held += [Held("move", vm.id, "%s waits on %s: %s" % (vm.name, vm.host, doubt)) for vm, doubt in doubts]
        return
    pauses = [(vm, pause) for vm in vms if cause is not Cause.OPERATOR and (pause := pause_of(vm, cluster))]
    if pauses:
        out.held += [Held("move", vm.id, "%s stays on %s; %s" % (vm.name, vm.host, pause)) for vm, pause in pauses]
        return
    moves = [_move(item, cause, why, cluster) for item in places if item.host != item.wish.vm.host]
    stopping = [move.name for move in moves if move.way not in (Way.REGISTER, Way.VMOTION)]
    if cause not in ASKED:
        allowed = cluster.policy.automatic_moves
        if allowed is AutomaticMoves.NONE or (stopping and allowed is not AutomaticMoves.ALL):
            for move in moves:
                text = "%s should be moved from %s to %s (%s); automatic_moves: %s leaves that to you (playbook migrate)" % (
                    move.name,
                    move.source,
                    move.destination,
                    why,
                    allowed.value,
                )
                out.held.append(Held("move", move.id, text))
                out.alarms.append(Alarm("should_move:%s" % move.id, Severity.WARNING, move.name, text))
            return
    out.planned += moves
    out.rooms = less(out.rooms, places)
    out.where.update({item.wish.vm.id: item.host for item in places})


def _move(item: Place, cause: Cause, why: str, cluster: Cluster) -> PlannedMove:
    vm = item.wish.vm
    way, hindrances = way_of(vm, cluster.hosts[vm.host], cluster.hosts[item.host], cluster)
    reason = "vm %s %s -> %s: %s; way: %s" % (vm.name, vm.host, item.host, why, way.value)
    if way is Way.COLD and hindrances:
        reason += " (not suspended: %s)" % "; ".join(hindrances)
    return planned_move(item, cause, reason, way=way, untold=(vm.host, item.host))


def by_source(planned: Iterable[PlannedMove]) -> list[MoveAction]:
    by_host: dict[str, list[PlannedMove]] = {}
    for move in planned:
        by_host.setdefault(move.source, []).append(move)
    return [
        MoveAction(host, tuple(moves), tuple(dict.fromkeys(move.cause.value for move in moves))) for host, moves in sorted(by_host.items())
    ]


def stays(vm: VmRecord, text: str, out: Moves, alarm: bool) -> None:
    out.held.append(Held("move", vm.id, text))
    if alarm:
        out.alarms.append(Alarm("stays:%s" % vm.id, Severity.WARNING, vm.name, text))


def moving(out: Moves) -> set[str]:
    return {move.id for move in out.planned}
