"""``python -m liblab.stall PID``: hold every thread of a process but its first, until this program ends; then they go on.

tgtd does a LUN's I/O in threads of its own, so this is a disk that stalls: commands are taken and not done, NOPs and logins are answered.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # ptrace(2): when the tracer ends, the threads go on


def hold(pid: int) -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for thread in map(int, os.listdir("/proc/%d/task" % pid)):
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if thread != pid and libc.ptrace(request, thread, None, None) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    hold(int(sys.argv[1]))
    signal.pause()
