# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Letting a fenced host in again because an operator asked for it, one step a look: ``act/rejoin.py`` carries them out.

    power_on, power_cycle    a fresh start, where it has a BMC and none is proved
    unregister               VMs that another host has by now
    unfence                  its initiator is admitted again
    rescan                   until its storage works

Invariant (docs/safety.md, "Unfence"): the fence of a host is lifted only when a fresh start *since the fence* is proved by the
host's own uptime against the age of the fence on the storage server's clock, its own list shows no VM running and none that another host
has, no start of its VMs elsewhere is under way, and its fence was confirmed until then. What it had queued before the fence died with
that start. A person's word replaces the proof only where there can be none: where the storage server was itself restarted since.
Without a BMC the host waits for a person to start it, and the wish is given up after ``PATIENCE``.

A power cycle takes nothing from anybody: a host that runs a VM which no other host has is left alone, with that reason.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Optional

from ...instant import Instant
from ..answers import ApiAnswer, Evidence
from ..authorization import Orders
from ..decision import Alarm, RejoinAction, Severity, StaleVm
from ..memory import HostRecord, RejoinRecord
from ..observations import Power
from ..replacing import replace
from ..state import Cluster, HostState
from .fresh_start import MARGIN, started_since
from .stale import registered, stale_on

PATIENCE = 600.0  # s from the operator's word until it is given up
BOOTS = 900.0  # s that a host is given to boot, beyond PATIENCE, when its power was switched for it; servers with much memory take long
SETTLES = 300.0  # s from the unfence until its storage must work
AGAIN = 30.0  # s until a step that changed nothing is tried again


