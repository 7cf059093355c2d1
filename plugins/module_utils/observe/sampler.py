# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One path to one thing, asked again and again at a pace of its own, by one thread; the newest answer is there for whoever looks.

Invariants:

* A sample is one question: it is dated by when it was asked, and by when its answer came or the time for it was over. It is never dated
  anew.
* A question that has not come back in its time is a sample: silence since it was asked. It is given up, and what comes of it later is
  nobody's. Until it has really ended nothing else is asked, so what hangs holds one thread.
* Silence that was found while this machine itself was late is marked as such (``delay``).
* A path that has been silent is asked at the very moment at which that has lasted for ``confirm_after``, and *briefly*. Otherwise the
  question before it, which waits for its whole time, would put that one off, and then it would wait for its own whole time as well. A
  brief question is a probe like any other (docs/safety.md, "Timers"): it is really sent, and its silence counts from when it was. It is
  never the only one, and never follows another brief one: the question before it was silent for its whole time, so a host that is
  only slow to answer was heard. That none is begun which would still be under way then leaves a gap of about one question's time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import clock
from ..decide.answers import Evidence
from ..instant import Instant
from ..parallel import Late, Raised, StillWaiting
from ..stall_detector import StallDetector

Key = tuple[str, str]  # the path's kind, and whose it is
EARLY = 0.01  # s by which a wait may end too early


@dataclass(frozen=True)
class Sample:
    """``outcome`` is what was answered, Late or Raised."""

    outcome: Any
    began: Instant
    ended: Instant
    delay: str = ""  # why silence in it is none of the asked one's (StallDetector.reason)

    @property
    def was_not_asked(self) -> bool:
        """Whether it says only that there was no occasion to ask."""
        return isinstance(self.outcome, Raised) and isinstance(self.outcome.error, StillWaiting)

    def asked_after(self, instant: Instant) -> bool:
        """Whether it was asked then or later."""
        age = self.began.since(instant)
        return age is not None and age >= 0


@dataclass
class LastAnswer:
    """When a host answered last on any of the paths that share this; None: not yet."""

    at: Optional[Instant] = None

    def note(self, at: Instant) -> None:
        age = at.since(self.at)
        if age is None or age > 0:
            self.at = at


@dataclass(frozen=True)
class SilenceProbe:
    """How the silence of a path is told, and asked for briefly when it has lasted for ``confirm_after`` seconds, or a multiple of it, since
    ``last_answer``. ``found`` says of an outcome whether it is an answer (ok), silence (failed) or neither."""

    found: Callable[[Any], Evidence]
    ask_briefly: Callable[[], Any]
    confirm_after: float
    last_answer: LastAnswer


@dataclass(frozen=True)
class Path:
    """What is asked, and how.

    Args:
        ask: The question.
        pace: Seconds from one question to the next.
        limit: Seconds after which a question is given up.
        give_up: Has a question under way end soon; gives what of the answer has come, None for nothing.
        essence: What of an outcome is news when it changes.
        slowest: Seconds from one question to the next, at most, where answering takes long: of that time a tenth is for answering.
        silence: Of a path that is asked briefly when it has been silent for long enough.
    """

    ask: Callable[[], Any]
    pace: float
    limit: float
    give_up: Callable[[], Any] = lambda: None
    essence: Callable[[Any], Any] = lambda outcome: None
    slowest: float = 0.0
    silence: Optional[SilenceProbe] = None


