# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first plan: one VM after the other, the most important first, each where it is best off just then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from .problem import NOWHERE, Assignment

LOAD_STEPS = 1000  # loads that are equal to a thousandth of a host are equal: then the number of VMs decides


def fill(plan: Assignment, order: Iterable[int]) -> list[int]:
    """Place what fits nowhere yet, in this order; returns those that find no host."""
    left = []
    for item in order:
        if plan.where[item] != NOWHERE:
            continue
        host = best_host(plan, item) if item not in plan.unit_of else _best_for_unit(plan, item)
        if host is None:
            left.append(item)
        else:
            plan.put(item, host)
    return left


def best_host(plan: Assignment, item: int) -> Optional[int]:
    """The cheapest in preferences, then the least loaded with it, then the one with fewer VMs, then by name."""
    problem = plan.problem
    memory, cpu = problem.memory[item], problem.cpu[item]
    grouped = item in plan.required_of
    costs = problem.cost[item] is not None or item in plan.preferred_of
    best: Optional[tuple[int, int, int, int]] = None
    for host in problem.allowed[item]:
        memory_left, cpu_left = plan.memory[host] - memory, plan.cpu[host] - cpu
        if memory_left < 0 or (cpu and cpu_left < 0) or (grouped and not plan.groups_allow(item, host)):
            continue
        load = int(problem.load(host, memory_left, cpu_left) * LOAD_STEPS)
        rank = (plan.cost(item, host) if costs else 0, load, problem.count[host] + len(plan.on[host]), host)
        if best is None or rank < best:
            best = rank
    plan.steps -= len(problem.allowed[item])
    return None if best is None else best[3]


def _best_for_unit(plan: Assignment, item: int) -> Optional[int]:
    """A host that takes most of those that must be where *item* is, the important ones first; then as for one VM."""
    waiting = sorted((other for other in plan.unit_of[item] if plan.where[other] == NOWHERE), key=lambda other: _order(plan, other))
    best: Optional[tuple[list[int], int, int, int, int]] = None
    for host in plan.problem.allowed[item]:
        plan.steps -= 1
        if not plan.fits(item, host):
            continue
        taken = _together_on(plan, item, waiting, host)
        cost = sum(plan.cost_now(other) for other in taken)
        missing = [0] * (1 + max(plan.problem.rank))
        for other in waiting:
            missing[plan.problem.rank[other]] += other not in taken
        rank = (missing, cost, int(plan.load(host) * LOAD_STEPS), plan.problem.count[host] + len(plan.on[host]), host)
        for other in taken:
            plan.take(other)
        if best is None or rank < best:
            best = rank
    return None if best is None else best[4]


def _together_on(plan: Assignment, item: int, waiting: Sequence[int], host: int) -> list[int]:
    """Put *item* and what fits of its unit there, as a trial."""
    taken = []
    for other in (item, *waiting):
        if plan.where[other] == NOWHERE and host in plan.problem.allowed[other] and plan.fits(other, host):
            plan.put(other, host)
            taken.append(other)
    return taken


def _order(plan: Assignment, item: int) -> tuple[int, int, int]:
    return plan.problem.rank[item], -plan.problem.memory[item], item
