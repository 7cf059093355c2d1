"""docs/safety.md says what the code does: its tables are the code's, and what the verdict table answers is what decide answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.verdict import TABLE, Row
from generated import PAGE, answer, condition, render

sys.path.append(str(Path(__file__).resolve().parents[1] / "decide"))
from decide_world import ApiAnswer, Evidence, Power, World, three_hosts  # noqa: E402


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == render(page), "write it anew: python tests/unit/docs/write_safety.py"


def test_a_table_that_is_edited_by_hand_is_noticed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    edited = page.replace("api failed, storage failed, ping ok", "api failed, ping ok")
    assert edited != page
    assert render(edited) == page


def test_a_page_without_a_table_is_noticed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="verdicts"):
        render(page.replace("<!-- end of verdicts -->", ""))


def test_rows_are_told_apart_by_their_conditions() -> None:
    conditions = [condition(row) for row in TABLE]
    assert len(set(conditions)) == len(TABLE)
    assert [row.number for row, text in zip(TABLE, conditions, strict=True) if text == "everything else"] == [TABLE[-1].number]


def _silent_agent(world: World) -> None:
    world.kill("esx1")
    world.hosts["esx1"].ping = Evidence.OK


def _all_partitioned(world: World) -> None:
    for name in world.hosts:
        world.partition(name)


def _says_off(world: World) -> None:
    world.hosts["esx1"].power = Power.OFF


def _no_counters(world: World) -> None:
    world.readable = False


def _no_session(world: World) -> None:
    world.hosts["esx1"].writes, world.hosts["esx1"].session = False, None


def _dead_agent(world: World) -> None:
    world.hosts["esx1"].api = ApiAnswer.REFUSED


def _partitioned_without_counters(world: World) -> None:
    world.partition("esx1")
    world.readable = False


#: What happens to esx1, or to the cluster, so that the row is the one that matches for esx1.
CAUSES: dict[int, Callable[[World], None]] = {
    1: _all_partitioned,
    2: lambda world: world.power_off("esx1"),
    3: _says_off,
    4: lambda world: None,
    5: _no_counters,
    6: lambda world: world.cut_storage("esx1"),
    7: _no_session,
    8: _silent_agent,
    9: lambda world: world.kill("esx1"),
    10: _dead_agent,
    11: lambda world: world.partition("esx1"),
    12: _partitioned_without_counters,
}


def _after(row: Row, **options: str) -> World:
    """The cluster a minute after the row's cause, in mode act; nothing is carried out."""
    world = three_hosts(bmc=True, **options)
    CAUSES[row.number](world)
    world.run(60, every=5)
    assert world.row("esx1") == row.number
    return world


def _is_fenced(world: World) -> bool:
    return any(isinstance(action, FenceAction) and action.host == "esx1" for action in world.all_actions())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "row %d" % row.number)
def test_the_answer_in_the_table_is_what_decide_does(row: Row) -> None:
    world = _after(row)
    first = answer(row).partition("; with ")[0]
    assert _is_fenced(world) == first.startswith("fence")
    about = [alarm.key for alarm in world.last.alarms if alarm.subject == "esx1" or alarm.key == "observer_isolated"]
    if not first.startswith("fence"):
        assert bool(about) == ("alarm" in first), about


@pytest.mark.parametrize(("number", "option"), [(10, "agent_hung_response"), (11, "isolation_response")])
def test_the_option_in_the_table_makes_decide_fence(number: int, option: str) -> None:
    row = TABLE[number - 1]
    assert "with `%s: failover`: fence" % option in answer(row)
    assert _is_fenced(_after(row, **{option: "failover"}))


def test_only_the_row_that_needs_no_confirmation_time_fences_at_the_first_look_that_finds_it() -> None:
    at_once = []
    for row in TABLE:
        world = three_hosts(bmc=True)
        CAUSES[row.number](world)
        first = next((number for number in range(40) if _found(world, row)), None)
        assert first is not None
        if any(action.host == "esx1" for action in world.last.actions if isinstance(action, FenceAction)):
            at_once.append(row.number)
    assert at_once == [row.number for row in TABLE if "no confirmation time" in answer(row)] == [2]


def _found(world: World, row: Row) -> bool:
    world.step(3)
    return world.row("esx1") == row.number
