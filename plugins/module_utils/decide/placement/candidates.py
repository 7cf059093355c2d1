# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts come into question for a VM whatever else is planned, and why the others do not.

VMs with the same needs share one answer, so that the work grows with the kinds of VMs and not with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from ..memory import VmRecord
from ..obstacles import cpu_of, unmet
from ..rules import Group, Rules
from .hardware import hardware_number
from .problem import PlanGroup, Problem
from .room import Room, Wish

AVOIDED = 10**12  # a host where it failed to start is worse than any broken preference
INCOMPLETE = 5 * 10**7  # for each device of it that is missing there; a preference costs less
REGISTERED_ELSEWHERE = 10**9  # where an earlier attempt has registered it comes first: it must not be registered twice
LATER = 10**7  # on a host whose turn comes after others'; a preference costs less
LOWEST_RANK = 5
WEIGHT = 8  # a preference of one restart priority outweighs a few of the next


class Candidates:
    """The hosts of one plan; ``where`` maps VMs that are not to be placed, but run or are planned already, to hosts."""

    def __init__(self, rooms: Sequence[Room], rules: Rules, where: Mapping[str, str]) -> None:
        self.rooms, self.rules, self.where = rooms, rules, where
        self._by_needs: dict[object, tuple[str, ...]] = {}
        self._allowed: dict[tuple[str, ...], tuple[int, ...]] = {}

    def reasons(self, wish: Wish) -> tuple[str, ...]:
        """Why each host does not come into question, in the order of ``rooms``; empty: it does."""
        vm = wish.vm
        files = tuple([(item.datastore, item.datastore_uuid) for item in vm.files])
        own = "" if wish.may_stay else vm.host
        tied = (vm.host, vm.obstacles, wish.whole) if vm.obstacles else ()
        starts = (vm.cpu, wish.cpu) if wish.power_on else ()
        needs = (own, wish.only, home_datastore(vm), files, vm.networks, vm.hardware_version, starts, tied)
        found = self._by_needs.get(needs)
        if found is None:
            found = self._by_needs[needs] = tuple([next(refusals(wish, room), "") for room in self.rooms])
        if not self.rules.concerns(vm.id):
            return found
        if not wish.power_on:  # which VMs may be together is a matter of running ones
            return tuple([text or self.rules.host_violation(vm.id, room.host) for text, room in zip(found, self.rooms)])
        return tuple([text or self.rules.violation(vm.id, room.host, self.where) for text, room in zip(found, self.rooms)])

    def allowed(self, reasons: tuple[str, ...]) -> tuple[int, ...]:
        found = self._allowed.get(reasons)
        if found is None:
            found = self._allowed[reasons] = tuple([index for index, text in enumerate(reasons) if not text])
        return found

    def cost(self, wish: Wish, hosts: Sequence[int]) -> Optional[dict[int, int]]:
        """Cost of each of *hosts*, as far as it does not depend on the plan; None: all the same."""
        vm = wish.vm
        concerned = self.rules.concerns(vm.id)
        if not (concerned or wish.avoid or wish.first or wish.last or vm.registered or vm.obstacles):
            return None
        weight = weight_of(wish)
        found = {}
        for index in hosts:
            host = self.rooms[index].host
            cost = AVOIDED if host in wish.avoid else 0
            if host in wish.last or (wish.first and host not in wish.first):
                cost += LATER
            if vm.obstacles and host != vm.host:
                cost += INCOMPLETE * len(unmet(vm.obstacles, self.rooms[index].offers))
            if vm.registered and host != vm.registered:
                cost += REGISTERED_ELSEWHERE
            if concerned and wish.power_on:
                cost += weight * self.rules.preference(vm.id, host, self.where)
            elif concerned:
                cost += weight * self.rules.host_preference(vm.id, host)
            found[index] = cost
        least = min(found.values(), default=0)
        found = {index: cost - least for index, cost in found.items()}
        return found if any(found.values()) else None

    def problem(self, starting: Sequence[Wish], count: Sequence[int]) -> Problem:
        """*starting* in numbers; *count* is how many VMs run on each host."""
        problem = Problem(count=list(count))
        for room in self.rooms:
            problem.free_memory.append(room.memory)
            problem.free_cpu.append(room.cpu)
            problem.total_memory.append(room.memory_total)
            problem.total_cpu.append(room.cpu_total)
        groups: dict[Group, list[int]] = {}
        for index, wish in enumerate(starting):
            allowed = self.allowed(self.reasons(wish))
            problem.memory.append(wish.vm.memory)
            problem.cpu.append(wish.vm.cpu_reserved)
            problem.rank.append(wish.priority.rank)
            problem.allowed.append(allowed)
            problem.cost.append(self.cost(wish, allowed))
            for group in self.rules.groups.get(wish.vm.id, ()):
                groups.setdefault(group, []).append(index)
        for group, members in groups.items():
            if len(members) > 1:
                weight = max(weight_of(starting[index]) for index in members)
                problem.groups.append(PlanGroup(tuple(members), group.together, group.required, weight))
        return problem


def weight_of(wish: Wish) -> int:
    exponent: int = max(LOWEST_RANK - wish.priority.rank, 0)
    return int(WEIGHT**exponent)


def home_datastore(vm: VmRecord) -> str:
    """UUID of the datastore that holds the .vmx: the first part of the VM's id."""
    return vm.id.partition(":")[0]


def refusals(wish: Wish, room: Room) -> Iterator[str]:
    """Why *room* does not come into question for *wish*, each reason; rules and the room that is left are asked elsewhere."""
    vm = wish.vm
    if room.host == vm.host and not wish.may_stay:
        yield "it is where the VM was"
    if room.refuses:
        yield room.refuses
        return  # what else is missing there is known of a host that takes VMs only
    if wish.only is not None and room.host not in wish.only:
        yield "an operator wants it on %s" % " or ".join(sorted(wish.only))
    missing_stores = dict.fromkeys(item.datastore for item in vm.files if item.datastore_uuid not in room.datastores)
    for name in missing_stores:
        yield "datastore %s is not accessible there" % name
    if not missing_stores and home_datastore(vm) not in room.datastores:
        yield "the datastore of its .vmx is not accessible there"
    missing = sorted(set(vm.networks) - room.networks)
    if missing:
        yield "network %s is missing there" % ", ".join(missing)
    if room.hardware and hardware_number(vm.hardware_version) > room.hardware:
        yield "it runs VM hardware up to vmx-%02d, not %s" % (room.hardware, vm.hardware_version)
    if wish.power_on and room.cores and vm.cpu > room.cores:
        yield "%d virtual CPUs on %d cores" % (vm.cpu, room.cores)
    if wish.power_on and wish.cpu and room.host != vm.host and cpu_of(room.offers) != wish.cpu:
        yield "its memory is suspended, and that host's CPU is not the one that it was suspended on"
    if wish.power_on and vm.obstacles and room.host != vm.host:
        lacks = "; ".join(item.lacks for item in unmet(vm.obstacles, room.offers) if item.blocks or wish.whole)
        if lacks:
            yield lacks
