# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""More VMs into the same hosts: the search for a plan that leaves fewer out.

Two ways to make room take turns: a chain of moves (a VM that waits takes the place of another, for which a place is
found elsewhere, perhaps by moving a third), and emptying two or three hosts and filling them anew in another order.
A plan with as many VMs of each priority as the present one takes its place, so that the search wanders along plans of
equal worth instead of being caught in one. The "chance" in it is a fixed sequence of numbers: same problem, same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .balance import balancing_steps
from .bound import bound
from .ejection_search import ejection_search
from .greedy import fill
from .problem import NOWHERE, Assignment, Problem
from .rebuild import rebuild
from .rng import Lcg
from .tabu import allow_wrong

CHAIN = 2  # VMs that are moved, one for the other, to make room for one
CHAIN_STEPS = 1500  # for one VM that waits
PAIRS = 8  # hosts with more VMs are not searched for pairs that could make room together
FIRST_TURN = 4_000  # steps
RESERVED = 3  # this part of the steps is left for balancing


def pack(plan: Assignment, possible: Sequence[int]) -> None:
    """Change *plan* to the one with most VMs that is found; *possible* are those that some host may take.

    Priority by priority: with those of the present and higher ones alone, so that lower ones are not in the way.
    """
    problem = plan.problem
    reserve = min(plan.steps // RESERVED, balancing_steps(plan))
    plan.steps -= reserve
    hopeful = [item for item in possible if _ever_fits(problem, item)]
    ranks = sorted({problem.rank[item] for item in hopeful})
    for item in hopeful:
        if plan.where[item] != NOWHERE:
            plan.take(item)
    rng = Lcg()
    for index, rank in enumerate(ranks):
        items = [item for item in hopeful if problem.rank[item] <= rank]
        fill(plan, [item for item in items if plan.where[item] == NOWHERE])
        if any(plan.where[item] == NOWHERE and problem.rank[item] == rank for item in items):
            _make_room(plan, items, 1)
            _make_room(plan, items, CHAIN)
            later = len(ranks) - index - 1
            _by_turns(plan, items, rank, plan.steps * later // (later + 1), rng)
    fill(plan, [item for item in hopeful if plan.where[item] == NOWHERE])
    plan.steps += reserve


def _by_turns(plan: Assignment, items: Sequence[int], rank: int, floor: int, rng: Lcg) -> None:
    """Some problems yield to one search and some to the other; each time with more patience."""
    goal, turn = bound(plan, items, rank), FIRST_TURN
    rebuild(plan, items, goal)
    while plan.steps > floor and plan.counts() < goal:
        for improve in (allow_wrong, ejection_search):
            if plan.counts() < goal:
                improve(plan, items, goal, max(plan.steps - turn, floor), rng)
        turn *= 2


def _ever_fits(problem: Problem, item: int) -> bool:
    memory, cpu = problem.memory[item], problem.cpu[item]
    return any(memory <= problem.free_memory[host] and (not cpu or cpu <= problem.free_cpu[host]) for host in problem.allowed[item])


def _make_room(plan: Assignment, items: Sequence[int], depth: int) -> None:
    """Place what waits by chains of moves, or instead of a larger one of the same priority."""
    problem = plan.problem
    free = sum(max(memory, 0) for memory in plan.memory)
    waiting = [item for item in items if plan.where[item] == NOWHERE]
    plan.steps -= len(items) // 8
    waiting.sort(key=lambda item: (problem.rank[item], problem.memory[item], item))
    for item in waiting:
        if plan.steps <= 0:
            return
        if problem.memory[item] <= free and _insert(plan, (item,), depth, frozenset(), plan.steps - CHAIN_STEPS):
            free -= problem.memory[item]
        else:
            free += _instead_of_larger(plan, item)


def _instead_of_larger(plan: Assignment, item: int) -> int:
    """Swap *item* in for a larger VM of its priority: as many are placed, and more is left. Returns the MiB won."""
    problem = plan.problem
    memory, cpu, rank = problem.memory[item], problem.cpu[item], problem.rank[item]
    for host in problem.allowed[item]:
        for other in list(plan.on[host]):
            plan.steps -= 1
            if problem.rank[other] != rank or problem.memory[other] < memory or problem.cpu[other] < cpu:
                continue
            if problem.memory[other] == memory and problem.cpu[other] == cpu:
                continue
            plan.take(other)
            if plan.fits(item, host):
                plan.put(item, host)
                return problem.memory[other] - memory
            plan.put(other, host)
    return 0


def _insert(plan: Assignment, unit: tuple[int, ...], depth: int, locked: frozenset[int], floor: int) -> bool:
    """Place *unit*, whose VMs are nowhere, on one host, moving up to *depth* others; the plan is unchanged when it fails."""
    problem = plan.problem
    hosts: Sequence[int] = problem.allowed[unit[0]]
    for item in unit[1:]:
        hosts = [host for host in hosts if host in problem.allowed[item]]
    memory, cpu = sum(problem.memory[item] for item in unit), sum(problem.cpu[item] for item in unit)
    best: Optional[tuple[float, int]] = None
    for host in hosts:
        plan.steps -= 1
        if _unit_fits(plan, unit, host, memory, cpu):
            left = _leftover(plan, host, memory, cpu)
            if best is None or (left, host) < best:
                best = left, host
    if best is not None:
        _put(plan, unit, best[1])
        return True
    if depth == 0:
        return False
    locked = locked.union(unit)
    for host in hosts:
        for out in _ejections(plan, unit, host, memory, cpu, locked):
            if plan.steps <= max(floor, 0):
                return False
            if _exchange(plan, unit, host, out, depth, locked, floor):
                return True
    return False


def _exchange(
    plan: Assignment, unit: tuple[int, ...], host: int, out: Sequence[tuple[int, ...]], depth: int, locked: frozenset[int], floor: int
) -> bool:
    """*unit* to *host* in the place of the units in *out*, which find another."""
    before = list(plan.where) if len(out) > 1 else None
    for other in out:
        for item in other:
            plan.take(item)
    problem = plan.problem
    memory, cpu = sum(problem.memory[item] for item in unit), sum(problem.cpu[item] for item in unit)
    if _unit_fits(plan, unit, host, memory, cpu):
        _put(plan, unit, host)
        fixed = locked.union(*out)
        if all(_insert(plan, other, depth - 1, fixed, floor) for other in sorted(out, key=lambda one: -problem.memory[one[0]])):
            return True
    if before is not None:
        plan.restore(before)
        for item in unit:
            if plan.where[item] != NOWHERE:
                plan.take(item)
        return False
    for item in unit:
        if plan.where[item] != NOWHERE:
            plan.take(item)
    for other in out:
        _put(plan, other, host)
    return False


def _ejections(
    plan: Assignment, unit: tuple[int, ...], host: int, memory: int, cpu: int, locked: frozenset[int]
) -> list[tuple[tuple[int, ...], ...]]:
    """Sets of one or two units on *host* without which *unit* may fit, the smallest first."""
    short, short_cpu = memory - plan.memory[host], cpu - plan.cpu[host] if cpu else 0
    problem = plan.problem
    units = []
    seen: set[int] = set()
    for item in plan.on[host]:
        if item in seen:
            continue
        other = plan.unit(item)
        seen.update(other)
        if locked.isdisjoint(other):
            units.append((sum(problem.memory[one] for one in other), sum(problem.cpu[one] for one in other), other))
    units.sort()
    clash = _clashes(plan, unit, host)
    found = [(other,) for size, size_cpu, other in units if size >= short and size_cpu >= short_cpu and clash <= set(other)]
    pairs: list[tuple[tuple[int, ...], ...]] = []
    if len(units) <= PAIRS:
        for index, (size, size_cpu, other) in enumerate(units):
            for size2, size_cpu2, other2 in units[index + 1 :]:
                if size + size2 >= short and size_cpu + size_cpu2 >= short_cpu and clash <= {*other, *other2}:
                    pairs.append((other, other2))
    plan.steps -= 1 + len(found) + len(pairs) // 4
    return [*found, *pairs]


def _clashes(plan: Assignment, unit: tuple[int, ...], host: int) -> set[int]:
    """VMs on *host* that a required rule keeps from *unit*."""
    found: set[int] = set()
    for item in unit:
        for index in plan.required_of.get(item, ()):
            group = plan.problem.groups[index]
            if not group.together:
                found.update(other for other in group.members if plan.where[other] == host)
    return found


def _unit_fits(plan: Assignment, unit: tuple[int, ...], host: int, memory: int, cpu: int) -> bool:
    if memory > plan.memory[host] or (cpu and cpu > plan.cpu[host]):
        return False
    if len(unit) == 1:
        return plan.fits(unit[0], host)
    done = []
    for item in unit:
        if not plan.fits(item, host):
            break
        plan.put(item, host)
        done.append(item)
    for item in done:
        plan.take(item)
    return len(done) == len(unit)


def _put(plan: Assignment, unit: Sequence[int], host: int) -> None:
    for item in unit:
        plan.put(item, host)


def _leftover(plan: Assignment, host: int, memory: int, cpu: int) -> float:
    """How much of the host stays unused with so much more on it: the tightest fit wastes least."""
    problem = plan.problem
    total, total_cpu = problem.total_memory[host], problem.total_cpu[host]
    left = (plan.memory[host] - memory) / total if total else 0.0
    return left + ((plan.cpu[host] - cpu) / total_cpu if total_cpu and cpu else 0.0)
