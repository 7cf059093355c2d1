# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what was seen to evidence: each input of the verdict table is ok, failed or unknown, with its reason.

Progress at the target is the heart of it. It is judged on the storage server's own clock, from the difference of two
looks, because a counter says nothing by itself:

* a counter that advanced between two looks no more than ``io_stale`` apart proves a write path that works now. An observer that reads the
  target between two looks as well tells which reading found the counters as they are first (``still_since``): nothing was written
  after that, so it dates the progress. Of one that does not, the look itself dates it, which is never too early;
* the same difference over a longer gap proves only that it worked at some time, so judging begins again;
* a session that stood still for longer than ``io_stale`` has failed, and so has a missing one of an admitted initiator;
* whatever cannot be read, or follows the target's own start too closely, is unknown: never failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ...instant import Instant
from ..answers import ALIVE, ApiAnswer, Evidence
from ..evidence import HostEvidence, TargetEvidence
from ..memory import HostRecord, Memory, SessionRecord
from ..observations import HostObservation, Observation, Power, SampleTimes, Session, StorageObservation
from ..policy import Policy
from ..replacing import replace
from ..verdict import Judgement, Verdict
from .freshness import host_is_fresh, word_is_new
from .verdict import judge


def gather(host: str, observation: Observation, memory: Memory, policy: Policy, now: Instant) -> HostEvidence:
    """The evidence about *host* in this look."""
    record = memory.host(host)
    seen = observation.host(host)
    words = _words_about_targets(seen, record, memory) if seen is not None and word_is_new(seen, now, policy) else {}
    targets: list[TargetEvidence] = []
    sessions: list[SessionRecord] = []
    initiator = policy.host(host).initiator
    for server in observation.storage:
        found, remembered = _at_server(server, initiator, record, words, memory, policy)
        targets.extend(found)
        sessions.extend(remembered)
    if seen is None:
        return HostEvidence(
            host,
            None,
            False,
            Evidence.UNKNOWN,
            "api not asked",
            Evidence.UNKNOWN,
            "ping not asked",
            Power.UNKNOWN,
            tuple(targets),
            tuple(sessions),
        )
    ping, sampled = _ping(seen)
    red = [sensor.name for sensor in seen.sensors if sensor.health == "red" and sensor.name not in policy.host(seen.name).ignored_sensors]
    return HostEvidence(
        host=host,
        taken_at=seen.taken_at,
        fresh=host_is_fresh(seen, observation, now, policy),
        api=seen.api,
        api_text="api %s" % (seen.api_answer.value.replace("_", " ")),
        ping=ping,
        ping_text="ping %s" % ping.value,
        power=seen.power,
        targets=tuple(targets),
        sessions=tuple(sessions),
        degraded="sensors red: %s" % ", ".join(red) if red else "",
        sampled=sampled,
    )


def _ping(seen: HostObservation) -> tuple[Evidence, Optional[SampleTimes]]:
    """Whether the address answers, with the times of that. An API that answers proves that its address does, and dates it; but an answer
    from before both the last ping and the last reading of the power proves nothing against these."""
    times = seen.sampled
    if seen.api_answer not in ALIVE or seen.ping is Evidence.OK:
        return seen.ping, times
    if times is None:
        return Evidence.OK, None
    if all((at.since(times.api_answered) or 0.0) > 0 for at in (times.ping, times.power)):
        return seen.ping, times
    return Evidence.OK, replace(times, ping=times.api, ping_answered=times.api_answered)


