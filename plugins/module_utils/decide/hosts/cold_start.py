# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All power was away and has returned: hosts boot for minutes, some for longer than others, and none is fenced for being late.

When the machine that decides has itself started anew, a host that nobody has seen since that start is *awaited* for ``cold_start_grace``,
counted from that start: it is not fenced, and its VMs wait for it. Invariants:

* Only silence since the start is excused. A host that showed life in this start - its API answered, or its storage session made progress -
  and then falls silent is judged as ever.
* Only a cold start is excused. A host that has been running for longer than the decider proves that power was not away everywhere: the
  decider alone restarted, and whoever is silent may have died with it. From then on all are judged as ever.
* It ends: by the time, which runs on the decider's own boot-time clock; by a person who orders the host's failover; by its first sign of
  life. A host that is fenced already stays so.

To wait is safe, since nothing starts elsewhere without the fence. What it costs is time, and only where a host does not come back with the
power at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...instant import Instant
from ..answers import ApiAnswer, Evidence
from ..decision import Alarm, Severity
from ..evidence import HostEvidence
from ..memory import HostRecord, Memory
from ..policy import Policy
from ..state import HostState

AHEAD = 600.0  # s that a host may start before the decider when power returns: a storage server with many disks takes longer


def cold_start(memory: Memory, hosts: Iterable[HostState], policy: Policy, now: Instant) -> str:
    """The boot of the decider that counts as a cold start, as long as it does; otherwise empty."""
    anew = memory.looked_at is not None and memory.looked_at.boot_id != now.boot_id
    if not anew and memory.cold_start != now.boot_id:
        return ""
    if now.seconds >= policy.cold_start_grace or any(_kept_running(host, now) for host in hosts):
        return ""
    return now.boot_id


def awaited_hosts(memory: Memory, hosts: Mapping[str, HostState], boot: str) -> frozenset[str]:
    """Those that are late at the cold start *boot* (of :func:`cold_start`), and not fenced for it."""
    if not boot:
        return frozenset()
    ordered = {item.subject for item in memory.approved if item.failover}
    return frozenset(
        name
        for name, host in hosts.items()
        if host.record.alive_in != boot and not shows_life(host.evidence) and not host.fence.listed and name not in ordered
    )


def alive_in(record: HostRecord, evidence: HostEvidence, now: Instant) -> str:
    """The decider's boot in which the host last showed life."""
    return now.boot_id if shows_life(evidence) else record.alive_in


def shows_life(evidence: HostEvidence) -> bool:
    """A ping is none: a machine in its firmware, or its BMC on a shared port, may answer it."""
    return evidence.fresh and (evidence.api is Evidence.OK or evidence.storage is Evidence.OK)


def about_awaited(awaited: Iterable[str], policy: Policy, now: Instant) -> list[Alarm]:
    """One alarm for all of them."""
    names = sorted(awaited)
    if not names:
        return []
    text = (
        "power has returned, and %s did not show since: not fenced for that until %.0f s after this machine started (now %.0f s), and "
        "their VMs wait; switch them on, or order the failover of one that will not come (playbook failover)"
    )
    return [Alarm("cold_start", Severity.WARNING, "cluster", text % (", ".join(names), policy.cold_start_grace, now.seconds))]


def _kept_running(host: HostState, now: Instant) -> bool:
    seen = host.seen
    if seen is None or seen.api_answer is not ApiAnswer.ANSWERED or seen.uptime is None or host.restarted:
        return False
    return seen.uptime > now.seconds + AHEAD
