# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placement as numbers: what a search over many plans may and may not do.

VMs and hosts are indexes in a fixed order, so that the same problem has the same solution whatever the order in which
it was told. ``allowed`` already holds everything that does not depend on the rest of the plan: datastores, networks,
hardware, required host affinities, and VM affinities with VMs that run. What depends on it is capacity and the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

NOWHERE = -1


class PlanGroup(NamedTuple):
    """A VM affinity among the VMs of the plan; ``weight`` is what a wrong pair costs where it is only preferred."""

    members: tuple[int, ...]
    together: bool
    required: bool
    weight: int


@dataclass
class Problem:
    """``rank`` 0 is the most important; ``cost`` is that of a VM on a host, None where every host costs nothing."""

    memory: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    allowed: list[tuple[int, ...]] = field(default_factory=list)
    cost: list[Optional[dict[int, int]]] = field(default_factory=list)
    free_memory: list[int] = field(default_factory=list)
    free_cpu: list[int] = field(default_factory=list)
    total_memory: list[int] = field(default_factory=list)
    total_cpu: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)  # VMs that run on the host
    groups: list[PlanGroup] = field(default_factory=list)

    def load(self, host: int, memory: int, cpu: int) -> float:
        """The higher of memory and CPU use, as a fraction, with so much left; all memory unknown counts as full."""
        total, total_cpu = self.total_memory[host], self.total_cpu[host]
        by_memory = 1.0 - memory / total if total else 1.0
        by_cpu = 1.0 - cpu / total_cpu if total_cpu else 0.0
        return by_memory if by_memory > by_cpu else by_cpu


class Assignment:
    """Where each VM goes. Invariant: every placed VM keeps capacity and required groups; only ``fits`` says where one may go."""

    __slots__ = ("problem", "where", "on", "memory", "cpu", "occupied", "required_of", "preferred_of", "unit_of", "steps")

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem = problem
        self.steps = steps  # how many more places may be tried; a search ends when they are used up
        self.where = [NOWHERE] * len(problem.memory)
        self.on: list[dict[int, None]] = [{} for _host in problem.free_memory]  # in the order in which they came
        self.memory = list(problem.free_memory)
        self.cpu = list(problem.free_cpu)
        self.occupied: list[dict[int, int]] = [{} for _group in problem.groups]  # host -> members there
        self.required_of: dict[int, list[int]] = {}
        self.preferred_of: dict[int, list[int]] = {}
        for index, group in enumerate(problem.groups):
            of = self.required_of if group.required else self.preferred_of
            for item in group.members:
                of.setdefault(item, []).append(index)
        self.unit_of = _units(problem.groups)

    def fits(self, item: int, host: int) -> bool:
        """Whether *item*, which is nowhere now, may go to a host that is among its allowed ones."""
        problem = self.problem
        cpu = problem.cpu[item]
        if problem.memory[item] > self.memory[host] or (cpu and cpu > self.cpu[host]):
            return False
        return item not in self.required_of or self.groups_allow(item, host)

    def groups_allow(self, item: int, host: int) -> bool:
        for index in self.required_of.get(item, ()):
            occupied = self.occupied[index]
            if self.problem.groups[index].together:
                if occupied and (host not in occupied or len(occupied) > 1):
                    return False
            elif host in occupied:
                return False
        return True

    def put(self, item: int, host: int) -> None:
        problem = self.problem
        self.where[item] = host
        self.on[host][item] = None
        self.memory[host] -= problem.memory[item]
        self.cpu[host] -= problem.cpu[item]
        for of in (self.required_of, self.preferred_of):
            for index in of.get(item, ()):
                self.occupied[index][host] = self.occupied[index].get(host, 0) + 1

    def take(self, item: int) -> int:
        """Remove it; returns where it was."""
        problem, host = self.problem, self.where[item]
        self.where[item] = NOWHERE
        del self.on[host][item]
        self.memory[host] += problem.memory[item]
        self.cpu[host] += problem.cpu[item]
        for of in (self.required_of, self.preferred_of):
            for index in of.get(item, ()):
                occupied = self.occupied[index]
                occupied[host] -= 1
                if not occupied[host]:
                    del occupied[host]
        return host

    def restore(self, where: Sequence[int]) -> None:
        """Make the plan equal to an earlier ``where`` of it."""
        changed = [item for item, host in enumerate(where) if self.where[item] != host]
        for item in changed:
            if self.where[item] != NOWHERE:
                self.take(item)
        for item in changed:
            if where[item] != NOWHERE:
                self.put(item, where[item])

    def cost(self, item: int, host: int) -> int:
        """What *item*, which is nowhere now, costs on *host* in preferences."""
        static = self.problem.cost[item]
        total = static[host] if static is not None else 0
        for index in self.preferred_of.get(item, ()):
            group, occupied = self.problem.groups[index], self.occupied[index]
            here = occupied.get(host, 0)
            total += group.weight * (sum(occupied.values()) - here if group.together else here)
        return total

    def cost_now(self, item: int) -> int:
        host = self.take(item)
        cost = self.cost(item, host)
        self.put(item, host)
        return cost

    def counts(self) -> tuple[int, ...]:
        """How many are placed of each rank: the greater tuple is the better plan."""
        found = [0] * (1 + max(self.problem.rank, default=0))
        for item, host in enumerate(self.where):
            if host != NOWHERE:
                found[self.problem.rank[item]] += 1
        return tuple(found)

    def load(self, host: int) -> float:
        return self.problem.load(host, self.memory[host], self.cpu[host])

    def unit(self, item: int) -> tuple[int, ...]:
        """*item* and what must be where it is, of those that are on the same host now."""
        unit = self.unit_of.get(item)
        if unit is None:
            return (item,)
        host = self.where[item]
        return tuple(other for other in unit if self.where[other] == host)


def _units(groups: Sequence[PlanGroup]) -> dict[int, tuple[int, ...]]:
    """Item -> all that must be together with it, also by way of others."""
    unit_of: dict[int, tuple[int, ...]] = {}
    for group in groups:
        if group.required and group.together:
            merged = tuple(sorted({other for item in group.members for other in unit_of.get(item, (item,))}))
            for item in merged:
                unit_of[item] = merged
    return unit_of
