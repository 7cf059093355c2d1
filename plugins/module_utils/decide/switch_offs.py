# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person switched off - the cluster disarmed or shut down, a VM ignored, a host in maintenance - and when that ends.

Invariants: each has a person, a reason and an end. All but the last end by themselves, so that nothing stays without HA because it
was forgotten. A maintenance does not: whoever works on the host may still have it open, so from its end on it is an alarm, and only a
person lets VMs back in. The times run on the decider's clock; after a restart of that machine nobody can tell how much of them is over,
so they count anew: late, never early.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..instant import Instant
from .decision import Alarm, Severity
from .memory import HostRecord, Memory, ShutdownRecord, SwitchOff, VmRecord
from .policy import Policy
from .replacing import replace

SOON = 900.0  # s before its end at which a person hears of it, or a quarter of its time if that is less


def begin(before: Optional[SwitchOff], by: str, seconds: float, now: Instant) -> SwitchOff:
    """Switched off from *now*, or prolonged, for *seconds*."""
    return SwitchOff(by, before.since if before is not None else now, now.after(seconds), seconds)


def end_of(off: SwitchOff) -> str:
    """For people, such as "2026-11-29 14:05 UTC"."""
    day, _t, time = off.until.wall.partition("T")
    return "%s %s UTC" % (day, time[:5]) if time else "%.0f s from now" % off.seconds


@dataclass
class Review:
    """The memory without what has ended, and what a person should hear."""

    memory: Memory
    alarms: list[Alarm] = field(default_factory=list)


def review(memory: Memory, policy: Policy, now: Instant) -> Review:
    """Every switch-off, judged at *now*."""
    out = Review(memory)
    if memory.disarmed:
        _disarm(out, policy, now)
    if memory.shutdown is not None and memory.goes_down:
        out.memory = replace(out.memory, shutdown=_shutdown(memory.shutdown, policy, now))
    for vm in memory.vms:
        if vm.ignored:
            _ignore(vm, out, policy, now)
    for host in memory.hosts:
        if host.wanted_maintenance:
            _maintenance(host, out, policy, now)
    return out


def _disarm(out: Review, policy: Policy, now: Instant) -> None:
    off = _counted(out.memory.disarm, out.memory.disarmed, policy.switch_off.disarm, now)
    if _left(off, now) <= 0:
        out.memory = replace(out.memory, disarmed="", disarm=None)
        _say(out, "armed", "cluster", Severity.INFO, "the cluster is armed again: what %s disarmed ended at %s" % (off.by, end_of(off)))
        return
    out.memory = replace(out.memory, disarm=off)
    if _is_soon(off, now):
        text = "the cluster is armed again at %s; disarm it again to prolong that"
        _say(out, "armed_soon", "cluster", Severity.WARNING, text % end_of(off))
    _about_long(out, off, policy.switch_off.disarm, now, "disarm", "cluster", "the cluster is disarmed")


def _shutdown(shutdown: ShutdownRecord, policy: Policy, now: Instant) -> ShutdownRecord:
    """While it lasts, an alarm of its own says so (``hosts/shutdown``)."""
    off = _counted(shutdown.order, "an operator", policy.switch_off.shutdown, now)
    over = "its time was over at %s" % end_of(off) if _left(off, now) <= 0 else ""
    return replace(shutdown, order=off, ended=over)


def _ignore(vm: VmRecord, out: Review, policy: Policy, now: Instant) -> None:
    off = _counted(vm.ignore, "an operator", policy.switch_off.ignore, now)
    if _left(off, now) <= 0:
        out.memory = out.memory.with_vm(replace(vm, ignored=False, ignore=None))
        text = "%s is back in HA: what %s ignored ended at %s" % (vm.name, off.by, end_of(off))
        _say(out, "managed:%s" % vm.id, vm.name, Severity.INFO, text)
        return
    if off != vm.ignore:
        out.memory = out.memory.with_vm(replace(vm, ignore=off))
    if _is_soon(off, now):
        text = "%s is back in HA at %s; ignore it again to prolong that" % (vm.name, end_of(off))
        _say(out, "managed_soon:%s" % vm.id, vm.name, Severity.WARNING, text)
    _about_long(out, off, policy.switch_off.ignore, now, "ignore:%s" % vm.id, vm.name, "%s is ignored" % vm.name)


def _maintenance(host: HostRecord, out: Review, policy: Policy, now: Instant) -> None:
    off = _counted(host.maintenance_order, "an operator", policy.switch_off.maintenance, now)
    if off != host.maintenance_order:
        out.memory = out.memory.with_host(replace(host, maintenance_order=off))
    if _left(off, now) <= 0:
        text = (
            "the maintenance of %s by %s was to end at %s, and it takes no VM until somebody ends it: "
            "ansible-playbook -i INVENTORY libreha.vmware.evacuate -e host=%s -e end=true, or evacuate it again to prolong that"
        )
        text %= (host.name, off.by, end_of(off), host.name)
        _say(out, "maintenance_over:%s" % host.name, host.name, Severity.WARNING, text)
        return
    what = "%s is in maintenance" % host.name
    _about_long(out, off, policy.switch_off.maintenance, now, "maintenance:%s" % host.name, host.name, what)


def _about_long(out: Review, off: SwitchOff, most: float, now: Instant, key: str, subject: str, what: str) -> None:
    stood = now.since(off.since)
    if stood is not None and stood > most:
        text = "%s by %s for longer than %.0f h (switch_off in the policy), and until %s" % (what, off.by, most / 3600, end_of(off))
        _say(out, "long_off:%s" % key, subject, Severity.WARNING, text)


def _counted(off: Optional[SwitchOff], by: str, seconds: float, now: Instant) -> SwitchOff:
    """*off* on the present boot's clock; of what an older release remembers without an end, that of the policy."""
    if off is None:
        return begin(None, by, seconds, now)
    return off if off.until.since(now) is not None else SwitchOff(off.by, now, now.after(off.seconds), off.seconds)


def _left(off: SwitchOff, now: Instant) -> float:
    return off.until.since(now) or 0.0


def _is_soon(off: SwitchOff, now: Instant) -> bool:
    return _left(off, now) <= min(SOON, off.seconds / 4)


def _say(out: Review, key: str, subject: str, severity: Severity, text: str) -> None:
    out.alarms.append(Alarm(key, severity, subject, text))
