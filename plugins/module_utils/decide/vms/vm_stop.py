# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that an operator wants stopped: their guests are shut down where they run."""

from __future__ import annotations

from ..decision import StopAction, VmTarget
from ..memory import Desired, VmRecord
from ..observations import Power
from ..state import Cluster


def plan_stops(cluster: Cluster) -> list[StopAction]:
    """One action for each working host that runs VMs which an operator wants stopped."""
    by_host: dict[str, list[VmRecord]] = {}
    for vm in cluster.vms:
        host = cluster.hosts.get(vm.host)
        if host is not None and host.verdict.works and vm.stopping and vm.desired is Desired.STOPPED and vm.power is Power.ON:
            by_host.setdefault(vm.host, []).append(vm)
    return [
        StopAction(
            host,
            tuple(VmTarget(vm.id, vm.name, ("%s: an operator wants it stopped" % vm.name,)) for vm in vms),
            ("an operator asked for it",),
        )
        for host, vms in sorted(by_host.items())
    ]
