# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The finished plan in a person's words: why the hosts that did not take a VM did not.

The plan is gone through once more in its order. A host's reason is what it lacked when the VM's turn came; a host that
lacked nothing then, and yet does not take the VM, lacks it with all VMs of the same and higher priorities in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from .candidates import Candidates, home_datastore
from .problem import NOWHERE, Problem
from .room import Place, Wish


class _Replay:
    """The hosts as they fill up."""

    def __init__(self, candidates: Candidates, problem: Problem) -> None:
        self.candidates, self.problem = candidates, problem
        self.names = [room.host for room in candidates.rooms]
        self.where = dict(candidates.where)
        self.memory, self.cpu, self.count = list(problem.free_memory), list(problem.free_cpu), list(problem.count)
        self.fixed: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}

    def put(self, wish: Wish, host: int) -> None:
        if wish.power_on:
            self.where[wish.vm.id] = self.names[host]
            self.memory[host] -= wish.vm.memory
            self.cpu[host] -= wish.vm.cpu_reserved
        self.count[host] += 1

    def refusals(self, wish: Wish, chosen: int) -> tuple[tuple[str, str], ...]:
        reasons = self.candidates.reasons(wish)
        fixed = self.fixed.get(reasons)
        if fixed is None:
            fixed = self.fixed[reasons] = tuple([item for item in zip(self.names, reasons) if item[1]])
        if not wish.power_on:
            return fixed
        vm, now = wish.vm, []
        grouped = vm.id in self.candidates.rules.groups
        memory, cpu = self.memory, self.cpu
        for host in self.candidates.allowed(reasons):
            if (memory[host] < vm.memory or (vm.cpu_reserved and cpu[host] < vm.cpu_reserved) or grouped) and host != chosen:
                text = self._lacks(wish, host)
                if text:
                    now.append((self.names[host], text))
        return tuple(sorted([*fixed, *now])) if now else fixed

    def _lacks(self, wish: Wish, host: int) -> str:
        vm = wish.vm
        text = self.candidates.rules.group_violation(vm.id, self.names[host], self.where)
        if not text and vm.memory > self.memory[host]:
            text = "%d MiB memory too little" % (vm.memory - self.memory[host])
        if not text and vm.cpu_reserved and vm.cpu_reserved > self.cpu[host]:
            text = "%d MHz reserved CPU too little" % (vm.cpu_reserved - self.cpu[host])
        return text

    def for_registering(self, wish: Wish) -> int:
        """Where a VM goes that is not started: it takes no room, so the hosts are only compared."""
        allowed = self.candidates.allowed(self.candidates.reasons(wish))
        cost = self.candidates.cost(wish, allowed) or {}
        ranks = [
            (cost.get(host, 0), self.problem.load(host, self.memory[host], self.cpu[host]), self.count[host], host) for host in allowed
        ]
        return min(ranks)[3] if ranks else NOWHERE


def explain(ordered: Sequence[Wish], candidates: Candidates, problem: Problem, chosen: Sequence[int]) -> list[Place]:
    """The places of all wishes, in their order; *chosen* is the host of each that is to be started, in the same order."""
    replay = _Replay(candidates, problem)
    hosts = iter(chosen)
    places: list[Place] = []
    unplaced: list[int] = []
    for index, wish in enumerate(ordered):
        if unplaced and wish.priority is not ordered[unplaced[-1]].priority:
            _unplaced(places, unplaced, replay)
        host = next(hosts) if wish.power_on else replay.for_registering(wish)
        if host == NOWHERE:
            unplaced.append(index)
            places.append(Place(wish, "", "", replay.refusals(wish, NOWHERE)))
            continue
        room = candidates.rooms[host]
        places.append(Place(wish, room.host, room.datastores[home_datastore(wish.vm)], replay.refusals(wish, host)))
        replay.put(wish, host)
    _unplaced(places, unplaced, replay)
    return places


def _unplaced(places: list[Place], unplaced: list[int], replay: _Replay) -> None:
    for index in unplaced:
        wish, at_its_turn = places[index].wish, places[index].refusals
        if len(at_its_turn) < len(replay.names):
            places[index] = Place(wish, "", "", tuple(sorted({**dict(replay.refusals(wish, NOWHERE)), **dict(at_its_turn)}.items())))
    unplaced.clear()