def judge_host(evidence: HostEvidence, observer_is_isolated: bool) -> Judgement:
    """The verdict about one host from all its targets.

    A host is dead or without storage only if *all* its targets say so. Of one that lost some of them only the VMs on
    those are lost: the others run, and taking the host away would stop them.
    """
    if evidence.taken_at is None and not observer_is_isolated:
        return Judgement(Verdict.UNKNOWN, 12, "it was not looked at")
    together = judge(evidence.api, evidence.ping, evidence.storage, evidence.power, observer_is_isolated)
    if together.row <= 3 or evidence.api is not Evidence.OK or not evidence.targets:
        return together
    single = [judge(evidence.api, evidence.ping, t.state, evidence.power, False, t.accessible) for t in evidence.targets]
    rows = {judgement.row for judgement in single}
    if rows == {6}:
        return single[0]
    if 7 in rows:
        return next(judgement for judgement in single if judgement.row == 7)
    if 6 in rows:
        lost = [target.target for target in evidence.targets if target.accessible is False and target.state is Evidence.FAILED]
        return Judgement(Verdict.STORAGE_PARTLY_LOST, 6, "it lost its storage at %s, but not everywhere" % ", ".join(lost))
    worst = next((judgement for judgement in single if judgement.row == 5), single[0])
    if evidence.degraded:
        return replace(worst, verdict=Verdict.DEGRADED, reason=evidence.degraded)
    return worst


def _at_server(
    server: StorageObservation,
    initiator: str,
    record: HostRecord,
    words: Mapping[str, Optional[bool]],
    memory: Memory,
    policy: Policy,
) -> tuple[list[TargetEvidence], list[SessionRecord]]:
    """What each target of one storage server says about an initiator, and its counters to remember."""
    known = [session for session in record.sessions if session.server == server.name]
    problem = _cannot_tell(server, policy)
    if server.sessions is None or server.serving is None:
        return [TargetEvidence(server.name, "", Evidence.UNKNOWN, "storage unknown: %s" % problem)], known
    mine = server.sessions_of(initiator)
    admitted = server.targets_for(initiator)
    previous = next((item.looked_at for item in memory.storage if item.name == server.name), None)
    records = [_remember(session, server, known, previous, policy) for session in mine]
    grace = _starts_up(server, policy)
    found = []
    for target in sorted(admitted | {session.target for session in mine}):
        here = [item for item in records if item.target == target]
        alive_at = _alive_at(here, known)
        state, reason, pending = _progress(here, server.taken_at, alive_at, policy)
        probe = _probed(here, alive_at)
        if problem:
            # A target's grace ends by itself: whoever looks on will hear more.
            state, reason, pending, probe = Evidence.UNKNOWN, "storage unknown: %s" % problem, grace, Evidence.UNKNOWN
        word = words.get(target)
        at = server.taken_at
        found.append(TargetEvidence(server.name, target, state, reason, pending, word, grace, probe, at, alive_at, session=bool(here)))
    return found, records


def _cannot_tell(server: StorageObservation, policy: Policy) -> str:
    """Why this look at the storage server says nothing about hosts; empty when it does."""
    if server.serving is None:
        return "%s could not be asked%s" % (server.name, ": " + server.reason if server.reason else "")
    if not server.serving:
        return "%s does not serve its target" % server.name
    if server.sessions is None:
        return "sessions of %s unreadable%s" % (server.name, ": " + server.reason if server.reason else "")
    if server.up_for is None or _starts_up(server, policy):
        return "target on %s started %s s ago, grace %.0f s" % (
            server.name,
            "?" if server.up_for is None else "%.0f" % server.up_for,
            policy.storage_grace,
        )
    return ""


def _starts_up(server: StorageObservation, policy: Policy) -> bool:
    return server.up_for is not None and server.up_for < policy.storage_grace


def _remember(
    session: Session, server: StorageObservation, known: Sequence[SessionRecord], previous: Optional[Instant], policy: Policy
) -> SessionRecord:
    """The session's record after this look; the rules of the module's docstring."""
    at = server.taken_at
    last = next((item for item in known if item.sid == session.sid and item.target == session.target), None)
    if last is None:
        gap = at.since(previous)
        logged_in_now = gap is not None and 0 < gap <= policy.io_stale  # it was not there a moment ago
        return _counted(session, server, since=at, progress_at=at if logged_in_now else None)
    gap = at.since(last.seen_at)
    pairs = _counters(session, last)
    # Counters that ran backwards, or that could not be compared at all, are no history.
    if gap is None or not pairs or any(now < before for now, before in pairs):
        return _counted(session, server, since=at)
    if gap <= 0:
        return last
    if any(now > before for now, before in pairs):
        if gap > policy.io_stale:
            return _counted(session, server, since=at)
        return _counted(session, server, since=last.since, progress_at=_first_read(session, last.seen_at, at))
    return _counted(session, server, since=last.since, progress_at=last.progress_at)


