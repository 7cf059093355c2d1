# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clock that timers run on: seconds since this machine booted, with the boot's id.

Wall time jumps, so no timer uses it (docs/safety.md, "Timers"). ``CLOCK_BOOTTIME`` counts through suspend and never
jumps; it restarts with the machine, which the boot id tells. Two instants are comparable only within one boot.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone

from .instant import Instant


def read_boot_id() -> str:
    """This boot's id as the kernel has it (proc(5), random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
        return source.read().strip()


def now() -> Instant:
    """The present: boot id, seconds since boot, and the wall time for people to read."""
    return Instant(
        boot_id=read_boot_id(),
        seconds=time.clock_gettime(time.CLOCK_BOOTTIME),
        wall=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    )


def sleep(seconds: float) -> None:
    """The one waiter: everything that waits does it here, so that tests can replace it."""
    if seconds > 0:
        time.sleep(seconds)
