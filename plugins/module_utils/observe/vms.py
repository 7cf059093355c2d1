# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the VMs and events of all hosts at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..access import HostAccess
from ..decide.answers import ApiAnswer
from ..decide.observations import Event, EventGap, VmObservation
from ..errors import LibrehaError
from ..hypervisor.interface import Connection, Hypervisor
from ..hypervisor.sessions import HostSessions
from ..parallel import Late
from .hosts import unavailable, whole_look
from .pools import Pools

MOST_READS = 3  # of a host's list in one look; on a host where a VM changes all the time the last one stands


@dataclass(frozen=True)
class Unread:
    """A host whose VMs could not be read, and how it answered."""

    host: str
    answer: ApiAnswer
    reason: str


@dataclass(frozen=True)
class IoUnread:
    """A host whose VMs' statistics could not be read, though its list of VMs was."""

    host: str
    reason: str


@dataclass(frozen=True)
class VmsSeen:
    """``vms_read`` are the hosts that gave their list: only there is a VM that is absent really gone."""

    vms: tuple[VmObservation, ...] = ()
    vms_read: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    # Not "unreachable": Ansible takes a result of that name for its own connection.
    unread: tuple[Unread, ...] = ()
    io_unread: tuple[IoUnread, ...] = ()
    event_gaps: tuple[EventGap, ...] = ()  # of hosts whose VMs were read


class VmLook:
    """One look at one host. What was read is there at once: a host that is slow with its statistics keeps back nothing else, and one
    whose events or statistics cannot be read at all neither."""

    def __init__(self, sessions: HostSessions, connection: Connection, after: int, with_events: bool) -> None:
        self._sessions = sessions
        self._connection = connection
        self._after = after
        self._with_events = with_events
        self.vms: list[VmObservation] | None = None
        self.events: list[Event] = []
        self.gap: EventGap | None = None
        self.io_unread = "the host did not give its statistics in time"

    def read(self) -> None:
        self._sessions.ask(self._connection, self._read)

    def _read(self, host: Hypervisor) -> None:
        """The list, then the events: a VM is never seen off without the event of it, which would look like a crash. Where an event came
        in between, a VM may be seen as it was before; so the list is read again, until no event comes in between."""
        for _try in range(MOST_READS):
            vms = host.virtual_machines()
            if self._with_events:  # what is kept of a host that is cut off from here on is a list without its events
                self.gap = EventGap(self._connection.name, "the host did not give its events in time")
            self.vms = vms
            if not self._with_events or not self._read_events(host):
                break
        self._read_io(host, vms)

    def _read_events(self, host: Hypervisor) -> bool:
        """Whether there are some about VMs that no reading before had."""
        name = self._connection.name
        known = {event.key for event in self.events}
        try:
            read = host.events(self._after)
        except Exception as error:
            self.gap = EventGap(name, _reason(error, name, "reading the events"))
            return False
        self.events = read.events
        self.gap = None
        if not read.complete:
            self.gap = EventGap(name, "%s: the events before the newest %d could not be read" % (name, len(read.events)))
        elif read.skipped:
            self.gap = EventGap(name, "%s: %d events could not be read" % (name, read.skipped), read.skipped)
        return any(event.vm_name and event.kind != "other" and event.key not in known for event in read.events)

    def _read_io(self, host: Hypervisor, vms: list[VmObservation]) -> None:
        try:
            idle = host.io_idle(vms)
        except Exception as error:
            self.io_unread = _reason(error, self._connection.name, "reading the VMs' statistics")
            return
        self.vms = [replace(vm, io_idle=idle[vm.moid]) if vm.moid in idle else vm for vm in vms]
        self.io_unread = ""


def _reason(error: Exception, name: str, tried: str) -> str:
    """What went wrong with what can be done without: one host's strange answer about it must not keep back the rest."""
    if isinstance(error, LibrehaError):
        return str(error)
    return "%s: %s: unexpected %s: %s" % (name, tried, type(error).__name__, error)


def observe_vms(accesses: Sequence[HostAccess], events_after: Mapping[str, int], with_events: bool, pools: Pools | None = None) -> VmsSeen:
    """*events_after* maps a host's name to the key of the newest event that is known already. Without *pools*, all is ended with this
    look."""
    if pools is None:
        with Pools() as own:
            return observe_vms(accesses, events_after, with_events, own)
    sessions = pools.sessions
    looks = {access.name: VmLook(sessions, access.connection, events_after.get(access.name, 0), with_events) for access in accesses}
    readers: dict[tuple[str, str], Callable[[], None]] = {("vms", name): look.read for name, look in looks.items()}
    answers = pools.workers.ask(readers, whole_look(accesses))
    outcomes: dict[str, Any] = {name: outcome for (_vms, name), outcome in answers.items()}
    for access in accesses:
        if isinstance(outcomes[access.name], Late):  # what it has read so far counts; the next look asks anew
            sessions.cut_off(access.connection)
    return seen_of(looks, outcomes)


def seen_of(looks: Mapping[str, VmLook], outcomes: Mapping[str, Any]) -> VmsSeen:
    """What the looks at single hosts come to, each with what became of it (None, Late or Raised)."""
    vms: list[VmObservation] = []
    read: list[str] = []
    events: list[Event] = []
    unread: list[Unread] = []
    io_unread: list[IoUnread] = []
    gaps: list[EventGap] = []
    for name, look in looks.items():
        outcome, seen = outcomes[name], look.vms
        failed = unavailable(outcome, name)
        if failed is not None and (seen is None or not isinstance(outcome, Late)):
            unread.append(Unread(name, *failed))
            continue
        read.append(name)
        vms.extend(seen or ())
        events.extend(look.events)
        if look.io_unread:
            io_unread.append(IoUnread(name, look.io_unread))
        if look.gap is not None:
            gaps.append(look.gap)
    return VmsSeen(tuple(vms), tuple(read), tuple(events), tuple(unread), tuple(io_unread), tuple(gaps))