def _counted(session: Session, server: StorageObservation, since: Instant, progress_at: Optional[Instant] = None) -> SessionRecord:
    """The session as this look found it, with what is known of its progress."""
    return SessionRecord(
        server.name, session.target, session.sid, session.commands_done, session.bytes_done, server.taken_at, since, progress_at
    )


def _first_read(session: Session, before: Instant, at: Instant) -> Instant:
    """When counters that advanced since *before* were read first as the look *at* has them: at the latest by that look itself."""
    still = session.still_since
    between = still is not None and (still.since(before) or 0.0) > 0 and (at.since(still) or 0.0) > 0
    return still if still is not None and between else at


def _counters(session: Session, last: SessionRecord) -> list[tuple[int, int]]:
    """Each counter now and before, where both were read."""
    pairs = ((session.commands_done, last.commands_done), (session.bytes_done, last.bytes_done))
    return [(now, before) for now, before in pairs if now is not None and before is not None]


def _progress(sessions: Sequence[SessionRecord], at: Instant, alive_at: Optional[Instant], policy: Policy) -> tuple[Evidence, str, bool]:
    """State, reason and whether it is still being judged, from the sessions of one initiator at one target."""
    if not sessions:
        return Evidence.FAILED, "storage failed: no session", False
    ages = [at.since(item.progress_at) for item in sessions]
    if any(age is not None and age <= policy.io_stale for age in ages):
        # Progress of a moment ago still counts, but if this look saw none the next one may say otherwise.
        return Evidence.OK, "storage ok", alive_at is None
    if any(item.commands_done is None and item.bytes_done is None for item in sessions):
        return Evidence.UNKNOWN, "storage unknown: counters unreadable", False
    still = min(at.since(item.progress_at or item.since) or 0.0 for item in sessions)
    if still > policy.io_stale:
        return Evidence.FAILED, "storage failed %.0f s" % still, False
    return Evidence.UNKNOWN, "storage not judged yet", True


def _alive_at(sessions: Sequence[SessionRecord], remembered: Sequence[SessionRecord]) -> Optional[Instant]:
    """The newest sign of life that this look alone found: a counter that advanced since the last look, a new session, and one that is
    judged anew. The last two are as old as the look."""
    known = {(item.target, item.sid): item for item in remembered}
    found = []
    for item in sessions:
        before = known.get((item.target, item.sid))
        if item.seen_at in (item.since, item.progress_at):
            found.append(item.seen_at)
        elif item.progress_at is not None and (before is None or before.progress_at != item.progress_at):
            found.append(item.progress_at)
    return max(found, key=lambda life: life.seconds, default=None)


def _probed(sessions: Sequence[SessionRecord], alive_at: Optional[Instant]) -> Evidence:
    """What this look alone found."""
    if alive_at is not None:
        return Evidence.OK
    if any(item.commands_done is None and item.bytes_done is None for item in sessions):
        return Evidence.UNKNOWN
    return Evidence.FAILED


def _words_about_targets(seen: HostObservation, record: HostRecord, memory: Memory) -> dict[str, Optional[bool]]:
    """What the host says about its datastores on each target: all accessible, all not, or (None) nothing clear.

    A datastore that it had there and does not list any more counts as inaccessible.
    """
    if seen.api_answer is not ApiAnswer.ANSWERED:
        return {}
    now = {store.uuid: store.accessible for store in seen.datastores}
    words: dict[str, set[bool]] = {}
    for store in seen.datastores:
        for lun in store.luns:
            words.setdefault(lun.target, set()).add(now[store.uuid])
    for uuid in record.datastores:
        for target in memory.targets_of(uuid):
            words.setdefault(target, set()).add(now.get(uuid, False))
    return {target: said.pop() if len(said) == 1 else None for target, said in words.items() if target}
