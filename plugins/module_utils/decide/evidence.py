# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one look says of one host, input by input of the verdict table. How it is found is hosts/evidence.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..instant import Instant
from .answers import Evidence
from .memory import SessionRecord
from .observations import Power, SampleTimes


@dataclass(frozen=True)
class TargetEvidence:
    """What one target says about one host. ``accessible`` is the host's own word about its datastores there."""

    server: str
    target: str  # IQN; empty when the server could not tell
    state: Evidence
    reason: str
    pending: bool = False  # unknown only because progress is still being judged, or in the target's grace
    accessible: Optional[bool] = None
    grace: bool = False  # the target has just started
    probe: Evidence = Evidence.UNKNOWN  # this look alone: ok: progress, or what may have been some; failed: none
    at: Optional[Instant] = None  # when it was read, on the storage server's clock
    alive_at: Optional[Instant] = None  # the sign of life that this look found
    session: bool = False  # the host has one


@dataclass(frozen=True)
class HostEvidence:
    host: str
    taken_at: Optional[Instant]  # None: not looked at
    fresh: bool
    api: Evidence
    api_text: str
    ping: Evidence
    ping_text: str
    power: Power
    targets: tuple[TargetEvidence, ...]
    sessions: tuple[SessionRecord, ...]  # to remember
    degraded: str = ""  # why
    sampled: Optional[SampleTimes] = None  # None: API and ping were asked at ``taken_at``

    @property
    def storage(self) -> Evidence:
        """All targets together: ok if one is, failed only if all are."""
        states = {target.state for target in self.targets}
        if Evidence.OK in states:
            return Evidence.OK
        return Evidence.FAILED if states == {Evidence.FAILED} else Evidence.UNKNOWN

    @property
    def pending(self) -> bool:
        return any(target.pending for target in self.targets)

    @property
    def in_grace(self) -> bool:
        return any(target.grace for target in self.targets)

    @property
    def answers(self) -> bool:
        return self.api is Evidence.OK or self.ping is Evidence.OK

    @property
    def text(self) -> str:
        """ "api timed out, ping failed, storage failed 16 s" """
        parts = [self.api_text, self.ping_text]
        if self.power is not Power.UNKNOWN:
            parts.append("power %s" % self.power.value)
        several = len(self.targets) > 1
        for target in self.targets or (TargetEvidence("", "", Evidence.UNKNOWN, "storage unknown: admitted at no target"),):
            parts.append("%s (%s)" % (target.reason, target.target or target.server) if several else target.reason)
        return ", ".join(parts)
