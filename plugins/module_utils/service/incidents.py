# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recordings of incidents, as files: what was seen and decided around everything that the monitor ordered, for whoever asks later why.

An incident begins with the first order and ends with a settled look; its recording (``looks``) begins well before. One that lasts gets a
second recording, of its end. Writing one is hardly in the way: a thread does it, when all is settled or nothing has been for long. A disk
that is full costs the recording and nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Optional

from ..cycle.judge import Judged
from ..decide.authorization import is_empty
from ..storage import durable
from .looks import LOOKS, LookLog

KEPT = 20  # files
LONG = LOOKS * 2 // 3  # looks of an incident after which its beginning is kept, before newer looks push it out
SUFFIX = ".libreha"


class Incidents:
    """Args:
    folder: Where they are kept; made if it is not there. Empty: nowhere, and only the newest looks are to be had, from memory.
    log: Is told where one was kept, and what kept one from being kept.
    """

    def __init__(self, folder: str, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._log = log
        self._looks = LookLog()
        self._under_way = ""  # the wall time of the first order; empty: no incident
        self._lasts = 0  # looks
        self._writer: Optional[threading.Thread] = None

    def looked(self, judged: Judged) -> None:
        """After each look that was committed."""
        if judged.decided_from is None:
            return
        decision = judged.decision
        self._looks.add(judged.decided_from, decision)
        if not self._under_way and any(not is_empty(action) for action in decision.actions):
            self._under_way, self._lasts = decision.taken_at.wall, 0
        self._lasts += 1
        if self._under_way and decision.settled:
            self.end()
        elif self._under_way and self._lasts == LONG:
            self._keep(self._under_way, "")

    def end(self) -> None:
        """Keep the incident that is under way, if there is one."""
        if self._under_way:
            self._keep(self._under_way, "-end" if self._lasts > LONG else "")
        self._under_way = ""

    def _keep(self, began: str, part: str) -> None:
        if self._folder:
            self.finish()
            self._writer = threading.Thread(target=self._write, args=(began, part), name="incident", daemon=True)
            self._writer.start()

    def finish(self) -> None:
        """Wait until nothing is being written."""
        if self._writer is not None:
            self._writer.join()

    def recording(self) -> bytes:
        """Of the newest looks."""
        return self._looks.recording()

    def _write(self, began: str, part: str) -> None:
        name = "%s%s%s" % (began[:19].replace(":", "-") or "unknown", part, SUFFIX)
        path = os.path.join(self._folder, name)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            durable.replace(path, self.recording(), mode=0o600)
            for old in sorted(found for found in os.listdir(self._folder) if found.endswith(SUFFIX))[:-KEPT]:
                os.unlink(os.path.join(self._folder, old))
        except OSError as error:
            self._log("the incident of %s is not kept in %s: %s" % (began, self._folder, error.strerror))
            return
        self._log("the incident of %s is kept: libreha replay %s" % (began, path))
