# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many looks or acts at once, none waiting for another: one that is not done in time is left behind, not waited for.

What one of them raises is its own outcome (``errors.as_outcome``) and costs no other its outcome.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar, Union

from . import clock
from .errors import ENDS_THE_RUN, LibrehaError, as_outcome

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class Late(Generic[Result]):
    """In place of a result: the time was up."""

    def __init__(self, after: float) -> None:
        self.after = after  # seconds


class Raised(Generic[Result]):
    """In place of a result: the look raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


Outcome = Union[Result, Late[Result], Raised[Result]]


def failure_of(outcome: Late[Any] | Raised[Any], tried: str, name: str) -> LibrehaError:
    """Why *name*, at which *tried* was done, gave no result. Raises what is not about the one (``errors.as_outcome``)."""
    if isinstance(outcome, Late):
        return LibrehaError("no answer within %.0f s" % outcome.after, host=name)
    return as_outcome(outcome.error, tried, name)


class StillWaiting(LibrehaError):
    """The same was asked before, and that call has not come back: it is not asked once more beside itself."""


class Workers:
    """Calls at once, round after round: a call that has not come back holds one thread, however many rounds pass."""

    def __init__(self) -> None:
        self._under_way: set[Hashable] = set()
        self._lock = threading.Lock()

    def ask(self, looks: Mapping[Key, Callable[[], Result]], seconds: float) -> dict[Key, Outcome[Result]]:
        """Call all *looks*, each in a thread of its own, and return within *seconds* with an outcome for each. The outcome of one whose
        key is still under way from an earlier round is StillWaiting, raised: the answer to that call is nobody's any more.

        The threads are daemons: one that hangs in a call that no socket timeout ends (a name server, an answer that comes
        byte by byte) keeps neither this call nor the process from ending. Raises LeaseLost or StaleToken as soon as one of
        them does: those are about the run, and end it.
        """
        done: queue.Queue[tuple[Key, Union[Outcome[Result], BaseException]]] = queue.Queue()
        deadline = clock.now().seconds + seconds
        for key, call in looks.items():
            if self._begin(key):
                threading.Thread(target=self._look, args=(key, call, done), name="look at %s" % (key,), daemon=True).start()
            else:
                done.put((key, Raised(StillWaiting("not asked: the question before it has not come back"))))
        outcomes: dict[Key, Outcome[Result]] = {}
        while len(outcomes) < len(looks):
            try:
                key, outcome = done.get(timeout=max(deadline - clock.now().seconds, 0.001))
            except queue.Empty:
                break
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes[key] = outcome
        return {key: outcomes.get(key, Late(seconds)) for key in looks}

    def _look(self, key: Key, call: Callable[[], Result], done: queue.Queue[Any]) -> None:
        outcome: Union[Outcome[Result], BaseException]
        try:
            outcome = call()
        except ENDS_THE_RUN as error:
            outcome = error
        except Exception as error:
            outcome = Raised(error)
        except BaseException as error:  # of the process, not of the look
            outcome = error
        with self._lock:
            self._under_way.discard(key)
        done.put((key, outcome))

    def _begin(self, key: Hashable) -> bool:
        with self._lock:
            free = key not in self._under_way
            self._under_way.add(key)
        return free


def in_parallel(looks: Mapping[Key, Callable[[], Result]], seconds: float) -> dict[Key, Outcome[Result]]:
    """One round of :class:`Workers`."""
    return Workers().ask(looks, seconds)
