# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The transaction that brings one VM to another host, from a lost one or from one that works, as a pure state machine.

Invariants, and why they hold:

1. *Nothing is registered or started before the source can write no more.* Of a lost source its confirmed fence says so
   (``facts.fence_confirmed``). Of one that works (``transaction.way``) its own list does, read after the last act on it: the VM is not
   powered on there. :func:`next_move` yields a move that writes only behind one of the two. A source that falls silent in the
   middle of a move holds everything back until it answers, or is fenced: then this brings it over, or a failover planned anew.
   Where the fence is confirmed at some storage servers only, the VM's files as the destination lists them must lie on those
   (``facts.files_seen``).
2. *A VM that runs somewhere is not started.* Every move is chosen from facts read after the transaction was opened or
   resumed, and ``facts.running_on`` closes the transaction whatever its step is. Between reading and starting, the
   VMFS lock of the running VM refuses the second start.
3. *Killing the runner anywhere and running again completes the work.* The move depends on the facts, not on the
   recorded step: what was done and not recorded is seen as done and skipped; what was recorded before it was done and
   never happened is seen as not done and is done again. Register, power on and unregister are idempotent at the host.
4. *It ends.* Each move either advances the facts or raises ``attempts``, which :data:`MAX_ATTEMPTS` bounds; waiting for a
   lock is bounded by ``lock_retry`` of the policy. A transaction that ends without success names its cause and is planned anew by
   the next look.

Steps: planned -> fenced -> registered -> answered -> powered_on -> verified, with ``blocked`` (a question that is not
ours to answer, a lock that does not age: a person is needed) and ``failed`` as the other ends. The runner
(``act/failover_run.py``) and the simulator both drive this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Optional

from ...instant import Instant
from ..decision import Way
from ..observations import Power, VmObservation
from ..policy import LOCK_LEASE, FailoverPolicy
from .emergency_name import emergency_name


class Step(str, Enum):
    """The last step that is known to be complete."""

    PLANNED = "planned"
    FENCED = "fenced"
    REGISTERED = "registered"
    ANSWERED = "answered"
    POWERED_ON = "powered_on"
    VERIFIED = "verified"
    BLOCKED = "blocked"
    FAILED = "failed"


class Do(str, Enum):
    """What the runner has to do next for one VM."""

    HOLD = "hold"  # the source may still write: nothing
    LOOK = "look"  # read a host again: the last outcome is unknown, or a start is to be verified
    SHUT_DOWN = "stop"  # at the source of a move: its guest is asked to shut down
    POWER_OFF = "power_off"  # at the source of a move, which a person wants so: it is switched off
    SUSPEND = "suspend"  # at the source of a move: its memory goes to its datastore, whence power-on reads it again
    UNREGISTER = "unregister"  # off the source of a move, or our own earlier registration that was in vain
    REGISTER = "register"
    POWER_ON = "power_on"  # the moved-or-copied question is answered meanwhile
    CLOSE = "close"


class Outcome(str, Enum):
    """How a move ended, in the words of ``hypervisor.FaultKind`` with done and question before them."""

    DONE = "done"
    QUESTION = "question"
    ALREADY = "already"
    DUPLICATE_NAME = "duplicate_name"
    FILE_LOCKED = "file_locked"
    NOT_FOUND = "not_found"
    INACCESSIBLE = "inaccessible"
    NO_RESOURCES = "no_resources"
    READ_ONLY = "read_only"
    NOT_DOWN = "not_down"  # a guest that was asked to shut down runs on
    TIMED_OUT = "timed_out"
    LOST = "lost"
    OTHER = "other"


#: Outcomes after which nobody knows whether the host did it: look before acting again.
UNKNOWN_OUTCOMES = frozenset({Outcome.TIMED_OUT, Outcome.LOST})


#: Another try gives the same answer; the next look plans another host, or asks nothing more of a guest that did not hear.
_FINAL = frozenset(
    {
        *(Outcome.READ_ONLY, Outcome.NOT_FOUND, Outcome.INACCESSIBLE, Outcome.NO_RESOURCES),
        *(Outcome.DUPLICATE_NAME, Outcome.NOT_DOWN),
    }
)


#: Moves that may fail on one host, for another reason than a lock, before the transaction gives up there.
MAX_ATTEMPTS = 5
RETRY_INTERVAL = 2.0  # s between such moves
LOCK_MARGIN = 0.3  # s after it, for two clocks that tick apart


