# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that an operator wants stopped, or that go down with everything: their guests are shut down where they run.

With everything, VMs go in the reverse of their start order: one that others start after waits until those are down. It waits for none that
cannot be asked, and no longer than ``start_order.timeout`` from the order; then all that still run are stopped at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...instant import Instant
from ..authorization import Orders
from ..decision import Held, MoveAction, StopAction, VmTarget, Way
from ..hosts.shutdown import hears
from ..memory import Desired, VmRecord
from ..observations import Power, VmObservation
from ..replacing import replace
from ..state import Cluster
from .start_order import StartOrderPlan

LANDS = 300.0  # s after which a guest that was asked to shut down has done so, or never will


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


@dataclass
class Stops:
    actions: list[StopAction] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)


def plan_all_stops(cluster: Cluster) -> Stops:
    """Of everything that runs: also what is not protected goes down with its host."""
    out = Stops()
    if cluster.shutdown is None:
        return out
    listed = {host.name: _running(host.name, cluster) for host in cluster.hosts.values() if hears(host, cluster)}
    records = {vm.id: vm for vm in cluster.vms}
    running = [records[vm.id] for vms in listed.values() for vm in vms if vm.id in records]
    lasted = cluster.now.since(cluster.shutdown.order.since) or 0.0
    in_order = lasted < cluster.policy.start_order.timeout
    waits = StartOrderPlan(cluster.policy, cluster.vms, running, cluster.now).wait_to_stop() if in_order else {}
    why = "everything is shut down (%s)" % cluster.shutdown.order.by
    for host, vms in sorted(listed.items()):
        out.held += [Held("stop", vm.id, "%s %s" % (vm.name, waits[vm.id])) for vm in vms if vm.id in waits]
        targets = tuple(VmTarget(vm.id, vm.name, ("vm %s: %s" % (vm.name, why),)) for vm in vms if vm.id not in waits)
        if targets:
            out.actions.append(StopAction(host, targets, (why,)))
    return out


def note_shutdowns(vms: tuple[VmRecord, ...], orders: Orders, cluster: Cluster) -> tuple[VmRecord, ...]:
    """*vms* with what *orders* shut down although it is to run: everything goes down, or it starts again on another host."""
    ids = {target.id for action in orders.of(StopAction) for target in action.vms} if cluster.goes_down else set()
    ids |= {move.id for action in orders.of(MoveAction) for move in action.vms if move.way is Way.COLD}
    return tuple(replace(vm, shut_down_at=cluster.now) if vm.id in ids else vm for vm in vms) if ids else vms


def shut_down_by_us(vm: VmRecord, goes_down: bool, ran_at: Instant) -> bool:
    """Whether a power-off of *vm*, which was last seen running at *ran_at*, may be one that we asked its guest for: that may land a while
    after the shutdown was called off, or the move was given up."""
    age = ran_at.since(vm.shut_down_at)
    return vm.shut_down_at is not None and (goes_down or (age is not None and age < LANDS))


def _running(host: str, cluster: Cluster) -> list[VmObservation]:
    return sorted((vm for vm in cluster.observation.listed_on(host) if vm.power is Power.ON), key=lambda vm: (vm.name, vm.id))
