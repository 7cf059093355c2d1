"""Guests have boot-time clocks of their own; records and execution logs of several are judged on the machine's."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from ..errors import LabError
from .guests import Guests

SAMPLES = 20
ECHO = "import sys, time\nfor line in sys.stdin: print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), flush=True)"


@dataclass(frozen=True)
class Offset:
    """What is to be added to a guest's CLOCK_BOOTTIME to have the machine's; true to within ``error_ns``, half the shortest round trip."""

    offset_ns: int
    error_ns: int


def measure(guests: Guests, name: str) -> Offset:
    """Ask a guest for its time over one connection; the shortest of the round trips says most."""
    argv = guests.ssh_command(name, 'python3 -c "%s"' % ECHO)
    best: Offset | None = None
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for _sample in range(SAMPLES):
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if not answer:
                raise LabError("%s did not say its time; 'lab ssh %s' shows why." % (name, name))
            found = Offset((before + after) // 2 - int(answer), (after - before) // 2)
            if best is None or found.error_ns < best.error_ns:
                best = found
        process.stdin.close()
    assert best is not None
    return best
