# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sign of life for a dead man's switch elsewhere: a URL that is asked, or a command that is run, while looks are committed.

It is sent by a thread of its own, one at a time, and the monitor waits for none. The URL may be a secret by itself, so no text names it.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
import urllib.request
from collections.abc import Callable

from .. import clock
from ..errors import unexpected

EVERY = 30.0  # s between two signs of life
TIMEOUT = 10.0  # s that one may take


class Heartbeat:
    """*to*: a URL, a command, or "" for none. *fails* is called, in another thread, with why, when sending begins to fail."""

    def __init__(self, to: str, fails: Callable[[str], None]) -> None:
        self._to = to
        self._fails = fails
        self._sending: threading.Thread | None = None
        self._begun_at: float | None = None
        self._failed = False

    def beat(self) -> None:
        """Send one, if it is time; call it after each look."""
        now = clock.now().seconds
        due = self._begun_at is None or now - self._begun_at >= EVERY
        if not self._to or not due or (self._sending is not None and self._sending.is_alive()):
            return
        self._begun_at = now
        self._sending = threading.Thread(target=self._send, name="heartbeat", daemon=True)
        self._sending.start()

    def _send(self) -> None:
        try:
            if self._to.startswith("/"):
                null = subprocess.DEVNULL
                subprocess.run(shlex.split(self._to), stdin=null, stdout=null, stderr=null, timeout=TIMEOUT, check=True)
            else:
                with urllib.request.build_opener().open(self._to, timeout=TIMEOUT):
                    pass
        except subprocess.CalledProcessError as error:
            self._report("its command ended with exit code %d" % error.returncode)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._report(type(error).__name__ if isinstance(error, ValueError) else _reason(error))
        except Exception as error:
            self._report(unexpected(error).partition(":")[0])
        else:
            self._failed = False

    def _report(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._fails("the heartbeat is not sent: %s" % why)


def _reason(error: Exception) -> str:
    """Without what the error may quote of the command or the URL."""
    if isinstance(error, subprocess.TimeoutExpired):
        return "no end within %.0f s" % TIMEOUT
    code = getattr(error, "code", None)
    return "HTTP status %s" % code if code else str(getattr(error, "strerror", "") or getattr(error, "reason", "") or type(error).__name__)
