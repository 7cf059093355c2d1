# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's events: the newest of them, in the host's own order."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..decide.observations import Event
from .pyvmomi import vim, vmodl

LARGEST_PAGE = 1000  # EventHistoryCollector.SetCollectorPageSize allows no more

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


def read_events(event_manager: Any, limit: int) -> list[Any]:
    """The newest events (at most *limit*, at most 1000) in four round trips, or one where only QueryEvents exists."""
    if limit <= 0:
        return []
    newest = vim.event.EventFilterSpec()
    try:
        collector = event_manager.CreateCollectorForEvents(newest)
    except (vmodl.fault.NotSupported, vmodl.fault.NotImplemented, vmodl.fault.MethodNotFound):
        return sorted(event_manager.QueryEvents(newest) or (), key=lambda event: event.key)[-limit:]
    try:
        collector.SetCollectorPageSize(min(limit, LARGEST_PAGE))
        page = collector.latestPage
    finally:
        with contextlib.suppress(vmodl.MethodFault):  # it ends with the session anyway
            collector.DestroyCollector()
    return sorted(page or (), key=lambda event: event.key)[-limit:]  # the page itself comes in no order


def events_after(found: list[Any], after_key: int) -> list[Any]:
    """The events newer than *after_key*. Keys begin anew when the host restarts: then the newest key is lower than
    the one that was seen last, and all events are new."""
    if found and found[-1].key < after_key:
        return found
    return [event for event in found if event.key > after_key]


def event_of(event: Any, host: str, vm_ids: Mapping[str, str]) -> Event:
    """*vm_ids* maps references on this host to VM ids."""
    created = event.createdTime
    vm = getattr(getattr(event, "vm", None), "vm", None)
    return Event(
        host=host,
        key=int(event.key),
        kind=kind_of(event),
        at=created.isoformat() if isinstance(created, datetime) else "",
        vm=vm_ids.get(vm._moId, "") if vm is not None else "",
        user=str(event.userName or ""),
        text=str(event.fullFormattedMessage or ""),
    )


def kind_of(event: Any) -> str:
    kind = type(event).__name__.rsplit(".", 1)[-1]
    if kind == "HostShutdownEvent" and "reboot" in str(getattr(event, "reason", "") or "").lower():
        return "host_reboot"
    if kind in ("EventEx", "ExtendedEvent"):
        return EXTENDED_KINDS.get(str(getattr(event, "eventTypeId", "") or ""), "other")
    return KINDS.get(kind, "other")
