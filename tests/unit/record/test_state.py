# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memory, and the tables of hosts and VMs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.decide import memory as decide_memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record import opening
from ansible_collections.libreha.vmware.plugins.module_utils.record import state as state_tables
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

VM = {"vm_id": "u:vm1/vm1.vmx", "name": "vm1", "path": "[shared] vm1/vm1.vmx", "host": "esx1", "desired": "started", "power": "on"}


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


@pytest.fixture
def token(state):
    return state.acquire_lease("run", 600).token


def test_there_is_no_memory_before_the_first_save(state):
    assert state.load_memory() is None
    assert state.snapshot()["memory_version"] == 0


def test_the_memory_is_read_back_exactly_and_each_save_has_a_version(state, token):
    memory = {
        "hosts": [{"name": "esx1", "since": {"boot_id": "b", "seconds": 12345.678901234567}}],
        "text": "Größe \u0000 \U0001f600",
        "none": None,
    }
    assert state.save_memory({"first": 1}, token) == 1
    assert state.save_memory(memory, token) == 2
    assert state.load_memory() == memory


def test_decides_memory_survives_the_database(state, token, clock):
    vm = decide_memory.VmRecord(id=VM["vm_id"], name="vm1", path=VM["path"], host="esx1", power=Power.ON)
    memory = decide_memory.Memory(hosts=(decide_memory.HostRecord("esx1", verdict="healthy", since=clock()),), vms=(vm,))
    with state.change(token) as change:
        change.memory(memory.to_dict())
        change.hosts(state_tables.host_rows(memory, fenced=["esx1"]))
        change.vms(state_tables.vm_rows(memory))
    assert decide_memory.Memory.from_dict(state.load_memory()) == memory
    assert [(row["name"], row["verdict"], row["fenced"]) for row in state.hosts()] == [("esx1", "healthy", True)]
    assert {name: state.vms()[0][name] for name in VM} == VM


@pytest.mark.parametrize("most", [1, 500])
def test_an_act_reads_what_is_remembered_of_its_own_vms_alone(state, token, clock, monkeypatch, most):
    """Of a cluster of thousands it is about a few; hosts and datastores it may need all."""
    monkeypatch.setattr(state_tables, "MOST_NAMES", most)
    vms = tuple(decide_memory.VmRecord(id="u:vm%d\u0000/a.vmx" % number, name="vm%d" % number, path="", host="esx1") for number in range(4))
    memory = decide_memory.Memory(hosts=(decide_memory.HostRecord("esx1", since=clock()),), vms=vms)
    state.save_memory(memory.to_dict(), token)
    found = state.memory({vms[1].id, vms[3].id, "u:gone.vmx"})
    assert found == dataclasses.replace(memory, vms=(vms[1], vms[3]))
    assert state.memory(()).vms == ()


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": object()}])
def test_a_memory_that_json_cannot_hold_is_refused_and_the_old_one_stays(state, token, bad):
    state.save_memory({"old": True}, token)
    with pytest.raises(LibrehaError, match="the memory cannot be written as JSON"):
        state.save_memory(bad, token)
    assert state.load_memory() == {"old": True}


def test_a_damaged_memory_is_an_error_and_not_a_fresh_start(state, token):
    state.save_memory({"old": True}, token)
    with opening.writing(state._engine) as connection:
        connection.execute(sa.text("UPDATE ha_memory SET document = '{\"old\": tr'"))
    with pytest.raises(LibrehaError, match="the memory in the state database is damaged"):
        state.load_memory()


def test_the_table_of_vms_says_exactly_what_was_recorded_last(state, token):
    other = {**VM, "vm_id": "u:vm2/vm2.vmx", "name": "vm2"}
    assert state.record_vms([VM, other], token) == [VM["vm_id"], other["vm_id"]]
    moved = {**other, "host": "esx2"}
    assert state.record_vms([moved], token) == [other["vm_id"], VM["vm_id"]]
    assert [(row["name"], row["host"]) for row in state.vms()] == [("vm2", "esx2")]


def test_a_row_that_did_not_change_keeps_its_time(state, token, clock):
    state.record_vms([VM], token)
    first = clock().to_dict()
    clock.seconds += 10
    assert state.record_vms([dict(VM)], token) == []
    assert state.vms()[0]["updated_at"] == first
    state.record_vms([{**VM, "power": Power.OFF}], token)
    assert (state.vms()[0]["power"], state.vms()[0]["updated_at"]) == ("off", clock().to_dict())


def test_what_has_no_column_is_kept_as_detail(state, token):
    state.record_hosts([{"name": "esx1", "verdict": "dead", "reason": "api timed out", "fenced": True, "samples": 4}], token)
    (host,) = state.hosts()
    assert host["detail"] == {"samples": 4}
    assert (host["verdict"], host["reason"], host["fenced"]) == ("dead", "api timed out", True)


def test_a_row_without_a_name_is_refused(state, token):
    with pytest.raises(LibrehaError, match="vm_id"):
        state.record_vms([{"name": "vm1"}], token)


def test_several_writes_are_one(state, token):
    with pytest.raises(LibrehaError), state.change(token) as change:
        change.memory({"new": True})
        change.vms([VM])
        change.hosts([{"verdict": "dead"}])
    assert state.load_memory() is None
    assert state.vms() == []


def test_an_error_of_the_writer_itself_comes_through_as_it_is(state, token):
    with pytest.raises(FileNotFoundError), state.change(token) as change:
        change.memory({"new": True})
        Path("/nonexistent/file").read_text()
    assert state.load_memory() is None


@pytest.mark.parametrize("document", [{"version": 99}, {"disarmed": 5}, {"vms": [{"id": 5}]}])
def test_a_memory_that_cannot_be_read_is_an_error_with_a_remedy(state, token, document):
    state.save_memory(document, token)
    with pytest.raises(LibrehaError, match="the memory in .* cannot be read: memory.*Remedy: run the release"):
        state.memory()


def test_before_the_first_save_the_memory_is_fresh(state):
    assert state.memory() == decide_memory.Memory()
