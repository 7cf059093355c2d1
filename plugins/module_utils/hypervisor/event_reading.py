# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's events: the newest of them, in the host's own order."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from .. import clock
from ..decide.observations import Event
from ..errors import LibrehaError
from .entity_names import seen_name
from .pyvmomi import vim, vmodl
from .transport import UNREADABLE

LARGEST_PAGE = 1000  # EventHistoryCollector.SetCollectorPageSize allows no more
FIRST_PART = 16  # events; since the look before there were hardly more
MOST_PARTS = 100  # requests for parts of one host's events in one look

KINDS = {
    "VmPoweredOnEvent": "vm_powered_on",
    "DrsVmPoweredOnEvent": "vm_powered_on",
    "VmPoweredOffEvent": "vm_powered_off",
    "VmGuestShutdownEvent": "vm_powered_off",
    "VmSuspendedEvent": "vm_suspended",
    "VmRegisteredEvent": "vm_registered",
    "VmCreatedEvent": "vm_registered",
    "VmDiscoveredEvent": "vm_registered",
    "VmRemovedEvent": "vm_removed",
    "VmMessageErrorEvent": "vm_failed",
    "VmFailedToPowerOnEvent": "vm_failed",
    "VmFailedToPowerOffEvent": "vm_failed",
    "VmFailoverFailed": "vm_failed",
    "HostShutdownEvent": "host_shutdown",
    "HostConnectedEvent": "host_connection",
    "HostDisconnectedEvent": "host_connection",
    "HostConnectionLostEvent": "host_connection",
}
# What the VMkernel tells about itself comes as one type of event with an id.
EXTENDED_KINDS = {
    "esx.audit.host.stop.shutdown": "host_shutdown",
    "esx.audit.host.stop.reboot": "host_reboot",
    "esx.audit.host.poweroff.reason.unavailable": "host_shutdown",
}


class Found(NamedTuple):
    """The host's own events in the order of their keys. See EventsRead."""

    events: list[Any]
    skipped: int = 0
    complete: bool = True


def read_events(event_manager: Any, after_key: int, limit: int, seconds: float) -> Found:
    """The newest events (at most *limit*, at most 1000) in four round trips, or one where only QueryEvents exists.

    pyVmomi gives up a whole page over one event whose type or content it does not know (reported of VmBeingCreatedEvent and
    PermissionAddedEvent of ESXi 6.5). Then they are read in smaller parts, back to *after_key*, for at most *seconds*.
    """
    if limit <= 0:
        return Found([])
    deadline = clock.now().seconds + seconds
    newest = vim.event.EventFilterSpec()
    try:
        collector = event_manager.CreateCollectorForEvents(newest)
    except (vmodl.fault.NotSupported, vmodl.fault.NotImplemented, vmodl.fault.MethodNotFound):
        return Found(_in_order(event_manager.QueryEvents(newest))[-limit:])
    with _destroyed(collector):
        try:
            collector.SetCollectorPageSize(min(limit, LARGEST_PAGE))
            return Found(_in_order(collector.latestPage)[-limit:])
        except UNREADABLE:
            return _read_in_parts(collector, after_key, limit, deadline)


def _in_order(events: Any) -> list[Any]:
    """A page itself comes in no order."""
    return sorted(events or (), key=lambda event: event.key)


@contextlib.contextmanager
def _destroyed(collector: Any) -> Iterator[None]:
    """A host keeps few collectors, and beyond them gives empty ones. Only one that does not answer any more is not asked once
    more: there the collector ends with the session."""
    try:
        yield
    except (socket.timeout, TimeoutError):
        raise
    except BaseException:
        _destroy(collector)
        raise
    _destroy(collector)


def _destroy(collector: Any) -> None:
    with contextlib.suppress(vmodl.MethodFault, OSError, LibrehaError, *UNREADABLE):
        collector.DestroyCollector()


def _read_in_parts(collector: Any, after_key: int, limit: int, deadline: float) -> Found:
    """From the newest event back to *after_key*: where a page cannot be read, its first half alone, down to the one event that is
    to blame, which is skipped.

    How a collector moves (HistoryCollector in the vSphere API reference): ResetCollector puts it before the latest page,
    ReadPreviousEvents gives the next older events and moves there, whatever becomes of the answer here, ReadNextEvents moves it
    back. Events that are read twice do no harm, so nothing depends on where exactly a host lets the two meet.
    """
    found: dict[int, Any] = {}
    skipped, step = 0, FIRST_PART
    window = 0  # the next so many events hold one that cannot be read
    collector.SetCollectorPageSize(1)
    page = _readable(lambda: collector.latestPage)
    skipped += page is None
    collector.ResetCollector()
    for _request in range(MOST_PARTS):
        found.update((event.key, event) for event in page or ())
        # Keys begin anew when the host restarts: then all are new.
        wanted = after_key + 1 if found and max(found) >= after_key else 0
        if found and (min(found) <= wanted or len(found) >= limit):
            return Found(_in_order(found.values())[-limit:], skipped)
        if clock.now().seconds >= deadline:
            break
        size = max(1, window // 2) if window else step
        page = _readable(lambda size=size: collector.ReadPreviousEvents(size))  # type: ignore[misc]
        if page is not None:
            if not page:  # the oldest
                return Found(_in_order(found.values()), skipped)
            # A window that was read without it was no further back than it: the one to blame comes next.
            window, step = (max(0, window - size), 1) if window else (0, min(2 * step, LARGEST_PAGE))
        elif size > 1:
            _readable(lambda size=size: collector.ReadNextEvents(size))  # type: ignore[misc]
            window = size
        else:
            skipped, window, step = skipped + 1, 0, 1
    return Found(_in_order(found.values()), skipped, complete=False)


def _readable(read: Callable[[], Any]) -> Any:
    """The page, or None where it cannot be read."""
    try:
        return read() or ()
    except UNREADABLE:
        return None


def events_after(found: list[Any], after_key: int) -> list[Any]:
    """The events newer than *after_key*. Keys begin anew when the host restarts: then the newest key is lower than
    the one that was seen last, and all events are new."""
    if found and found[-1].key < after_key:
        return found
    return [event for event in found if event.key > after_key]


def event_of(event: Any, host: str, vm_ids: Mapping[str, str]) -> Event:
    """*vm_ids* maps references on this host to VM ids."""
    created = event.createdTime
    about = getattr(event, "vm", None)
    vm = getattr(about, "vm", None)
    return Event(
        host=host,
        key=int(event.key),
        kind=kind_of(event),
        at=created.isoformat() if isinstance(created, datetime) else "",
        vm=vm_ids.get(vm._moId, "") if vm is not None else "",
        user=str(event.userName or ""),
        text=str(event.fullFormattedMessage or ""),
        vm_name=seen_name(str(getattr(about, "name", None) or "")),
    )


def kind_of(event: Any) -> str:
    kind = type(event).__name__.rsplit(".", 1)[-1]
    if kind == "HostShutdownEvent" and "reboot" in str(getattr(event, "reason", "") or "").lower():
        return "host_reboot"
    if kind in ("EventEx", "ExtendedEvent"):
        return EXTENDED_KINDS.get(str(getattr(event, "eventTypeId", "") or ""), "other")
    return KINDS.get(kind, "other")
