# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and moves that were ordered and whose end nobody has seen yet.

A host that falls silent between "power on" and its answer may run the VM. Invariant: from the look that orders a start on
another host until that host's own list has been read again, a VM that is seen running nowhere counts as running *there*
whenever that host cannot be read. So it starts nowhere else before that host is fenced and stopped, like any lost host.
The order is remembered before it is carried out; so this holds for a monitor that was killed in between, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from ..decision import Action, FailoverAction, MoveAction
from ..instant import Instant
from ..memory import UnderWay, VmRecord
from ..observations import Power

LANDED = 30.0  # s after which an order that a killed monitor gave has been carried out, or never will be


def note_orders(vms: tuple[VmRecord, ...], actions: Iterable[Action], now: Instant) -> tuple[VmRecord, ...]:
    """*vms* with what *actions* order about them."""
    ordered = {}
    for action in actions:
        if isinstance(action, FailoverAction):
            ordered.update({vm.id: vm.destination for vm in action.vms if vm.power_on})
        elif isinstance(action, MoveAction):
            ordered.update({vm.id: vm.destination for vm in action.vms if vm.power_on or vm.running})
    if not ordered:
        return vms
    return tuple(replace(vm, under_way=UnderWay(ordered[vm.id], now)) if vm.id in ordered else vm for vm in vms)


def settle(record: VmRecord, sighted_on: Collection[str], runs: bool, read: Collection[str], now: Instant) -> VmRecord:
    """*record* with its open order judged by a look: *sighted_on* are the hosts that list the VM, *read* those whose list was read."""
    order = record.under_way
    if order is None:
        return record
    if runs:
        return replace(record, under_way=None)
    if order.host not in read:
        if order.came_from:
            return record
        waiting = replace(order, came_from=record.host)
        return replace(record, host=order.host, power=Power.ON, on_since=None, registered="", under_way=waiting)
    if order.came_from:
        if order.host in sighted_on:
            return replace(record, under_way=None)
        return replace(record, host=order.came_from, power=Power.OFF, under_way=None)
    age = now.since(order.at)
    return replace(record, under_way=None) if age is None or age >= LANDED else record
