# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who starts before whom, and when those before count as up (vSphere HA's VM restart priority and dependencies).

A VM waits for the VMs that its policy names in ``start_after``, and - unless the condition is only that resources are
allocated - for all VMs of a higher restart priority that are being recovered with it. It never waits for ever: after the
``timeout`` of whom it waits for, counted from the look that first made it wait, it starts all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Optional

from ...instant import Instant
from ..memory import Desired, VmRecord
from ..observations import Power
from ..policy import Policy, Priority, ReadyCondition, StartOrder
from ..replacing import replace


def note_ready(vm: VmRecord, now: Instant) -> VmRecord:
    """Keep ``up_since``: since when its guest has a heartbeat, as long as it runs."""
    if vm.power is not Power.ON:
        return replace(vm, up_since=None) if vm.up_since is not None else vm
    if vm.up_since is None and vm.heartbeat == "green":
        return replace(vm, up_since=now)
    return vm


class StartOrderPlan:
    """The order among the VMs that are to be started in one look."""

    def __init__(self, policy: Policy, vms: Collection[VmRecord], starting: Collection[VmRecord], now: Instant) -> None:
        self._policy = policy
        self._now = now
        self._by_name: dict[str, VmRecord] = {}
        self._starting = {vm.id: vm for vm in starting}
        if any(policy.vm(vm.id, vm.name).start_after for vm in starting):
            self._by_name = {vm.name: vm for vm in vms}
            self._by_name.update({vm.id: vm for vm in vms})

    def sorted(self) -> list[VmRecord]:
        """All that start, whoever is waited for before those who wait, then by restart priority, then by name."""
        done: dict[str, VmRecord] = {}
        for vm in sorted(self._starting.values(), key=lambda item: (self._priority(item).rank, item.name, item.id)):
            self._append(vm, done, ())
        return list(done.values())

    def waits_for(self, vm: VmRecord, placed: Collection[str]) -> str:
        """Why *vm* has to wait, in words; empty when it may start. *placed* are the ids that have a place in this plan."""
        for other in self._before(vm):
            order = self._order_of(other)
            if not self._ready(other, order, placed) and not self._timed_out(vm, order):
                return "waits for %s (%s)" % (other.name, order.condition.value.replace("_", " "))
        return ""

    def wait_to_stop(self) -> dict[str, str]:
        """Of VMs that run and are all to be stopped: the ids of those that others would start after, and why they wait."""
        found: dict[str, str] = {}
        for other in self.sorted():
            for vm in self._before(other):
                if vm.id in self._starting and vm.id != other.id:
                    found[vm.id] = "waits until %s is down, which starts after it" % other.name
        return found

    def _append(self, vm: VmRecord, done: dict[str, VmRecord], above: tuple[str, ...]) -> None:
        if vm.id in done or vm.id in above:
            return
        for other in self._named(vm):
            if other.id in self._starting:
                self._append(self._starting[other.id], done, (*above, vm.id))
        done[vm.id] = vm

    def _before(self, vm: VmRecord) -> Iterable[VmRecord]:
        yield from self._named(vm)
        if self._policy.start_order.condition is not ReadyCondition.RESOURCES_ALLOCATED:
            rank = self._priority(vm).rank
            yield from (other for other in self._starting.values() if self._priority(other).rank < rank)

    def _named(self, vm: VmRecord) -> Iterable[VmRecord]:
        for name in self._policy.vm(vm.id, vm.name).start_after:
            other = self._by_name.get(name)
            if other is not None and other.desired is Desired.STARTED and not other.ignored:
                yield other

    def _ready(self, other: VmRecord, order: StartOrder, placed: Collection[str]) -> bool:
        if order.condition is ReadyCondition.RESOURCES_ALLOCATED:
            return other.id in placed or other.id not in self._starting
        if other.power is not Power.ON or other.id in self._starting:
            return False
        if order.condition is ReadyCondition.POWERED_ON:
            return self._lasted(other.on_since, order.delay, otherwise=True)
        return other.up_since is not None and self._lasted(other.up_since, order.delay, otherwise=True)

    def _lasted(self, since: Optional[Instant], delay: float, otherwise: bool) -> bool:
        age = self._now.since(since)
        return otherwise if age is None else age >= delay

    def _timed_out(self, vm: VmRecord, order: StartOrder) -> bool:
        waited = self._now.since(vm.waiting_since)
        return waited is not None and waited > order.timeout

    def _order_of(self, vm: VmRecord) -> StartOrder:
        return self._policy.vm(vm.id, vm.name).start_order or self._policy.start_order

    def _priority(self, vm: VmRecord) -> Priority:
        return self._policy.vm(vm.id, vm.name).priority


def note_waiting(vms: tuple[VmRecord, ...], waiting: Collection[str], down: Collection[str], now: Instant) -> tuple[VmRecord, ...]:
    """Keep since when VMs wait. Of the VMs that are *down*, one that has waited long enough need not do so again."""
    return tuple(
        vm if vm.waiting_since is None and vm.id not in waiting else _waiting(vm, vm.id in waiting, vm.id in down, now) for vm in vms
    )


def _waiting(vm: VmRecord, waits: bool, down: bool, now: Instant) -> VmRecord:
    if waits and (vm.waiting_since is None or now.since(vm.waiting_since) is None):
        return replace(vm, waiting_since=now)
    if not down and vm.waiting_since is not None:
        return replace(vm, waiting_since=None)
    return vm
