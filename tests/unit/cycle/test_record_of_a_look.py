"""What a look reads and writes: one transaction each, only what changed, and never on a memory that is not the one in the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext, judge
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import ABLE
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Event, Observation, Power, Sensor
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record import opening, state
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from scene import LEASE, Scene


@dataclass
class Heard:
    """What was said to the database: how transactions began, the statements, and of those that write how many rows each wrote, by table."""

    begun: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)

    def note(self, _connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        self.statements.append(text)
        words = text.replace("INSERT INTO", "INSERT").replace("DELETE FROM", "DELETE").split()
        if words[0] in ("INSERT", "UPDATE", "DELETE"):
            self.rows["%s %s" % (words[0], words[1])] += len(parameters) if many else 1

    def trace(self, text: str) -> None:
        if text.startswith("BEGIN"):
            self.begun.append(text)


@contextmanager
def listening(database: StateDatabase) -> Iterator[Heard]:
    heard = Heard()
    with database._engine.connect() as connection:  # the one connection that there is
        driver = connection.connection.driver_connection
    driver.set_trace_callback(heard.trace)
    sa.event.listen(database._engine, "before_cursor_execute", heard.note)
    try:
        yield heard
    finally:
        sa.event.remove(database._engine, "before_cursor_execute", heard.note)
        driver.set_trace_callback(None)


def must_be_what_the_next_run_reads(scene: Scene) -> None:
    """The record says what this run remembers, as if it had just been written as a whole."""
    assert scene.monitor.judged is not None
    memory = scene.monitor.judged.decision.memory
    with StateDatabase.open(scene.url, clock=scene.world.at) as other:
        assert other.memory() == memory
        assert {row["vm_id"]: {name: row[name] for name in row if name not in ("vm_id", "updated_at")} for row in other.vms()} == {
            row["id"]: {name: row[name] for name in row if name != "id"} for row in state.vm_rows(memory)
        }
        verdicts = {host.host: (host.verdict.value, host.reason) for host in scene.monitor.judged.decision.hosts}
        assert {row["name"]: (row["verdict"], row["reason"]) for row in other.hosts()} == verdicts


def settled(scene: Scene) -> None:
    scene.run()
    scene.looks(15)


# What a quiet look costs


def test_a_quiet_look_is_one_read_and_one_write_with_few_statements(scene: Scene) -> None:
    settled(scene)
    with listening(scene.database) as heard:
        scene.looks(3)
    assert heard.begun == ["BEGIN", "BEGIN IMMEDIATE"]
    assert len(heard.statements) <= 6, "\n".join(heard.statements)


def test_a_quiet_look_writes_the_records_of_the_hosts_and_none_of_a_vm(scene: Scene) -> None:
    settled(scene)
    with listening(scene.database) as heard:
        scene.looks(3)
    assert heard.rows == {"UPDATE ha_lease": 1, "INSERT ha_memory_records": 3, "UPDATE ha_memory": 1}


def test_the_commit_of_a_look_prolongs_the_lease(scene: Scene) -> None:
    settled(scene)
    with listening(scene.database) as heard:
        scene.looks(LEASE * 3)
    assert scene.database.lease()["remaining"] == LEASE
    assert heard.rows["UPDATE ha_lease"] == heard.rows["UPDATE ha_memory"]


def test_a_slow_look_renews_the_lease_before_and_after_it(scene: Scene) -> None:
    """A look may take nearly as long as the lease, at any time, and the decision has time of its own."""
    settled(scene)

    def thinks(*arguments: Any) -> Any:
        scene.world.now += 2
        return decide(*arguments)

    def takes_long(seen: Observation) -> Observation:
        scene.world.now += LEASE - 1
        return seen

    scene.world.change, scene.monitor._decider = takes_long, thinks
    for _look in range(3):
        scene.world.now += LEASE / 5
        scene.monitor.run_once()


# Only what changed is written, and all of it


def test_a_vm_that_changed_is_written_and_no_other(scene: Scene) -> None:
    settled(scene)
    scene.world.vms["vm1"].memory = 2048
    with listening(scene.database) as heard:
        scene.looks(3)
    assert heard.rows == {"UPDATE ha_lease": 1, "INSERT ha_memory_records": 4, "UPDATE ha_memory": 1, "INSERT ha_vms": 1}
    must_be_what_the_next_run_reads(scene)


def test_a_vm_that_is_gone_leaves_the_record(scene: Scene) -> None:
    settled(scene)
    vm = scene.world.vms.pop("vm1")
    scene.world.events.append(Event(vm.host, 1, "vm_removed", "", vm_name=vm.name))
    scene.looks(3)
    assert scene.database.memory().vm(vm.id) is None
    must_be_what_the_next_run_reads(scene)


def test_at_every_look_of_a_failover_the_record_is_what_the_next_run_needs(scene: Scene) -> None:
    scene.run()
    for _look in range(4):
        scene.looks(3)
        must_be_what_the_next_run_reads(scene)
    scene.world.kill("esx1")
    for look in range(25):
        scene.looks(3)
        must_be_what_the_next_run_reads(scene)
        for order in list(scene.orders):
            if str(order).startswith("fence"):
                scene.world.fence("esx1")
            elif look % 2:
                for vm in order.planned:  # type: ignore[union-attr]
                    scene.world.start(vm.name, vm.destination)
            else:
                continue
            scene.end(order)
    assert all(vm.power is Power.ON for vm in scene.database.memory().vms)
    scene.database.release_lease("run-1", scene.token)
    scene.run("run-2")
    scene.looks(3)
    must_be_what_the_next_run_reads(scene)


def test_alarms_that_come_and_go_are_recorded_as_if_the_table_were_read_each_time(scene: Scene) -> None:
    settled(scene)
    scene.world.hosts["esx1"].sensors = (Sensor("fan 1", "red"),)
    scene.looks(9)
    (alarm,) = (row for row in scene.database.alarms() if "fan 1" in row["text"])
    raised = [text for text in scene.journal("alarm") if "fan 1" in text]
    assert len(raised) == 1
    scene.looks(3600, every=50)
    assert [text for text in scene.journal("alarm") if "fan 1" in text] == [*raised, "%s (still)" % raised[0]]
    (still,) = (row for row in scene.database.alarms() if "fan 1" in row["text"])
    assert still == alarm
    scene.world.hosts["esx1"].sensors = ()
    scene.looks(3)
    assert scene.journal("alarm")[-1] == "cleared: %s" % raised[0]
    assert scene.database.alarms() == []


# No stale memory


def test_what_another_run_recorded_meanwhile_is_read_although_a_memory_is_there(scene: Scene) -> None:
    """The lease was lost in between, and the one who lost it comes back under a new one."""
    settled(scene)
    assert scene.monitor.judged is not None and scene.monitor.judged.recorded is not None
    stale = scene.monitor.judged.recorded
    scene.database.release_lease("run-1", scene.token)
    scene.run("run-2")
    scene.database.give_commands([Command(CommandKind.DISARM, by="Ada", reason="works")])
    scene.looks(3)
    scene.database.release_lease("run-2", scene.token)
    token = scene.database.acquire_lease("run-1", LEASE).token
    policy = read_policy(scene.world.full_policy())
    context = RunContext("run-1", token, ABLE, scene.world.at)
    judged = judge(scene.database, policy, scene.world.look(), context, commit=True, recorded=stale)
    assert "Ada" in judged.decision.memory.disarmed
    assert "Ada" in scene.database.memory().disarmed


def put_back(scene: Scene, memory: Memory, token: int) -> None:
    """The memory of a backup, under the feet of a run."""
    with opening.writing(scene.database._engine) as connection:
        state.save_memory(connection, scene.world.at(), token, memory.to_dict())


@pytest.mark.parametrize("own_token", [False, True])
def test_a_memory_that_was_put_back_between_two_looks_is_the_next_ones(scene: Scene, own_token: bool) -> None:
    settled(scene)
    put_back(scene, replace(scene.database.memory(), disarmed="Ada: works"), scene.token if own_token else 0)
    scene.looks(3)
    assert scene.database.memory().disarmed == "Ada: works"
    must_be_what_the_next_run_reads(scene)


@pytest.mark.parametrize("own_token", [False, True])
def test_a_memory_that_is_put_back_while_a_look_is_judged_is_judged_anew(scene: Scene, own_token: bool) -> None:
    settled(scene)
    calls = []

    def decider(policy: Policy, memory: Memory, *arguments: Any) -> Any:
        calls.append(memory.disarmed)
        if len(calls) == 1:
            put_back(scene, replace(memory, disarmed="Ada: works"), scene.token if own_token else 0)
        return decide(policy, memory, *arguments)

    scene.monitor._decider = decider
    scene.looks(3)
    assert calls == ["", "Ada: works"]
    assert scene.database.memory().disarmed == "Ada: works"
    must_be_what_the_next_run_reads(scene)


def test_a_version_that_is_the_same_by_chance_is_told_by_the_token(scene: Scene) -> None:
    """A backup is put back, and another run saves as often as this one has since."""
    settled(scene)
    assert scene.monitor.judged is not None and scene.monitor.judged.recorded is not None
    put_back(scene, replace(scene.database.memory(), disarmed="Ada: works"), 0)
    with opening.writing(scene.database._engine) as connection:
        connection.execute(sa.text("UPDATE ha_memory SET version = %d" % scene.monitor.judged.recorded.stamp.version))
    scene.looks(3)
    assert scene.database.memory().disarmed == "Ada: works"


def test_an_alarm_that_somebody_else_closed_is_raised_again(scene: Scene) -> None:
    settled(scene)
    scene.world.hosts["esx1"].sensors = (Sensor("fan 1", "red"),)
    scene.looks(3)
    scene.database.journal_alarms([], scene.token)
    scene.looks(3)
    assert [row["text"] for row in scene.database.alarms() if "fan 1" in row["text"]]


def test_a_commit_without_a_lease_writes_nothing(scene: Scene) -> None:
    settled(scene)
    before = scene.database.snapshot()
    scene.world.kill("esx1")
    taken = []

    def decider(*arguments: Any) -> Any:
        if not taken:  # after the look and its last check of the lease
            scene.world.now += LEASE + 1
            taken.append(scene.database.acquire_lease("run-2", LEASE))
        return decide(*arguments)

    scene.monitor._decider = decider
    with pytest.raises(LeaseLost):
        scene.looks(3)
    after = scene.database.snapshot()
    for what in ("memory", "hosts", "vms", "alarms"):
        assert after[what] == before[what]
    assert [entry["kind"] for entry in after["journal"][len(before["journal"]) :]] == ["lease"]


def test_a_commit_that_failed_is_made_up_for_by_the_next(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(scene)
    scene.world.vms["vm1"].memory = 2048

    def full(*_arguments: Any) -> Any:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(state, "record_vm_changes", full)
        scene.looks(3)
    scene.looks(3)
    must_be_what_the_next_run_reads(scene)
    assert [row["detail"]["memory"] for row in scene.database.vms() if row["name"] == "vm1"] == [2048]


def test_the_open_transactions_are_found_without_reading_the_closed_ones(scene: Scene) -> None:
    settled(scene)
    with listening(scene.database) as heard:
        scene.looks(3)
    (query,) = (text for text in heard.statements if "FROM ha_transactions" in text)
    with opening.writing(scene.database._engine) as connection:
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN %s" % query)]
    assert "ha_transactions_open_vm" in json.dumps(plan)
