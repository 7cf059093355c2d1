# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything is shut down in order, on the word of a person or a UPS: VMs, then hosts; the storage servers are left to whoever ordered it.

VMs stop in the reverse of their start order (``vms/vm_stop``). A host is asked to shut down when its own list shows no running VM and no
other host that answers runs one either; after ``start_order.timeout`` it waits for its own VMs only, since a battery does not last.

While it is *under way*:

* Nothing starts, moves or is reset, and no host is newly fenced, whatever its silence looks like: one that dies in the middle is not fought
  over, since its VMs are to be off anyway. Fences that stand are kept and repeated.
* What is wanted stays as it was. A VM that this switched off is wanted started, though its power-off looks like a person's.
* A host that comes back meanwhile is shut down again, as long as another one still runs.

A host is *down* when it is fenced, when its BMC says off and nothing of it writes, or when for ``confirm_after`` neither its API nor its
address answered and every target saw its storage session gone or standing still. Where nobody at all answers, so that the silence may be
that of the network, this counts of a host that was asked, and so ran no VM. Only when every host is down the order is done, and the storage
may go. What is not proved is told as a hindrance, never taken as done.

It *ends*: by ``cancel_shutdown``; by its time; or by itself when hosts are back and no other one has kept running, which is how power
returns. Then everything starts again in start order. Hosts that are not back are *awaited* as at a cold start (``cold_start``): not fenced
until ``cold_start_grace`` after the first look that saw a host alive again. So also a decider that kept running all the time knows the
cold start as one. If a host kept running, power was not away, and only the hosts that were asked to shut down are awaited.

It is remembered until no host is awaited any more. A memory that was lost forgets it: then all are judged as ever, which is safe, and late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ...instant import Instant
from ..answers import ApiAnswer, Evidence
from ..authorization import Orders
from ..decision import Alarm, Severity, ShutdownAction
from ..memory import HostRecord, HostShutdownRecord, Memory, ShutdownRecord
from ..observations import Power
from ..policy import Policy
from ..replacing import replace
from ..state import Cluster, HostState
from ..switch_offs import end_of
from .cold_start import AHEAD, shows_life

AGAIN = 60.0  # s until a host that still answers is asked again
LATE = 300.0  # s from the first request, or from the order, until a person should know that a host does not go down


def follow(
    memory: Memory, hosts: Mapping[str, HostState], policy: Policy, now: Instant
) -> tuple[Optional[ShutdownRecord], dict[str, Optional[HostShutdownRecord]]]:
    """The shutdown as it stands after this look, and what each host has of it."""
    found = memory.shutdown
    if found is None:
        return None, {}
    marks = {name: _mark(host, found, now) for name, host in hosts.items()}
    alive = {name for name, mark in marks.items() if mark is not None and shows_life(hosts[name].evidence)}
    kept_running = {name for name in alive if not _is_back(marks[name])}
    if not found.ended and alive and not kept_running:
        found = replace(found, ended="%s started again" % ", ".join(sorted(alive)))
    if not found.ended:
        return found, marks
    if alive and found.started_at is None:
        if kept_running:
            marks = {name: mark if mark is not None and mark.asked_at is not None else None for name, mark in marks.items()}
        found = replace(found, started_at=now)
    elif found.started_at is not None and now.since(found.started_at) is None:
        found = replace(found, started_at=now)
    marks = {name: None if name in alive and not _may_go_yet(mark, now) else mark for name, mark in marks.items()}
    waited = now.since(found.started_at)
    if not any(marks.values()) or (waited is not None and waited >= policy.cold_start_grace):
        return None, {}
    return found, marks


def awaited_hosts(shutdown: Optional[ShutdownRecord], marks: Mapping[str, Optional[HostShutdownRecord]], memory: Memory) -> frozenset[str]:
    """Those that are not fenced for their silence, since they go down or went down with everything."""
    if shutdown is None:
        return frozenset()
    ordered = {item.subject for item in memory.approved if item.failover} if shutdown.ended else set()
    return frozenset(name for name, mark in marks.items() if mark is not None and name not in ordered)


