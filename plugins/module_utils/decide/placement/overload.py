# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans that are not allowed: how far from it they are, and what each change would make of that.

What is wrong is measured in mean VMs: what a host lacks of memory and of CPU, and a part of one for each broken rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .problem import NOWHERE, Assignment

CONFLICT = 0.7  # a pair of VMs that breaks a rule counts as much as this part of a mean VM too many
MOST = 10  # VMs of a host that are tried in pairs
ALMOST = 1e-9

Change = list[tuple[int, int]]  # (VM, host) of each that moves; NOWHERE: it is left out


class Overload:
    """A plan that may break capacity and required groups. Its functions leave the plan as it is."""

    def __init__(self, plan: Assignment, items: Sequence[int]) -> None:
        self.plan, self.items = plan, items
        problem = plan.problem
        self.per_memory = len(items) / max(sum(problem.memory[item] for item in items), 1)
        self.per_cpu = len(items) / max(sum(problem.cpu[item] for item in items), 1)
        # A host that has less than nothing left of itself is not the plan's fault.
        self.least_memory = [min(free, 0) for free in problem.free_memory]
        self.least_cpu = [min(free, 0) for free in problem.free_cpu]

    def over(self, host: int, memory: int, cpu: int) -> float:
        """What is too much on *host* with so much more on it, in mean VMs."""
        left, left_cpu = self.plan.memory[host] - memory, self.plan.cpu[host] - cpu
        wrong = 0.0
        if left < self.least_memory[host]:
            wrong = (self.least_memory[host] - left) * self.per_memory
        if left_cpu < self.least_cpu[host]:
            wrong += (self.least_cpu[host] - left_cpu) * self.per_cpu
        return wrong

    def conflicts(self, item: int, host: int) -> int:
        """VMs that a required rule does not allow where they are with *item* on *host*; NOWHERE has none."""
        found = 0
        if host == NOWHERE:
            return 0
        for index in self.plan.required_of.get(item, ()):
            occupied = self.plan.occupied[index]
            here = occupied.get(host, 0)
            here -= self.plan.where[item] == host
            if self.plan.problem.groups[index].together:
                found += sum(occupied.values()) - here - (self.plan.where[item] != NOWHERE)
            else:
                found += here
        return found

    def wrong(self) -> float:
        plan = self.plan
        total = sum(self.over(host, 0, 0) for host in range(len(plan.on)))
        pairs = sum(self.conflicts(item, plan.where[item]) for item in plan.required_of)
        return total + CONFLICT * pairs / 2

    def changes(self, item: int, outside: Sequence[int]) -> list[tuple[float, Change]]:
        """Every move and exchange of *item*, with what it changes."""
        plan, problem, over = self.plan, self.plan.problem, self.over
        if len(plan.unit(item)) > 1:
            return self._unit_changes(item)
        memory, cpu, allowed, required_of = problem.memory, problem.cpu, problem.allowed, plan.required_of
        home, size, size_cpu = plan.where[item], problem.memory[item], problem.cpu[item]
        grouped = item in required_of
        here = over(home, 0, 0) + (CONFLICT * self.conflicts(item, home) if grouped else 0.0)
        without = over(home, -size, -size_cpu) - here
        home_left, home_left_cpu = plan.memory[home] - self.least_memory[home], plan.cpu[home] - self.least_cpu[home]
        per_memory, per_cpu = self.per_memory, self.per_cpu
        found = []
        for host in allowed[item]:
            if host == home:
                continue
            there = over(host, 0, 0) - (CONFLICT * self.conflicts(item, host) if grouped else 0.0)
            found.append((without + over(host, size, size_cpu) - there, [(item, host)]))
            left, left_cpu = plan.memory[host] - self.least_memory[host], plan.cpu[host] - self.least_cpu[host]
            for other in plan.on[host]:
                more, more_cpu = memory[other] - size, cpu[other] - size_cpu
                if (not more and not more_cpu and not grouped) or home not in allowed[other]:
                    continue
                delta = -here - there  # and then over(home, more, more_cpu) + over(host, -more, -more_cpu), where it matters most
                if more > home_left:
                    delta += (more - home_left) * per_memory
                if -more > left:
                    delta += (-more - left) * per_memory
                if more_cpu > home_left_cpu:
                    delta += (more_cpu - home_left_cpu) * per_cpu
                if -more_cpu > left_cpu:
                    delta += (-more_cpu - left_cpu) * per_cpu
                if other in required_of:
                    delta += CONFLICT * (self.conflicts(other, home) - self.conflicts(other, host))
                found.append((delta, [(item, host), (other, home)]))
        for other in outside:
            if home in allowed[other]:
                delta = over(home, memory[other] - size, cpu[other] - size_cpu) - here
                if other in required_of:
                    delta += CONFLICT * self.conflicts(other, home)
                found.append((delta, [(item, NOWHERE), (other, home)]))
        plan.steps -= len(found)
        return found

    def two_for_one(self, item: int, _outside: Sequence[int]) -> list[tuple[float, Change]]:
        """Exchanges of *item* for two smaller ones of one other host, where no rule is concerned."""
        plan, over = self.plan, self.over
        memory, cpu, allowed = plan.problem.memory, plan.problem.cpu, plan.problem.allowed
        home, found = plan.where[item], []
        if item in plan.required_of:
            return []
        here, cpu_only = over(home, 0, 0), plan.memory[home] >= self.least_memory[home]
        for host in allowed[item]:
            if host == home:
                continue
            there = over(host, 0, 0)
            others = self._free_to_swap(host, home, cpu_only)
            for index, one in enumerate(others):
                for other in others[index + 1 :]:
                    more = memory[one] + memory[other] - memory[item]
                    more_cpu = cpu[one] + cpu[other] - cpu[item]
                    if more < 0 or more_cpu < 0:
                        delta = over(home, more, more_cpu) - here + over(host, -more, -more_cpu) - there
                        found.append((delta, [(item, host), (one, home), (other, home)]))
        plan.steps -= len(found)
        return found

    def two_for_two(self, item: int, _outside: Sequence[int]) -> list[tuple[float, Change]]:
        """Exchanges of *item* and another one of its host for two of another host, where no rule is concerned."""
        plan, over = self.plan, self.over
        memory, cpu = plan.problem.memory, plan.problem.cpu
        home = plan.where[item]
        here, found = over(home, 0, 0), []
        cpu_only = plan.memory[home] >= self.least_memory[home]
        for host in plan.problem.allowed[item]:
            if host == home or item in plan.required_of:
                continue
            there = over(host, 0, 0)
            mates, others = self._free_to_swap(home, host, cpu_only), self._free_to_swap(host, home, cpu_only)
            for mate in mates:
                if mate <= item:
                    continue
                size, size_cpu = memory[item] + memory[mate], cpu[item] + cpu[mate]
                for index, one in enumerate(others):
                    for other in others[index + 1 :]:
                        more, more_cpu = memory[one] + memory[other] - size, cpu[one] + cpu[other] - size_cpu
                        if more < 0 or more_cpu < 0:
                            delta = over(home, more, more_cpu) - here + over(host, -more, -more_cpu) - there
                            if delta < -ALMOST:
                                found.append((delta, [(item, host), (mate, host), (one, home), (other, home)]))
                plan.steps -= len(others) * len(others) // 4
        return found

    def _free_to_swap(self, host: int, to: int, cpu_only: bool) -> list[int]:
        plan, problem = self.plan, self.plan.problem
        return [
            item
            for item in plan.on[host]
            if to in problem.allowed[item] and item not in plan.required_of and (problem.cpu[item] or not cpu_only)
        ][:MOST]

    def _unit_changes(self, item: int) -> list[tuple[float, Change]]:
        """The same for VMs that must be together, all of them at once, and for *item* alone against one outside."""
        plan, allowed = self.plan, self.plan.problem.allowed
        unit, home, rank = plan.unit(item), plan.where[item], plan.problem.rank
        changes = []
        for host in allowed[item]:
            if host != home and all(host in allowed[other] for other in unit):
                moves = [(other, host) for other in unit]
                changes.append(moves)
                changes += [[*moves, (other, home)] for other in plan.on[host] if home in allowed[other]]
        outside = [one for one in self.items if plan.where[one] == NOWHERE and rank[one] == rank[item] and home in allowed[one]]
        changes += [[(item, NOWHERE), (other, home)] for other in outside]
        plan.steps -= 4 * len(changes)
        return [(self._measured(change), change) for change in changes]

    def _measured(self, change: Sequence[tuple[int, int]]) -> float:
        """What *change* changes, by trying it."""
        plan = self.plan
        origin = [(item, plan.where[item]) for item, _host in change]
        hosts = {host for _item, host in (*change, *origin)} - {NOWHERE}
        before = self._wrong_of(origin, hosts)
        _set(plan, change)
        after = self._wrong_of(change, hosts)
        _set(plan, origin)
        return after - before

    def _wrong_of(self, items: Sequence[tuple[int, int]], hosts: Iterable[int]) -> float:
        pairs = sum(self.conflicts(item, host) for item, host in items)
        return sum(self.over(host, 0, 0) for host in hosts) + CONFLICT * pairs


def _set(plan: Assignment, places: Sequence[tuple[int, int]]) -> None:
    for item, _host in places:
        if plan.where[item] != NOWHERE:
            plan.take(item)
    for item, host in places:
        if host != NOWHERE:
            plan.put(item, host)
