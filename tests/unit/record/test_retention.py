# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the record need not keep is removed by age and by number; what is still needed stays, and numbers go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import HostRecord, Memory, OrderInProgress, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Retention
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record import retention
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import EndedAct, StateDatabase

FEW = Retention(journal_days=10, journal_entries=20, transaction_days=10, transactions=5)
MANY = Retention(journal_days=10, journal_entries=10**6, transaction_days=10, transactions=10**6)


@pytest.fixture(autouse=True)
def newest(monkeypatch):
    monkeypatch.setattr(retention, "NEWEST", 3)


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


@pytest.fixture
def token(state):
    return state.acquire_lease("run", 86400).token


def days_pass(clock, days):
    clock.wall = (datetime.fromisoformat(clock.wall) + timedelta(days=days)).isoformat(timespec="milliseconds")


def notes(state, token, number):
    return state.journal([{"kind": "note", "text": "note %d" % index} for index in range(number)], token)


def fails(state, token, name, destination="esx2", source="esx1", outcome="failed"):
    row = {"vm_id": "u:%s" % name, "vm_name": name, "path": name, "source": source, "destination": destination, "step": "planned"}
    entry = {"kind": "step", "text": name}
    saved = state.save_transaction(row, token, entry)
    state.save_transaction({"id": saved["id"], "step": outcome, "closed": True, "outcome": outcome}, token, entry)
    return saved["id"]


def prune(state, token, limits=FEW, memory=None):
    with state.change(token) as change:
        return change.prune(limits, memory or Memory())


def test_of_too_many_entries_the_oldest_go_and_the_rest_keep_their_numbers(state, token):
    seqs = notes(state, token, 50)
    assert prune(state, token).entries > 0
    left = [entry["seq"] for entry in state.read_journal(kinds=["note"])]
    assert left == seqs[-20:]
    (last,) = state.read_journal(limit=1)
    assert (last["kind"], last["seq"]) == ("retention", seqs[-1] + 1)
    assert "31 journal entries and 0 failover transactions were removed" in last["text"]
    assert notes(state, token, 1) == [seqs[-1] + 2]


def test_entries_that_are_too_old_go_however_few_they_are(state, token, clock):
    old = notes(state, token, 5)
    days_pass(clock, 8)
    young = notes(state, token, 5)
    assert prune(state, token, MANY).entries == 0
    days_pass(clock, 4)
    assert prune(state, token, MANY).entries == len(old) + 1  # and the lease that was taken
    assert [entry["seq"] for entry in state.read_journal(kinds=["note"])] == young


def test_it_is_not_done_for_a_handful_and_not_twice(state, token, clock):
    notes(state, token, 5)
    days_pass(clock, 10.05)  # within the slack
    assert prune(state, token, MANY).entries == 0
    days_pass(clock, 1)
    notes(state, token, 5)
    assert prune(state, token, MANY).entries == 6
    before = state.read_journal()
    assert prune(state, token, MANY) == retention.Pruned()
    assert state.read_journal() == before


def test_the_newest_stay_when_the_wall_clock_jumps_and_nothing_goes_when_it_jumps_back(state, token, clock):
    seqs = notes(state, token, 10)
    days_pass(clock, -9000)
    assert prune(state, token, MANY).entries == 0
    days_pass(clock, 18000)
    assert prune(state, token, MANY).entries == 8
    assert [entry["seq"] for entry in state.read_journal(kinds=["note"])] == seqs[-3:]
    clock.wall = "no time"
    assert prune(state, token, MANY) == retention.Pruned()


def test_the_last_entry_of_an_alarm_that_is_open_stays(state, token, clock):
    alarms = [{"key": "down:vm1", "text": "vm1 is down"}, {"key": "down:vm2", "text": "vm2 is down"}]
    state.journal_alarms(alarms, token)
    clock.seconds += 3601
    state.journal_alarms(alarms, token)  # again, since it lasts
    state.journal_alarms(alarms[:1], token)  # vm2 runs again
    days_pass(clock, 100)
    notes(state, token, 30)
    prune(state, token)
    assert [(entry["key"], entry["text"]) for entry in state.read_journal(kinds=["alarm"])] == [("down:vm1", "vm1 is down (still)")]
    assert [alarm["key"] for alarm in state.alarms()] == ["down:vm1"]


