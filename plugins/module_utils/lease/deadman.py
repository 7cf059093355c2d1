# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An act ends with its lease, even if the process was frozen in the middle of it.

The rule (docs/safety.md, "The token"): a monitor that was stopped between check and act and wakes up must fail, not act.
Checking the deadline before each act is not enough: the process may be frozen (SIGSTOP, cgroup freezer, a paused
guest) after the check and before the act. So the kernel is asked to end the process at its deadline:
``setitimer(ITIMER_REAL)`` with SIGALRM's default action, which is termination and runs no code of ours.

Why that is enough in a process with one thread. The timer runs in the kernel and expires while the process is
stopped; SIGALRM then stays pending, because a stopped process takes no signal but SIGKILL and SIGCONT. After SIGCONT
the process does not go back to its own code before the kernel has delivered the pending signals, and the default
action of this one is to end the process. So after the deadline not one more instruction of it runs. The timer
survives execve (POSIX, setitimer), but a child of fork has none of its own: whoever acts through a child program must
arm it in the child as well.

One owner, many deadlines. A process has one such timer, so one object of this module owns it (:data:`_TIMER`) and keeps it set to
the earliest deadline of all that are armed. Whoever acts within somebody else's act, or beside it, arms a deadline of its own; when that
ends, the others still stand. Invariant: while any deadline is armed, the kernel's timer expires at the earliest of them.

The contract for threads. Any thread may arm, disarm, enter and leave. SIGALRM ends the whole process, whichever thread armed it: what
acts together ends together. Only the main thread can set a signal's action; so where a program has given SIGALRM another one, the main
thread must arm first, and a thread that finds it so is refused. A child of fork has no deadline armed.

What it does not cover, and what does:

* With several threads, the kernel may let another thread run for some microseconds after SIGCONT while the first one
  takes the signal. Such a program must check the deadline before each act as well (:meth:`Permit.check`).
* ``ITIMER_REAL`` counts CLOCK_MONOTONIC, which stands still while the whole machine is suspended. The check before
  each act reads the boot-time clock, which does not.
* What was handed to another process before the freeze (bytes in a socket) is already an act of before the deadline.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from typing import Callable

from .. import clock
from ..errors import LeaseLost, LibrehaError
from ..instant import Instant


class _Timer:
    """The process's one timer, set to the earliest of the deadlines that are armed (seconds of ``time.monotonic``, as the timer counts)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}

    def arm(self, holder: int, seconds: float) -> None:
        with self._lock:
            _make_deadly()
            self._ends[holder] = time.monotonic() + seconds
            self._set()

    def disarm(self, holder: int) -> None:
        with self._lock:
            if self._ends.pop(holder, None) is not None:
                self._set()

    def _set(self) -> None:
        # Zero would switch the timer off: a deadline that has passed meanwhile ends the process now.
        left = max(min(self._ends.values()) - time.monotonic(), 1e-6) if self._ends else 0.0
        signal.setitimer(signal.ITIMER_REAL, left)


def _make_deadly() -> None:
    """Have SIGALRM end the process. Raises LibrehaError in a thread that cannot bring that about."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    elif signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        raise LibrehaError(
            "SIGALRM has another action here, and only the main thread can change it: the act would not end with its deadline",
            remedy="have the main thread arm a Deadman first",
        )
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])


_TIMER = _Timer()
_HOLDERS = itertools.count()


def _forget_deadlines() -> None:
    """In a child of fork: the kernel has given it no timer."""
    global _TIMER
    _TIMER = _Timer()


os.register_at_fork(after_in_child=_forget_deadlines)


class Deadman:
    """One deadline of this process: the kernel ends the process when it passes. See the contract for threads above."""

    def __init__(self) -> None:
        self._holder = next(_HOLDERS)

    def arm(self, seconds: float) -> None:
        """End the process in *seconds*, in place of what this one said before. Raises LeaseLost when there are none left."""
        if seconds <= 0:
            raise LeaseLost("the time in which this run may act is over", remedy="run it again: it takes a new lease")
        _TIMER.arm(self._holder, seconds)

    def disarm(self) -> None:
        """The acts under this deadline are over; what follows (reading, reporting) may take its time. Other deadlines stand."""
        _TIMER.disarm(self._holder)


class Permit:
    """The right to act until a deadline on this machine's boot-time clock; while it is entered, by anybody, a :class:`Deadman` is armed.

    Args:
        deadline: Seconds of the boot-time clock after which no act may happen.
        now: The clock.
        host: Named in the error.
        deadman: What ends the process; the kernel's timer by default.
    """

    def __init__(
        self, deadline: float, *, now: Callable[[], Instant] = clock.now, host: str | None = None, deadman: Deadman | None = None
    ) -> None:
        self.deadline = deadline
        self._now = now
        self._host = host
        self._deadman = deadman or Deadman()
        self._lock = threading.Lock()
        self._entered = 0

    def remaining(self) -> float:
        """Seconds left, negative when over."""
        return self.deadline - self._now().seconds

    def check(self, act: str) -> None:
        """To be called directly before each act. Raises LeaseLost when the deadline has passed."""
        over = -self.remaining()
        if over >= 0:
            raise LeaseLost(
                "not done, its deadline passed %.1f s ago: %s" % (over, act),
                host=self._host,
                remedy="run it again: it takes a new lease",
            )

    def __enter__(self) -> Permit:
        with self._lock:
            self._deadman.arm(self.remaining())
            self._entered += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                self._deadman.disarm()
