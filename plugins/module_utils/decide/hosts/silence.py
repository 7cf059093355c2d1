# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long the paths to a host have been silent: what a verdict that leads to a fence is confirmed by (docs/safety.md, "Timers").

The paths are the API, the ping, the progress at each target, and for row 6 the host's own word about its datastores there. Invariant:
a path counts as silent from its last sign of life on, and only by probes that were made and failed after it. So

* the times of several paths run together, from whichever showed life last; that the verdict changes from one row to another
  meanwhile begins nothing anew, because what each path was last heard of does not change with it;
* a look that comes late concludes nothing by being late: a path on which nobody listened for longer than ``confirm_after`` was not
  silent for that time, as far as anybody knows, and counts from the next failed probe. Equal counters of one session of a target are the
  exception: they prove that nothing was written between two looks, however far apart these are;
* what could not be probed is neither life nor silence;
* a sample that serves several looks is one probe.

Another run of the monitor, and another boot, begin again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

from ...instant import Instant
from ..answers import Evidence
from ..evidence import HostEvidence, TargetEvidence
from ..memory import Silence
from ..observations import SampleTimes
from ..policy import Policy
from ..replacing import replace

PROBES = 3  # that must have failed


@dataclass(frozen=True)
class _Probe:
    path: str
    found: Evidence
    at: Instant  # when it began
    answered: Instant  # when it was answered, at the latest
    longest: Optional[float]  # s between two probes of an unbroken silence; None: any
    is_word: bool = False  # of the host, which must itself last; not silence, that began when life was last seen


@dataclass(frozen=True)
class Quiet:
    """How long all paths that a verdict calls failed have been silent, in seconds, and by how many probes at least."""

    lasted: float
    probes: int
    spread: float  # s from the first to the last of those


NOT_QUIET = Quiet(0.0, 0, 0.0)


def listen(before: Iterable[Silence], evidence: HostEvidence, now: Instant, policy: Policy) -> tuple[Silence, ...]:
    """The silences after a fresh look; *before* are those of the same run, or none."""
    known = {item.path: item for item in before}
    for probe in _probes(evidence, now, policy):
        heard = _heard(known.get(probe.path), probe)
        if heard is not None:
            known[probe.path] = heard
    return tuple(known[path] for path in sorted(known))


def quiet(silences: Iterable[Silence], evidence: HostEvidence) -> Quiet:
    """The silence of the paths that the verdict on *evidence* calls failed."""
    known = {item.path: _quiet(item) for item in silences}
    mine = [known.get(path, NOT_QUIET) for path in failed_paths(evidence)] or [NOT_QUIET]
    return Quiet(
        lasted=min(item.lasted for item in mine),
        probes=min(item.probes for item in mine),
        spread=min(item.spread for item in mine),
    )


def _quiet(path: Silence) -> Quiet:
    if path.last is None:
        return NOT_QUIET
    return Quiet(path.last.since(path.since) or 0.0, path.probes, path.last.since(path.first) or 0.0)


def failed_paths(evidence: HostEvidence) -> list[str]:
    """Names of the paths that have failed: of a host that answers its API those at which it lost its storage, by its own word too."""
    if evidence.api is Evidence.OK:
        lost = [target for target in evidence.targets if target.state is Evidence.FAILED and target.accessible is False]
        return [name for target in lost for name in (_target(target), _word(target))]
    paths = ["api"] if evidence.api is Evidence.FAILED else []
    paths += ["ping"] if evidence.ping is Evidence.FAILED else []
    return paths + ([_target(target) for target in evidence.targets] if evidence.storage is Evidence.FAILED else [])


def _probes(evidence: HostEvidence, now: Instant, policy: Policy) -> Iterator[_Probe]:
    if evidence.taken_at is None:
        return
    longest = policy.confirm_after
    times = evidence.sampled or SampleTimes(evidence.taken_at, now, evidence.taken_at, now, evidence.taken_at)
    yield _Probe("api", evidence.api, times.api, times.api_answered, longest)
    yield _Probe("ping", evidence.ping, times.ping, times.ping_answered, longest)
    for target in evidence.targets:
        if target.at is not None:
            answered = target.alive_at or target.at
            yield _Probe(_target(target), target.probe, target.at, answered, None if target.session else longest)
            said = Evidence.FAILED if target.accessible is False else Evidence.OK
            yield _Probe(_word(target), said, times.api, times.api_answered, longest, is_word=True)


def _heard(before: Optional[Silence], probe: _Probe) -> Optional[Silence]:
    if probe.found is Evidence.UNKNOWN:
        return before
    if probe.found is Evidence.OK:
        # What a run hears first is dated by its own look: what was there before began before it listened.
        first_heard = max(probe.at, probe.answered, key=lambda at: at.seconds)
        return Silence(probe.path, first_heard if before is None else probe.answered)
    anew = Silence(probe.path, probe.at, probe.at, probe.at, 1)
    if before is None or (probe.is_word and before.last is None):
        return anew
    gap = probe.at.since(before.last or before.since)
    if gap is None or (probe.longest is not None and gap > probe.longest):
        return anew
    if gap <= 0:  # the same look again, or one that began before the last sign of life
        return before
    return replace(before, first=before.first or probe.at, last=probe.at, probes=before.probes + 1)


def _target(target: TargetEvidence) -> str:
    return "storage %s %s" % (target.server, target.target)


def _word(target: TargetEvidence) -> str:
    return "its word on %s %s" % (target.server, target.target)
