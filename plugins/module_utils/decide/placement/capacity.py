# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each host has left for VMs that are to be placed, and why it takes none.

Invariant: room is counted once. What a host told is reduced by what was started there too recently for it to have
counted, and by what an earlier part of the same plan has put there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...instant import Instant
from ..memory import Desired, VmRecord
from ..observations import Power
from ..obstacles import cpu_of
from ..policy import DegradedResponse, Policy
from ..state import Cluster, HostState
from ..tries import avoided
from ..verdict import Verdict
from .place import Place, Room, Wish, room_on

STARTING = 60.0  # s in which a host may not yet count a VM that was started there in its free memory


def rooms_for(cluster: Cluster) -> dict[str, Room]:
    """The room on every host, with the reason where one takes no VM."""
    rooms = {}
    for name, host in sorted(cluster.hosts.items()):
        refuses = _refuses(host, cluster.policy)
        if host.seen is None:
            rooms[name] = Room(name, refuses or "it was not looked at")
            continue
        starting = [vm for vm in cluster.vms_on.get(name, ()) if vm.on_since is not None and just_started(vm, host.record.read_at)]
        rooms[name] = room_on(host.seen, refuses, starting)
    return rooms


def running_on(cluster: Cluster) -> dict[str, str]:
    """VM id -> host, of the VMs that run on hosts that are not fenced."""
    unfenced = {name for name, host in cluster.hosts.items() if not host.is_fenced}
    return {vm.id: vm.host for vm in cluster.vms if vm.power is Power.ON and vm.host in unfenced}


def wish_for(vm: VmRecord, cluster: Cluster) -> Wish:
    """A place for a VM whose host is lost: spare hosts take it first."""
    policy = cluster.policy
    started = vm.desired is Desired.STARTED
    first = policy.spares if started else frozenset()
    host = cluster.hosts.get(vm.host) if vm.power is Power.SUSPENDED else None
    suspended_on = cpu_of(host.record.offers) if host is not None else ""
    return Wish(vm, policy.vm(vm.id, vm.name).priority, started, avoid=avoided(vm, policy), first=first, cpu=suspended_on)


def takes_vms(host: HostState, policy: Policy) -> bool:
    return not _refuses(host, policy)


def _refuses(host: HostState, policy: Policy) -> str:
    if host.fence.listed:
        return "it is fenced"
    degraded = host.verdict is Verdict.DEGRADED and policy.degraded_response is DegradedResponse.ALARM
    if host.verdict is not Verdict.HEALTHY and not degraded:
        return "it is %s: %s" % (host.verdict.value, host.judgement.reason)
    if not host.evidence.fresh:
        return "its observation is old"
    if host.record.wanted_maintenance:
        return "it is in maintenance"
    if host.record.going_down:
        return "it is going down"
    return ""


def just_started(vm: VmRecord, read_at: Instant | None) -> bool:
    if vm.power is not Power.ON or vm.on_since is None or read_at is None:
        return False
    age = read_at.since(vm.on_since)
    return age is not None and 0 <= age < STARTING


def less(rooms: Mapping[str, Room], places: Iterable[Place]) -> dict[str, Room]:
    """*rooms* without what *places* takes there."""
    left = {name: room.copy() for name, room in rooms.items()}
    for item in places:
        if not item.host:
            continue
        room = left[item.host]
        if item.wish.power_on:
            room.memory -= item.wish.vm.memory
            room.cpu -= item.wish.vm.cpu_reserved
        room.planned += 1
    return left
