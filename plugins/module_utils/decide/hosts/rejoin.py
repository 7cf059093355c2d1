# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Letting a fenced host in again because an operator asked for it: power it on, cycle it, or unfence it.

Invariant (docs/safety.md, "Unfence"): the fence of a host is lifted only when a fresh start *since the fence* is proved by the
host's own uptime against the age of the fence on the storage server's clock, its own list shows no VM running, and its fence
was confirmed until then. What it had queued before the fence died with that start. Without the proof its power is
cycled through its BMC; without a BMC it waits for a person, and gives up after ``PATIENCE``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Optional

from ...instant import Instant
from ..answers import ApiAnswer
from ..decision import Alarm, RejoinAction, Severity
from ..gate import Orders
from ..memory import HostRecord, RejoinRecord
from ..observations import Power
from ..state import Cluster, HostState
from .fencing import initiators_to_fence
from .fresh_start import started_since

PATIENCE = 600.0  # s from the operator's word until it is given up
BOOTS = 240.0  # s that a host is given to boot before its power is cycled once more


@dataclass
class Rejoins:
    actions: list[RejoinAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    records: dict[str, Optional[RejoinRecord]] = field(default_factory=dict)  # to remember, by host


def plan_rejoins(cluster: Cluster, now: Instant) -> Rejoins:
    """The next step for each host that an operator wants back."""
    out = Rejoins()
    for host in cluster.hosts.values():
        asked = host.record.rejoin
        if asked is None:
            continue
        out.records[host.name] = asked
        if not host.fence.listed:
            out.records[host.name] = None
            continue
        waited = now.since(asked.asked_at)
        if waited is None or waited > PATIENCE:
            out.records[host.name] = None
            text = "%s was not let in again: %s" % (host.name, _missing(host, cluster) or "no more time")
            out.alarms.append(Alarm("rejoin:%s" % host.name, Severity.WARNING, host.name, text))
            continue
        _next_step(host, asked, cluster, now, out)
    return out


def note_cycle(record: HostRecord, orders: Orders, now: Instant) -> HostRecord:
    """*record* with the moment at which its power is switched by *orders* for its return."""
    if record.rejoin is None or not any(action.host == record.name and action.step != "unfence" for action in orders.of(RejoinAction)):
        return record
    return replace(record, rejoin=replace(record.rejoin, cycled_at=now))


def _next_step(host: HostState, asked: RejoinRecord, cluster: Cluster, now: Instant, out: Rejoins) -> None:
    missing = _missing(host, cluster)
    step = "" if missing else "unfence"
    if missing and not fresh_start(host, cluster) and host.has_bmc:
        step = _power_step(host, asked, now)
    if not step:
        text = "%s waits to be let in again: %s" % (host.name, missing)
        out.alarms.append(Alarm("rejoin:%s" % host.name, Severity.INFO, host.name, text))
        return
    reasons = ("an operator asked for it%s" % (": " + asked.by if asked.by else ""), missing or "it started afresh since the fence")
    out.actions.append(
        RejoinAction(
            host.name, step, initiators_to_fence(host.name, cluster.policy, host.fence), host.fence.servers or cluster.servers, reasons
        )
    )


def _power_step(host: HostState, asked: RejoinRecord, now: Instant) -> str:
    if host.evidence.power is Power.OFF:
        return "power_on"
    if host.evidence.power is not Power.ON:  # nobody knows: leave it
        return ""
    cycled = now.since(asked.cycled_at)
    return "" if cycled is not None and cycled < BOOTS else "power_cycle"


def _missing(host: HostState, cluster: Cluster) -> str:
    """What the unfence still needs, in words; empty when nothing."""
    if not host.fence.confirmed:
        return "its fence is not confirmed (%s)" % host.fence.missing
    if host.seen is None or host.seen.api_answer is not ApiAnswer.ANSWERED or not host.evidence.fresh:
        return "its API does not answer yet, so a fresh start is not proved"
    if not fresh_start(host, cluster):
        return "it has not been started afresh since the fence; restart it"
    if not cluster.observation.was_read(host.name):
        return "its VMs could not be read"
    running = [vm.name for vm in cluster.observation.listed_on(host.name) if vm.power is Power.ON]
    if running:
        return "it runs %s already; stop them there and switch its autostart off" % ", ".join(sorted(running))
    return ""


def fresh_start(host: HostState, cluster: Cluster) -> bool:
    """Whether the host's uptime proves that it was started after the youngest of its fences."""
    if host.seen is None or host.seen.api_answer is not ApiAnswer.ANSWERED or host.seen.uptime is None:
        return False
    ages = []
    for server in cluster.observation.storage:
        for line in server.fences:
            if line.host == host.name or line.initiator in host.fence.initiators:
                age = server.taken_at.since(line.at)
                if age is None:  # the storage server itself was restarted: its clock proves nothing
                    return False
                ages.append(age)
    return bool(ages) and started_since(host.seen.uptime, min(ages))
