# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An operator's starts before they are planned: admission control is asked once about each, where the policy says ``enforce``.

Invariant: only VMs that an operator wants started are asked about, and only once. What ran before, and what a failover
starts, is never refused. VMs that were ordered together are admitted one after the other, by restart priority, each
counting for the next, so that together they do not take what each alone would have left free.
"""

from __future__ import annotations

from dataclasses import replace

from ..decision import Alarm, Held, Severity
from ..forecast.admission import refuses_start
from ..memory import Desired, VmRecord
from ..observations import Power
from ..placement.capacity import rooms_for
from ..state import Cluster
from .recover import Findings


def admit_starts(cluster: Cluster, out: Findings) -> dict[str, VmRecord]:
    """The changed records, by id: admitted VMs are not asked about again, refused ones are wanted stopped as before."""
    asked = [vm for vm in cluster.vms if vm.asked]
    if not asked:
        return {}
    asked.sort(key=lambda vm: (cluster.policy.vm(vm.id, vm.name).priority.rank, vm.name, vm.id))
    rooms = rooms_for(cluster)
    records: dict[str, VmRecord] = {}
    uncounted = {vm.id for vm in asked if vm.power is not Power.ON}
    for vm in asked:
        host = cluster.hosts.get(vm.host)
        if vm.id in uncounted and not (host is not None and cluster.leads(host)):
            continue  # its host is lost, or was not read: asked about when it can start there
        reason = refuses_start(cluster, vm, uncounted, rooms) if vm.id in uncounted else ""
        if not reason:
            records[vm.id] = replace(vm, asked=False)
            uncounted.discard(vm.id)
            continue
        records[vm.id] = replace(vm, asked=False, desired=Desired.STOPPED, restart=False)
        text = "%s is not started: %s" % (vm.name, reason)
        out.held.append(Held("start", vm.id, text))
        out.alarms.append(Alarm("refused:%s" % vm.id, Severity.WARNING, vm.name, text))
    return records
