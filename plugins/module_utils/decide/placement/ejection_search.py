# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last VMs into hosts that are nearly full, by throwing others out.

A waiting VM takes the place of those that are cheapest to throw out; these wait in turn. What is thrown out in vain again
and again becomes dear, so that the search learns which VMs are hard to place and settles them first. Between two such
exchanges the VMs that stay are shuffled as far as they fit, which moves the gaps about. The method is that of Nagata and
Braeysy for saving vehicles in routing (2009), with lost VMs for lost vehicles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from .problem import NOWHERE, Assignment
from .rng import Lcg

SHUFFLES = 12  # moves or swaps tried between two exchanges
PATIENCE = 40  # exchanges without a plan as good as the best, after which the search goes back to that one
PRIORITY = 1000  # throwing out a VM of a higher priority is so much dearer


def ejection_search(plan: Assignment, items: Sequence[int], goal: tuple[int, ...], floor: int, rng: Lcg) -> None:
    """Improve ``plan.counts()`` until *goal* is reached, or the steps are down to *floor*; *items* are those that take part."""
    best, best_where, in_vain = plan.counts(), list(plan.where), 0
    dear = [1] * len(plan.where)
    hosts = sorted({host for item in items for host in plan.problem.allowed[item]})
    while plan.steps > floor and best < goal:
        waiting = [item for item in items if plan.where[item] == NOWHERE]
        item = _next(plan, waiting, rng)
        dear[item] += 1
        _throw_in(plan, item, dear, rng)
        _shuffle(plan, items, hosts, rng)
        _put_back(plan, (item for item in waiting + [one for one in items if plan.where[one] == NOWHERE]), rng)
        plan.steps -= 2 + len(items) // 8
        found = plan.counts()
        if found >= best:
            in_vain = 0
            if found > best or rng.below(2):
                best, best_where = found, list(plan.where)
            continue
        in_vain += 1
        if in_vain > PATIENCE:
            plan.restore(best_where)
            in_vain = 0
    plan.restore(best_where)


def _next(plan: Assignment, waiting: Sequence[int], rng: Lcg) -> int:
    """Mostly the most important, then smallest; sometimes any."""
    if rng.below(3):
        rank, memory = plan.problem.rank, plan.problem.memory
        some = sorted({waiting[rng.below(len(waiting))], waiting[rng.below(len(waiting))]})
        return min(some, key=lambda one: (rank[one], memory[one], one))
    return waiting[rng.below(len(waiting))]


def _throw_in(plan: Assignment, item: int, dear: Sequence[int], rng: Lcg) -> None:
    """Put *item* where it costs least; what was there and is in its way waits from now on."""
    best: Optional[tuple[int, int, int, tuple[int, ...]]] = None
    for host in plan.problem.allowed[item]:
        for price, out in _prices(plan, item, host, dear):
            rank = price, rng.below(1 << 16), host, out
            if best is None or rank < best:
                best = rank
    if best is None:
        return
    for other in best[3]:
        plan.take(other)
    if plan.fits(item, best[2]):
        plan.put(item, best[2])


def _prices(plan: Assignment, item: int, host: int, dear: Sequence[int]) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Sets of up to three VMs on *host* without which *item* fits there by size, with what they cost."""
    problem = plan.problem
    memory, cpu, rank = problem.memory, problem.cpu, problem.rank
    must = _must_go(plan, item, host)
    short = memory[item] - plan.memory[host] - sum(memory[other] for other in must if plan.where[other] == host)
    short_cpu = cpu[item] - plan.cpu[host] - sum(cpu[other] for other in must if plan.where[other] == host) if cpu[item] else 0
    base = sum(dear[other] * (PRIORITY if rank[other] < rank[item] else 1) for other in must)
    plan.steps -= 1
    if short <= 0 and short_cpu <= 0:
        return [(base, must)]
    found = []
    others = [other for other in plan.on[host] if other not in must]
    prices = [dear[other] * (PRIORITY if rank[other] < rank[item] else 1) for other in others]
    for index, one in enumerate(others):
        left, left_cpu = short - memory[one], short_cpu - cpu[one]
        if left <= 0 and left_cpu <= 0:
            found.append((base + prices[index], (*must, one)))
            continue
        for second in range(index + 1, len(others)):
            two = others[second]
            if left <= memory[two] and left_cpu <= cpu[two]:
                found.append((base + prices[index] + prices[second], (*must, one, two)))
    plan.steps -= len(others)
    return found


def _must_go(plan: Assignment, item: int, host: int) -> tuple[int, ...]:
    """VMs that required rules do not let stay where they are with *item* on *host*."""
    found: dict[int, None] = {}
    for index in plan.required_of.get(item, ()):
        group = plan.problem.groups[index]
        for other in group.members:
            at = plan.where[other]
            if at != NOWHERE and (at != host) == group.together:
                found[other] = None
    return tuple(found)


def _shuffle(plan: Assignment, items: Sequence[int], hosts: Sequence[int], rng: Lcg) -> None:
    allowed = plan.problem.allowed
    for _time in range(SHUFFLES):
        item = items[rng.below(len(items))]
        home = plan.where[item]
        if home == NOWHERE or item in plan.unit_of:
            continue
        plan.steps -= 1
        host = hosts[rng.below(len(hosts))]
        if host == home or host not in allowed[item]:
            continue
        plan.take(item)
        if plan.fits(item, host):
            plan.put(item, host)
            continue
        swapped = False
        there = list(plan.on[host])
        if there:
            other = there[rng.below(len(there))]
            if home in allowed[other] and other not in plan.unit_of:
                plan.take(other)
                if plan.fits(item, host):
                    plan.put(item, host)
                    swapped = plan.fits(other, home)
                    if swapped:
                        plan.put(other, home)
                    else:
                        plan.take(item)
                if not swapped:
                    plan.put(other, host)
        if not swapped:
            plan.put(item, home)


def _put_back(plan: Assignment, waiting: Iterable[int], rng: Lcg) -> None:
    """Those that fit somewhere as it is, the important ones first, each where least is left or anywhere."""
    problem = plan.problem
    sign = -1 if rng.below(2) else 1
    for item in sorted(set(waiting), key=lambda one: (problem.rank[one], sign * problem.memory[one], one)):
        if plan.where[item] != NOWHERE:
            continue
        fitting = [host for host in problem.allowed[item] if plan.fits(item, host)]
        plan.steps -= len(problem.allowed[item]) // 2
        if fitting:
            if rng.below(3):
                host = min(fitting, key=lambda one: (plan.memory[one] - problem.memory[item], one))
            else:
                host = fitting[rng.below(len(fitting))]
            plan.put(item, host)
