"""The iSCSI target of one storage server: who is admitted, whose session is there, and the fence list with its token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

LOGIN = 2.0  # s from the moment an initiator can log in until it has
SESSION_LINGERS = 30.0  # s for which a session whose peer is silent stays listed
HEARTBEAT = 2.0  # s between two writes of a host with a mounted datastore


@dataclass
class Session:
    sid: str
    boot: int  # the host's boot that logged in
    written_for: float = 0.0  # s of working so far
    works_since: Optional[float] = None
    silent_since: Optional[float] = None
    wrote_at: Optional[float] = None  # before it stood still, at the latest

    def counter(self, now: float) -> int:
        """Commands done: one write in each HEARTBEAT in which it worked."""
        working = now - self.works_since if self.works_since is not None else 0.0
        return 100 + int((self.written_for + working) / HEARTBEAT)

    def written_at(self, now: float) -> Optional[float]:
        """When the counter advanced last, at the latest; None where it never worked."""
        if self.works_since is None:
            return self.wrote_at
        return max(self.works_since, now - (self.written_for + now - self.works_since) % HEARTBEAT)


@dataclass
class FenceLine:
    token: int
    at: float
    reason: str
    seen_confirmed: bool = False


class StaleToken(Exception):
    """The target has seen a higher token: another run has acted since."""


@dataclass
class Target:
    name: str  # of its storage server
    own: bool = True  # the monitor runs on the same machine
    asked: bool = True  # the monitor reaches the storage server
    serving: bool = True
    started_at: float = -100000.0
    sessions: dict[str, Session] = field(default_factory=dict)  # by host
    fences: dict[str, FenceLine] = field(default_factory=dict)  # durable
    highest_token: int = 0
    failing: set[str] = field(default_factory=set)  # hosts whose fence cannot be completed
    logins: int = 0

    def admits(self, host: str) -> bool:
        return host not in self.fences

    def take(self, token: int) -> None:
        """Keep the highest token; refuse a lower one."""
        if token < self.highest_token:
            raise StaleToken("token %d is below %d" % (token, self.highest_token))
        self.highest_token = token

    def fence_missing(self, host: str) -> str:
        """What is missing for the fence to be confirmed, as the target's own state has it; empty when nothing."""
        if host not in self.fences:
            return "it is not in the fence list"
        if not self.serving:
            return "the target is not running and cannot be read"
        if host in self.sessions:
            return "session %s is still listed" % self.sessions[host].sid
        if host in self.failing and not self.fences[host].seen_confirmed:
            return "1 of its commands is in flight in the back end"
        return ""

    def fenced(self, host: str) -> bool:
        """The truth: none of its writes can land any more."""
        missing_confirmation = host in self.failing and host in self.fences and not self.fences[host].seen_confirmed
        return host in self.fences and host not in self.sessions and not missing_confirmation