@dataclass(frozen=True)
class Transaction:
    """One VM's way to another host. ``way`` is None when its source is lost: then the fence stands for it. ``path`` is the vmx path
    inside the datastore; ``doing`` the move that was begun last."""

    id: str
    vm_id: str
    name: str
    datastore_uuid: str
    path: str
    vmx: str  # as the destination names it: "[datastore] path"
    source: str
    destination: str
    power_on: bool = True
    step: Step = Step.PLANNED
    doing: Optional[Do] = None
    attempts: int = 0
    refused_since: Optional[Instant] = None  # first file-lock fault
    not_before: Optional[Instant] = None  # no move earlier than this
    reason: str = ""
    closed: bool = False
    in_vain: bool = False  # another try gives the same answer
    start_asked: bool = False  # the destination may have been asked to power it on
    reached: bool = True  # the run that closed it had a connection to the destination
    locked: bool = False  # its files were locked for longer than a dead host's locks last
    registered_as: str = ""  # the name under which it is registered there, where its own is taken
    way: Optional[Way] = None


@dataclass(frozen=True)
class Facts:
    """What the hosts say about the VM, read after this run began.

    ``moid``/``power`` are the destination's; ``running_on`` is an unfenced host that has it powered on; ``ours_elsewhere``
    are unfenced hosts where an earlier transaction of ours registered it in vain: (host, reference). ``at_source`` is how the source
    of a move lists it.
    """

    fence_confirmed: bool
    fence_reason: str = ""
    destination_reads: bool = True  # the destination answered the last look
    moid: Optional[str] = None
    power: Power = Power.UNKNOWN
    question: str = ""  # text of a pending question that is not moved-or-copied
    running_on: Optional[str] = None
    ours_elsewhere: tuple[tuple[str, str], ...] = ()
    fresh: bool = True  # the destination was read after the last move there ended
    source_reads: bool = False  # the source of a move answered the last look
    source_fresh: bool = True  # it was read after the last move there ended
    at_source: Optional[VmObservation] = None
    files_seen: bool = True  # what the destination lists of its files is behind the fence


@dataclass(frozen=True)
class Move:
    """The next thing to do and why, in words for the journal. ``host`` is where it is done, ``moid`` the VM's reference there."""

    do: Do
    reason: str
    step: Optional[Step] = None  # the final step when ``do`` is CLOSE
    host: str = ""
    moid: str = ""


def next_move(transaction: Transaction, facts: Facts) -> Move:
    """The one move that follows from the facts. See the module's invariants."""
    there, source = transaction.destination, transaction.source
    leaves = transaction.way is not None and not facts.fence_confirmed  # a working source, to be asked itself
    if facts.running_on not in (None, there, source if leaves else there):
        return Move(Do.CLOSE, "runs on %s already" % facts.running_on, Step.VERIFIED)
    arrived = leaves and facts.fresh and facts.power is Power.ON and facts.running_on is None
    if leaves and not facts.source_reads:
        if arrived:  # what is left to do is not worth waiting for
            return Move(Do.CLOSE, "runs on %s; %s, which does not answer, may have it registered still" % (there, source), Step.VERIFIED)
        return Move(Do.HOLD, "%s, where it was, does not answer" % source)
    if not leaves and not facts.fence_confirmed:
        return Move(Do.HOLD, "the fence of %s is not confirmed: %s" % (source, facts.fence_reason or "not observed"))
    if transaction.locked:
        return Move(Do.CLOSE, transaction.reason, Step.BLOCKED)
    if transaction.in_vain or transaction.attempts >= MAX_ATTEMPTS:
        if arrived:
            return Move(
                Do.CLOSE, "runs on %s, and could not be unregistered on %s: %s" % (there, source, transaction.reason), Step.VERIFIED
            )
        tries = "" if transaction.in_vain else "gave up after %d attempts: " % transaction.attempts
        return Move(Do.CLOSE, tries + transaction.reason, Step.FAILED)
    if leaves and not facts.source_fresh:
        return Move(Do.LOOK, "the outcome of the last move on %s is not known" % source, host=source)
    if not facts.fresh or not facts.destination_reads:
        return Move(Do.LOOK, "the outcome of the last move on %s is not known" % there, host=there)
    if facts.question:
        return Move(Do.CLOSE, "a question waits for a person: %s" % facts.question, Step.BLOCKED)
    left_behind = facts.at_source if leaves else None
    if left_behind is not None and left_behind.power is Power.ON:
        if facts.power is Power.ON:
            return Move(Do.CLOSE, "runs on %s and on %s; stop it on one of them" % (source, there), Step.FAILED)
        return Move(_LEAVE.get(transaction.way, Do.SHUT_DOWN), "runs on %s" % source, host=source, moid=left_behind.moid)
    if facts.ours_elsewhere:
        host, moid = facts.ours_elsewhere[0]
        return Move(Do.UNREGISTER, "registered in vain on %s by an earlier attempt" % host, host=host, moid=moid)
    if facts.moid is None:
        return Move(Do.REGISTER, "not registered on %s" % there, host=there)
    if transaction.power_on and facts.power is not Power.ON:
        if not facts.files_seen:
            return Move(Do.LOOK, "where its files lie as %s lists them was not read yet" % there, host=there)
        return Move(Do.POWER_ON, "registered on %s and %s" % (there, facts.power.value), host=there, moid=facts.moid)
    # It stays registered where it was until it runs where it goes: whatever fails before, it can be started there again.
    if left_behind is not None:
        return Move(Do.UNREGISTER, "has left %s" % source, host=source, moid=left_behind.moid)
    if transaction.power_on:
        return Move(Do.CLOSE, "runs on %s" % there, Step.VERIFIED)
    return Move(Do.CLOSE, "registered, not started: it was not running before", Step.REGISTERED)


