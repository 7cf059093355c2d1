# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fence a host at the storage server, and keep it fenced: one piece of code for every driver.

The order is what keeps the first guarantee of docs/safety.md through a crash at any point:

1. under the fence list's lock: the token is checked, and the fence list and the saved configuration are made durable.
   From here on no restart lets the host in, and every later run applies the fence;
2. still under the lock: the right is taken away at run time, then the sessions are ended. In this order, or an
   initiator that logs in again at once would have a session that nobody ends;
3. without the lock: it is verified (verification.py), and what still lives is ended again, within a bound.

A run that is killed anywhere leaves less fence than it wanted, never a fence believed and not there: *confirmed* is
only ever computed from what the target says. Running again completes it. Directly before each act the permit and, under
the lock, the token are checked; while acts are possible the permit's timer is armed (lease/deadman.py), while this
only looks it is not.

If the fence list or the saved configuration cannot be written (a full disk), the right is taken away at run
time all the same, because that can only help; the fence is then not confirmed and the error says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from .. import clock
from ..decide.observations import Fence, Session
from ..errors import LibrehaError, StaleToken, as_outcome
from ..instant import Instant
from ..lease.deadman import Permit
from .fence_list import Entry, FenceList, Fences
from .interface import StorageTarget
from .verification import INTERVAL, Reading, look_once, look_twice


@dataclass
class Outcome:
    """What a fence, an unfence or a reapplication did. ``why_not`` names, by initiator, what is missing, and ``trouble`` what of the
    target could not be read, with the remedies. ``chap_renewed``: an unfence gave an initiator a new CHAP secret."""

    changed: bool = False
    confirmed: bool = False
    chap_renewed: bool = False
    token: int = 0
    initiators: list[str] = field(default_factory=list)
    sessions_ended: int = 0
    why_not: dict[str, list[str]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    errors: list[LibrehaError] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "confirmed": self.confirmed,
            "chap_renewed": self.chap_renewed,
            "token": self.token,
            "initiators": self.initiators,
            "sessions_ended": self.sessions_ended,
            "why_not": ["%s: %s" % (initiator, what) for initiator, missing in self.why_not.items() for what in missing]
            + (self.trouble if not self.why_not else []),
            "steps": self.steps,
        }


class Steps:
    """The acts of one run with the seconds after its start, on the boot-time clock."""

    def __init__(self, outcome: Outcome, now: Callable[[], Instant]) -> None:
        self._steps = outcome.steps
        self._now = now
        self._start = now().seconds

    def add(self, step: str, changed: bool, **facts: Any) -> None:
        self._steps.append({"step": step, "changed": changed, "after": round(self._now().seconds - self._start, 3), **facts})


