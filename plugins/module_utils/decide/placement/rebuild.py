# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans from nothing, by the orders that are known to pack well: large VMs first, each where it fits best.

What "large" and "best" mean differs when both memory and CPU are short, so several meanings are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from .problem import NOWHERE, Assignment

WEIGHTS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (2.0, 1.0), (1.0, 2.0))  # of memory and CPU


def rebuild(plan: Assignment, items: Sequence[int], goal: tuple[int, ...]) -> None:
    """Replace *plan* by a plan from nothing where that places more of *items*."""
    problem = plan.problem
    best, best_where = plan.counts(), list(plan.where)
    hosts = sorted({host for item in items for host in problem.allowed[item]})
    memory, cpu = (sum(max(free[host], 0) for host in hosts) or 1 for free in (problem.free_memory, problem.free_cpu))
    for for_memory, for_cpu in WEIGHTS:
        by_memory, by_cpu = for_memory / memory, for_cpu / cpu
        size = {item: by_memory * problem.memory[item] + by_cpu * problem.cpu[item] for item in items}
        chosen = _smallest(plan, items, size, goal)
        for order in (sorted(chosen, key=lambda one: (-size[one], one)), sorted(chosen, key=lambda one: (problem.rank[one], -size[one]))):
            for item in items:
                if plan.where[item] != NOWHERE:
                    plan.take(item)
            rest = sorted(set(items) - set(order), key=lambda one: (problem.rank[one], size[one], one))
            for item in (*_bound_first(plan, order), *rest):
                fitting = [host for host in problem.allowed[item] if plan.fits(item, host)]
                if fitting:
                    plan.put(item, min(fitting, key=lambda host: (by_memory * plan.memory[host] + by_cpu * plan.cpu[host], host)))
            plan.steps -= len(items) * len(hosts) // 2
            if plan.counts() > best:
                best, best_where = plan.counts(), list(plan.where)
                if best >= goal:
                    break
    plan.restore(best_where)


def _smallest(plan: Assignment, items: Sequence[int], size: dict[int, float], goal: tuple[int, ...]) -> list[int]:
    """As many of each rank as *goal* says."""
    chosen: list[int] = []
    for rank, number in enumerate(goal):
        chosen += sorted((item for item in items if plan.problem.rank[item] == rank), key=lambda one: (size[one], one))[:number]
    return chosen


def _bound_first(plan: Assignment, order: Sequence[int]) -> list[int]:
    """Those that must be together directly after the first of them."""
    wanted = set(order)
    found: dict[int, None] = {}
    for item in order:
        for other in (item, *plan.unit_of.get(item, ())):
            if other in wanted:
                found[other] = None
    return list(found)
