# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One storage server, read more often than anybody looks: which reading found a session's counters as they are now first.

Looks are seconds apart. Without this, a host's last write is dated by the look that saw it, which may be seconds after the host
died; and a silence is counted from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Optional

from ..decide.observations import Session, StorageObservation
from ..instant import Instant


class ProgressReader:
    """Asks *ask*, reading after reading. For one thread.

    Invariant: ``still_since`` is the time of a reading that found the same session with the same counters, and so did every reading since.
    A reading that could not tell them, or a look given up, begins anew.
    """

    def __init__(self, ask: Callable[[], StorageObservation]) -> None:
        self._ask = ask
        self._before: dict[tuple[str, str], Session] = {}

    def __call__(self) -> StorageObservation:
        before, self._before = self._before, {}
        seen = self._ask()
        sessions = tuple(_dated(item, before.get((item.target, item.sid)), seen.taken_at) for item in seen.sessions or ())
        self._before = {(item.target, item.sid): item for item in sessions}
        return seen if seen.sessions is None else replace(seen, sessions=sessions)


def stands_still(session: Session, at: Instant, seconds: float) -> bool:
    """Whether at *at* nothing had been done in it for so long."""
    return (at.since(session.still_since) or 0.0) >= seconds


def _dated(session: Session, before: Optional[Session], at: Instant) -> Session:
    counters = (session.commands_done, session.bytes_done)
    same = before is not None and counters != (None, None) and counters == (before.commands_done, before.bytes_done)
    return replace(session, still_since=before.still_since if same and before is not None else at)
