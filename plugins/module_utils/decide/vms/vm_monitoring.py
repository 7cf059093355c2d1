# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that hang: without a heartbeat and without I/O for too long, a VM is reset, a bounded number of times.

Invariant: a VM is reset only on evidence - its guest had a heartbeat since it started and lost it, and a counter of its own
I/O stood still in every look since then. A guest without VMware Tools, a counter that cannot be read, or a VM that
has just started is never reset. No more than ``max_resets`` within ``reset_window`` (vSphere HA's VM monitoring).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..decision import Alarm, ResetAction, Severity, VmTarget
from ..instant import Instant
from ..memory import Hang, VmRecord
from ..observations import Power, VmObservation
from ..options import HeartbeatResponse
from ..policy import Policy

ALIVE = ("green", "yellow")


@dataclass
class Monitored:
    actions: list[ResetAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    records: dict[str, VmRecord] = field(default_factory=dict)  # VM records that change, by id


def note_signs(vm: VmRecord, seen: VmObservation, now: Instant) -> VmRecord:
    """Keep how long the running VM has shown no sign of life."""
    hang = vm.hang
    if vm.power is not Power.ON or vm.up_since is None or seen.heartbeat in ALIVE:
        return vm if hang.since is None and hang.io is None else replace(vm, hang=Hang(resets=hang.resets))
    if seen.io is None:  # no evidence
        return vm if hang.since is None else replace(vm, hang=Hang(resets=hang.resets))
    still = hang.io == seen.io
    since = hang.since if still and hang.since is not None else now
    return replace(vm, hang=replace(hang, io=seen.io, since=since))


def plan_resets(hung: Mapping[str, list[VmRecord]], policy: Policy, now: Instant) -> Monitored:
    """What to do about VMs without signs of life; *hung* has them by host, each with ``hang.since``."""
    out = Monitored()
    rules = policy.vm_monitoring
    for host in sorted(hung):
        targets = []
        for vm in hung[host]:
            lasted = now.since(vm.hang.since)
            if lasted is None or lasted < rules.failure_interval:
                continue
            text = "%s on %s has had no heartbeat and no I/O for %.0f s" % (vm.name, host, lasted)
            resets = tuple(at for at in vm.hang.resets if _within(at, now, rules.reset_window))
            why_not = _why_not(vm, len(resets), policy, now)
            if why_not:
                out.alarms.append(Alarm("vm_hangs:%s" % vm.id, Severity.CRITICAL, vm.name, "%s; not reset: %s" % (text, why_not)))
                continue
            reason = "%s; reset %d of %d within %.0f s" % (text, len(resets) + 1, rules.max_resets, rules.reset_window)
            targets.append(VmTarget(vm.id, vm.name, (reason,)))
            out.alarms.append(Alarm("vm_hangs:%s" % vm.id, Severity.CRITICAL, vm.name, reason))
            out.records[vm.id] = replace(vm, hang=Hang(resets=(*resets, now)), up_since=None)
        if targets:
            out.actions.append(ResetAction(host, tuple(targets), ("guests on %s hang" % host,)))
    return out


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


def _within(at: Instant, now: Instant, window: float) -> bool:
    age = now.since(at)
    return age is None or age <= window
