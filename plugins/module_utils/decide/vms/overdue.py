# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that are down for longer than ``recovery_bound``: guarantee 3 of docs/safety.md is not kept for them, and a person hears why.

Invariant: each VM of the list of those that are down (``down``) for longer than the bound has one critical alarm, with the reason that
the list gives, whatever the mode and whoever holds what back. Its time runs from the first look that knew it down, and ends only when
its host's own list shows it running, or when it is not wanted any more: a look that knows nothing of it neither ends nor counts anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..decision import Alarm, DownVm, Severity
from ..memory import Desired, VmRecord
from ..observations import Power
from ..replacing import replace
from ..state import Cluster, clock_time


def note_down(vms: tuple[VmRecord, ...], down: Iterable[DownVm], cluster: Cluster) -> tuple[VmRecord, ...]:
    """*vms* with the moment since which each of *down* is down."""
    ids = {vm.id for vm in down}
    if not ids and all(vm.down_since is None for vm in vms):
        return vms
    return tuple(_noted(vm, vm.id in ids, cluster) if vm.down_since is not None or vm.id in ids else vm for vm in vms)


def overdue(vms: Iterable[VmRecord], down: Iterable[DownVm], cluster: Cluster) -> list[Alarm]:
    """The alarms; *vms* are the records of :func:`note_down`."""
    since = {vm.id: vm.down_since for vm in vms if vm.down_since is not None}
    bound = cluster.policy.recovery_bound
    found = []
    for vm in down:
        began = since[vm.id]
        lasted = cluster.now.since(began)
        if lasted is not None and lasted > bound:
            text = "%s is down since %s, longer than recovery_bound (%.0f s): %s"
            text %= (vm.name, clock_time(began.wall) or "%.0f s" % lasted, bound, vm.reason)
            found.append(Alarm("not_recovered:%s" % vm.id, Severity.CRITICAL, vm.name, text))
    return found


def _noted(vm: VmRecord, is_down: bool, cluster: Cluster) -> VmRecord:
    if not is_down:
        return replace(vm, down_since=None) if _is_over(vm, cluster) else vm
    lasted = cluster.now.since(vm.down_since)
    if lasted is not None and lasted >= 0:
        return vm
    return replace(vm, down_since=cluster.now)  # first, or the clock began anew


def _is_over(vm: VmRecord, cluster: Cluster) -> bool:
    """It runs, by its host's own list; or nobody waits for it any more."""
    if vm.desired is not Desired.STARTED or vm.id in cluster.unprotected and cluster.unprotected[vm.id].chosen:
        return True
    host = cluster.hosts.get(vm.host)
    return vm.power is Power.ON and host is not None and cluster.leads(host)
