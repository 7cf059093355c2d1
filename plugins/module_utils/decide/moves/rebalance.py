# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Balancing: few moves that bring the hosts' load within a band.

The load of a host is the higher of its memory and CPU use, as a fraction. One move after the other is chosen, each time the one
after which the most and the least loaded host are nearest to each other. Where a single move is enough, that one is found: it
must take from the most loaded host or give to the least loaded one, and all such moves are weighed.

Invariant: no move makes the load more uneven, so the search ends, and what it did not reach stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..authorization import Orders
from ..decision import Cause, FailoverAction
from ..forecast.admission import kept_for_failover
from ..memory import VmRecord
from ..observations import Power
from ..placement.capacity import just_started
from ..placement.place import Room
from ..policy import Policy
from ..state import Cluster
from .moving import Moves, accept, try_places, unit_of

Load = dict[str, tuple[int, int]]  # host -> MiB and MHz that are left


@dataclass(frozen=True)
class Unit:
    """Running VMs that move together, the first of them in its own right."""

    vms: tuple[VmRecord, ...]
    source: str

    @property
    def size(self) -> tuple[int, int]:
        """MiB and MHz."""
        return sum(vm.memory for vm in self.vms), sum(vm.cpu_reserved for vm in self.vms)


def spread(rooms: Mapping[str, Room]) -> float:
    """How far the most loaded host is above the least loaded one, of those that take VMs; a fraction."""
    loads = [_load(room, room.memory, room.cpu) for room in rooms.values() if _counts(room)]
    return max(loads) - min(loads) if loads else 0.0


def choose_moves(units: Iterable[Unit], rooms: Mapping[str, Room], band: float, most: int, move: Callable[[Unit, str], bool]) -> int:
    """Order up to *most* moves, until the spread is within *band*; returns how many were ordered.

    *move* plans one, and says whether it may be: rules, datastores and networks are its business.
    """
    able = {name: room for name, room in rooms.items() if _counts(room)}
    left: Load = {name: (room.memory, room.cpu) for name, room in able.items()}
    by_size: dict[str, dict[tuple[int, int], list[Unit]]] = {name: {} for name in able}
    for unit in units:
        if unit.source in able:
            by_size[unit.source].setdefault(unit.size, []).append(unit)
    done = 0
    refused: set[tuple[str, str]] = set()  # VM id, host
    while done < most:
        loads = {name: _load(able[name], *left[name]) for name in able}
        if not loads or max(loads.values()) - min(loads.values()) <= band:
            break
        best = _best(by_size, able, left, loads, refused)
        if best is None:
            break
        unit, host = best
        if not move(unit, host):
            refused.add((unit.vms[0].id, host))
            continue
        done += 1
        refused.clear()  # what was in the way may have left
        by_size[unit.source][unit.size].remove(unit)  # no VM moves twice in one plan
        left[unit.source] = _plus(left[unit.source], unit.size, 1)
        left[host] = _plus(left[host], unit.size, -1)
    return done


def _best(
    by_size: Mapping[str, Mapping[tuple[int, int], list[Unit]]],
    able: Mapping[str, Room],
    left: Load,
    loads: Mapping[str, float],
    refused: set[tuple[str, str]],
) -> Optional[tuple[Unit, str]]:
    """The move after which the hosts are most even, the smaller VM where that is the same."""
    order = sorted(loads, key=lambda name: (loads[name], name))
    lowest, highest = order[0], order[-1]
    pairs = [(highest, name) for name in order[:-1]] + [(name, lowest) for name in order[1:-1]]
    found: Optional[tuple[tuple[float, float, tuple[int, int], str, str], Unit]] = None
    for source, host in pairs:
        for size, units in by_size[source].items():
            if size[0] > left[host][0] or (size[1] and size[1] > left[host][1]):
                continue
            lighter = _load(able[source], *_plus(left[source], size, 1))
            heavier = _load(able[host], *_plus(left[host], size, -1))
            if max(lighter, heavier) >= loads[source]:  # it only changes places
                continue
            others = [load for name, load in loads.items() if name not in (source, host)]
            after = max([lighter, heavier, *others]) - min([lighter, heavier, *others])
            squares = lighter * lighter + heavier * heavier - loads[source] ** 2 - loads[host] ** 2
            unit = next((one for one in units if (one.vms[0].id, host) not in refused), None)
            if unit is None:
                continue
            rank = after, squares, size, unit.vms[0].name, host
            if found is None or rank < found[0]:
                found = rank, unit
    return None if found is None else (found[1], found[0][-1])


def _counts(room: Room) -> bool:
    return not room.refuses and room.memory_total > 0


def _load(room: Room, memory: int, cpu: int) -> float:
    by_memory = 1.0 - memory / room.memory_total
    return max(by_memory, 1.0 - cpu / room.cpu_total) if room.cpu_total else by_memory


def _plus(left: tuple[int, int], size: tuple[int, int], sign: int) -> tuple[int, int]:
    return left[0] + sign * size[0], left[1] + sign * size[1]


def note_rebalance(asked: str, orders: Orders, policy: Policy) -> str:
    """Who wants the load balanced after *orders*: the failovers among them do, where the policy says so."""
    hosts = [action.host for action in orders.of(FailoverAction) if action.vms]
    if asked or not policy.rebalance.after_failover or not hosts:
        return asked
    return "after the failover of %s" % ", ".join(hosts)


def balance_load(cluster: Cluster, out: Moves) -> None:
    """Even out the load, when hosts have counted what was last started or moved; done when no move helps any more."""
    if any(just_started(vm, cluster.hosts[vm.host].record.read_at) for vm in cluster.vms if vm.on_since and vm.host in cluster.hosts):
        return
    wish, reserved = cluster.policy.rebalance, kept_for_failover(cluster.policy)
    rooms = {name: room for name, room in out.rooms.items() if name not in reserved}
    why = "the load of the hosts is %.0f %% apart, more than %.0f %% (%s)" % (100 * spread(rooms), 100 * wish.band, out.rebalance)

    def move(unit: Unit, host: str) -> bool:
        places = try_places(unit.vms, cluster, out, only=frozenset((host,)))
        worse = any(cluster.rules.host_preference(vm.id, host) > cluster.rules.host_preference(vm.id, vm.host) for vm in unit.vms)
        if worse or not all(item.host for item in places):
            return False
        planned = len(out.planned)
        accept(places, Cause.REBALANCE, why, cluster, out)
        return len(out.planned) > planned

    if not choose_moves(_movable(cluster), rooms, wish.band, wish.max_moves, move):
        out.rebalance = ""


def _movable(cluster: Cluster) -> list[Unit]:
    units = []
    for name, host in cluster.hosts.items():
        if cluster.leads(host):
            for vm in cluster.vms_on.get(name, ()):
                unit = tuple(unit_of(vm, cluster))
                if vm.power is Power.ON and not any(other.id in cluster.unprotected or other.ordered for other in unit):
                    units.append(Unit(unit, name))
    return units
