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

What it does not cover, and what does:

* With several threads, the kernel may let another thread run for some microseconds after SIGCONT while the first one
  takes the signal. Such a program must check the deadline before each act as well (:meth:`Permit.check`).
* ``ITIMER_REAL`` counts CLOCK_MONOTONIC, which stands still while the whole machine is suspended. The check before
  each act reads the boot-time clock, which does not.
* What was handed to another process before the freeze (bytes in a socket) is already an act of before the deadline.
"""

from __future__ import annotations

import signal
from typing import Callable

from .. import clock
from ..decide.instant import Instant
from ..errors import LeaseLost


class Deadman:
    """End this process after some seconds. There is one such timer in a process; arm it in the main thread."""

    def arm(self, seconds: float) -> None:
        """End the process in *seconds*. Raises LeaseLost when there are none left."""
        if seconds <= 0:
            raise LeaseLost("the time in which this run may act is over", remedy="run it again: it takes a new lease")
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm(self) -> None:
        """The acts are over; what follows (reading, reporting) may take its time."""
        signal.setitimer(signal.ITIMER_REAL, 0)


class Permit:
    """The right to act until a deadline on this machine's boot-time clock; entering arms a :class:`Deadman`.

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
        self._deadman.arm(self.remaining())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._deadman.disarm()
