# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All VMs that have to start again, in one plan: from fenced hosts elsewhere, from working hosts where they are or elsewhere.

One plan, because they compete for the same room: the restart priority decides, not the reason for which a VM is down.
What one look plans and cannot start is planned anew by the next one, for ever. A VM on which an act is under way is not planned
again: it keeps the place that it is being started in, and its room there is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..decision import FailoverAction, Held, MoveAction, RestartAction
from ..memory import Desired, VmRecord
from ..placement.capacity import less, rooms_for, running_on
from ..placement.place import Place, Room, place
from ..state import Cluster
from .admit import admit_starts
from .recover import Findings, Source, failover, sources, unplaced
from .start_order import StartOrderPlan
from .vm_restart import down_vms, elsewhere_instead, relocation, restart


@dataclass
class Starts(Findings):
    """``rooms`` are what is left on the hosts, ``running`` where VMs run or will; ``waiting`` VMs wait for others."""

    failovers: list[FailoverAction] = field(default_factory=list)
    restarts: list[RestartAction] = field(default_factory=list)
    moves: list[MoveAction] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    records: dict[str, VmRecord] = field(default_factory=dict)  # that change with the plan, by id
    down: frozenset[str] = frozenset()  # ids of all VMs that have to start
    rooms: dict[str, Room] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)


def plan_starts(cluster: Cluster, can_move: bool = True) -> Starts:
    """What is to be started now, and where. *can_move*: whether a VM can be moved from one working host to another."""
    out = Starts()
    if cluster.observer_isolated:
        return out
    lost = sources(cluster, out)
    out.records = admit_starts(cluster, out)
    down = down_vms(cluster, out, can_move, refused={vm.id for vm in out.records.values() if vm.desired is not Desired.STARTED})
    wishes = [wish for source in lost.values() for wish in source.wishes] + down.here + down.elsewhere
    if not wishes:
        return out
    out.down = frozenset(wish.vm.id for wish in wishes)
    out.rooms, out.running = rooms_for(cluster), running_on(cluster)
    acting = {act.vm: act.host for act in cluster.observation.in_progress if act.host in out.rooms}
    taken = [Place(wish, acting[wish.vm.id], "", ()) for wish in wishes if wish.vm.id in acting]
    _take(taken, out)
    places = place([wish for wish in wishes if wish.vm.id not in acting], out.rooms, cluster.rules, out.running)
    here = {wish.vm.id for wish in down.here}
    _take(places, out)
    second = elsewhere_instead([item for item in places if item.wish.vm.id in here], cluster, out)
    places = [item for item in places if item.host or item.wish.vm.id not in here]
    if second:
        more = place(second, out.rooms, cluster.rules, out.running)
        _take(more, out)
        places += more
    _hand_out(_in_order(places, taken, cluster, out), lost, out)
    return out


def _take(places: Sequence[Place], out: Starts) -> None:
    out.rooms = less(out.rooms, places)
    out.running.update({item.wish.vm.id: item.host for item in places if item.host and item.wish.power_on})


def _in_order(places: Sequence[Place], taken: Sequence[Place], cluster: Cluster, out: Starts) -> list[Place]:
    """*places* without the VMs that wait for others, in the order in which the rest starts; *taken* are being started already."""
    starting = [item.wish.vm for item in (*places, *taken) if item.wish.power_on]
    order = StartOrderPlan(cluster.policy, cluster.vms, starting, cluster.now)
    placed = {item.wish.vm.id for item in (*places, *taken) if item.host}
    rank = {vm.id: index for index, vm in enumerate(order.sorted())}
    go: list[Place] = []
    for item in sorted(places, key=lambda one: (rank.get(one.wish.vm.id, len(rank)), one.wish.vm.name, one.wish.vm.id)):
        vm = item.wish.vm
        reason = order.waits_for(vm, placed) if item.host and item.wish.power_on else ""
        if reason:
            out.waiting[vm.id] = reason
            out.held.append(Held("start", vm.id, "%s %s" % (vm.name, reason)))
        else:
            go.append(item)
    return go


def _hand_out(places: Sequence[Place], lost: Mapping[str, Source], out: Starts) -> None:
    """Each VM into the action that carries it out."""
    by_host: dict[str, list[Place]] = {}
    for item in places:
        by_host.setdefault(item.wish.vm.host, []).append(item)
    for host, source in lost.items():
        if host in by_host:
            out.failovers.append(failover(source, by_host.pop(host), out))
    for host, mine in sorted(by_host.items()):
        at_home = [item for item in mine if item.host == host]
        if at_home:
            out.restarts.append(restart(host, at_home))
        away = tuple(relocation(item) for item in mine if item.host not in ("", host))
        if away:
            out.moves.append(MoveAction(host, away, ("VMs that do not start on %s start elsewhere" % host,)))
        for item in mine:
            if not item.host:
                unplaced(item, out)
