# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program between this collection and a fence agent that switches power: the agent, and all that it starts, ends with
the lease. It runs in a Python of its own, which gets its source, so it imports nothing of ours.

Why it exists. Our own requests end at the deadline because the kernel ends our process (lease/deadman.py). A child is not
covered by that: an agent that was frozen with us, or whose ipmitool was, would go on when it is thawed and switch off a machine
that has been given back to work meanwhile. So:

* This process arms the same timer for itself (``ITIMER_REAL`` with SIGALRM's default action) and then does nothing but wait.
* The agent is the first process of a PID namespace. Whatever it starts, in whatever session, is in there too, and the kernel
  kills all of it when that first process dies (pid_namespaces(7)).
* The agent is killed when this process dies (``PR_SET_PDEATHSIG``, SIGKILL), and this process when the module dies.
* The last thing before the agent begins is a look at the boot-time clock.
* This process and the agent inherit the descriptor of the run's lock (lease/lock.py): until both are gone, no other run takes the lease
  before its end.

So after a thaw beyond the deadline the timer ends this process, and with it the agent and its children. What is left: they are
woken together with this process, and may run until the three signals have passed, some milliseconds on a busy machine.
And a stop signal for this one process alone would stop the timer and not the agent. docs/power-fencing.md says why a late
"off" costs availability and never data.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1
TOO_LATE, NO_NAMESPACE = 98, 97  # exit codes; agents use 0, 1 and 2


def main(parent: int, deadline: float, agent: str) -> int:
    """Run *agent* until *deadline* (seconds of the boot-time clock) and return its exit code."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    left = deadline - time.clock_gettime(time.CLOCK_BOOTTIME)
    if os.getppid() != parent or left <= 0:
        return TOO_LATE
    if libc.unshare(CLONE_NEWPID) != 0:
        sys.stderr.write("cannot make a PID namespace: %s\n" % os.strerror(ctypes.get_errno()))
        return NO_NAMESPACE
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, left)  # fork does not inherit it
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writes)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent_died = bool(select.select([reads], [], [], 0)[0])  # before the line above took effect
        if parent_died or time.clock_gettime(time.CLOCK_BOOTTIME) >= deadline:
            os._exit(TOO_LATE)
        os.execv(agent, [agent])
    os.close(reads)
    _pid, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
