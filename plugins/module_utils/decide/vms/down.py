# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which VMs should run and are down, and why they are down still.

Invariant: every VM that is desired, in HA, and known to be down is in this list, whatever is done about it, in every mode. *Known* to be
down is a VM that its host was last seen to list as off or suspended, or whose host is fenced at a storage server that holds it.
A VM of a host that is only silent is not: nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..authorization import Orders
from ..decision import Action, DownVm, FailoverAction, Held, MoveAction, Proposed, RestartAction
from ..memory import Desired, VmRecord
from ..observations import Power
from ..state import Cluster


def still_down(
    cluster: Cluster, vms: Iterable[VmRecord], orders: Orders, proposed: Iterable[Proposed], held: Iterable[Held]
) -> tuple[DownVm, ...]:
    """*vms* are the records after this look; *orders*, *proposed* and *held* what it decided."""
    found = [vm for vm in vms if _is_down(vm, cluster)]
    if not found:
        return ()
    reasons = _reasons(orders, proposed, held)
    return tuple(DownVm(vm.id, vm.name, vm.host, reasons.get(vm.id) or _otherwise(vm, cluster)) for vm in found)


def _is_down(vm: VmRecord, cluster: Cluster) -> bool:
    if vm.desired is not Desired.STARTED or vm.power is Power.UNKNOWN:
        return False
    if vm.power is Power.ON and not _is_cut_off(vm, cluster):
        return False
    why = cluster.unprotected.get(vm.id)
    return why is None or not why.chosen


def _is_cut_off(vm: VmRecord, cluster: Cluster) -> bool:
    """Whether its host is fenced where the VM lies, so that it cannot write whatever it believes."""
    host = cluster.hosts.get(vm.host)
    if host is None or not host.fence.listed:
        return False
    return host.is_fenced or bool(cluster.servers_of(vm) & set(host.fence.servers))


def _reasons(orders: Orders, proposed: Iterable[Proposed], held: Iterable[Held]) -> Mapping[str, str]:
    """VM id -> what is done about it, or else why nothing is."""
    found: dict[str, str] = {}
    for item in held:
        found[item.subject] = "; ".join(dict.fromkeys([found[item.subject], item.reason])) if item.subject in found else item.reason
    for one in proposed:
        found.update({identity: "%s, not done: %s" % (text, one.why_not) for identity, text in _starts(one.action).items()})
    for action in orders.actions:
        found.update(_starts(action))
    return found


def _starts(action: Action) -> dict[str, str]:
    """VM id -> which start of it is in the action."""
    if isinstance(action, (FailoverAction, RestartAction)):
        return {vm.id: "%s is to be started on %s" % (vm.name, vm.destination) for vm in action.vms if vm.power_on}
    if isinstance(action, MoveAction):
        return {vm.id: "%s is to be moved to %s and started there" % (vm.name, vm.destination) for vm in action.vms if vm.power_on}
    return {}


def _otherwise(vm: VmRecord, cluster: Cluster) -> str:
    acting = next((act.host for act in cluster.observation.in_progress if act.vm == vm.id), "")
    if acting:
        return "it is being started on %s" % acting
    host = cluster.hosts.get(vm.host)
    if host is None:
        return "%s, where it is recorded, is not among the hosts" % vm.host
    if not cluster.leads(host):
        return "%s, where it is recorded, is %s, or its VMs could not be read" % (vm.host, host.verdict.value)
    return "it is %s on %s, and nothing is planned about it" % (vm.power.value, vm.host)
