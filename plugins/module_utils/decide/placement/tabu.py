# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One VM more into hosts that are nearly full, by way of plans that are not allowed yet.

Given how many VMs of each priority are to be placed, a plan with just so many is made, although some hosts are
overloaded in it or break a rule, and is changed until none is: each time by the move or exchange that lessens most what is
wrong, also when that is a little worse than before, but not back to where a VM just was (tabu search, Glover 1986).
Exchanges with VMs of the same priority that are left out belong to it: which ones are placed is free, how many is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .overload import ALMOST, Change, Overload
from .problem import NOWHERE, Assignment
from .rng import Lcg

TENURE = 6  # changes for which a VM does not go back, and up to as many more
IN_VAIN = 200  # changes without improvement, after which a few random ones follow
DEEP = 25  # changes in vain, after which pairs are exchanged for pairs


def allow_wrong(plan: Assignment, items: Sequence[int], goal: tuple[int, ...], floor: int, rng: Lcg) -> None:
    """Place one VM more of the last rank in *goal* at a time, until *goal* is reached or the steps are down to *floor*."""
    last = len(goal) - 1
    while goal[last] and plan.steps > floor and plan.counts()[last] < goal[last]:
        before = list(plan.where)
        search = _Search(plan, items, rng)
        if not search.run(last, floor):
            plan.restore(before)
            return


class _Search(Overload):
    """The changes made so far, and where they forbid VMs to return to."""

    def __init__(self, plan: Assignment, items: Sequence[int], rng: Lcg) -> None:
        super().__init__(plan, items)
        self.rng = rng
        self.tabu: dict[tuple[int, int], int] = {}
        self.time = 0

    def run(self, last: int, floor: int) -> bool:
        """Place one more of rank *last*; true when a plan that breaks nothing was found."""
        plan, problem = self.plan, self.plan.problem
        outside = [item for item in self.items if plan.where[item] == NOWHERE and problem.rank[item] == last]
        item = min(outside, key=lambda one: (problem.memory[one], problem.cpu[one], one))
        if not self.rng.below(3):
            item = outside[self.rng.below(len(outside))]
        hosts = problem.allowed[item]
        plan.put(item, min(hosts, key=lambda host: (self.over(host, problem.memory[item], problem.cpu[item]), host)))
        now = best = self.wrong()
        in_vain = 0
        while now > ALMOST:
            if plan.steps <= floor:
                return False
            self.time += 1
            plan.steps -= 1
            change = self._best_change(now, best, in_vain % DEEP == DEEP - 1)
            if change is None or in_vain > IN_VAIN:
                self._random_changes()
                now, in_vain = self.wrong(), 0
                best = now
                continue
            self._carry_out(change)
            now = self.wrong()
            in_vain = 0 if now < best - ALMOST else in_vain + 1
            best = min(best, now)
        return True

    def _carry_out(self, change: Change) -> None:
        """Each (VM, host) in it; the host may be NOWHERE."""
        plan = self.plan
        for item, _host in change:
            if plan.where[item] != NOWHERE:
                self.tabu[item, plan.where[item]] = self.time + TENURE + self.rng.below(TENURE)
                plan.take(item)
            else:
                self.tabu[item, NOWHERE] = self.time + TENURE + self.rng.below(TENURE)
        for item, host in change:
            if host != NOWHERE:
                plan.put(item, host)

    def _candidates(self) -> list[int]:
        """VMs on overloaded hosts and in broken rules."""
        plan = self.plan
        found: dict[int, None] = {}
        for host, items in enumerate(plan.on):
            if self.over(host, 0, 0) > 0:
                only_cpu = plan.memory[host] >= self.least_memory[host]
                found.update((item, None) for item in items if plan.problem.cpu[item] or not only_cpu)
        for item in plan.required_of:
            if plan.where[item] != NOWHERE and self.conflicts(item, plan.where[item]):
                found[item] = None
        return list(found)

    def _best_change(self, now: float, best: float, deep: bool) -> Optional[Change]:
        chosen: Optional[tuple[float, int, Change]] = None
        ties = 0
        outside: dict[int, list[int]] = {}
        for item in self.items:
            if self.plan.where[item] == NOWHERE:
                outside.setdefault(self.plan.problem.rank[item], []).append(item)
        candidates = self._candidates()
        for kind in (self.changes, self.two_for_one, self.two_for_two)[: 3 if deep else 2]:
            if chosen is not None and chosen[0] < -ALMOST:
                break
            for item in candidates:
                for delta, change in kind(item, outside.get(self.plan.problem.rank[item], ())):
                    if chosen is not None and delta > chosen[0] + ALMOST:
                        continue
                    if now + delta >= best - ALMOST and any(self.tabu.get(step, 0) > self.time for step in change):
                        continue
                    ties = ties + 1 if chosen is not None and delta > chosen[0] - ALMOST else 1
                    if ties == 1 or not self.rng.below(ties):
                        chosen = delta, ties, change
        return None if chosen is None else chosen[2]

    def _random_changes(self) -> None:
        plan, rng = self.plan, self.rng
        placed = [item for item in self.items if plan.where[item] != NOWHERE]
        for _time in range(2 + len(placed) // 8):
            item = placed[rng.below(len(placed))]
            allowed = plan.problem.allowed[item]
            plan.take(item)
            plan.put(item, allowed[rng.below(len(allowed))])
