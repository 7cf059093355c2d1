# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the VMs and events of all hosts at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..arguments.hosts import HostAccess
from ..decide.observations import ApiAnswer, Event, VmObservation
from ..hypervisor.interface import Connection
from ..hypervisor.registry import open_hypervisor
from .hosts import unavailable, whole_look
from .parallel import in_parallel


@dataclass(frozen=True)
class Unread:
    """A host whose VMs could not be read, and how it answered."""

    host: str
    answer: ApiAnswer
    reason: str


@dataclass(frozen=True)
class VmsSeen:
    """``vms_read`` are the hosts that gave their list: only there is a VM that is absent really gone."""

    vms: tuple[VmObservation, ...] = ()
    vms_read: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    # Not "unreachable": Ansible takes a result of that name for its own connection.
    unread: tuple[Unread, ...] = ()


def observe_vms(accesses: Sequence[HostAccess], events_after: Mapping[str, int], with_events: bool) -> VmsSeen:
    """*events_after* maps a host's name to the key of the newest event that is known already."""
    looks: dict[str, Callable[[], Any]] = {}
    for access in accesses:
        looks[access.name] = partial(_read, access.connection, events_after.get(access.name, 0), with_events)
    outcomes: dict[str, Any] = in_parallel(looks, whole_look(accesses))
    vms: list[VmObservation] = []
    read: list[str] = []
    events: list[Event] = []
    unread: list[Unread] = []
    for access in accesses:
        outcome = outcomes[access.name]
        failed = unavailable(outcome, access.name)
        if failed is not None:
            unread.append(Unread(access.name, *failed))
            continue
        read.append(access.name)
        vms.extend(outcome[0])
        events.extend(outcome[1])
    return VmsSeen(tuple(vms), tuple(read), tuple(events), tuple(unread))


def _read(connection: Connection, after: int, with_events: bool) -> tuple[list[VmObservation], list[Event]]:
    with open_hypervisor(connection) as host:
        # Events first: a VM that is powered off between the two is then seen off without its event, which the next
        # look brings; the other order would show an event whose VM still looks as if it ran.
        events = host.events(after) if with_events else []
        return host.virtual_machines(), events
