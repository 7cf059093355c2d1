# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ESXi's own maintenance mode: entered when a host that an operator wants empty is empty, left when that maintenance is over.

Invariants: no host enters it while a VM runs on it or is on its way from or to it. Only what was entered from here is left from here: a
host that somebody else put into maintenance mode stays in it, and one that somebody took out of it is not put back. Whose it is stands in
the memory before the first request is sent; with a memory that was lost, it is somebody else's, which is an alarm and changes nothing.

The mode keeps out what this cluster cannot see: a person at the host's own console, autostart, another tool. VMs of the cluster are kept
away by ``HostRecord.wanted_maintenance`` from the first look on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Optional

from ...instant import Instant
from ..authorization import Orders
from ..decision import Alarm, MaintenanceAction, Severity
from ..memory import HostRecord, MaintenanceModeRecord
from ..observations import Power
from ..state import Cluster, HostState

AGAIN = 30.0  # s until a request that changed nothing is sent again; longer than one may take
LATE = 90.0  # s from the first request until a person should know that it does not succeed


@dataclass
class MaintenanceModes:
    actions: list[MaintenanceAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    records: dict[str, Optional[MaintenanceModeRecord]] = field(default_factory=dict)  # that change with what was seen, by host
    awaited: bool = False  # a host is to enter or to leave it, and may do so soon

    def say(self, host: str, severity: Severity, text: str) -> None:
        self.alarms.append(Alarm("maintenance_mode:%s" % host, severity, host, "%s %s" % (host, text)))


def plan_maintenance_modes(cluster: Cluster) -> MaintenanceModes:
    """The hosts that enter or leave it now."""
    out = MaintenanceModes()
    for host in cluster.hosts.values():
        record = host.record
        if not (record.wanted_maintenance or record.maintenance or record.mode):
            continue
        if host.fence.listed or not _tells(host):
            continue
        if record.wanted_maintenance:
            _enter(host, cluster, out)
        else:
            _leave(host, cluster, out)
    return out


def note_modes(record: HostRecord, orders: Orders, now: Instant) -> HostRecord:
    """*record* with the request that *orders* send to the host."""
    for action in orders.of(MaintenanceAction):
        if action.host == record.name:
            before = record.mode if record.mode is not None and record.mode.leaving is not action.enter else None
            mode = before or MaintenanceModeRecord(now, leaving=not action.enter)
            record = replace(record, mode=replace(mode, asked_at=now))
    return record


def _enter(host: HostState, cluster: Cluster, out: MaintenanceModes) -> None:
    mode, is_in = host.record.mode, host.record.maintenance
    if mode is None and is_in:
        out.say(host.name, Severity.INFO, "was in ESXi's maintenance mode already: it stays in it when its maintenance is over")
        return
    if mode is not None and mode.leaving:  # wanted again, before it had left
        if not _busy(host, cluster):
            out.records[host.name] = replace(mode, leaving=False, entered=True) if is_in else None
        out.awaited = True
        return
    if is_in or (mode is not None and mode.entered):
        if mode is not None and not mode.entered:
            out.records[host.name] = replace(mode, entered=True)
        return
    if not _is_empty(host, cluster):
        return
    if mode is not None and _is_over(mode.since, LATE, cluster.now):
        out.say(host.name, Severity.WARNING, "is empty, but does not enter ESXi's maintenance mode; %s" % _WHY)
    else:
        out.awaited = True
    if mode is None or _is_over(mode.asked_at, AGAIN, cluster.now):
        out.actions.append(MaintenanceAction(host.name, True, ("no VM runs on it any more, and it is to be in maintenance",)))


def _leave(host: HostState, cluster: Cluster, out: MaintenanceModes) -> None:
    mode, is_in = host.record.mode, host.record.maintenance
    if mode is None:
        if is_in:
            text = "is in ESXi's maintenance mode, which was not entered from here: it takes no VM until somebody takes it out there"
            out.say(host.name, Severity.WARNING, text)
        return
    if not is_in:
        # A request to enter it may still be on its way.
        if mode.leaving or mode.entered or (_is_over(mode.asked_at, AGAIN, cluster.now) and not _busy(host, cluster)):
            out.records[host.name] = None
        else:
            out.awaited = True
        return
    if mode.leaving and _is_over(mode.since, LATE, cluster.now):
        out.say(host.name, Severity.WARNING, "does not leave ESXi's maintenance mode, so it takes no VM; %s" % _WHY)
    else:
        out.awaited = True
    if not mode.leaving or _is_over(mode.asked_at, AGAIN, cluster.now):
        out.actions.append(MaintenanceAction(host.name, False, ("its maintenance is over",)))


_WHY = (
    "the journal has what it answers. The monitor's user needs Host.Config.Maintenance (module esxi_monitor_user). By hand: vim-cmd "
    "hostsvc/maintenance_mode_enter, or maintenance_mode_exit"
)


def _tells(host: HostState) -> bool:
    """Whether what is known of its mode is of this look."""
    seen = host.seen
    return host.answers_api and seen is not None and seen.maintenance is not None


def _is_empty(host: HostState, cluster: Cluster) -> bool:
    """By its own list, and by all that is under way."""
    if not cluster.leads(host) or _busy(host, cluster):
        return False
    if any(vm.power is Power.ON for vm in cluster.observation.listed_on(host.name)):
        return False
    if any(act.vm and act.host == host.name for act in cluster.observation.in_progress):
        return False
    return not any(vm.in_progress is not None and host.name in (vm.host, vm.in_progress.host) for vm in cluster.vms)


def _busy(host: HostState, cluster: Cluster) -> bool:
    return any(act.host == host.name and act.mode for act in cluster.observation.in_progress)


def _is_over(since: Optional[Instant], seconds: float, now: Instant) -> bool:
    age = now.since(since)
    return age is None or age > seconds
