# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that hang: without a heartbeat and without I/O for too long, a VM is reset, a bounded number of times.

Invariant: a VM is reset only on evidence. Its guest had a heartbeat since it started or was reset, and no look of the last
``failure_interval`` found one; and the host's statistics, which go on until now, count no disk and network I/O of it for
``io_interval``. So a guest without VMware Tools, one that does I/O, one whose statistics cannot be read or are old, or a
VM that has just started is never reset; nor is one that waits for a person's answer or whose files its host cannot reach:
these do nothing because they cannot. There are no more than ``max_resets`` within ``reset_window``, counted when they are
ordered: an order that was lost counts all the same. (vSphere HA's VM monitoring, with its defaults.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ...instant import Instant
from ..authorization import Orders
from ..decision import Alarm, ResetAction, Severity, VmTarget
from ..memory import Hang, VmRecord
from ..observations import Act, ActResult, Power, VmObservation
from ..policy import HeartbeatResponse, Policy
from ..replacing import replace

ALIVE = ("green", "yellow")


@dataclass
class Monitored:
    actions: list[ResetAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)


def note_signs(vm: VmRecord, seen: VmObservation, now: Instant) -> VmRecord:
    """Keep how long the running VM has shown no sign of life."""
    if vm.power is not Power.ON or vm.up_since is None or seen.heartbeat in ALIVE:
        return shows_signs(vm)
    if seen.question is not None or not seen.accessible:  # it does nothing because it cannot
        return shows_signs(vm)
    if seen.io_idle is None:  # no evidence
        blind = vm.hang.blind if now.since(vm.hang.blind) is not None else now
        return replace(vm, hang=replace(vm.hang, since=None, idle=0.0, blind=blind))
    since = vm.hang.since if now.since(vm.hang.since) is not None else now
    # Resets of before a restart of this machine count from now on: nobody knows how old they are.
    resets = tuple(at if now.since(at) is not None else now for at in vm.hang.resets)
    return replace(vm, hang=replace(vm.hang, since=since, idle=seen.io_idle, resets=resets, blind=None))


def shows_signs(vm: VmRecord) -> VmRecord:
    if vm.hang.since is None and vm.hang.blind is None:
        return vm
    return replace(vm, hang=replace(vm.hang, since=None, idle=0.0, blind=None))


def settle_reset(vm: VmRecord, results: Iterable[ActResult]) -> VmRecord:
    """After a reset the guest must first show a heartbeat again, as after a start; unless the reset is known to have failed."""
    hang = vm.hang
    if hang.was_up is None:
        return vm
    if vm.up_since is not None or vm.power is not Power.ON:
        return replace(vm, hang=replace(hang, was_up=None))
    ages = (result.at.since(hang.resets[-1]) for result in results if result.act is Act.RESET and not result.ok)
    if any(age is not None and age >= 0 for age in ages):
        return replace(vm, up_since=hang.was_up, hang=replace(hang, was_up=None))
    return vm


def plan_resets(hung: Mapping[str, list[VmRecord]], read_at: Mapping[str, Optional[Instant]], policy: Policy, now: Instant) -> Monitored:
    """What to do about VMs without a heartbeat; *hung* has them by host, each with a ``hang`` that is ``suspected``. *read_at*: when each
    host was last asked for its VMs; what came after that, nobody has seen."""
    out = Monitored()
    rules = policy.vm_monitoring
    for host in sorted(hung):
        targets = []
        for vm in hung[host]:
            if vm.hang.since is None:
                out.alarms += (_not_back if vm.hang.was_up is not None else _not_known)(vm, host, policy, now)
                continue
            seen_at = read_at.get(host)
            lasted = seen_at.since(vm.hang.since) if seen_at is not None else None
            if lasted is None or lasted < rules.failure_interval or vm.hang.idle < rules.io_interval:
                continue
            text = "%s on %s has had no heartbeat for %.0f s and no I/O for %.0f s" % (vm.name, host, lasted, vm.hang.idle)
            resets = len(_in_window(vm, policy, now))
            why_not = _why_not(vm, resets, policy, now)
            if why_not:
                out.alarms.append(Alarm("vm_hangs:%s" % vm.id, Severity.CRITICAL, vm.name, "%s; not reset: %s" % (text, why_not)))
                continue
            reason = "%s; reset %d of %d within %.0f s" % (text, resets + 1, rules.max_resets, rules.reset_window)
            targets.append(VmTarget(vm.id, vm.name, (reason,)))
            out.alarms.append(Alarm("vm_hangs:%s" % vm.id, Severity.CRITICAL, vm.name, reason))
        if targets:
            out.actions.append(ResetAction(host, tuple(targets), ("guests on %s hang" % host,)))
    return out


def note_resets(vms: tuple[VmRecord, ...], orders: Orders, policy: Policy, now: Instant) -> tuple[VmRecord, ...]:
    """*vms* with the resets that *orders* order; one that is only proposed is not counted."""
    ordered = {target.id for action in orders.of(ResetAction) for target in action.vms}
    if not ordered:
        return vms
    return tuple(_reset(vm, policy, now) if vm.id in ordered else vm for vm in vms)


def _reset(vm: VmRecord, policy: Policy, now: Instant) -> VmRecord:
    return replace(vm, up_since=None, hang=Hang(resets=(*_in_window(vm, policy, now), now), was_up=vm.up_since))


def _not_back(vm: VmRecord, host: str, policy: Policy, now: Instant) -> list[Alarm]:
    """A guest that was reset and does not come up again: another reset would be a guess."""
    ago = now.since(vm.hang.resets[-1])
    if ago is not None and ago < policy.vm_monitoring.min_uptime:
        return []
    text = "%s on %s was reset %s and has had no heartbeat since: look at its console" % (
        vm.name,
        host,
        "before this machine restarted" if ago is None else "%.0f s ago" % ago,
    )
    return [Alarm("vm_hangs:%s" % vm.id, Severity.CRITICAL, vm.name, text)]


def _not_known(vm: VmRecord, host: str, policy: Policy, now: Instant) -> list[Alarm]:
    """A guest without a heartbeat that may hang or work: nobody can tell."""
    lasted = now.since(vm.hang.blind)
    if lasted is None or lasted < policy.vm_monitoring.failure_interval:
        return []
    text = "%s on %s has had no heartbeat for %.0f s; not reset: the host tells nothing of its I/O, so it may be at work" % (
        vm.name,
        host,
        lasted,
    )
    return [Alarm("vm_hangs:%s" % vm.id, Severity.WARNING, vm.name, text)]


def _why_not(vm: VmRecord, resets: int, policy: Policy, now: Instant) -> str:
    rules = policy.vm_monitoring
    if rules.response is not HeartbeatResponse.RESET:
        return "vm_monitoring.response is %s" % rules.response.value
    ran = now.since(vm.on_since)
    if ran is not None and ran < rules.min_uptime:
        return "it was started only %.0f s ago" % ran
    if resets >= rules.max_resets:
        return "it has been reset %d times within %.0f s" % (resets, rules.reset_window)
    return ""


def _in_window(vm: VmRecord, policy: Policy, now: Instant) -> tuple[Instant, ...]:
    """Resets that count; those of which the clock cannot tell how old they are do."""
    ages = [(at, now.since(at)) for at in vm.hang.resets]
    return tuple(at for at, age in ages if age is None or age <= policy.vm_monitoring.reset_window)
