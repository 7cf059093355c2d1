# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failback: a person wants the VMs to come that belong on a host, which works again. It is asked for each time, since it may stop them.

A VM belongs where it was before its host was emptied for maintenance, or where its rules prefer it to the place that it has; one that an
operator has placed since stays there. The wish ends when all have come that can.
"""

from __future__ import annotations

from ..decision import Alarm, Cause, Held, Severity
from ..memory import VmRecord
from ..observations import Power
from ..placement.capacity import takes_vms
from ..state import Cluster, HostState
from .moving import Moves, accept, moving, pause_of, refusal_of, try_places, unit_of


def fail_back(host: HostState, cluster: Cluster, out: Moves) -> None:
    """Plan the moves to *host* that are left, and note when there are none."""
    if host.record.mode is not None:  # it is about to leave maintenance mode
        return
    mine = [vm for vm in cluster.vms if _belongs(vm, host, cluster)]
    if host.record.maintenance or not takes_vms(host, cluster.policy):
        why = "it is in maintenance mode" if host.record.maintenance else "it is %s: %s" % (host.verdict.value, host.reason)
        _ends(host, ["%s takes no VM, %s" % (host.name, why)] if mine else [], out)
        return
    left: list[str] = []
    waits = any(vm.in_progress is not None and vm.in_progress.host == host.name for vm in cluster.vms)
    for vm in mine:
        if vm.in_progress is not None or vm.id in moving(out):
            waits = True
            continue
        source = cluster.hosts.get(vm.host)
        if source is None or not cluster.leads(source):
            left.append("%s stays on %s, which cannot be led" % (vm.name, vm.host))
            continue
        pause = pause_of(vm, cluster)
        if pause:
            left.append("%s stays on %s; %s" % (vm.name, vm.host, pause))
            continue
        places = try_places(unit_of(vm, cluster), cluster, out, only=frozenset((host.name,)))
        refused = next((item for item in places if not item.host), None)
        if refused is None:
            accept(places, Cause.FAILBACK, "an operator wants the VMs of %s back" % host.name, cluster, out)
            waits = True
        else:
            left.append("%s does not come back to %s: %s" % (vm.name, host.name, refusal_of(refused, host.name, cluster)))
            out.held.append(Held("move", vm.id, left[-1]))
    if not waits:
        _ends(host, left, out)


def _belongs(vm: VmRecord, host: HostState, cluster: Cluster) -> bool:
    if vm.power is not Power.ON or vm.host == host.name or vm.id in cluster.unprotected:
        return False
    preferred = cluster.rules.host_preference(vm.id, host.name) < cluster.rules.host_preference(vm.id, vm.host)
    return vm.home == host.name or (preferred and not vm.wanted_host)


def _ends(host: HostState, left: list[str], out: Moves) -> None:
    out.failed_back[host.name] = "; ".join(left)
    if left:
        out.alarms.append(Alarm("failback:%s" % host.name, Severity.WARNING, host.name, "; ".join(left)))
