# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that are down on a host that works: they start where they are, and elsewhere when they do not start there.

A VM that should run and does not - it crashed, its host restarted, or an operator asked for it - belongs to the host that has it
registered; nobody else can run it, so no fence is needed. Only where that host has had its tries, has no room for
it, may not run it by a required rule, or is to be emptied, the VM is moved, stopped as it is.

Where nobody can move VMs (not *can_move*), a VM that has had its tries is tried on at its own host, with the pauses of ``tries``: the
reason may end by itself, and waiting for a move that nobody makes would leave the VM down for ever.

Invariants: a VM is planned here only if its host's own list, read in this very look, shows it down. It leaves its host without a fence
only while that host works with its storage (``in_doubt``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ..decision import Alarm, Cause, Held, PlannedMove, RestartAction, Severity
from ..memory import Desired, VmRecord
from ..observations import Power
from ..placement.capacity import wish_for
from ..placement.place import Place, Wish
from ..state import Cluster, HostState
from ..tries import exhausted, waits
from .in_doubt import failed_just_now, writes_in_doubt
from .recover import Findings, planned_move, planned_vm

MOUNTING = 120.0  # s after its start in which a host may still be mounting its datastores


@dataclass
class Down:
    """VMs to start again: ``here`` on their own hosts, ``elsewhere`` on others."""

    here: list[Wish] = field(default_factory=list)
    elsewhere: list[Wish] = field(default_factory=list)


def down_vms(cluster: Cluster, out: Findings, can_move: bool, refused: Collection[str] = ()) -> Down:
    """The VMs that should run and do not, on hosts that work; *refused* are ids that admission control did not let start."""
    down = Down()
    for host in cluster.hosts.values():
        if not cluster.leads(host) or host.seen is None or host.record.going_down:
            continue
        for vm in cluster.vms_on.get(host.name, ()):
            waits_for_its_move = vm.ordered and can_move
            if vm.desired is Desired.STARTED and _is_to_start(vm) and not waits_for_its_move and vm.id not in refused:
                _sort_in(vm, host, cluster, can_move, down, out)
    return down


def _is_to_start(vm: VmRecord) -> bool:
    """One that is suspended only where a move suspended it and came to nothing: any other one is a person's."""
    return vm.power is Power.OFF or (vm.power is Power.SUSPENDED and vm.restart)


def _sort_in(vm: VmRecord, host: HostState, cluster: Cluster, can_move: bool, down: Down, out: Findings) -> None:
    why = cluster.unprotected.get(vm.id)
    if why is not None and why.chosen:
        out.held.append(Held("restart", vm.id, "%s is not restarted on %s: %s" % (vm.name, host.name, why.reason)))
        return
    used_up = exhausted(vm, host.name, cluster.policy)
    if (used_up or vm.tries.rounds) and not can_move:
        out.alarms.append(_does_not_start(vm, host.name))
    pause = waits(vm, cluster.now)
    if pause > 0:
        out.held.append(Held("restart", vm.id, "%s is tried again in %.0f s: %s" % (vm.name, pause, vm.tries.reason)))
        return
    leaves = why is None and can_move and (used_up or host.record.wanted_maintenance)
    doubt = _may_not_leave(vm, host, cluster, out) if leaves else ""
    if doubt:
        out.held.append(Held("restart", vm.id, "%s waits on %s: %s" % (vm.name, host.name, doubt)))
    elif leaves:
        # Its own host has had its tries, and gets more of them only where no other host takes the VM.
        down.elsewhere.append(replace(wish_for(vm, cluster), may_stay=not host.record.wanted_maintenance))
    elif host.record.maintenance or host.record.wanted_maintenance:
        out.held.append(Held("restart", vm.id, "%s waits: %s is in maintenance mode" % (vm.name, host.name)))
    else:
        down.here.append(replace(wish_for(vm, cluster), may_stay=True, only=frozenset((host.name,)), avoid=frozenset()))


def _may_not_leave(vm: VmRecord, host: HostState, cluster: Cluster, out: Findings) -> str:
    doubt = writes_in_doubt(vm, host)
    if doubt:
        return doubt
    pause = failed_just_now(vm, cluster)
    if pause:
        out.soon.add(vm.id)
    return pause


def _does_not_start(vm: VmRecord, host: str) -> Alarm:
    text = (
        "%s does not stay up on %s: %s. It is tried there again and again; no playbook moves it: "
        "look at its console, or register it on another host and start it there"
    )
    return Alarm("does_not_start:%s" % vm.id, Severity.CRITICAL, vm.name, text % (vm.name, host, vm.tries.reason))


def elsewhere_instead(places: list[Place], cluster: Cluster, out: Findings) -> list[Wish]:
    """New wishes for the VMs whose own host did not take them; those that may not leave it are held."""
    wishes = []
    for item in places:
        vm = item.wish.vm
        if item.host:
            continue
        reason = next((reason for host, reason in item.refusals if host == vm.host), "it takes no VM")
        if vm.id in cluster.unprotected:
            out.held.append(Held("restart", vm.id, "%s waits on %s: %s" % (vm.name, vm.host, reason)))
        elif _comes_back(cluster.hosts[vm.host]):
            out.held.append(Held("restart", vm.id, "%s waits: %s does not have its datastore yet" % (vm.name, vm.host)))
        elif doubt := _may_not_leave(vm, cluster.hosts[vm.host], cluster, out):
            out.held.append(Held("restart", vm.id, "%s waits on %s: %s" % (vm.name, vm.host, doubt)))
        else:
            wishes.append(wish_for(vm, cluster))
    return wishes


def _comes_back(host: HostState) -> bool:
    """Right after its start a host mounts its datastores one by one."""
    seen = host.seen
    return (
        seen is not None
        and seen.uptime is not None
        and seen.uptime < MOUNTING
        and not any(item.accessible for item in seen.datastores if item.luns)
    )


def restart(host: str, places: list[Place]) -> RestartAction:
    """Start VMs where they are."""
    planned = []
    for item in places:
        vm = item.wish.vm
        planned.append(replace(planned_vm(item, host, ""), reasons=("vm %s -> %s: %s" % (vm.name, host, _why_down(vm)),)))
    return RestartAction(host, tuple(planned), ("VMs of %s start where they were" % host,))


def _why_down(vm: VmRecord) -> str:
    """As far as the record tells: a start that an operator asked for is told from others only until admission control has answered."""
    if vm.asked:
        return "an operator wants it started"
    if vm.tries.reason or not vm.restart:
        return vm.tries.reason or "it is down there"
    return "its host restarted and is back, an operator wants it started, or a move stopped it and came to nothing"


def relocation(item: Place) -> PlannedMove:
    """Take a VM that is down to another host and start it there."""
    vm = item.wish.vm
    reason = "vm %s -> %s: %s" % (vm.name, item.host, vm.tries.reason or "%s does not take it" % vm.host)
    return planned_move(item, Cause.RESTART, reason)