@dataclass
class HostShutdowns:
    actions: list[ShutdownAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    record: Optional[ShutdownRecord] = None
    awaited: bool = False  # something goes down, and may be down soon


def plan_host_shutdowns(cluster: Cluster) -> HostShutdowns:
    """The hosts to shut down now, and what is down already or does not go down."""
    out = HostShutdowns(record=cluster.shutdown)
    if cluster.shutdown is None or not cluster.goes_down:
        return out
    lasted = cluster.now.since(cluster.shutdown.order.since) or 0.0
    running = {name: running_on(host, cluster) for name, host in cluster.hosts.items() if hears(host, cluster)}
    in_order = lasted < cluster.policy.start_order.timeout
    down, hindrances = [], []
    for host in cluster.hosts.values():
        if _is_down(host, cluster):
            down.append(host.name)
            continue
        late = _why_not_down(host, running.get(host.name), lasted, cluster)
        hindrances += [late] if late else []
        out.awaited = out.awaited or not late
        waits = running.get(host.name) or (in_order and any(running.values()))
        if host.name in running and not waits and not _is_busy(host, cluster) and _is_to_be_asked(host, cluster.now):
            reason = "no VM runs on it any more, and everything is shut down (%s)" % cluster.shutdown.order.by
            out.actions.append(ShutdownAction(host.name, (reason,)))
    up = tuple(sorted(cluster.hosts.keys() - set(down)))
    out.record = replace(cluster.shutdown, hosts_down=tuple(sorted(down)), hosts_up=up, hindrances=tuple(sorted(hindrances)))
    out.alarms += _alarms(out.record, cluster)
    return out


def note_requests(record: HostRecord, orders: Orders, now: Instant) -> HostRecord:
    """*record* with the request that *orders* send to the host. From then on it takes no VM, also where its own event comes late."""
    mark = record.shut_down
    if mark is None or not any(action.host == record.name for action in orders.of(ShutdownAction)):
        return record
    asked = replace(mark, first_asked=mark.first_asked or now, asked_at=now, back=False)
    return replace(record, shut_down=asked, going_down="shutdown", going_down_at=now)


def hears(host: HostState, cluster: Cluster) -> bool:
    """Whether it can be asked to stop its VMs and itself: also one that lost its storage can."""
    return host.answers_api and cluster.observation.was_read(host.name) and not host.is_fenced


def running_on(host: HostState, cluster: Cluster) -> tuple[str, ...]:
    """The names of the VMs that its own list shows running, or that may be about to run there."""
    listed = [vm.name for vm in cluster.observation.listed_on(host.name) if vm.power is Power.ON]
    ids = {act.vm for act in cluster.observation.in_progress if act.vm and act.host == host.name}
    return tuple(sorted({*listed, *(vm.name for vm in cluster.vms if vm.id in ids)}))


def about_shutdown(shutdown: Optional[ShutdownRecord], awaited: frozenset[str], policy: Policy, now: Instant) -> list[Alarm]:
    """One alarm for all that are late after it."""
    if shutdown is None or not shutdown.ended or not awaited:
        return []
    text = "the shutdown is over (%s), and %s did not show since: not fenced for that until %.0f s after the first host is back%s"
    left = now.since(shutdown.started_at)
    when = "" if left is None else " (in %.0f s)" % max(0.0, policy.cold_start_grace - left)
    text += ", and their VMs wait; switch them on, or order the failover of one that will not come (playbook failover)"
    words = (shutdown.ended, ", ".join(sorted(awaited)), policy.cold_start_grace, when)
    return [Alarm("cold_start", Severity.WARNING, "cluster", text % words)]


def goes_down_in_order(host: HostState) -> bool:
    """Whether its silence is what was asked for."""
    return host.record.shut_down is not None and not host.evidence.answers


def _mark(host: HostState, shutdown: ShutdownRecord, now: Instant) -> Optional[HostShutdownRecord]:
    if host.is_fenced:
        return None
    before = host.record.shut_down
    if before is None:
        return None if shutdown.ended else HostShutdownRecord(now, silent_since=now if _is_silent(host) else None)
    silent = _is_silent(host)
    since = before.silent_since if before.silent_since is not None and now.since(before.silent_since) is not None else now
    return replace(before, silent_since=since if silent else None, back=before.back or _came_back(host, before, now))


def _came_back(host: HostState, mark: HostShutdownRecord, now: Instant) -> bool:
    """It has started anew since the order: its uptime fell, or it runs for no longer than a decider that has itself started anew."""
    if not shows_life(host.evidence) or host.seen is None or host.seen.api_answer is not ApiAnswer.ANSWERED:
        return False
    uptime = host.seen.uptime
    with_the_decider = (mark.asked_at or mark.since).boot_id != now.boot_id and uptime is not None and uptime <= now.seconds + AHEAD
    return host.restarted or with_the_decider


def _is_back(mark: Optional[HostShutdownRecord]) -> bool:
    return mark is not None and mark.back


def _may_go_yet(mark: Optional[HostShutdownRecord], now: Instant) -> bool:
    """Whether it was asked a moment ago, and a request that was called off may still take it down."""
    asked = now.since(mark.asked_at) if mark is not None and not mark.back else None
    return asked is not None and asked <= AGAIN


def _is_silent(host: HostState) -> bool:
    evidence = host.evidence
    if evidence.power is Power.OFF and not evidence.answers:
        return evidence.storage is not Evidence.OK
    return evidence.api is Evidence.FAILED and evidence.ping is Evidence.FAILED and evidence.storage is Evidence.FAILED


def _is_down(host: HostState, cluster: Cluster) -> bool:
    if host.is_fenced:
        return host.fence.confirmed
    mark = host.record.shut_down
    if mark is None or mark.silent_since is None:
        return False
    if host.evidence.power is Power.OFF:
        return True
    lasted = cluster.now.since(mark.silent_since)
    proves = not cluster.observer_isolated or mark.asked_at is not None
    return proves and lasted is not None and lasted >= cluster.policy.confirm_after


def _is_busy(host: HostState, cluster: Cluster) -> bool:
    return any(act.host == host.name and not act.vm for act in cluster.observation.in_progress)


def _is_to_be_asked(host: HostState, now: Instant) -> bool:
    mark = host.record.shut_down
    age = now.since(mark.asked_at) if mark is not None else None
    return age is None or age > AGAIN


def _why_not_down(host: HostState, running: Optional[tuple[str, ...]], lasted: float, cluster: Cluster) -> str:
    """What a person should hear; empty as long as it may still go down by itself."""
    mark = host.record.shut_down
    asked = cluster.now.since(mark.first_asked) if mark is not None else None
    if asked is not None:
        text = "%s was asked to shut down %.0f s ago, and is %s: look at its console" % (host.name, asked, host.verdict.value)
        return text if asked > LATE else ""
    if running is None:
        text = "%s cannot be asked to shut down, and nothing proves that it is off: %s" % (host.name, host.text)
        return text if lasted > LATE else ""
    text = "%s is up: %s" % (host.name, "%s still run there" % ", ".join(running) if running else "it waits for VMs of other hosts")
    return text if lasted > cluster.policy.start_order.timeout + LATE else ""


def _alarms(record: ShutdownRecord, cluster: Cluster) -> list[Alarm]:
    text = "everything is being shut down (%s), until %s; playbook shutdown with -e cancel=true calls it off" % (
        record.order.by,
        end_of(record.order),
    )
    found = [Alarm("shutdown", Severity.WARNING, "cluster", text)]
    if record.hindrances:
        found.append(Alarm("shutdown_hindered", Severity.CRITICAL, "cluster", "not down: %s" % "; ".join(record.hindrances)))
    return found
