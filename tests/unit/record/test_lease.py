# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lease's rules, with the clock in the test's hand."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import LeaseHeld, StateDatabase


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock, sleep=clock.sleep) as database:
        yield database


def test_the_first_token_is_above_the_one_the_target_has_seen(state, clock):
    lease = state.acquire_lease("a", 60, above=41)
    assert (lease.token, lease.new, lease.expires.seconds) == (42, True, clock.seconds + 60)


def test_each_new_lease_has_a_higher_token(state):
    tokens = []
    for holder in ("a", "b", "a", "c"):
        lease = state.acquire_lease(holder, 60)
        tokens.append(lease.token)
        state.release_lease(holder, lease.token)
    assert tokens == sorted(set(tokens))


def test_the_holder_keeps_its_token_while_the_lease_is_alive(state, clock):
    first = state.acquire_lease("a", 60)
    clock.seconds += 59
    again = state.acquire_lease("a", 60)
    assert (again.token, again.new) == (first.token, False)
    assert again.expires.seconds == clock.seconds + 60


def test_the_holder_gets_a_new_token_when_the_target_has_seen_a_higher_one(state):
    state.acquire_lease("a", 60)
    assert state.acquire_lease("a", 60, above=9).token == 10


def test_the_same_holder_gets_a_new_token_once_its_lease_ended(state, clock):
    first = state.acquire_lease("a", 60)
    clock.seconds += 60
    assert state.acquire_lease("a", 60).token > first.token


def test_another_holder_is_refused_and_told_who_has_it_for_how_long(state, clock):
    state.acquire_lease("run-7", 60)
    clock.seconds += 20
    with pytest.raises(LeaseHeld, match=r"run-7 .*40\.0 s") as caught:
        state.acquire_lease("b", 60)
    assert caught.value.remedy
    assert caught.value.details == {"lease_holder": "run-7", "lease_remaining": 40.0}


def test_another_holder_that_waits_gets_it_when_it_ends(state, clock):
    first = state.acquire_lease("a", 60)
    began = clock.seconds
    lease = state.acquire_lease("b", 60, wait=90)
    assert lease.token > first.token
    assert 60 <= clock.seconds - began < 62


def test_waiting_ends_when_the_holder_renews(state, clock):
    token = state.acquire_lease("a", 60).token

    def renewing(seconds: float) -> None:
        clock.seconds += seconds
        state.renew_lease("a", token, 60)

    state._sleep = renewing
    began = clock.seconds
    with pytest.raises(LeaseHeld):
        state.acquire_lease("b", 60, wait=90)
    assert 90 <= clock.seconds - began < 92


