# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many VMs no plan can exceed: a search that has reached it need not go on.

The VMs that are placed of one priority need at least what as many of the smallest ones need, in each dimension for itself.
Those must fit into all hosts together, and the ones of at least a size into the slots of that size which the hosts have.
"""

from __future__ import annotations

from collections.abc import Sequence

from .problem import Assignment


def bound(plan: Assignment, items: Sequence[int], last: int) -> tuple[int, ...]:
    """No plan of *items* has greater counts, given the present ones of the ranks above *last*."""
    problem = plan.problem
    most = list(plan.counts())
    goal = sum(1 for item in items if problem.rank[item] == last)
    hosts = sorted({host for item in items for host in problem.allowed[item]})
    for size, free in ((problem.memory, problem.free_memory), (problem.cpu, problem.free_cpu)):
        room = [free[host] for host in hosts if free[host] > 0]
        given: list[int] = []
        for rank in range(last):
            given += sorted(size[item] for item in items if problem.rank[item] == rank)[: most[rank]]
        own = sorted(size[item] for item in items if problem.rank[item] == last)
        while goal and not _may_fit(sorted((*given, *own[:goal]), reverse=True), room):
            goal -= 1
    most[last] = goal
    return tuple(most)


def _may_fit(sizes: Sequence[int], room: Sequence[int]) -> bool:
    """*sizes* from the largest; false only if they certainly do not fit."""
    if sum(sizes) > sum(room):
        return False
    for index, size in enumerate(sizes):
        if size and index + 1 < len(sizes) and sizes[index + 1] == size:
            continue
        if size and index + 1 > sum(free // size for free in room):
            return False
    return True