_LEAVE: dict[Optional[Way], Do] = {Way.SUSPEND: Do.SUSPEND, Way.POWER_OFF: Do.POWER_OFF}


def begun(transaction: Transaction, move: Move) -> Transaction:
    """The record that is written *before* a move is made."""
    step = Step.FENCED if transaction.step is Step.PLANNED and move.do not in (Do.HOLD, Do.LOOK) else transaction.step
    return replace(transaction, doing=move.do, step=step, start_asked=transaction.start_asked or move.do is Do.POWER_ON)


def ended(
    transaction: Transaction,
    facts: Facts,
    move: Move,
    outcome: Outcome,
    reason: str,
    now: Instant,
    bounds: FailoverPolicy,
    moid: Optional[str] = None,
) -> tuple[Transaction, Facts]:
    """The record that is written *after* a move, and what is known of the VM then.

    ``moid`` is what register returned. An outcome of :data:`UNKNOWN_OUTCOMES` leaves the facts stale, so that a look follows.
    """
    if outcome in (Outcome.DONE, Outcome.ALREADY):
        return _succeeded(transaction, facts, move, reason, moid)

    def later(seconds: float) -> Instant:
        return Instant(now.boot_id, now.seconds + seconds, now.wall)

    at_source = transaction.way is not None and move.host == transaction.source
    stale = replace(facts, source_fresh=False) if at_source else replace(facts, fresh=False)
    if outcome is Outcome.QUESTION:
        return replace(transaction, doing=None, reason=reason), replace(facts, question=reason or "unknown question")
    if outcome is Outcome.DUPLICATE_NAME and not transaction.registered_as:
        other = emergency_name(transaction.name, transaction.source)
        text = "another VM of that name is registered on %s; this one is registered as '%s'" % (transaction.destination, other)
        return replace(transaction, doing=None, registered_as=other, reason=text), facts
    if outcome is Outcome.FILE_LOCKED:
        since = transaction.refused_since if now.since(transaction.refused_since) is not None else now
        waited = now.since(since) or 0.0
        if waited > bounds.lock_retry:
            text = (
                "files still locked after %.0f s, while VMFS gives up a dead host's locks after about %.0f s: %s; find who holds them "
                "(vmkfstools -D on the file) and end it there, no lock is broken here" % (waited, LOCK_LEASE, reason)
            )
            return replace(transaction, doing=None, locked=True, reason=text), facts
        text = "files locked, retried until the lock of %s has aged" % transaction.source
        # It stays begun: the next try is the same move, and needs no record of its own.
        return replace(transaction, refused_since=since, not_before=later(_lock_pause(waited, bounds)), reason=text), facts
    if outcome in _FINAL:
        return replace(transaction, doing=None, in_vain=True, reason=reason), facts
    return replace(transaction, doing=None, attempts=transaction.attempts + 1, not_before=later(RETRY_INTERVAL), reason=reason), stale


