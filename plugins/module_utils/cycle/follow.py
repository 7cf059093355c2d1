# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Follow the journal: what happens is shown while it happens, each entry once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from ..errors import LibrehaError
from ..record.database import StateDatabase
from .judge import HOLD

INTERVAL = 0.5  # s between two looks at the journal
Entry = Mapping[str, Any]


class JournalFollower:
    """Hands each entry that was not there before to *show*, in order; holds are for the journal only and are left out."""

    def __init__(self, show: Callable[[Entry], None]) -> None:
        self._show = show
        self._seen: Optional[int] = None

    @contextmanager
    def following(self, database: StateDatabase) -> Iterator[None]:
        """Meanwhile a thread follows, from the end of the journal on, or from where this follower was the last time."""
        if self._seen is None:
            self._seen = max((entry["seq"] for entry in database.read_journal(limit=1)), default=0)
        over = threading.Event()
        thread = threading.Thread(target=self._follow, args=(database, over), name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _follow(self, database: StateDatabase, over: threading.Event) -> None:
        while True:
            last = over.wait(INTERVAL)
            try:
                entries = database.read_journal(since=self._seen)
            except LibrehaError:  # the run itself says what is wrong
                entries = []
            for entry in entries:
                self._seen = entry["seq"]
                if not entry["key"].startswith(HOLD):
                    self._show(entry)
            if last:
                return


def line_of(entry: Entry) -> str:
    """A journal entry as one line for people."""
    return "alarm: %s" % entry["text"] if entry["kind"] == "alarm" else str(entry["text"])
