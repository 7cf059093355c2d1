# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and moves that were ordered and whose end nobody has seen yet.

A host that falls silent between "power on" and its answer may run the VM. Invariant: from the look that orders a start on
another host until that host's own list has been read again, a VM that is seen running nowhere counts as running *there*
whenever that host cannot be read. So it starts nowhere else before that host is fenced and stopped, like any lost host.
The order is remembered before it is carried out; so this holds for a monitor that was killed in between, too.

A move has two hosts on which the VM may run. While neither can be read it stays recorded where it was; when that host is fenced it
counts as running at the other end. So both are fenced before a third one starts it.

The order is void when the act's own record says that "power on" was never asked of that host: then the VM runs nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...instant import Instant
from ..authorization import Orders
from ..decision import FailoverAction, MoveAction
from ..memory import OrderInProgress, VmRecord
from ..observations import Act, ActResult, Power
from ..replacing import replace

LANDED = 30.0  # s after which an order that a killed monitor gave has been carried out, or never will be


def note_orders(vms: tuple[VmRecord, ...], orders: Orders, now: Instant) -> tuple[VmRecord, ...]:
    """*vms* with what *orders* order about them."""
    ordered = {vm.id: vm.destination for action in orders.of(FailoverAction) for vm in action.vms if vm.power_on}
    ordered.update({vm.id: vm.destination for action in orders.of(MoveAction) for vm in action.vms if vm.power_on or vm.running})
    if not ordered:
        return vms
    return tuple(replace(vm, in_progress=_order(vm, ordered[vm.id], now)) if vm.id in ordered else vm for vm in vms)


def _order(vm: VmRecord, host: str, now: Instant) -> OrderInProgress:
    """The order given now; of several to the same host that are open, the first one's time is kept beside it."""
    before = vm.in_progress
    first = (before.first or before.at) if before is not None and before.host == host else now
    return OrderInProgress(host, now, first=first)


def never_asked(order: OrderInProgress, results: Iterable[ActResult]) -> bool:
    """Whether the acts on this order, which are told by *results* of the VM, have ended without a request to start it there."""
    since = order.first or order.at
    ages = [(result.at.since(since), result.asked) for result in results if result.host == order.host and result.act is Act.START]
    mine = [asked for age, asked in ages if age is None or age >= 0]
    last = [age for age, _asked in ages if age is not None and age >= (order.at.since(since) or 0.0)]
    return bool(last) and not any(mine)


def settle(
    record: VmRecord,
    sighted_on: Collection[str],
    runs: bool,
    read: Collection[str],
    now: Instant,
    results: Iterable[ActResult] = (),
    fenced: Collection[str] = (),
    acting: bool = False,
) -> VmRecord:
    """*record* with its open order judged by a look: *sighted_on* are the hosts that list the VM, *read* those whose list was read,
    *fenced* those whose fence is confirmed, *results* how acts on it ended, *acting* whether one is under way."""
    order = record.in_progress
    if order is None:
        return record
    age = now.since(order.at)
    if runs:  # still where it came from: the move has not ended, or never will
        lasts = acting or (age is not None and 0 <= age < LANDED)
        moves = order.host not in sighted_on and not order.came_from and lasts
        if moves:
            return record
        # Its guest may have been asked until now, and go down yet.
        return replace(record, in_progress=None, shut_down_at=now if record.shut_down_at is not None else None)
    if order.host not in read:
        if never_asked(order, results):
            back = replace(record, host=order.came_from, power=Power.OFF) if order.came_from else record
            return replace(back, in_progress=None)
        if order.came_from:
            return record
        if record.host not in read and record.host not in fenced:
            return record  # a move of which neither end can be read: it may run on either, and is accounted for where it was first
        waiting = replace(order, came_from=record.host)
        return replace(record, host=order.host, power=Power.ON, on_since=None, registered="", in_progress=waiting)
    if order.came_from:
        if order.host in sighted_on:
            return replace(record, in_progress=None)
        return replace(record, host=order.came_from, power=Power.OFF, in_progress=None)
    return replace(record, in_progress=None) if not acting and (age is None or age >= LANDED) else record


def unsettled(vms: Iterable[VmRecord]) -> frozenset[str]:
    """The ids of VMs that run where they were, and may be running elsewhere in a moment: a move of theirs has not been seen to end."""
    return frozenset(vm.id for vm in vms if vm.in_progress is not None and vm.in_progress.host != vm.host)