def test_an_ended_lease_cannot_be_renewed_even_if_nobody_took_it(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.seconds += 60
    with pytest.raises(LeaseLost):
        state.renew_lease("a", lease.token, 60)


def test_renewing_never_shortens_what_was_promised(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.seconds += 10
    assert state.renew_lease("a", lease.token, 5).expires.seconds == lease.expires.seconds
    assert state.check_lease(lease.token) == 50


def test_renewing_takes_the_right_holder_and_token(state):
    lease = state.acquire_lease("a", 60)
    for holder, token in (("b", lease.token), ("a", lease.token + 1)):
        with pytest.raises(LeaseLost):
            state.renew_lease(holder, token, 60)


def test_check_tells_what_remains(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.seconds += 12.5
    assert state.check_lease(lease.token) == 47.5


def test_a_lease_ends_with_the_boot_it_was_taken_in_for_its_holder(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.reboot()
    with pytest.raises(LeaseLost, match="restarted"):
        state.check_lease(lease.token)
    with pytest.raises(LeaseLost):
        state.save_memory({}, lease.token)


def test_after_a_reboot_another_run_takes_over_at_once(sqlite_url, clock):
    with StateDatabase.open(sqlite_url, clock=clock) as state:
        first = state.acquire_lease("a", 3600)
    clock.reboot()
    with StateDatabase.open(sqlite_url, clock=clock) as state:
        assert state.acquire_lease("b", 60).token == first.token + 1


def test_on_a_shared_server_another_machines_lease_is_watched_to_its_end(postgres_url, clock):
    """The boot ids differ and the other machine lives: its lease must not be taken before it ended."""
    here = clock
    there = type(clock)("boot-of-another-machine", 77.0)
    with StateDatabase.open(postgres_url, clock=there) as other, StateDatabase.open(postgres_url, clock=here, sleep=here.sleep) as state:
        lease = other.acquire_lease("there", 60)
        with pytest.raises(LeaseHeld):
            state.acquire_lease("here", 60)
        with pytest.raises(LeaseHeld):
            state.acquire_lease("here", 60, wait=59)
        began = here.seconds
        assert state.acquire_lease("here", 60, wait=90).token > lease.token
        assert here.seconds - began > 60
        with pytest.raises(LeaseLost):
            other.check_lease(lease.token)


def test_on_a_shared_server_another_machines_renewals_keep_its_lease(postgres_url, clock):
    here = clock
    there = type(clock)("boot-of-another-machine", 77.0)
    with StateDatabase.open(postgres_url, clock=there) as other, StateDatabase.open(postgres_url, clock=here) as state:
        token = other.acquire_lease("there", 60).token

        def pass_time(seconds: float) -> None:
            here.seconds += seconds
            there.seconds += seconds
            other.renew_lease("there", token, 60)

        state._sleep = pass_time
        with pytest.raises(LeaseHeld):
            state.acquire_lease("here", 60, wait=200)
        assert other.check_lease(token) == 60


def test_a_clock_that_goes_back_ends_the_lease_for_its_holder_and_does_not_lock_out_the_others(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.seconds -= 500
    with pytest.raises(LeaseLost, match="clock went back"):
        state.check_lease(lease.token)
    with pytest.raises(LeaseHeld):
        state.acquire_lease("b", 60)
    began = clock.seconds
    assert state.acquire_lease("b", 60, wait=90).token > lease.token
    assert 60 < clock.seconds - began < 70


def test_a_jump_of_wall_time_changes_nothing(state, clock):
    lease = state.acquire_lease("a", 60)
    clock.wall = "2031-01-01T00:00:00.000+00:00"
    clock.seconds += 1
    assert state.check_lease(lease.token) == 59
    with pytest.raises(LeaseHeld):
        state.acquire_lease("b", 60)


def test_releasing_frees_it_once_and_keeps_the_token_growing(state):
    lease = state.acquire_lease("a", 60)
    assert state.release_lease("b", lease.token) is False
    assert state.release_lease("a", lease.token) is True
    assert state.release_lease("a", lease.token) is False
    with pytest.raises(LeaseLost, match="free"):
        state.check_lease(lease.token)
    assert state.acquire_lease("b", 60).token == lease.token + 1


def test_every_write_of_a_run_that_was_overtaken_is_refused_and_leaves_nothing(state, clock):
    stale = state.acquire_lease("a", 60).token
    clock.seconds += 61
    fresh = state.acquire_lease("b", 60).token
    state.save_memory({"by": "b"}, fresh)
    before = state.snapshot(journal_limit=1000)
    writes = (
        lambda: state.save_memory({"by": "a"}, stale),
        lambda: state.record_hosts([{"name": "esx1"}], stale),
        lambda: state.record_vms([{"vm_id": "u:1"}], stale),
        lambda: state.save_transaction({"vm_id": "u:1", "step": "planned"}, stale, {"kind": "step", "text": "x"}),
        lambda: state.journal([{"kind": "held", "text": "x"}], stale),
        lambda: state.journal_alarms([{"key": "k", "text": "x"}], stale),
        lambda: state.renew_lease("a", stale, 60),
    )
    for write in writes:
        with pytest.raises(LeaseLost, match="belongs to b"):
            write()
    assert state.snapshot(journal_limit=1000) == before


def test_a_write_under_an_ended_lease_is_refused_although_nobody_took_it(state, clock):
    token = state.acquire_lease("a", 60).token
    clock.seconds += 60
    with pytest.raises(LeaseLost, match="unrenewed"):
        state.save_memory({}, token)
    assert state.load_memory() is None


@pytest.mark.parametrize("request_", [("", 60, 0), ("a", 0, 0), ("a", -1, 0), ("a", 60, -1), ("a", 60, 2**63)])
def test_a_request_that_makes_no_sense_is_refused(state, request_):
    holder, seconds, above = request_
    with pytest.raises(LibrehaError):
        state.acquire_lease(holder, seconds, above=above)
    assert state.lease()["token"] == 0


def test_taking_and_releasing_is_journaled_and_renewing_is_not(state, clock):
    first = state.acquire_lease("a", 60)
    state.renew_lease("a", first.token, 60)
    clock.seconds += 61
    second = state.acquire_lease("b", 60)
    state.release_lease("b", second.token)
    texts = [entry["text"] for entry in state.read_journal(kinds=["lease"])]
    assert len(texts) == 3
    assert "taken by a with token 1" in texts[0]
    assert "a (token 1) had not released it" in texts[1]
    assert "released by b" in texts[2]