@dataclass
class Rejoins:
    actions: list[RejoinAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    records: dict[str, Optional[RejoinRecord]] = field(default_factory=dict)  # to remember, by host
    given_up: dict[str, str] = field(default_factory=dict)  # host -> why

    def say(self, host: str, severity: Severity, text: str) -> None:
        self.alarms.append(Alarm("rejoin:%s" % host, severity, host, "%s %s" % (host, text)))

    def give_up(self, host: str, text: str) -> None:
        self.records[host] = None
        self.given_up[host] = "%s %s" % (host, text)
        self.say(host, Severity.WARNING, text)


def plan_rejoins(cluster: Cluster, now: Instant, starting: Collection[str] = ()) -> Rejoins:
    """The next step for each host that an operator wants back. *starting*: ids of VMs whose start elsewhere is planned in this look."""
    out = Rejoins()
    for host in cluster.hosts.values():
        asked = host.record.rejoin
        if asked is None:
            continue
        out.records[host.name] = asked
        if not host.fence.listed:
            _settle_in(host, replace(asked, let_in_at=asked.let_in_at or now), now, out)
        elif asked.let_in_at is not None:
            out.give_up(host.name, "was lost again after it was let in: %s" % host.reason)
        else:
            _next_step(host, asked, cluster, now, starting, out)
    return out


def note_steps(record: HostRecord, orders: Orders, now: Instant) -> HostRecord:
    """*record* with the step that *orders* take for its return, and when."""
    for action in orders.of(RejoinAction):
        if action.host == record.name and record.rejoin is not None:
            cycled = now if action.step in ("power_on", "power_cycle") else record.rejoin.cycled_at
            record = replace(record, rejoin=replace(record.rejoin, step=action.step, step_at=now, cycled_at=cycled))
    return record


# Out


def _next_step(host: HostState, asked: RejoinRecord, cluster: Cluster, now: Instant, starting: Collection[str], out: Rejoins) -> None:
    start = fresh_start(host, cluster, asked.word)
    missing = _missing(host, cluster, start, starting)
    if _is_over(asked, now):
        out.give_up(host.name, "was not let in again: %s" % ("; ".join(missing) or "no more time"))
        return
    stale = stale_on(host.name, cluster) if not missing else ()
    step = ""
    if not missing:
        step, missing = ("unregister", [_of_stale(stale)]) if stale else ("unfence", [start.proof])
    elif host.has_bmc and not start.proved_where_it_can_be:
        step = _power_step(host, asked, start)
        alone = _runs_alone(host, cluster) if step == "power_cycle" else ""
        step, missing = ("", [*missing, alone]) if alone else (step, missing)
    if not step or _tried(asked, step, now):
        ordered = "; %s was ordered a moment ago" % step if step else ""
        out.say(host.name, Severity.INFO, "waits to be let in again: %s%s" % ("; ".join(missing), ordered))
        return
    by = "an operator asked for it%s" % (": " + asked.by if asked.by else "")
    action = RejoinAction(host.name, step, (by, *missing), machine=host.record.machine)
    if step == "unregister":
        action = replace(action, stale=stale)
    elif step == "unfence":
        action = replace(action, storage=host.fence.servers or cluster.servers, on_word=start.unprovable, word=asked.word)
    out.actions.append(action)


def _is_over(asked: RejoinRecord, now: Instant) -> bool:
    waited = now.since(asked.asked_at)
    return waited is None or waited > PATIENCE + (BOOTS if asked.cycled_at is not None else 0.0)


def _tried(asked: RejoinRecord, step: str, now: Instant) -> bool:
    """Whether *step* was taken a moment ago: what it did may not be seen yet, and one that was refused would be refused again."""
    since = now.since(asked.step_at)
    return asked.step == step and since is not None and since < AGAIN


def _power_step(host: HostState, asked: RejoinRecord, start: FreshStart) -> str:
    if start.too_early:
        return ""
    if host.evidence.power is Power.OFF:
        return "power_on"
    if host.evidence.power is not Power.ON:  # nobody knows: leave it
        return ""
    # Silent, it may be booting; while it answers, waiting proves nothing.
    return "power_cycle" if asked.cycled_at is None or host.answers_api else ""


def _runs_alone(host: HostState, cluster: Cluster) -> str:
    """Why a power cycle would take a service away; empty when it would not. A host that is fenced everywhere and silent runs nothing that
    can write."""
    if not cluster.observation.was_read(host.name):
        return "" if host.fence.whole else "its list of VMs cannot be read, and it may run VMs from other storage: restart it by hand"
    elsewhere = [vm.id for vm in cluster.vms if vm.host != host.name]
    listed = cluster.observation.listed_on(host.name)
    known = {vm.moid for vm in registered(listed, elsewhere).values()}
    mine = {vm.id for vm in cluster.protected_on(host.name)} if host.fence.whole else set()
    alone = sorted(vm.name for vm in listed if vm.power is Power.ON and vm.moid not in known and vm.id not in mine)
    return "its power is not cycled, because no other host has %s; move or stop them" % ", ".join(alone) if alone else ""


def _of_stale(stale: Collection[StaleVm]) -> str:
    return "it still has %s registered" % ", ".join("%s (now on %s)" % (vm.name, vm.host) for vm in stale)


def _missing(host: HostState, cluster: Cluster, start: FreshStart, starting: Collection[str]) -> list[str]:
    """What the unfence still needs, in words; empty when nothing."""
    found = []
    if not host.fence.confirmed:
        found.append("its fence is not confirmed (%s)" % host.fence.missing)
    if start.too_early:
        found.append("its fence is only %.0f s old, and a start is proved from %.0f s on" % (start.youngest or 0.0, MARGIN))
    if not host.answers_api:
        return [*found, "its API does not answer yet, so a fresh start is not proved"]
    if start.lacks:
        found.append(start.lacks)
    if not cluster.observation.was_read(host.name):
        return [*found, "its VMs could not be read"]
    running = [vm.name for vm in cluster.observation.listed_on(host.name) if vm.power is Power.ON]
    if running:
        found.append("it runs %s already; stop them there and switch its autostart off" % ", ".join(sorted(running)))
    busy = _on_their_way(host.name, cluster, starting)
    if busy:
        found.append("the start of %s elsewhere has not ended" % ", ".join(busy))
    return found


def _on_their_way(host: str, cluster: Cluster, starting: Collection[str]) -> list[str]:
    """Its VMs that are just being started on other hosts, by name."""
    acting = {act.vm for act in cluster.observation.in_progress if act.vm and act.host != host}
    found = []
    for vm in cluster.vms_on.get(host, ()):
        ordered = vm.in_progress is not None and vm.in_progress.host != host
        if ordered or vm.id in acting or vm.id in starting:
            found.append(vm.name)
    return sorted(found)


# In


def _settle_in(host: HostState, asked: RejoinRecord, now: Instant, out: Rejoins) -> None:
    """It is let in. It has its storage again after a rescan, which is repeated until the target says so."""
    out.records[host.name] = asked
    targets = host.evidence.targets
    if host.verdict.works and targets and all(target.state is Evidence.OK for target in targets):
        out.records[host.name] = None
        return
    since = now.since(asked.let_in_at)
    if since is None or since > SETTLES:
        out.give_up(host.name, "was let in again, but its storage does not work (%s); look at its iSCSI adapter" % host.evidence.text)
        return
    out.say(host.name, Severity.INFO, "is let in again; its storage is not there yet (%s)" % host.evidence.text)
    if host.answers_api and not _tried(asked, "rescan", now):
        out.actions.append(RejoinAction(host.name, "rescan", ("it was let in again, and its storage is not there yet",)))


# A fresh start


@dataclass(frozen=True)
class FreshStart:
    """What speaks for a start of a host after its fences."""

    lacks: str  # what is missing for the proof; empty: nothing
    proof: str
    proved_where_it_can_be: bool
    unprovable: tuple[str, ...]  # storage servers that were themselves restarted since the fence: their clock proves nothing
    youngest: Optional[float]  # s since the last of its fences of which that is known

    @property
    def too_early(self) -> bool:
        """A start now would be too close to the fence to be told from one before it, for ever."""
        return self.youngest is not None and self.youngest <= MARGIN


def fresh_start(host: HostState, cluster: Cluster, word: str) -> FreshStart:
    """Whether the host's uptime proves that it was started after the youngest of its fences; *word*: a person says so."""
    ages, unprovable = [], []
    for server in cluster.observation.storage:
        for line in server.fences:
            if line.host == host.name or line.initiator in host.fence.initiators:
                age = server.taken_at.since(line.at)
                if age is None:
                    unprovable.append(server.name)
                else:
                    ages.append(age)
    restarted = tuple(dict.fromkeys(unprovable))
    uptime = _uptime(host, cluster.now)
    proved = uptime is not None and bool(ages or restarted) and all(started_since(uptime, age) for age in ages)
    lacks = ""
    if not proved:
        lacks = "it has not been started afresh since the fence; restart it"
    elif restarted and not word:
        lacks = "%s was itself restarted since the fence, so no uptime proves a start after it; %s" % (", ".join(restarted), _BY_WORD)
    said = "%s says that it was restarted after the fence" % word if restarted else "it started afresh since the fence"
    return FreshStart(lacks, said, proved, restarted, min(ages, default=None))


def _uptime(host: HostState, now: Instant) -> Optional[float]:
    """Seconds since it started, as of now: it has run on since it was asked, as the fence has grown older."""
    seen = host.seen
    if seen is None or seen.api_answer is not ApiAnswer.ANSWERED or seen.uptime is None:
        return None
    return seen.uptime + max(now.since(seen.asked_at) or 0.0, 0.0)


_BY_WORD = "if you know that the host was restarted, say so: -e force=HOST -e reason=..."