def _lock_pause(waited: float, bounds: FailoverPolicy) -> float:
    """Seconds until a start that found its files locked is tried again. One try falls on the moment at which a dead host's lock ends: the
    host that asked first has watched it since then."""
    ends_in = LOCK_LEASE + LOCK_MARGIN - waited
    return ends_in if LOCK_MARGIN < ends_in < bounds.lock_retry_interval else bounds.lock_retry_interval


def _succeeded(transaction: Transaction, facts: Facts, move: Move, reason: str, moid: Optional[str]) -> tuple[Transaction, Facts]:
    after, do = replace(transaction, doing=None, reason=reason, not_before=None), move.do
    if move.host == transaction.source and transaction.way is not None:
        # Not taken at its word either: that it runs no more is what the source's own list says.
        return after, replace(facts, source_fresh=False)
    if do is Do.REGISTER:
        # ALREADY returns no reference: look for it.
        known = replace(facts, moid=moid, power=Power.OFF) if moid else replace(facts, fresh=False)
        return replace(after, step=Step.REGISTERED), known
    if do is Do.POWER_ON:
        # Not taken at its word: the next move is a look, and only what that reads closes the transaction.
        return replace(after, step=Step.POWERED_ON), replace(facts, fresh=False)
    if do is Do.UNREGISTER:
        return after, replace(facts, ours_elsewhere=facts.ours_elsewhere[1:])
    return after, facts


def closed(transaction: Transaction, move: Move) -> Transaction:
    """The record of the end."""
    return replace(transaction, doing=None, closed=True, step=move.step or transaction.step, reason=move.reason)


def to_record(transaction: Transaction) -> dict[str, Any]:
    """The row that ``record.StateDatabase.save_transaction`` takes."""
    return {
        "id": transaction.id,
        "vm_id": transaction.vm_id,
        "vm_name": transaction.name,
        "path": transaction.path,
        "source": transaction.source,
        "destination": transaction.destination,
        "step": transaction.step.value,
        "power_on": transaction.power_on,
        "attempts": transaction.attempts,
        "reasons": [transaction.reason] if transaction.reason else [],
        "closed": transaction.closed,
        "outcome": transaction.step.value if transaction.closed else "",
        "detail": {
            "datastore_uuid": transaction.datastore_uuid,
            "vmx": transaction.vmx,
            "doing": transaction.doing.value if transaction.doing else None,
            "refused_since": transaction.refused_since.to_dict() if transaction.refused_since else None,
            "start_asked": transaction.start_asked,
            "reached": transaction.reached,
            "locked": transaction.locked,
            "registered_as": transaction.registered_as,
            "way": transaction.way.value if transaction.way else None,
        },
    }


def from_record(record: Mapping[str, Any]) -> Transaction:
    """What :func:`to_record` wrote. Attempts begin again with each run: the bound is one run's."""
    detail = record.get("detail") or {}
    refused = detail.get("refused_since")
    return Transaction(
        id=record["id"],
        vm_id=record["vm_id"],
        name=record["vm_name"],
        datastore_uuid=detail.get("datastore_uuid", ""),
        path=record["path"],
        vmx=detail.get("vmx", ""),
        source=record["source"],
        destination=record["destination"],
        power_on=bool(record["power_on"]),
        step=Step(record["step"]),
        doing=Do(detail["doing"]) if detail.get("doing") else None,
        refused_since=Instant.from_dict(refused) if refused else None,
        reason=(record.get("reasons") or [""])[-1],
        closed=bool(record["closed"]),
        start_asked=start_asked(record),
        registered_as=detail.get("registered_as", ""),
        way=Way(detail["way"]) if detail.get("way") else None,
    )


def registered_in_vain(record: Mapping[str, Any]) -> bool:
    """Whether the registration of a closed transaction serves nobody. One that waits for an answer does: the person answers it there."""
    return bool(record["outcome"] == Step.FAILED.value or (record.get("detail") or {}).get("locked"))


def start_asked(record: Mapping[str, Any]) -> bool:
    """Whether the destination may have been asked to power the VM on; what an older release recorded does not tell, so it may."""
    return bool((record.get("detail") or {}).get("start_asked", True))