class Sampler:
    """Asks a path until it is stopped. ``changed`` is called when there is a sample, with whether it is news."""

    def __init__(self, name: str, path: Path, changed: Callable[[bool], None]) -> None:
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._newest: Optional[Sample] = None
        self._asked: Optional[Instant] = None  # the question under way
        self._given_up = False  # that one
        self._stalls = StallDetector()  # beside that one
        self._whole = 0.0  # s that the last question took that was not a brief one
        threading.Thread(target=self._run, name="sampler of %s" % name, daemon=True).start()

    def newest(self) -> Optional[Sample]:
        now = clock.now()
        with self._lock:
            asked = self._asked
            late = asked is not None and not self._given_up and (now.since(asked) or 0.0) > self._path.limit
            self._given_up = self._given_up or late
            delay = self._stalls.reason if late else ""
        if late and asked is not None:
            part = self._path.give_up()
            self._take(Sample(Late(self._path.limit) if part is None else part, asked, now, delay))
        return self._newest

    def waiting(self) -> float:
        """Seconds since the question under way was asked; 0.0 when there is none."""
        with self._lock:
            return 0.0 if self._asked is None else clock.now().since(self._asked) or 0.0

    def hurry(self, after: Instant) -> bool:
        """Ask soon, unless that was done after *after*. Returns whether it was."""
        newest = self.newest()
        if newest is not None and newest.asked_after(after) and not newest.was_not_asked:
            return True
        self._wake.set()
        return False

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        briefly = False
        while not self._stopped:
            self._wake.clear()
            ask = self._path.silence.ask_briefly if briefly and self._path.silence is not None else self._path.ask
            with StallDetector() as stalls:
                began = clock.now()
                with self._lock:
                    self._asked, self._given_up, self._stalls = began, False, stalls
                try:
                    outcome = ask()
                except Exception as error:
                    outcome = Raised(error)
                delay = stalls.reason
            ended = clock.now()
            with self._lock:
                self._asked, given_up = None, self._given_up
            if not given_up:
                self._take(Sample(outcome, began, ended, delay), briefly)
            took = ended.seconds - began.seconds
            if not briefly:
                self._whole = took
            pace = max(self._path.pace, min(10 * took, self._path.slowest))
            self._wake.wait(max(0.0, pace - took))
            left = self._silent_for_long_in()
            briefly = not briefly and left is not None and not self._wake.wait(left)

    def _silent_for_long_in(self) -> Optional[float]:
        """Seconds until this path has been silent for ``confirm_after``, or a multiple of it, if a question that is begun now may still be
        under way then."""
        silence, newest = self._path.silence, self._newest
        if silence is None or newest is None or newest.delay or silence.found(newest.outcome) is not Evidence.FAILED:
            return None
        lasts = clock.now().since(silence.last_answer.at)
        if lasts is None:
            return None
        left = silence.confirm_after - lasts % silence.confirm_after + EARLY
        return left if left <= 1.5 * self._whole else None

    def _take(self, sample: Sample, briefly: bool = False) -> None:
        with self._lock:
            before = self._newest
            if before is not None and not sample.asked_after(before.began):
                return  # one that was given up, and noticed late
            self._newest = sample
        silence = self._path.silence
        if silence is not None and silence.found(sample.outcome) is Evidence.OK:
            silence.last_answer.note(sample.ended)
        essence = self._path.essence
        self._changed(briefly or before is not None and essence(before.outcome) != essence(sample.outcome))


class Samplers:
    """The samplers of a process, by what they ask. ``news`` is set by samples that a look should not wait for."""

    def __init__(self) -> None:
        self._running: dict[Key, tuple[Any, Sampler]] = {}
        self._any = threading.Condition()
        self.news = threading.Event()

    def newest(self, key: Key) -> Optional[Sample]:
        running = self._running.get(key)
        return running[1].newest() if running is not None else None

    def keep(self, wanted: Mapping[Key, tuple[Any, Path]]) -> dict[Key, Sampler]:
        """Those of *wanted*, each with what it depends on in the configuration: they go on while that is equal, or are started anew. All
        others are stopped."""
        for key in set(self._running) - set(wanted):
            self._running.pop(key)[1].stop()
        for key, (settings, path) in wanted.items():
            before = self._running.get(key)
            if before is None or before[0] != settings:
                if before is not None:
                    before[1].stop()
                self._running[key] = settings, Sampler(" ".join(key), path, self._changed)
        return {key: self._running[key][1] for key in wanted}

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Until *ready*, which is asked with every sample, for at most *seconds*. Returns whether it is."""
        deadline = clock.now().seconds + seconds
        with self._any:
            while not ready():
                left = deadline - clock.now().seconds
                if left <= 0:
                    return False
                self._any.wait(min(left, 0.2))  # what has not come back in its time is noticed by asking
        return True

    def stop(self) -> None:
        self.keep({})

    def _changed(self, news: bool) -> None:
        if news:
            self.news.set()
        with self._any:
            self._any.notify_all()
