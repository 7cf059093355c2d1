# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM that wants a place, what a host has left for it, and the place it gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional

from ..answers import ApiAnswer
from ..memory import VmRecord
from ..observations import HostObservation
from ..obstacles import offers
from ..policy import Priority
from .hardware import highest_hardware


@dataclass(frozen=True)
class Wish:
    """A VM that needs a place; ``power_on`` false only registers it there."""

    vm: VmRecord
    priority: Priority
    power_on: bool
    avoid: frozenset[str] = frozenset()  # hosts that are taken only if no other one takes it
    may_stay: bool = False  # the host where it is recorded is as good as the others
    first: frozenset[str] = frozenset()  # hosts that are taken before all others, if there are any
    last: frozenset[str] = frozenset()  # hosts that are taken after the others, and before those to avoid
    only: Optional[frozenset[str]] = None  # an operator's word: nowhere else; None: anywhere
    cpu: str = ""  # only on a host that offers this word of ``obstacles.cpu``; empty: on any
    whole: bool = False  # only with all of its devices: it works where it is


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
    hardware: int = 0  # highest VM hardware version that it runs; 0: not known
    offers: frozenset[str] = frozenset()  # see ``obstacles``

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
    datastores = {store.uuid: store.name for store in seen.datastores if store.accessible and not store.maintenance}
    return Room(
        host=seen.name,
        refuses=refuses,
        memory=(seen.memory_free or 0) - sum(vm.memory for vm in started),
        memory_total=seen.memory_total or 0,
        cpu=(seen.cpu_free or 0) - sum(vm.cpu_reserved for vm in started),
        cpu_total=seen.cpu_total or 0,
        cores=seen.cpu_cores or 0,
        datastores=datastores,
        networks=frozenset(seen.networks),
        hardware=highest_hardware(seen.product, seen.version, seen.build),
        offers=offers(seen.capabilities, datastores),
    )
