# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where VMs go: by what the hosts really have left, and by the rules.

Invariant: a host is given no VM for which it lacks memory, reserved CPU, a datastore, a network, virtual hardware, or
its own good health, all that is planned for it in the same look taken into account; nor one that would break a required
rule there. As many VMs as possible of the highest restart priority are placed, then of the next, and so on: a VM never
loses its place to one of lower priority. Among such plans the one with the least cost in preferences is looked for, then
the one whose most loaded host is least loaded. The order of the input does not matter: the same facts give the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional

from ..rules import NO_RULES, Rules
from .candidates import Candidates
from .reasons import explain
from .room import Place, Room, Wish, room_on
from .search import search

__all__ = ["Place", "Room", "Wish", "place", "room_on"]

# Places that a search may try; it ends long before where all VMs fit and the hosts are even. Few VMs are searched more
# thoroughly: there the best plan is within reach, and a single VM counts for more.
FEW, STEPS_FOR_FEW, STEPS_PER_PAIR, STEPS = 100, 250_000, 300, 60_000


def place(
    wishes: Iterable[Wish],
    rooms: Mapping[str, Room],
    rules: Rules = NO_RULES,
    running: Optional[Mapping[str, str]] = None,
    steps: Optional[int] = None,
    distribute: bool = True,
) -> list[Place]:
    """Plan all *wishes*, in the order in which they are to be started; *rooms* are left untouched.

    *running* is the host of every VM that runs, or is planned already; what it says of the wished VMs themselves
    counts for nothing, so that a VM may be planned away from where it runs. *steps* bounds the search, and with it the
    time that a plan takes where not all VMs fit. Without *distribute* the plan says only who finds a place: where that is everybody, it is
    not the best one.
    """
    ordered = sorted(wishes, key=_order)
    names = sorted(rooms)
    wished = {wish.vm.id for wish in ordered if wish.power_on}
    where = {vm: host for vm, host in (running or {}).items() if vm not in wished}
    count = {name: rooms[name].planned for name in names}
    for host in where.values():
        if host in count:
            count[host] += 1
    candidates = Candidates([rooms[name] for name in names], rules, where)
    starting = [wish for wish in ordered if wish.power_on]
    problem = candidates.problem(starting, [count[name] for name in names])
    if steps is None:
        steps = min(STEPS_FOR_FEW, STEPS_PER_PAIR * len(starting) ** 2) if len(starting) <= FEW else STEPS
    return explain(ordered, candidates, problem, search(problem, steps, distribute))


def _order(wish: Wish) -> tuple[int, bool, int, str, str]:
    return wish.priority.rank, not wish.power_on, -wish.vm.memory, wish.vm.name, wish.vm.id
