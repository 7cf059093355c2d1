# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lines for the system's log: standard error, with the priority in front as journald takes it (sd-daemon(3)): ``<3>alarm: ...``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from ..cycle.follow import line_of
from ..decide.decision import Severity

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6  # syslog(3)
_OF_ALARMS = {Severity.CRITICAL.value: ERROR, Severity.WARNING.value: WARNING, Severity.INFO.value: NOTICE}
_OF_KINDS = {"action": NOTICE, "fence": NOTICE, "person": NOTICE, "verdict": NOTICE}


class Log:
    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream

    def say(self, priority: int, text: str) -> None:
        """One record; a text of several lines is one line."""
        self._stream.write("<%d>%s\n" % (priority, " ".join(text.split())))
        self._stream.flush()

    def entry(self, entry: Mapping[str, Any]) -> None:
        """An entry of the journal of the state database."""
        self.say(priority_of(entry), line_of(entry))


def priority_of(entry: Mapping[str, Any]) -> int:
    if entry["kind"] != "alarm":
        return WARNING if entry["data"].get("ok") is False else _OF_KINDS.get(entry["kind"], INFO)
    if entry["data"].get("alarm") == "cleared":
        return NOTICE
    return _OF_ALARMS.get(entry["data"].get("severity", ""), ERROR)
