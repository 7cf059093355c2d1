# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the first plan to a good one.

First as many VMs as possible, the most important first: where one VM after the other leaves some out, the hosts are
packed anew, over and over, until a bound says that no plan has more, or the steps are used up. Then, with the placed
VMs given, the least cost in preferences and the least loaded most loaded host.

The best plan so far is always kept, so that the steps only decide how good the plan is, never whether it is right.
"""

from __future__ import annotations

from typing import Optional

from .balance import balance
from .greedy import fill
from .pack import pack
from .problem import NOWHERE, Assignment, Problem


def search(problem: Problem, steps: int, distribute: bool = True) -> list[int]:
    """The host of each VM; NOWHERE for those that no host takes. *steps* bounds the places that are tried.

    Without *distribute* the search ends as soon as every VM has a place, wherever that is. Those without a place are the same either way:
    distributing them leaves no VM out that had one.
    """
    plan = Assignment(problem, steps)
    order = range(len(problem.memory))
    possible = [item for item in order if problem.allowed[item]]
    left = fill(plan, possible)
    if left:
        pack(plan, possible)
    if distribute or NOWHERE in plan.where:
        balance(plan)
        _nobody_in_vain(plan, possible)
    return plan.where


def _nobody_in_vain(plan: Assignment, possible: list[int]) -> None:
    """Balancing may have made room, and a VM must never stay out for one of lower priority."""
    waiting = [item for item in possible if plan.where[item] == NOWHERE]
    while waiting:
        dropped = []
        for item in fill(plan, waiting):
            dropped += displace(plan, item)
        waiting = sorted(dropped)


def displace(plan: Assignment, item: int) -> list[int]:
    """Put *item* in the place of VMs of lower priority, with the least loss; returns those, none if it cannot be."""
    problem = plan.problem
    best: Optional[tuple[list[int], int, list[int]]] = None
    for host in problem.allowed[item]:
        out = _in_the_way(plan, item, host)
        if out is None:
            continue
        loss = [0] * (1 + max(problem.rank))
        for other in out:
            loss[problem.rank[other]] += 1
        if best is None or (loss, host) < best[:2]:
            best = loss, host, out
    if best is None:
        return []
    for other in best[2]:
        plan.take(other)
    plan.put(item, best[1])
    return best[2]


def _in_the_way(plan: Assignment, item: int, host: int) -> Optional[list[int]]:
    """VMs of lower priority without which *item* fits on *host*; None: it does not, even so."""
    rank = plan.problem.rank
    lower = [other for other in plan.on[host] if rank[other] > rank[item]]
    for index in plan.required_of.get(item, ()):  # those that bind it to another host
        group = plan.problem.groups[index]
        if group.together:
            lower += [other for other in group.members if plan.where[other] not in (NOWHERE, host) and rank[other] > rank[item]]
    was = {other: plan.where[other] for other in lower}
    out = []
    for other in sorted(was, reverse=True):
        if plan.fits(item, host):
            break
        plan.take(other)
        out.append(other)
    needed: Optional[list[int]] = None
    if plan.fits(item, host):
        plan.put(item, host)
        needed = []
        for other in reversed(out):  # those that were not in the way after all stay
            if plan.fits(other, was[other]):
                plan.put(other, was[other])
            else:
                needed.append(other)
        plan.take(item)
    for other in out:
        if plan.where[other] == NOWHERE:
            plan.put(other, was[other])
    return needed
