# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long VMs would be down: a range, each part of it with the figure's source.

An estimate and nothing more: no decision depends on it. The lower ends add up when every step takes its shortest, the
upper ends when each takes its longest without failing; a step that fails and is repeated is not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..decision import PlannedVm
from ..hosts.confirm import needed_for
from ..memory import HostRecord
from ..policy import LOCK_LEASE, Policy, ReadyCondition, StartOrder


@dataclass(frozen=True)
class TimePart:
    what: str
    least: float  # s
    most: float  # s
    source: str


@dataclass(frozen=True)
class RecoveryTime:
    """From the failure until the last VM of the plan runs; ``least`` and ``most`` are the sums of ``parts``."""

    least: float
    most: float
    parts: tuple[TimePart, ...] = ()


def recovery_time(policy: Policy, lost: Iterable[HostRecord], plan: Sequence[PlannedVm], apart: float, bmc: bool) -> RecoveryTime:
    """*apart*: seconds from one look to the next of a monitor at work. *bmc*: every lost host has one, which may prove it off at once."""
    starts = [vm for vm in plan if vm.power_on]
    if not starts:
        return RecoveryTime(0.0, 0.0)
    confirm = max((needed_for(record, policy) for record in lost), default=policy.confirm_after)
    by_host = Counter(vm.destination for vm in starts)
    waves = -(-max(by_host.values()) // max(1, policy.failover.parallel_per_host))
    waits_least, waits_most = _start_order(policy, starts)
    parts = [
        TimePart("until the next look", 0.0, apart, "the time between two looks of a monitor at work; a schedule's interval is on top"),
        TimePart(
            "all paths have been silent for long enough, and a look sees it",
            0.0 if bmc else max(0.0, confirm - apart),
            max(confirm, policy.io_stale) + apart,
            "confirm_after, longer after flapping, from the last sign of life on; io_stale runs meanwhile%s"
            % ("; 0 when the BMC says that it is off" if bmc else ""),
        ),
        TimePart(
            "the fence is applied and seen confirmed", 1.0, 5.0, "2 to 3 s in the lab (docs/benchmarks.md), the look that sees it included"
        ),
        TimePart("registered elsewhere", 1.0, 5.0, "3 to 4 s in the lab (docs/benchmarks.md)"),
        TimePart(
            "the lost host's file locks end%s" % (", %d groups one after the other" % waves if waves > 1 else ""),
            0.0,
            waves * (LOCK_LEASE + policy.failover.lock_retry_interval),
            "VMFS lock lease of %.0f s and lock_retry_interval; %d VMs at a time on a host (parallel_per_host)"
            % (LOCK_LEASE, policy.failover.parallel_per_host),
        ),
    ]
    if waits_most:
        parts.append(TimePart("VMs wait for others", waits_least, waits_most, "start_order and start_after: delay, at most timeout"))
    return RecoveryTime(sum(part.least for part in parts), sum(part.most for part in parts), tuple(parts))


def _start_order(policy: Policy, starts: Sequence[PlannedVm]) -> tuple[float, float]:
    """The longest chain of waits among the VMs that start: at least the delays, at most the timeouts."""
    by_name: dict[str, PlannedVm] = {vm.name: vm for vm in starts}
    by_name.update({vm.id: vm for vm in starts})
    ranks = sorted({vm.priority.rank for vm in starts})
    levels = (0.0, 0.0)
    if policy.start_order.condition is not ReadyCondition.RESOURCES_ALLOCATED:
        levels = ((len(ranks) - 1) * policy.start_order.delay, (len(ranks) - 1) * policy.start_order.timeout)
    done: dict[str, tuple[float, float]] = {}
    chains = [_chain(vm, by_name, policy, done, ()) for vm in starts]
    return levels[0] + max((least for least, _most in chains), default=0.0), levels[1] + max((most for _least, most in chains), default=0.0)


def _chain(
    vm: PlannedVm, by_name: Mapping[str, PlannedVm], policy: Policy, done: dict[str, tuple[float, float]], above: tuple[str, ...]
) -> tuple[float, float]:
    if vm.id in done:
        return done[vm.id]
    found = (0.0, 0.0)
    for name in policy.vm(vm.id, vm.name).start_after:
        other = by_name.get(name)
        if other is None or other.id in above or other.id == vm.id:
            continue
        order: StartOrder = policy.vm(other.id, other.name).start_order or policy.start_order
        if order.condition is ReadyCondition.RESOURCES_ALLOCATED:
            continue
        least, most = _chain(other, by_name, policy, done, (*above, vm.id))
        found = max(found[0], least + order.delay), max(found[1], most + order.timeout)
    done[vm.id] = found
    return found