def test_closed_transactions_go_and_open_ones_never(state, token, clock):
    row = {"vm_id": "u:open", "vm_name": "open", "source": "esx1", "destination": "esx2", "step": "planned"}
    state.save_transaction(row, token, {"kind": "step", "text": "open"})
    for number in range(12):
        fails(state, token, "vm%d" % number)
    assert prune(state, token).transactions == 8
    assert [row["vm_name"] for row in state.transactions()] == ["open", "vm11", "vm10", "vm9", "vm8"]
    days_pass(clock, 100)
    assert prune(state, token, MANY).transactions == 2  # the newest stay
    fails(state, token, "next")
    assert [row["vm_name"] for row in state.transactions()] == ["open", "next", "vm11", "vm10"]


def test_what_left_a_vm_registered_in_vain_stays_as_long_as_the_vm_is_known(state, token):
    fails(state, token, "vm1", "esx2")
    newer = fails(state, token, "vm1", "esx2")
    other = fails(state, token, "vm1", "esx3")
    fails(state, token, "vm1", "esx4", outcome="verified")
    for number in range(12):
        fails(state, token, "unknown%d" % number)
    prune(state, token, memory=Memory(vms=(VmRecord("u:vm1", "vm1", "vm1", "esx1"),)))
    assert {row["id"] for row in state.closed_transactions_of(["u:vm1"])} == {newer, other}


@pytest.mark.parametrize("host", [HostRecord("esx1", fenced=True), HostRecord("esx1", confirmed_off="Ada: burnt")])
def test_what_was_moved_from_a_host_stays_until_it_is_let_in_again(state, token, host):
    mine = fails(state, token, "vm1", outcome="verified")
    for number in range(12):
        fails(state, token, "vm%d" % number, source="esx3")
    prune(state, token, memory=Memory(hosts=(host,)))
    assert mine in {row["id"] for row in state.transactions(closed=True)}
    prune(state, token, memory=Memory(hosts=(HostRecord("esx1"),)))
    assert len(state.transactions(closed=True)) < 13


def test_results_go_when_they_were_counted_and_nobody_waits_to_hear_of_their_vm(state, token):
    with state.change(token) as change:
        change.results([EndedAct("u:vm%d" % (number % 2), "esx2", Act.START, False) for number in range(20)])
    assert prune(state, token).results == 0, "none was counted yet"
    order = OrderInProgress("esx2", Instant("boot-1", 1.0))
    waits = Memory(vms=(VmRecord("u:vm1", "vm1", "vm1", "esx1", in_progress=order),), results_read=16)
    assert prune(state, token, memory=waits).results == 8
    assert [item.number for item in state.results(replace(waits, results_read=0)) if item.vm == "u:vm1"] == list(range(2, 21, 2))
    assert prune(state, token, memory=Memory(results_read=20)).results == 9
    with state.change(token) as change:
        change.results([EndedAct("u:vm1", "esx2", Act.START, True)])
    assert [item.number for item in state.results(Memory())] == [18, 19, 20, 21], "the numbers go on"


def test_one_call_removes_no_more_than_a_batch_and_says_that_there_is_more(state, token, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 10)
    notes(state, token, 50)
    assert prune(state, token) == retention.Pruned(entries=10, more=True)
    while prune(state, token).more:
        pass
    assert len(state.read_journal()) <= 22


def test_a_run_that_lost_its_lease_removes_nothing(state, token):
    notes(state, token, 50)
    state.release_lease("run", token)
    with pytest.raises(LeaseLost):
        prune(state, token)
    assert len(state.read_journal(kinds=["note"])) == 50
