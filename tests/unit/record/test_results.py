# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How acts ended: a table of its own that the brain reads, each result once, and again while something about its VM is open."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory, OrderInProgress, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record import opening, schema
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import EndedAct, JournalEntry, StateDatabase

VM1, VM7 = "u:vm1/vm1.vmx", "u:vm7/vm7.vmx"
OLD = Path(__file__).with_name("schema_v2.sql")
PLANNED = {"vm_id": VM1, "vm_name": "vm1", "path": "vm1/vm1.vmx", "source": "esx1", "destination": "esx2", "step": "planned"}
ENTRY = JournalEntry("step", "vm1: something happened", subject=VM1)


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


@pytest.fixture
def token(state):
    return state.acquire_lease("run", 600).token


def fails(state, token, **more):
    saved = state.save_transaction(PLANNED, token, ENTRY)
    end = {"id": saved["id"], "step": "failed", "closed": True, "outcome": "failed", "reasons": ["it did not come up"], **more}
    state.save_transaction(end, token, ENTRY)


def test_the_end_of_a_start_is_a_result_and_nothing_before_its_end_is_one(state, token, clock):
    saved = state.save_transaction(PLANNED, token, ENTRY)
    assert state.results(Memory()) == ()
    detail = {"start_asked": False}
    end = {"id": saved["id"], "step": "blocked", "closed": True, "outcome": "blocked", "reasons": ["a", "b"], "detail": detail}
    state.save_transaction(end, token, ENTRY)
    (found,) = state.results(Memory())
    assert (found.vm, found.host, found.act, found.ok, found.reason) == (VM1, "esx2", Act.START, False, "a; b")
    assert (found.asked, found.blocked, found.at) == (False, True, clock())


def test_a_vm_that_was_only_registered_has_no_result(state, token):
    fails(state, token, power_on=False)
    assert state.results(Memory()) == ()


def test_a_result_and_its_journal_entry_are_there_together_or_not_at_all(state, token):
    entries = len(state.read_journal())
    with pytest.raises(LibrehaError, match="JSON"), state.change(token) as change:
        change.results([EndedAct(VM7, "esx3", Act.RESET, False, "no answer")])
        change.journal([{"kind": "power", "text": "x", "data": {"not json": object()}}])
    assert (state.results(Memory()), len(state.read_journal())) == ((), entries)


def test_what_was_counted_is_read_no_more_unless_something_about_its_vm_is_open(state, token):
    fails(state, token)
    with state.change(token) as change:
        change.results([EndedAct(VM7, "esx3", Act.RESET, True)])
    first, second = state.results(Memory())
    assert (first.vm, second.vm, first.key < second.key) == (VM1, VM7, True)
    assert [item.vm for item in state.results(Memory(results_read=first.number))] == [VM7]
    read = Memory(results_read=second.number)
    assert state.results(read) == ()
    waiting = VmRecord(VM1, "vm1", "path", "esx1", in_progress=OrderInProgress("esx2", Instant("boot-1", 1.0)))
    assert state.results(replace(read, vms=(waiting,))) == (first,)


def test_more_vms_may_be_waited_for_than_one_query_takes(state, token):
    fails(state, token)
    order = OrderInProgress("esx2", Instant("boot-1", 1.0))
    waiting = tuple(VmRecord("u:%d" % number, "vm", "path", "esx1", in_progress=order) for number in range(1200))
    vm1 = VmRecord(VM1, "vm1", "path", "esx1", in_progress=order)
    assert len(state.results(Memory(vms=(*waiting, vm1), results_read=10**6))) == 1


# Databases of version 2, which had no such table


def old_sqlite(url: str) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.executescript(OLD.read_text(encoding="utf-8"))
    connection.close()


def old_postgres(url: str) -> None:
    """The same rows: the dump is SQLite's, which writes true and false as numbers."""
    source = sqlite3.connect(":memory:")
    source.executescript(OLD.read_text(encoding="utf-8"))
    source.row_factory = sqlite3.Row
    parsed, place = opening.parse(url)
    made = [line for (line,) in source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC")]
    engine = opening.open_engine(parsed, place, 10, True)
    with opening.writing(engine) as connection:
        for statement in made:
            connection.execute(sa.text(statement.replace("closed = 0", "NOT closed")))
        for (table,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in source.execute("SELECT * FROM %s" % table):
                values = dict(row)
                values.update((name, bool(values[name])) for name in ("closed", "power_on", "fenced") if name in values)
                names = ", ".join('"%s"' % name for name in values)
                insert = "INSERT INTO %s (%s) VALUES (%s)" % (table, names, ", ".join(":%s" % name for name in values))
                connection.execute(sa.text(insert), values)
    engine.dispose()


def test_a_database_of_version_2_is_migrated_with_the_results_that_it_held(url, clock):
    (old_sqlite if url.startswith("sqlite") else old_postgres)(url)
    clock.seconds = 2000.0
    with StateDatabase.open(url, clock=clock) as database:
        assert database.opened.migrated_from == 2
        memory = database.memory()
        found = database.results(memory)
        assert [(item.vm[2:5], item.host, item.act.value, item.ok, item.asked, item.blocked) for item in found] == [
            ("vm1", "esx2", "start", False, True, False),
            ("vm2", "esx2", "start", True, True, False),
            ("vm3", "esx3", "start", False, True, True),
            ("vm4", "esx3", "start", False, False, False),
            ("vm7", "esx3", "reset", False, True, False),
        ]
        assert [item.reason for item in found][::4] == ["it did not come up", "the host did not answer"]
        counted = memory.vms[0].tries.last_key
        assert found[0].key == counted, "the failure that version 2 counted is not counted again"
        token = database.acquire_lease("run-2", 60).token
        fails(database, token)
        assert database.results(memory)[-1].key > counted, "and a new one is"
        assert {row["vm_name"] for row in database.open_transactions()} == {"vm6"}


def test_a_migrated_database_has_the_tables_of_a_new_one(url, clock):
    (old_sqlite if url.startswith("sqlite") else old_postgres)(url)

    def tables(engine):
        looked = sa.inspect(engine)
        return {
            name: (
                sorted((column["name"], str(column["type"]), column["nullable"]) for column in looked.get_columns(name)),
                sorted((index["name"], tuple(index["column_names"]), bool(index["unique"])) for index in looked.get_indexes(name)),
                looked.get_pk_constraint(name)["constrained_columns"],
            )
            for name in looked.get_table_names()
        }

    with StateDatabase.open(url, clock=clock) as migrated:
        found = tables(migrated._engine)
        with opening.writing(migrated._engine) as connection:
            schema.METADATA.drop_all(connection)
            schema.create(connection, clock())
        assert found == tables(migrated._engine)
