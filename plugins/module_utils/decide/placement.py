# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where VMs go: plain placement by what the hosts really have left.

Invariant: a host is given no VM for which it lacks memory, reserved CPU, a datastore, a network, or its own good
health, all that was planned for it in the same look taken into account. VMs are placed in the order of their restart
priority, the larger ones first within one; each goes to the host that is least loaded *with* it. The order of the input does not
matter: the same facts give the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from .memory import VmRecord
from .observations import ApiAnswer, HostObservation
from .policy import Priority


@dataclass(frozen=True)
class Wish:
    """A VM that needs a place; ``power_on`` false only registers it there."""

    vm: VmRecord
    priority: Priority
    power_on: bool


@dataclass
class Room:
    """What one host has left; it shrinks as VMs are planned."""

    host: str
    refuses: str = ""  # why it takes no VM at all
    memory: int = 0  # MiB left
    memory_total: int = 0
    cpu: int = 0  # MHz left
    cpu_total: int = 0
    cores: int = 0
    datastores: dict[str, str] = field(default_factory=dict)  # usable ones: UUID -> its name there
    networks: frozenset[str] = frozenset()
    planned: int = 0

    def copy(self) -> Room:
        return Room(**{**self.__dict__, "datastores": dict(self.datastores)})


@dataclass(frozen=True)
class Place:
    """``host`` empty: no host takes it; ``refusals`` has each host's reason, also when another one took it."""

    wish: Wish
    host: str
    datastore: str
    refusals: tuple[tuple[str, str], ...]


def room_on(seen: HostObservation, refuses: str, starting: Iterable[VmRecord]) -> Room:
    """The room that a host tells of, less the VMs that have just been started there and that it may not count yet."""
    started = list(starting)
    if not refuses and seen.api_answer is not ApiAnswer.ANSWERED:
        refuses = "its API did not answer in this look (%s)" % seen.api_answer.value
    if not refuses and seen.maintenance:
        refuses = "it is in maintenance mode"
    if not refuses and (seen.memory_free is None or seen.memory_total is None):
        refuses = "it did not tell its free memory"
    return Room(
        host=seen.name,
        refuses=refuses,
        memory=(seen.memory_free or 0) - sum(vm.memory for vm in started),
        memory_total=seen.memory_total or 0,
        cpu=(seen.cpu_free or 0) - sum(vm.cpu_reserved for vm in started),
        cpu_total=seen.cpu_total or 0,
        cores=seen.cpu_cores or 0,
        datastores={store.uuid: store.name for store in seen.datastores if store.accessible and not store.maintenance},
        networks=frozenset(seen.networks),
    )


def place(wishes: Iterable[Wish], rooms: Mapping[str, Room]) -> list[Place]:
    """Plan all *wishes*, in the order in which they are to be started; *rooms* are left untouched."""
    left = {name: rooms[name].copy() for name in sorted(rooms)}
    return [_place_one(wish, left) for wish in sorted(wishes, key=_order)]


def _order(wish: Wish) -> tuple[int, bool, int, str, str]:
    return wish.priority.rank, not wish.power_on, -wish.vm.memory, wish.vm.name, wish.vm.id


def _place_one(wish: Wish, left: Mapping[str, Room]) -> Place:
    refusals: list[tuple[str, str]] = []
    best: Optional[tuple[bool, float, int, str]] = None
    for name, room in left.items():
        reason = _refusal(wish, room)
        if reason:
            refusals.append((name, reason))
            continue
        # Where an earlier attempt has registered it already comes first: it must not be registered twice.
        rank = (name != wish.vm.registered, _load_with(wish, room), room.planned, name)
        best = rank if best is None else min(best, rank)
    if best is None:
        return Place(wish, "", "", tuple(refusals))
    chosen = left[best[3]]
    if wish.power_on:
        chosen.memory -= wish.vm.memory
        chosen.cpu -= wish.vm.cpu_reserved
    chosen.planned += 1
    return Place(wish, chosen.host, chosen.datastores[_home(wish.vm)], tuple(refusals))


def _refusal(wish: Wish, room: Room) -> str:
    vm = wish.vm
    if room.host == vm.host:
        return "it is where the VM was"
    if room.refuses:
        return room.refuses
    for item in vm.files:
        if item.datastore_uuid not in room.datastores:
            return "datastore %s is not accessible there" % item.datastore
    if _home(vm) not in room.datastores:
        return "the datastore of its .vmx is not accessible there"
    missing = sorted(set(vm.networks) - room.networks)
    if missing:
        return "network %s is missing there" % ", ".join(missing)
    if not wish.power_on:
        return ""
    if vm.memory > room.memory:
        return "%d MiB memory too little" % (vm.memory - room.memory)
    if room.cores and vm.cpu > room.cores:
        return "%d virtual CPUs on %d cores" % (vm.cpu, room.cores)
    if vm.cpu_reserved > room.cpu:
        return "%d MHz reserved CPU too little" % (vm.cpu_reserved - room.cpu)
    return ""


def _load_with(wish: Wish, room: Room) -> float:
    """The higher of memory and CPU use, as a fraction, with the VM on it."""
    memory = room.memory - (wish.vm.memory if wish.power_on else 0)
    cpu = room.cpu - (wish.vm.cpu_reserved if wish.power_on else 0)
    return max(
        1.0 - memory / room.memory_total if room.memory_total else 1.0,
        1.0 - cpu / room.cpu_total if room.cpu_total else 0.0,
    )


def _home(vm: VmRecord) -> str:
    """UUID of the datastore that holds the .vmx: the first part of the VM's id."""
    return vm.id.partition(":")[0]
