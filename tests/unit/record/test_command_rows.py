# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands in the database: each is taken up once, and none later than its person expected."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.record import retention
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import CommandWithdrawn, Heard
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

STOP = Command(CommandKind.STOP, "vm1", by="Ada", reason="its disk is full")
MOVE = Command(CommandKind.MIGRATE, "vm1", "esx2", "Ada")


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


def test_commands_wait_in_the_order_in_which_they_were_given_and_need_no_lease(state, clock):
    assert [*state.give_commands([STOP, MOVE]), *state.give_commands([STOP])] == [1, 2, 3]
    assert [item.command for item in state.waiting_commands()] == [STOP, MOVE, STOP]
    (shown,) = state.commands([2])
    assert (shown["to"], shown["by"], shown["state"], shown["given_at"]) == ("esx2", "Ada", "waiting", clock().to_dict())


def test_what_was_taken_up_waits_no_more_and_is_not_taken_up_again(state):
    token = state.acquire_lease("run", 60).token
    state.give_commands([STOP, MOVE])
    with state.change(token) as change:
        change.heard([Heard(1, "applied", "vm1 is to be stopped"), Heard(2, "refused", "no VM vm1 is known")])
    assert state.waiting_commands() == ()
    assert [(row["state"], row["outcome"], row["token"]) for row in state.commands(limit=5)] == [
        ("applied", "vm1 is to be stopped", token),
        ("refused", "no VM vm1 is known", token),
    ]
    with pytest.raises(CommandWithdrawn), state.change(token) as change:
        change.heard([Heard(1, "applied", "again")])


def test_a_run_without_the_lease_takes_nothing_up(state):
    token = state.acquire_lease("run", 60).token
    state.give_commands([STOP])
    state.release_lease("run", token)
    with pytest.raises(LeaseLost), state.change(token) as change:
        change.heard([Heard(1, "applied", "late")])
    assert len(state.waiting_commands()) == 1


def test_a_command_that_is_taken_back_is_not_applied_and_one_that_was_applied_is_not_taken_back(state):
    token = state.acquire_lease("run", 60).token
    state.give_commands([STOP, MOVE])
    assert state.withdraw_command(1)
    with pytest.raises(CommandWithdrawn), state.change(token) as change:
        change.memory({"with": "the command in it"})
        change.heard([Heard(1, "applied", "vm1 is to be stopped")])
    assert state.load_memory() is None
    with state.change(token) as change:
        change.heard([Heard(2, "applied", "vm1 is to move")])
    assert not state.withdraw_command(2)


@pytest.mark.parametrize(("seconds", "late"), [(599, ""), (601, "holds for 600 s"), (-5, "age cannot be told")])
def test_a_command_holds_for_its_time_only(state, clock, seconds, late):
    state.give_commands([STOP])
    (item,) = state.waiting_commands()
    clock.seconds += seconds
    assert late in item.too_late(clock()) and bool(late) == bool(item.too_late(clock()))


def test_a_restart_of_the_machine_ends_every_command_that_waits(state, clock):
    state.give_commands([STOP], 86400)
    clock.reboot()
    (item,) = state.waiting_commands()
    assert "give it again" in item.too_late(clock())


def test_commands_that_were_heard_do_not_pile_up_and_those_that_wait_stay(state, monkeypatch):
    monkeypatch.setattr(retention, "NEWEST", 2)
    token = state.acquire_lease("run", 60).token
    state.give_commands([STOP] * 6)
    with state.change(token) as change:
        change.heard([Heard(number, "applied", "done") for number in (1, 2, 3, 5)])
        retention._prune_commands(change._connection)
    assert [row["number"] for row in state.commands(limit=10)] == [4, 5, 6]
    assert state.give_commands([STOP]) == [7]
