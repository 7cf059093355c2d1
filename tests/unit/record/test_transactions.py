# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failover transactions in the database."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms import transaction as transactions_of_decide
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record import opening, schema
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import JournalEntry, StateDatabase

PLANNED = {"vm_id": "u:vm1/vm1.vmx", "vm_name": "vm1", "path": "vm1/vm1.vmx", "source": "esx1", "destination": "esx2", "step": "planned"}
ENTRY = JournalEntry("step", "planned: vm1 from esx1 to esx2", subject="u:vm1/vm1.vmx")


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


@pytest.fixture
def token(state):
    return state.acquire_lease("run", 600).token


def test_a_transaction_is_read_back_as_it_was_written(state, token, clock):
    wanted = {
        **PLANNED,
        "id": "t1",
        "power_on": False,
        "attempts": 2,
        "reasons": ["esx1 dead", "esx2 fits"],
        "detail": {"moid": "12", "question": None},
    }
    saved = state.save_transaction(wanted, token, ENTRY)
    (found,) = state.open_transactions()
    assert found == saved
    assert {name: found[name] for name in wanted} == wanted
    assert (found["token"], found["closed"], found["outcome"], found["opened_at"]) == (token, False, "", clock().to_dict())


def test_fields_that_are_not_given_stay(state, token, clock):
    saved = state.save_transaction({**PLANNED, "reasons": ["esx1 dead"]}, token, ENTRY)
    opened = clock().to_dict()
    clock.seconds += 3
    changed = state.save_transaction({"id": saved["id"], "step": "registered"}, token, ENTRY)
    assert changed == {**saved, "step": "registered", "updated_at": clock().to_dict()}
    assert changed["opened_at"] == opened


def test_the_row_and_its_journal_entry_are_written_together_or_not_at_all(state, token):
    seq = len(state.read_journal())
    with pytest.raises(LibrehaError, match="JSON"):
        state.save_transaction(PLANNED, token, {"kind": "step", "text": "x", "data": {"not json": object()}})
    assert state.open_transactions() == []
    with pytest.raises(LibrehaError, match="step is missing"):
        state.save_transaction({"vm_id": "u:2"}, token, ENTRY)
    assert len(state.read_journal()) == seq
    state.save_transaction(PLANNED, token, ENTRY)
    assert state.read_journal()[-1]["text"] == ENTRY.text


def test_a_second_open_transaction_of_a_vm_is_refused_and_the_first_is_named(state, token):
    first = state.save_transaction(PLANNED, token, ENTRY)
    with pytest.raises(LibrehaError, match=first["id"]) as caught:
        state.save_transaction({**PLANNED, "destination": "esx3"}, token, ENTRY)
    assert "esx2" in str(caught.value)
    assert len(state.open_transactions()) == 1


def test_the_database_itself_refuses_a_second_open_transaction(state, token):
    saved = state.save_transaction(PLANNED, token, ENTRY)
    with pytest.raises(sa.exc.IntegrityError), opening.writing(state._engine) as connection:
        columns = ", ".join(column.name for column in schema.TRANSACTIONS.columns if column.name != "id")
        connection.execute(sa.text("INSERT INTO ha_transactions (id, %s) SELECT 'other', %s FROM ha_transactions" % (columns, columns)))
    assert [row["id"] for row in state.open_transactions()] == [saved["id"]]


def test_a_closed_transaction_stays_as_it_is_and_makes_room_for_the_next(state, token):
    first = state.save_transaction(PLANNED, token, ENTRY)
    with pytest.raises(LibrehaError, match="without an outcome"):
        state.save_transaction({"id": first["id"], "closed": True}, token, ENTRY)
    state.save_transaction({"id": first["id"], "closed": True, "outcome": "verified"}, token, ENTRY)
    for again in ({"step": "planned"}, {"closed": False}):
        with pytest.raises(LibrehaError, match="is closed"):
            state.save_transaction({"id": first["id"], **again}, token, ENTRY)
    second = state.save_transaction(PLANNED, token, ENTRY)
    assert [row["id"] for row in state.transactions()] == [second["id"], first["id"]]


def test_whose_failover_it_is_cannot_change(state, token):
    saved = state.save_transaction(PLANNED, token, ENTRY)
    for change in ({"vm_id": "u:other"}, {"source": "esx3"}):
        with pytest.raises(LibrehaError, match="cannot change"):
            state.save_transaction({"id": saved["id"], **change}, token, ENTRY)


def test_a_field_that_does_not_exist_is_refused(state, token):
    with pytest.raises(LibrehaError, match="stepp"):
        state.save_transaction({**PLANNED, "stepp": "x"}, token, ENTRY)


