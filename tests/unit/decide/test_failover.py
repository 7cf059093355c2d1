"""The failover transaction: the invariants of decide/vms/transaction.py, over every fact and every point at which a run may die."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Way
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import LOCK_LEASE, FailoverPolicy
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import (
    MAX_ATTEMPTS,
    Do,
    Facts,
    Move,
    Outcome,
    Step,
    Transaction,
    begun,
    closed,
    ended,
    from_record,
    next_move,
    registered_in_vain,
    to_record,
)
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

NEW = Transaction("t1", "u1:vm1/vm1.vmx", "vm1", "u1", "vm1/vm1.vmx", "[shared] vm1/vm1.vmx", "esx1", "esx2")
BOUNDS = FailoverPolicy()
WRITES = {Do.REGISTER, Do.POWER_ON, Do.UNREGISTER}


def at(seconds: float) -> Instant:
    return Instant("boot", seconds)


def all_facts() -> list[Facts]:
    return [
        Facts(fenced, "", reads, moid, power, question, running, elsewhere, fresh)
        for fenced, reads, moid, power, question, running, elsewhere, fresh in itertools.product(
            (True, False), (True, False), (None, "7"), Power, ("", "disk?"), (None, "esx2", "esx3"), ((), (("esx3", "9"),)), (True, False)
        )
    ]


def test_nothing_is_written_unless_the_fence_is_confirmed() -> None:
    for facts in all_facts():
        if not facts.fence_confirmed:
            assert next_move(NEW, facts).do not in WRITES, facts


def test_a_vm_that_runs_elsewhere_is_never_started_here() -> None:
    for facts in all_facts():
        if facts.running_on == "esx3":
            move = next_move(NEW, facts)
            assert (move.do, move.step) == (Do.CLOSE, Step.VERIFIED), facts


def test_nothing_is_written_on_facts_that_are_old_or_could_not_be_read() -> None:
    for facts in all_facts():
        if not facts.fresh or not facts.destination_reads:
            assert next_move(NEW, facts).do not in WRITES, facts


def test_a_question_that_is_not_ours_blocks_and_is_named() -> None:
    move = next_move(NEW, Facts(True, moid="7", power=Power.OFF, question="Replace the disk?"))
    assert (move.do, move.step) == (Do.CLOSE, Step.BLOCKED)
    assert "Replace the disk?" in move.reason


def test_a_vm_that_was_not_running_is_registered_and_not_started() -> None:
    off = replace(NEW, power_on=False)
    assert next_move(off, Facts(True)).do is Do.REGISTER
    end = next_move(off, Facts(True, moid="7", power=Power.OFF))
    assert (end.do, end.step) == (Do.CLOSE, Step.REGISTERED)


def test_an_earlier_vain_registration_is_taken_away_before_anything_else() -> None:
    facts = Facts(True, ours_elsewhere=(("esx3", "9"),))
    assert next_move(NEW, facts).do is Do.UNREGISTER
    _transaction, after = ended(NEW, facts, Move(Do.UNREGISTER, ""), Outcome.DONE, "", at(1), BOUNDS)
    assert next_move(NEW, after).do is Do.REGISTER


def test_a_start_counts_only_when_it_was_seen() -> None:
    _transaction, facts = ended(NEW, Facts(True, moid="7", power=Power.OFF), Move(Do.POWER_ON, ""), Outcome.DONE, "", at(1), BOUNDS)
    assert next_move(NEW, facts).do is Do.LOOK


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.LOST])
@pytest.mark.parametrize("do", sorted(WRITES, key=lambda do: do.value))
def test_after_an_unknown_outcome_the_hosts_are_looked_at_before_anything_is_done_again(do: Do, outcome: Outcome) -> None:
    transaction, facts = ended(NEW, Facts(True, moid="7", power=Power.OFF), Move(do, ""), outcome, "no answer", at(1), BOUNDS)
    assert next_move(transaction, facts).do is Do.LOOK


def test_a_locked_file_is_retried_longer_than_the_lock_lives_and_not_for_ever() -> None:
    transaction, facts, now = NEW, Facts(True, moid="7", power=Power.OFF), 100.0
    while True:
        move = next_move(transaction, facts)
        if move.do is Do.CLOSE:
            break
        assert move.do is Do.POWER_ON
        transaction, facts = ended(transaction, facts, Move(Do.POWER_ON, ""), Outcome.FILE_LOCKED, "locked on host esx1", at(now), BOUNDS)
        now += BOUNDS.lock_retry_interval
        assert now < 1000, "it is retried for ever"
    assert move.step is Step.BLOCKED  # no waiting ends it, and nothing here breaks a lock: a person has to look
    assert "locked on host esx1" in move.reason
    # What it registered there serves nobody, unlike the registration of a VM that waits for an answer.
    assert registered_in_vain(to_record(closed(transaction, move)))
    question = replace(facts, question="Is that so?")
    assert not registered_in_vain(to_record(closed(NEW, next_move(NEW, question))))
    assert 16 < BOUNDS.lock_retry <= now - 100.0 <= BOUNDS.lock_retry + 3 * BOUNDS.lock_retry_interval


def test_one_try_falls_on_the_end_of_a_dead_hosts_lock() -> None:
    """Between two tries at the usual interval a VM would wait up to that long for nothing."""
    transaction, facts, now, tries = NEW, Facts(True, moid="7", power=Power.OFF), 100.0, []
    while now < 100.0 + 2 * LOCK_LEASE:
        transaction, facts = ended(transaction, facts, Move(Do.POWER_ON, ""), Outcome.FILE_LOCKED, "locked", at(now), BOUNDS)
        assert transaction.not_before is not None
        now = transaction.not_before.seconds
        tries.append(now - 100.0)
    assert min(abs(seconds - LOCK_LEASE) for seconds in tries) <= 0.5
    assert all(later - earlier <= BOUNDS.lock_retry_interval + 0.001 for earlier, later in zip(tries, tries[1:]))


@pytest.mark.parametrize("outcome", [Outcome.NO_RESOURCES, Outcome.INACCESSIBLE, Outcome.READ_ONLY, Outcome.NOT_FOUND])
def test_what_another_try_on_this_host_cannot_mend_ends_at_once(outcome: Outcome) -> None:
    facts = Facts(True, moid="7", power=Power.OFF)
    transaction, facts = ended(NEW, facts, Move(Do.POWER_ON, ""), outcome, "because", at(1), BOUNDS)
    move = next_move(transaction, facts)
    assert (move.do, move.step) == (Do.CLOSE, Step.FAILED)
    assert "because" in move.reason


def test_other_failures_are_bounded() -> None:
    transaction, facts = NEW, Facts(True)
    for _attempt in range(MAX_ATTEMPTS):
        assert next_move(transaction, facts).do is not Do.CLOSE
        transaction, _stale = ended(transaction, facts, Move(Do.REGISTER, ""), Outcome.OTHER, "broken", at(1), BOUNDS)
    assert next_move(transaction, facts).step is Step.FAILED


@dataclass
class World:
    """One destination host, and the record in the database; both outlive a run."""

    registrations: int = 0
    starts: int = 0
    record: dict | None = None  # type: ignore[type-arg]

    def facts(self) -> Facts:
        on = Power.ON if self.starts else Power.OFF
        return Facts(True, moid="7" if self.registrations else None, power=on if self.registrations else Power.UNKNOWN)

    def carry_out(self, move: Move) -> str | None:
        if move.do is Do.REGISTER:
            self.registrations += 1
            return "7"
        if move.do is Do.POWER_ON:
            self.starts += 1
        return None


class Killed(Exception):
    pass


def run(world: World, dies_at: int, new: Transaction = NEW) -> None:
    """A run of the transaction that is killed at its *dies_at*-th instant: before and after each record and each act."""
    instants = itertools.count()

    def instant() -> None:
        if next(instants) == dies_at:
            raise Killed

    transaction = from_record(world.record) if world.record else new
    facts = world.facts()
    while not transaction.closed:
        move = next_move(transaction, facts)
        if move.do is Do.LOOK:
            facts = world.facts()
            continue
        instant()
        transaction = closed(transaction, move) if move.do is Do.CLOSE else begun(transaction, move)
        world.record = to_record(transaction)
        instant()
        if move.do is Do.CLOSE:
            return
        moid = world.carry_out(move)
        instant()
        transaction, facts = ended(transaction, facts, move, Outcome.DONE, "", at(1), BOUNDS, moid)
        world.record = to_record(transaction)


def test_killed_anywhere_and_run_again_it_is_complete_and_nothing_was_done_twice() -> None:
    for first, second in itertools.product(range(12), repeat=2):
        world = World()
        for dies_at in (first, second):
            try:
                run(world, dies_at)
            except Killed:
                continue
        run(world, dies_at=-1)
        assert world.record is not None
        assert (world.record["outcome"], world.record["closed"]) == ("verified", True)
        assert (world.registrations, world.starts) == (1, 1), (first, second)


def test_where_the_fence_covers_some_storage_servers_the_destination_is_asked_for_the_files_before_the_start() -> None:
    partly = Facts(True, moid=None, files_seen=False)
    assert next_move(NEW, partly).do is Do.REGISTER
    _transaction, registered = ended(NEW, partly, Move(Do.REGISTER, ""), Outcome.DONE, "", at(1), BOUNDS, "7")
    assert next_move(NEW, registered).do is Do.LOOK
    assert next_move(NEW, replace(registered, files_seen=True)).do is Do.POWER_ON


# Moves between hosts that work

MOVE = replace(NEW, way=Way.COLD)
SUSPENDED = replace(NEW, way=Way.SUSPEND)


def seen_at_source(power: Power) -> VmObservation:
    return VmObservation(NEW.vm_id, NEW.source, NEW.name, NEW.vmx, at(1), power=power, moid="5")


def facts_of_a_move() -> list[Facts]:
    at_source = (None, *map(seen_at_source, Power))
    return [
        Facts(fenced, "", True, moid, power, running_on=running, fresh=fresh, source_reads=reads, source_fresh=known, at_source=listed)
        for fenced, moid, power, running, fresh, reads, known, listed in itertools.product(
            (True, False), (None, "7"), Power, (None, "esx1", "esx2", "esx3"), (True, False), (True, False), (True, False), at_source
        )
    ]


def test_nothing_of_a_move_is_registered_or_started_unless_the_source_says_that_it_runs_there_no_more() -> None:
    for facts in facts_of_a_move():
        if next_move(MOVE, facts).do in (Do.REGISTER, Do.POWER_ON):
            listed = facts.at_source
            let_go = facts.source_reads and facts.source_fresh and (listed is None or listed.power is not Power.ON)
            assert facts.fence_confirmed or let_go, facts


def test_a_vm_is_stopped_and_unregistered_at_a_source_that_works_only_and_unregistered_last() -> None:
    for facts in facts_of_a_move():
        move = next_move(MOVE, facts)
        if move.do in (Do.SHUT_DOWN, Do.UNREGISTER):
            assert (move.host, move.moid) == ("esx1", "5")
            assert not facts.fence_confirmed and facts.source_reads and facts.source_fresh and facts.fresh, facts
        if move.do is Do.UNREGISTER:
            assert facts.power is Power.ON and facts.at_source is not None and facts.at_source.power is not Power.ON, facts


def test_a_source_that_falls_silent_holds_the_move_until_its_fence_stands_for_it() -> None:
    silent = Facts(False, "no session", moid="7", power=Power.OFF)
    assert next_move(MOVE, silent).do is Do.HOLD
    assert next_move(MOVE, replace(silent, fence_confirmed=True)).do is Do.POWER_ON


def test_a_move_that_is_done_waits_for_no_source_that_went_silent_after_it() -> None:
    """A host in maintenance that dies is not fenced when none of its VMs is left there: nothing would ever end the wait."""
    runs = Facts(False, "no session", moid="7", power=Power.ON)
    move = next_move(MOVE, runs)
    assert (move.do, move.step) == (Do.CLOSE, Step.VERIFIED)
    assert "esx1, which does not answer, may have it registered still" in move.reason
    for doubt in ({"fresh": False}, {"power": Power.OFF}, {"running_on": "esx1"}):
        assert next_move(MOVE, replace(runs, **doubt)).do is not Do.CLOSE


def test_a_vm_that_runs_at_both_ends_is_named_and_left_to_a_person() -> None:
    both = Facts(False, moid="7", power=Power.ON, source_reads=True, at_source=seen_at_source(Power.ON))
    move = next_move(MOVE, both)
    assert (move.do, move.step) == (Do.CLOSE, Step.FAILED)
    assert "runs on esx1 and on esx2" in move.reason


def test_a_source_that_keeps_a_stale_registration_fails_no_move_that_is_done() -> None:
    moved = Facts(False, moid="7", power=Power.ON, source_reads=True, at_source=seen_at_source(Power.OFF))
    move = next_move(replace(MOVE, attempts=MAX_ATTEMPTS, reason="it says no"), moved)
    assert (move.do, move.step) == (Do.CLOSE, Step.VERIFIED)
    assert "could not be unregistered on esx1: it says no" in move.reason


@dataclass
class TwoHosts(World):
    """The source works as well, and lists the VM until it is unregistered there."""

    stops: int = 0
    unregistrations: int = 0
    rests: Power = Power.OFF  # in which its way leaves it

    def facts(self) -> Facts:
        there = super().facts()
        listed = None if self.unregistrations else seen_at_source(self.rests if self.stops else Power.ON)
        running = None if self.stops else "esx1"
        return replace(there, fence_confirmed=False, source_reads=True, at_source=listed, running_on=running)

    def carry_out(self, move: Move) -> str | None:
        self.stops += move.do in (Do.SHUT_DOWN, Do.SUSPEND)
        if move.do is Do.UNREGISTER:
            assert self.starts, "in no moment is there no host on which it can be started"
            self.unregistrations += 1
        return super().carry_out(move)


def test_a_vm_is_suspended_only_by_that_way_and_resumed_at_the_destination() -> None:
    runs = Facts(False, source_reads=True, at_source=seen_at_source(Power.ON), running_on="esx1")
    assert next_move(SUSPENDED, runs).do is Do.SUSPEND
    assert next_move(MOVE, runs).do is Do.SHUT_DOWN
    assert next_move(replace(MOVE, way=Way.POWER_OFF), runs).do is Do.POWER_OFF
    suspended = Facts(False, source_reads=True, at_source=seen_at_source(Power.SUSPENDED), moid="7", power=Power.SUSPENDED)
    assert next_move(SUSPENDED, suspended).do is Do.POWER_ON
    assert next_move(SUSPENDED, replace(suspended, power=Power.ON)).do is Do.UNREGISTER


def test_a_guest_that_does_not_shut_down_ends_its_move_after_one_wait_and_runs_on() -> None:
    runs = Facts(False, source_reads=True, at_source=seen_at_source(Power.ON), running_on="esx1")
    transaction, after = ended(MOVE, runs, Move(Do.SHUT_DOWN, "", host="esx1"), Outcome.NOT_DOWN, "too slow", at(1), BOUNDS)
    end = next_move(transaction, after)
    assert (end.do, end.step, end.reason) == (Do.CLOSE, Step.FAILED, "too slow")


@pytest.mark.parametrize("outcome", [Outcome.OTHER, Outcome.TIMED_OUT, Outcome.LOST])
def test_a_suspension_that_fails_leaves_the_vm_running_at_the_source_and_registered_there_alone(outcome: Outcome) -> None:
    transaction, runs = SUSPENDED, Facts(False, source_reads=True, at_source=seen_at_source(Power.ON), running_on="esx1")
    for _attempt in range(MAX_ATTEMPTS):
        move = next_move(transaction, runs)
        assert (move.do, move.host) == (Do.SUSPEND, "esx1")
        transaction, stale = ended(transaction, runs, move, outcome, "no space left", at(1), BOUNDS)
        assert next_move(transaction, stale).do in (Do.LOOK, Do.CLOSE)  # nobody knows whether it runs there still
    end = next_move(transaction, runs)
    assert (end.do, end.step) == (Do.CLOSE, Step.FAILED)
    assert "no space left" in end.reason


@pytest.mark.parametrize(("move", "rests"), [(MOVE, Power.OFF), (SUSPENDED, Power.SUSPENDED)])
def test_a_move_that_is_killed_anywhere_and_run_again_is_complete_and_nothing_was_done_twice(move: Transaction, rests: Power) -> None:
    for first, second in itertools.product(range(18), repeat=2):
        world = TwoHosts(rests=rests)
        for dies_at in (first, second):
            try:
                run(world, dies_at, move)
            except Killed:
                continue
        run(world, dies_at=-1, new=move)
        assert world.record is not None
        assert (world.record["outcome"], world.record["closed"]) == ("verified", True)
        assert (world.stops, world.registrations, world.starts, world.unregistrations) == (1, 1, 1, 1), (first, second)


def test_the_record_keeps_what_the_next_run_needs() -> None:
    transaction = replace(NEW, step=Step.REGISTERED, doing=Do.POWER_ON, refused_since=at(5), reason="files locked")
    assert from_record(to_record(transaction)) == transaction
    assert from_record(to_record(MOVE)) == MOVE
    assert from_record(to_record(SUSPENDED)) == SUSPENDED
