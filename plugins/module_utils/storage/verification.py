# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a fence is confirmed: docs/safety.md, "The fence", in one place for every driver. It reads and changes nothing.

Confirmed means all of these; what is missing is said in words:

1. the initiator is in the fence list on disk, and no target of the saved configuration admits it;
2. no target admits it at run time, by name or because it admits anybody;
3. it has no session in two reads, ``interval`` apart;
4. none of its commands is in flight in the back end, in both reads;
5. no target is of a kind or release at which all this would mean something else (``unfenceable``);
6. no login that was under way at the first read is still under way at the second. A login that began *after* a read
   which found the right gone is refused by the target; one that began before it may have passed the check already
   (tgt/sockets.py). So one that is there in both reads might still become a session.

The reads are in an order that leaves no gap: the right is read before the first look at sessions and logins. Whatever
an initiator began after that is refused; whatever it began before it is a session, or a login, in one of the looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Callable

from .. import clock
from ..decide.observations import Session, TargetAccess
from ..errors import LibrehaError
from .fence_list import FenceList, Fences
from .interface import StorageTarget

INTERVAL = 0.3


@dataclass
class Reading:
    """Two looks at a target. ``trouble`` says what could not be read, and ``remedies`` what to do about it; then nothing is confirmed."""

    fences: Fences = field(default_factory=Fences)
    access: list[TargetAccess] = field(default_factory=list)
    saved: list[TargetAccess] = field(default_factory=list)
    looks: list[list[Session]] = field(default_factory=list)
    logins: frozenset[str] = frozenset()  # under way in both looks
    in_flight: dict[str, int] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def try_to(self, name: str, read: Callable[[], object]) -> None:
        try:
            setattr(self, name, read())
        except LibrehaError as error:
            self.note(error)

    def note(self, error: LibrehaError) -> None:
        if error.said not in self.trouble:
            self.trouble.append(error.said)
            self.remedies.append(error.remedy)

    def admitting(self, initiator: str) -> list[str]:
        """Targets that admit the initiator, at run time or after their next start, and why."""
        wanted = initiator.casefold()
        found = []
        for targets, where in ((self.access, "target %s admits it"), (self.saved, "the saved configuration of target %s admits it")):
            for target in targets:
                if target.anybody:
                    found.append("%s (%s)" % (where % target.target, target.reason))
                elif wanted in (name.casefold() for name in target.initiators):
                    found.append(where % target.target)
        return found

    def proving_nothing(self) -> list[str]:
        """Targets where a fence does not mean what it says, whoever is admitted."""
        found = [
            "a fence at target %s proves nothing: %s" % (one.target, one.unfenceable)
            for one in (*self.access, *self.saved)
            if one.unfenceable
        ]
        return list(dict.fromkeys(found))

    def targets_naming(self, initiator: str) -> tuple[str, ...]:
        """Targets that admit it by its name, at run time or by the saved configuration."""
        wanted = initiator.casefold()
        named = [target.target for target in (*self.access, *self.saved) if wanted in (name.casefold() for name in target.initiators)]
        return tuple(dict.fromkeys(named))

    def spellings(self, initiator: str) -> tuple[str, ...]:
        """How these spell its name."""
        found = [name for target in (*self.access, *self.saved) for name in target.initiators if name.casefold() == initiator.casefold()]
        return tuple(dict.fromkeys(found))

    def named(self, initiator: str) -> bool:
        """Whether a target admits it by its name: what a fence can take away. Everybody's right it cannot."""
        return bool(self.targets_naming(initiator))

    def sessions(self, initiator: str) -> list[Session]:
        return [session for look in self.looks for session in look if session.initiator.casefold() == initiator.casefold()]

    def missing(self, initiator: str) -> list[str]:
        """What is missing for the fence of *initiator* to be confirmed; empty when it is."""
        missing = list(self.trouble)
        if self.fences.of(initiator) is None:
            missing.append("it is not in the fence list")
        missing.extend(self.proving_nothing())
        missing.extend(self.admitting(initiator))
        sessions = self.sessions(initiator)
        missing.extend(sorted({"session %s on %s is still listed" % (session.sid, session.target) for session in sessions}))
        if self.in_flight.get(initiator.casefold()):
            missing.append("%d of its commands are in flight in the back end" % self.in_flight[initiator.casefold()])
        if self.logins:
            missing.append("logins that began before are still under way: %s" % ", ".join(sorted(self.logins)))
        return missing


def look_twice(target: StorageTarget, fence_list: FenceList, initiators: Iterable[str], *, interval: float = INTERVAL) -> Reading:
    """Read everything that the confirmation of these initiators' fences needs; takes *interval* seconds.

    In each look the logins come before the sessions: a login that completes between the two is then a session in the
    second one, and not in neither.
    """
    reading = Reading()
    reading.try_to("fences", fence_list.read)
    reading.try_to("saved", target.saved_access)
    reading.try_to("access", target.access)
    try:
        first = target.logins()
        reading.looks.append(target.sessions())
        clock.sleep(interval)
        reading.logins = first & target.logins()
        reading.looks.append(target.sessions())
        reading.in_flight = {initiator.casefold(): target.in_flight(initiator) for initiator in initiators}
    except LibrehaError as error:
        reading.note(error)
    return reading


def look_once(target: StorageTarget) -> Reading:
    """Rights and sessions as they are now: what a fence would take away."""
    reading = Reading()
    reading.try_to("saved", target.saved_access)
    reading.try_to("access", target.access)
    try:
        reading.looks.append(target.sessions())
    except LibrehaError as error:
        reading.note(error)
    return reading
