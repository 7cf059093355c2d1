# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same VMs better distributed: less cost in preferences first, then less load on the most loaded host.

Every change is a move of one VM (with those that must be together with it), an exchange of two, or two or three hosts
filled anew. It is kept only if no placed VM loses its place, the cost does not grow, and the gain is worth mentioning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from .problem import NOWHERE, Assignment
from .rng import Lcg

SLIGHT = 0.005  # a difference in load that is not worth another plan, as a fraction of a host
NEAR = 1.01  # this close to what is possible at all is good enough
STEPS, STEPS_PER_VM = 30_000, 20
MANY = 200  # VMs: then every single one matters little, and hosts are not filled anew
IN_VAIN = 60  # times that hosts are filled anew without gain, after which the search ends

Move = tuple[tuple[int, ...], int]


def balancing_steps(plan: Assignment) -> int:
    return STEPS + STEPS_PER_VM * len(plan.where)


def balance(plan: Assignment) -> None:
    """Use up to a part of the plan's steps; none where the first plan is near the best already."""
    floor = max(plan.steps - balancing_steps(plan), 0)
    if plan.preferred_of or any(cost is not None for cost in plan.problem.cost):
        _prefer(plan, floor)
    least, rng, in_vain = lowest_top(plan) * NEAR, Lcg(), 0
    while plan.steps > floor:
        while _relieve(plan, floor, least):
            pass
        top = _top(plan)
        if top is None or plan.load(top) <= least + SLIGHT or in_vain >= IN_VAIN or len(plan.where) > MANY:
            return
        in_vain = 0 if _refill(plan, top, rng) else in_vain + 1


def lowest_top(plan: Assignment) -> float:
    """No plan with the same VMs has a lower most loaded host: as if VMs could be poured from host to host."""
    problem = plan.problem
    hosts = sorted({host for item, at in enumerate(plan.where) if at != NOWHERE for host in problem.allowed[item]})
    levels = [0.0]
    for size, free, total in (
        (problem.memory, problem.free_memory, problem.total_memory),
        (problem.cpu, problem.free_cpu, problem.total_cpu),
    ):
        poured = sum(size[item] for item, host in enumerate(plan.where) if host != NOWHERE)
        filled = sorted((1.0 - free[host] / total[host], total[host]) for host in hosts if total[host])
        capacity = used = 0.0
        for index, (load, all_of_it) in enumerate(filled):
            capacity, used = capacity + all_of_it, used + load * all_of_it
            level = (used + poured) / capacity
            if index + 1 == len(filled) or level <= filled[index + 1][0]:
                levels.append(level if poured else 0.0)
                break
    return max(levels)


def _top(plan: Assignment) -> Optional[int]:
    """The most loaded host that has VMs of the plan."""
    ranks = [(-plan.load(host), host) for host, items in enumerate(plan.on) if items]
    return min(ranks)[1] if ranks else None


def _units_on(plan: Assignment, host: int) -> list[tuple[int, ...]]:
    return list(dict.fromkeys(plan.unit(item) for item in plan.on[host]))


def relocate(plan: Assignment, moves: Sequence[Move]) -> Optional[int]:
    """Carry out *moves* together; returns what the cost grows by, or None, with the plan as it was, where they are not possible."""
    problem, before = plan.problem, 0
    origin = [plan.where[unit[0]] for unit, _host in moves]
    plan.steps -= len(moves)
    for unit, _host in moves:
        for item in unit:
            host = plan.take(item)
            before += plan.cost(item, host)
    done: list[int] = []
    after = 0
    for unit, host in moves:
        for item in unit:
            if host not in problem.allowed[item] or not plan.fits(item, host):
                for other in done:
                    plan.take(other)
                _put_back(plan, moves, origin)
                return None
            after += plan.cost(item, host)
            plan.put(item, host)
            done.append(item)
    return after - before


def _put_back(plan: Assignment, moves: Sequence[Move], origin: Sequence[int]) -> None:
    for (unit, _host), host in zip(moves, origin):
        for item in unit:
            plan.put(item, host)


def undo(plan: Assignment, moves: Sequence[Move], origin: Sequence[int]) -> None:
    for unit, _host in moves:
        for item in unit:
            plan.take(item)
    _put_back(plan, moves, origin)


def _prefer(plan: Assignment, floor: int) -> None:
    """Moves and exchanges that lower the cost, the VMs that cost most first."""
    again = True
    while again and plan.steps > floor:
        again = False
        costs = sorted((-plan.cost_now(item), item) for item, host in enumerate(plan.where) if host != NOWHERE)
        for cost, item in costs:
            if cost == 0 or plan.steps <= floor:
                break
            again = _cheaper(plan, plan.unit(item)) or again