@dataclass
class Fencer:
    """One storage server's target and fence list, and how to act on them.

    Args:
        target: The driver.
        fence_list: The durable list beside it.
        permit: Until when this run may act.
        now: The clock.
        interval: Seconds between the two looks that confirm.
    """

    target: StorageTarget
    fence_list: FenceList
    permit: Permit
    now: Callable[[], Instant] = clock.now
    interval: float = INTERVAL

    def fence(
        self,
        host: str,
        initiators: Iterable[str],
        token: int,
        reason: str,
        *,
        wait: float,
        check_mode: bool = False,
        durable: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Fence *host*, known by *initiators*, and verify for at most *wait* seconds. *durable* is called in between, if fence list and
        saved configuration could be written: no restart lets the host in from then on.

        Raises StaleToken, LeaseLost, or LibrehaError with ``details`` (an outcome's dictionary) when not confirmed.
        """
        wanted = tuple(dict.fromkeys(initiators))
        if not wanted:
            raise LibrehaError("no initiator name is given to fence", host=host, remedy="give the host's initiators")
        outcome = Outcome(token=token, initiators=list(wanted))
        steps = Steps(outcome, self.now)
        self.target.require_fenceable()
        if check_mode:
            self.fence_list.read().require(token, host, "fence")
            return self._foresee(wanted, outcome)
        with self.permit, self.fence_list.locked(self.permit):
            fences = self.fence_list.read()
            fences.require(token, host, "fence")
            self._apply(fences.with_token(token), [self._wish(fences, host, name, token, reason) for name in wanted], outcome, steps)
        if not outcome.errors:
            durable()
        self._verify(wanted, outcome, steps, wait, token)
        return self._finish(outcome, host)

    def reapply(self, *, wait: float, check_mode: bool = False) -> Outcome:
        """Apply the whole fence list. It takes no token: it only repeats what is decided, and never admits anybody."""
        fences = self.fence_list.read()
        outcome = Outcome(token=fences.highest_token, initiators=[entry.initiator for entry in fences.entries])
        steps = Steps(outcome, self.now)
        if check_mode:
            return self._foresee([entry.initiator for entry in fences.entries], outcome)
        if fences.entries:
            self.target.require_fenceable()
            with self.permit, self.fence_list.locked(self.permit):
                fences = self.fence_list.read()
                self._apply(fences, list(fences.entries), outcome, steps)
        self._verify([entry.initiator for entry in fences.entries], outcome, steps, wait, None)
        if outcome.errors:
            self._finish(outcome, None)
        return outcome

    def _wish(self, fences: Fences, host: str, initiator: str, token: int, reason: str) -> Entry:
        """The entry that is there, or a new one."""
        entry = fences.of(initiator)
        if entry is None:
            return Entry(host, initiator, token, self.now(), reason)
        if entry.host != host:
            raise LibrehaError(
                "%s is in the fence list as an initiator of host %s" % (initiator, entry.host),
                host=host,
                remedy="give each host an initiator name of its own, in the inventory and on the host: a fence takes the right from a "
                'name, and would take it from both (docs/safety.md of this collection, "The fence")',
            )
        return entry

    def _apply(self, fences: Fences, wishes: list[Entry], outcome: Outcome, steps: Steps) -> None:
        """Steps 1 and 2, under the lock. What fails is noted, and the next is tried all the same."""
        before = look_once(self.target)
        for wish in wishes:
            fences = fences.with_entry(self._updated(wish, before))
        self._try(outcome, partial(self._write, fences, outcome, steps))
        for wish in wishes:
            initiator = wish.initiator
            self._try(outcome, partial(self._revoke_saved, initiator, outcome, steps))
            self._try(outcome, partial(self._revoke, initiator, outcome, steps))
            self._try(outcome, partial(self._end, initiator, _ids(before.sessions(initiator)), outcome, steps))

    def _updated(self, entry: Entry, before: Reading) -> Entry:
        """The entry with where the right is taken from, and how it is spelled there. A host that was let in, or still has a session, may
        have written until now: a fresh start must then be after this moment."""
        admitting, spellings = before.targets_naming(entry.initiator), before.spellings(entry.initiator)
        if admitting or before.sessions(entry.initiator):
            return replace(
                entry,
                at=self.now(),
                targets=tuple(dict.fromkeys((*entry.targets, *admitting))),
                spellings=tuple(dict.fromkeys((*entry.spellings, *spellings))),
            )
        return entry

    def _write(self, fences: Fences, outcome: Outcome, steps: Steps) -> None:
        old = self.fence_list.read()
        if old == fences:
            return
        self.permit.check("write the fence list")
        self.fence_list.write(fences)
        if old.entries != fences.entries:
            outcome.changed = True
        steps.add("fence list durable", old.entries != fences.entries)

    def _revoke_saved(self, initiator: str, outcome: Outcome, steps: Steps) -> None:
        self.permit.check("revoke %s in the saved configuration" % initiator)
        changed = self.target.revoke_saved(initiator)
        outcome.changed |= changed
        steps.add("saved configuration durable", changed, initiator=initiator)

    def _revoke(self, initiator: str, outcome: Outcome, steps: Steps) -> None:
        self.permit.check("revoke %s at run time" % initiator)
        changed = self.target.revoke(initiator)
        outcome.changed |= changed
        steps.add("right revoked", changed, initiator=initiator)

    def _end(self, initiator: str, sessions: set[tuple[str, str]], outcome: Outcome, steps: Steps) -> None:
        """End also what is not among the *sessions* that were seen before: it may have logged in since."""
        self.permit.check("end the sessions of %s" % initiator)
        self.target.end_sessions(initiator)
        outcome.sessions_ended += len(sessions)
        outcome.changed |= bool(sessions)
        steps.add("sessions ended", bool(sessions), initiator=initiator, sessions=len(sessions))

    def _verify(self, initiators: Iterable[str], outcome: Outcome, steps: Steps, wait: float, token: int | None) -> None:
        """Step 3: look until confirmed, ending what still lives, for *wait* seconds and inside the permit."""
        wanted = list(initiators)
        until = min(self.now().seconds + wait, self.permit.deadline)
        while True:
            reading = look_twice(self.target, self.fence_list, wanted, interval=self.interval)
            outcome.why_not = {name: missing for name in wanted for missing in [reading.missing(name)] if missing}
            if token is not None and token < reading.fences.highest_token:
                raise StaleToken(
                    "while this fence (token %d) was verified, a run with token %d has acted" % (token, reading.fences.highest_token),
                    remedy="leave it to that run",
                )
            outcome.trouble, outcome.remedies = reading.trouble, reading.remedies
            outcome.confirmed = not outcome.why_not and not outcome.errors and not outcome.trouble
            if not outcome.why_not or self.now().seconds >= until or reading.trouble:
                break
            with self.permit:
                self._end_again(wanted, reading, outcome, steps)
        steps.add("verified" if outcome.confirmed else "not confirmed", False)

    def _end_again(self, initiators: list[str], reading: Reading, outcome: Outcome, steps: Steps) -> None:
        for initiator in initiators:
            if reading.sessions(initiator):
                self.permit.check("end the sessions of %s" % initiator)
                self.target.end_sessions(initiator)
        if reading.logins:
            self.permit.check("end logins under way")
            count = self.target.end_logins(reading.logins)
            outcome.changed |= bool(count)
            steps.add("logins under way ended", bool(count), logins=sorted(reading.logins))

    def _foresee(self, initiators: Iterable[str], outcome: Outcome) -> Outcome:
        """Check mode: what the run would change, and whether the fence is there already."""
        reading = look_twice(self.target, self.fence_list, initiators, interval=self.interval)
        outcome.why_not = {name: missing for name in initiators for missing in [reading.missing(name)] if missing}
        outcome.trouble, outcome.remedies = reading.trouble, reading.remedies
        outcome.confirmed = not outcome.why_not and not outcome.trouble
        outcome.sessions_ended = len({_id for name in initiators for _id in _ids(reading.sessions(name))})
        outcome.changed = any(reading.fences.of(name) is None or reading.named(name) or reading.sessions(name) for name in initiators)
        return outcome

    @staticmethod
    def _try(outcome: Outcome, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            failed = as_outcome(error, "fencing at the target")
            if str(failed) not in [str(known) for known in outcome.errors]:
                outcome.errors.append(failed)

    @staticmethod
    def _finish(outcome: Outcome, host: str | None) -> Outcome:
        if outcome.confirmed:
            return outcome
        missing = [error.said for error in outcome.errors]
        missing += [line for line in outcome.to_dict()["why_not"] if not any(error.message in line for error in outcome.errors)]
        remedies = [remedy for remedy in [*(error.remedy for error in outcome.errors), *outcome.remedies] if remedy]
        raise LibrehaError(
            "the fence is NOT confirmed, so nothing may be started elsewhere: %s" % "; ".join(missing),
            host=host,
            remedy=remedies[0] if remedies else "remove what is named, then run this again; it is safe to repeat",
            details=outcome.to_dict(),
        )


def observe_fences(target: StorageTarget, fence_list: FenceList, *, interval: float = INTERVAL) -> tuple[int, tuple[Fence, ...]]:
    """The highest token, and each fence with its present truth. Raises LibrehaError when the list cannot be read."""
    fences = fence_list.read()
    if not fences.entries:
        return fences.highest_token, ()
    reading = look_twice(target, fence_list, [entry.initiator for entry in fences.entries], interval=interval)
    found = []
    for entry in fences.entries:
        missing = reading.missing(entry.initiator)
        found.append(
            Fence(
                host=entry.host,
                initiator=entry.initiator,
                token=entry.token,
                at=entry.at,
                reason=entry.reason,
                confirmed=not missing,
                admitted=bool(reading.admitting(entry.initiator)),
                why_not="; ".join(missing),
            )
        )
    return fences.highest_token, tuple(found)


def _ids(sessions: Iterable[Session]) -> set[tuple[str, str]]:
    return {(session.target, session.sid) for session in sessions}
