# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts that failed and VMs that stopped by themselves: how often, where, and when to try again.

A VM is started where it is up to ``max_restart`` times more after it failed there, then on up to ``max_relocate`` other
hosts in the same way. That is one round. When a round was in vain the next one follows after a pause, which doubles up to
four times; it never ends, because the reason may (Kubernetes' crash-loop back-off and Proxmox' max_restart and
max_relocate, together). Running for ``stable_after`` forgets all of it. A round in which no host could even be reached says
nothing about the VM: its pause does not double, so that the VM is up soon after the connections are back.

Invariant: each failure is counted once - a result by its key, a crash by the change from on to off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..instant import Instant
from .memory import Tries, VmRecord
from .observations import Act, ActResult, Power
from .policy import Policy

DOUBLINGS = 4

Results = Mapping[str, list[ActResult]]
"""How acts ended, by VM id, in the order of their keys."""


def count(vm: VmRecord, crashed_on: str, results: Iterable[ActResult], policy: Policy, now: Instant) -> VmRecord:
    """*vm* with what failed since the last look; *crashed_on* names the host on which it stopped by itself, if it did."""
    tries = vm.tries
    if vm.power is Power.ON and (tries.failed or tries.rounds) and _ran_for(vm, now) > policy.stable_after:
        tries = Tries(last_key=tries.last_key)
    if vm.power is Power.ON and tries.blocked:
        tries = replace(tries, blocked="")
    if crashed_on:
        tries = _failed(tries, crashed_on, "it stopped by itself on %s" % crashed_on, now)
    for result in results:
        age = now.since(result.at)
        if result.act not in (Act.START, Act.MOVE) or result.key <= tries.last_key or age is None or age > policy.stable_after:
            continue
        tries = replace(tries, last_key=result.key, blocked="%s: %s" % (result.host, result.reason) if result.blocked else "")
        if not result.ok:
            at = result.at if result.reached else None
            tries = _failed(tries, result.host, result.reason or "its start on %s failed" % result.host, at)
    if tries == vm.tries:
        return vm
    return replace(vm, tries=_next_round(tries, vm, policy, now))


def exhausted(vm: VmRecord, host: str, policy: Policy) -> bool:
    """Whether *host* has had its tries in this round."""
    return vm.tries.failed.count(host) > max_restart(vm, policy)


def avoided(vm: VmRecord, policy: Policy) -> frozenset[str]:
    """Hosts that have had their tries in this round; they are taken only if there is no other."""
    return frozenset(host for host in set(vm.tries.failed) if exhausted(vm, host, policy))


def waits(vm: VmRecord, now: Instant) -> float:
    """Seconds until the next round begins; 0 when it may be tried now."""
    if vm.tries.not_before is None:
        return 0.0
    left = vm.tries.not_before.since(now)
    return max(0.0, left) if left is not None else 0.0


def max_restart(vm: VmRecord, policy: Policy) -> int:
    own = policy.vm(vm.id, vm.name).max_restart
    return policy.max_restart if own is None else own


def max_relocate(vm: VmRecord, policy: Policy) -> int:
    own = policy.vm(vm.id, vm.name).max_relocate
    return policy.max_relocate if own is None else own


def results_of(results: Iterable[ActResult]) -> Results:
    """By VM id, in the order of their keys."""
    found: dict[str, list[ActResult]] = {}
    for result in sorted(results, key=lambda item: item.key):
        found.setdefault(result.vm, []).append(result)
    return found


def _failed(tries: Tries, host: str, reason: str, at: Instant | None) -> Tries:
    """*at* is None where nothing was tried."""
    tries = replace(tries, failed=(*tries.failed, host), reason=reason)
    return tries if at is None else replace(tries, tried=True, failed_at=at)


def _next_round(tries: Tries, vm: VmRecord, policy: Policy, now: Instant) -> Tries:
    """The round is over when every host that it may use has had its tries, or one was tried again because no other took it."""
    most = max_restart(vm, policy)
    used_up = [host for host in dict.fromkeys(tries.failed) if tries.failed.count(host) > most]
    again = bool(tries.failed) and tries.failed.count(tries.failed[-1]) > most + 1
    if len(used_up) <= max_relocate(vm, policy) and not again:
        return tries
    pause = policy.retry_interval * (1 << min(tries.rounds, DOUBLINGS)) if tries.tried else policy.retry_interval
    not_before = Instant(now.boot_id, now.seconds + pause, now.wall)
    return replace(tries, failed=(), tried=False, rounds=tries.rounds + tries.tried, not_before=not_before)


def _ran_for(vm: VmRecord, now: Instant) -> float:
    ran = now.since(vm.on_since)
    return ran if ran is not None else 0.0