def test_decides_transaction_goes_through_unchanged(state, token, clock):
    transaction = transactions_of_decide.Transaction(
        "t9",
        "u:vm9/vm9.vmx",
        "vm9",
        "u",
        "vm9/vm9.vmx",
        "[s] vm9/vm9.vmx",
        "esx1",
        "esx2",
        doing=transactions_of_decide.Do.REGISTER,
        refused_since=clock(),
        reason="fenced",
    )
    state.save_transaction(transactions_of_decide.to_record(transaction), token, ENTRY)
    assert transactions_of_decide.from_record(state.open_transactions()[0]) == transaction
    end = transactions_of_decide.closed(
        transaction, transactions_of_decide.Move(transactions_of_decide.Do.CLOSE, "runs", transactions_of_decide.Step.VERIFIED)
    )
    state.save_transaction(transactions_of_decide.to_record(end), token, ENTRY)
    assert state.open_transactions() == []
    assert state.transactions()[0]["outcome"] == "verified"


def test_threads_of_one_run_write_side_by_side(state, token):
    def fail_over(number: int) -> None:
        vm = {"id": "t%d" % number, "vm_id": "u:%d" % number, "step": "planned"}
        for step in ("planned", "fenced", "registered", "powered_on"):
            state.save_transaction({**vm, "step": step}, token, {"kind": "step", "subject": vm["vm_id"], "text": step})

    threads = [threading.Thread(target=fail_over, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["step"] for row in state.open_transactions()} == {"powered_on"}
    assert len(state.open_transactions()) == 12
    entries = state.read_journal(kinds=["step"])
    assert len(entries) == 48
    assert [e["text"] for e in state.read_journal(subject="u:3")] == ["planned", "fenced", "registered", "powered_on"]


def test_transactions_are_ordered_as_they_were_written_whatever_the_clocks_say(state, token, clock):
    """The wall clock goes back, and the machine restarts: neither tells what was opened or closed last."""
    for number, wall in enumerate(("2026-01-01T00:00:09", "2026-01-01T00:00:01", "2025-01-01T00:00:00")):
        clock.wall, clock.seconds = wall, clock.seconds + 1
        state.save_transaction({**PLANNED, "id": "t%d" % number, "vm_id": "u:%d" % number}, token, ENTRY)
    assert [row["id"] for row in state.open_transactions()] == ["t0", "t1", "t2"]
    for number, wall in ((1, "2026-01-01T00:00:09"), (0, "2025-01-01T00:00:00"), (2, "2024-01-01T00:00:00")):
        clock.wall = wall
        state.save_transaction({"id": "t%d" % number, "closed": True, "outcome": "failed"}, token, ENTRY)
    assert [row["id"] for row in state.transactions(closed=True)] == ["t2", "t0", "t1"]
    assert [row["id"] for row in state.transactions(closed=True, limit=1)] == ["t2"]


def test_the_transactions_of_the_first_release_are_numbered_by_token_and_the_clock_of_their_run(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        for number, wall in enumerate(("2026-01-01T00:00:09", "2026-01-01T00:00:01", "2025-01-01T00:00:00")):
            run = database.acquire_lease("run %d" % number, 60).token
            clock.wall, clock.seconds = wall, clock.seconds + 1
            record = {**PLANNED, "id": "t%d" % number, "vm_id": "u:%d" % number, "closed": True, "outcome": "failed"}
            database.save_transaction(record, run, ENTRY)
            database.release_lease("run %d" % number, run)
        with opening.writing(database._engine) as connection:  # as the first release left it
            for table in ("ha_results", "ha_commands", "ha_memory_records"):
                connection.execute(sa.text("DROP TABLE %s" % table))
            connection.execute(sa.text("DROP INDEX ha_transactions_updated"))
            for column in ("opened_seq", "updated_seq"):
                connection.execute(sa.text("ALTER TABLE ha_transactions DROP COLUMN %s" % column))
            connection.execute(sa.text("UPDATE ha_schema SET version = 1"))
    with StateDatabase.open(url, clock=clock) as database:
        assert database.opened.migrated_from == 1
        assert [row["id"] for row in database.transactions(closed=True)] == ["t2", "t1", "t0"]
        run = database.acquire_lease("next", 60).token
        database.save_transaction({**PLANNED, "id": "t3"}, run, ENTRY)
        database.save_transaction({"id": "t3", "closed": True, "outcome": "verified"}, run, ENTRY)
        assert [row["id"] for row in database.transactions(closed=True, limit=2)] == ["t3", "t2"]