def _cheaper(plan: Assignment, unit: tuple[int, ...]) -> bool:
    home = plan.where[unit[0]]
    best: Optional[tuple[int, float, int, list[Move]]] = None
    for host in plan.problem.allowed[unit[0]]:
        if host == home:
            continue
        options: list[list[Move]] = [[(unit, host)]]
        options += [[(unit, host), (other, elsewhere)] for other in _units_on(plan, host) for elsewhere in _exits(plan, other, home)]
        for moves in options:
            origin = [plan.where[moved[0]] for moved, _to in moves]
            change = relocate(plan, moves)
            if change is None:
                continue
            if change < 0:
                rank = (change, max(plan.load(to) for _moved, to in moves), len(moves), moves)
                best = rank if best is None or rank < best else best
            undo(plan, moves, origin)
    if best is None:
        return False
    relocate(plan, best[3])
    return True


def _exits(plan: Assignment, unit: tuple[int, ...], home: int) -> Iterable[int]:
    """Where a VM that makes room may go: where the other one was, or with little left to try, anywhere."""
    allowed = plan.problem.allowed[unit[0]]
    return allowed if len(plan.where) <= MANY else [host for host in allowed if host == home]


def _relieve(plan: Assignment, floor: int, least: float) -> bool:
    """One move or exchange that takes load from the most loaded host, the one that leaves both hosts lowest."""
    top = _top(plan)
    if top is None or plan.steps <= floor or plan.load(top) <= least + SLIGHT:
        return False
    problem, limit = plan.problem, plan.load(top) - SLIGHT
    found: list[tuple[float, list[Move]]] = []
    for unit in _units_on(plan, top):
        memory, cpu = _size(plan, unit)
        for host in problem.allowed[unit[0]]:
            if host == top:
                continue
            plan.steps -= 1
            there = problem.load(host, plan.memory[host] - memory, plan.cpu[host] - cpu)
            if there < limit:
                found.append((max(there, problem.load(top, plan.memory[top] + memory, plan.cpu[top] + cpu)), [(unit, host)]))
            for other in _units_on(plan, host):
                back, cpu_back = _size(plan, other)
                if back >= memory and cpu_back >= cpu:
                    continue
                plan.steps -= 1
                there = problem.load(host, plan.memory[host] - memory + back, plan.cpu[host] - cpu + cpu_back)
                here = problem.load(top, plan.memory[top] + memory - back, plan.cpu[top] + cpu - cpu_back)
                if there < limit and here < limit:
                    found.append((max(there, here), [(unit, host), (other, top)]))
    found.sort()
    for _load, moves in found:
        origin = [plan.where[moved[0]] for moved, _to in moves]
        change = relocate(plan, moves)
        if change is not None:
            if change <= 0:
                return True
            undo(plan, moves, origin)
    return False


def _refill(plan: Assignment, top: int, rng: Lcg) -> bool:
    """Fill the most loaded host and one or two others anew; kept if the highest of them is lower then."""
    problem = plan.problem
    others = sorted({host for item in plan.on[top] for host in problem.allowed[item]} - {top})
    if not others:
        return False
    hosts = sorted({top, others[rng.below(len(others))], others[rng.below(len(others))]})
    before = [(item, host) for host in hosts for item in plan.on[host]]
    highest, cost = max(plan.load(host) for host in hosts), 0
    for item, host in before:
        plan.take(item)
        cost += plan.cost(item, host)
    keys = {item: (-(problem.memory[item] * (8 + rng.below(5)) // 8), item) for item, _host in before}
    placed: list[int] = []
    for item in sorted(keys, key=lambda one: keys[one]):
        plan.steps -= len(hosts)
        ranks = [
            (plan.cost(item, host), problem.load(host, plan.memory[host] - problem.memory[item], plan.cpu[host] - problem.cpu[item]), host)
            for host in hosts
            if host in problem.allowed[item] and plan.fits(item, host)
        ]
        if not ranks:
            break
        best = min(ranks)
        cost -= best[0]
        plan.put(item, best[2])
        placed.append(item)
    if len(placed) == len(before) and cost >= 0 and max(plan.load(host) for host in hosts) < highest - SLIGHT / 5:
        return True
    for item in placed:
        plan.take(item)
    for item, host in before:
        plan.put(item, host)
    return False


def _size(plan: Assignment, unit: tuple[int, ...]) -> tuple[int, int]:
    return sum(plan.problem.memory[item] for item in unit), sum(plan.problem.cpu[item] for item in unit)
