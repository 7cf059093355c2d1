# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How late this process itself is while it probes others.

A process that is stopped, starved of CPU or suspended with its machine finds its timeouts run out although the answers came
in time. So a clock ticks beside the probes: if a tick comes more than LATE seconds late, silence that was found
meanwhile may be our own (docs/safety.md, "Evidence" and "Timers"). An answer remains an answer.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from . import clock

LATE = 2.0  # s
INTERVAL = 0.2  # s between two ticks


class StallDetector:
    """Ticks inside ``with``. ``worst`` is the greatest lateness so far, in seconds."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._worst = 0.0
        self._last = 0.0

    def __enter__(self) -> StallDetector:
        self._last = clock.now().seconds
        threading.Thread(target=self._tick, name="own delay", daemon=True).start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._over.set()

    @property
    def worst(self) -> float:
        """Also of the tick that is due: its thread may have been kept from running as well."""
        last = self._last  # read first: a tick writes worst and then last, so a tick in between is in one of the two
        return max(clock.now().seconds - last - INTERVAL, self._worst)

    @property
    def reason(self) -> str:
        """Why silence says nothing, in words; empty when it says something."""
        worst = self.worst
        return "this machine itself was %.1f s late while it waited for the answer" % worst if worst > LATE else ""

    def _tick(self) -> None:
        while not self._over.wait(INTERVAL):
            with contextlib.suppress(OSError):  # the clock cannot be read: this tick does not come
                now = clock.now().seconds
                self._worst = max(self._worst, now - self._last - INTERVAL)
                self._last = now
