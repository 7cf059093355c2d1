"""The reader asks the monitor over a real socket, and reads the record where it does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import NearMiss
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import HostRecord, Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry
from ansible_collections.libreha.vmware.plugins.module_utils.record.near_misses import NEAR_MISS
from ansible_collections.libreha.vmware.plugins.module_utils.service.client import (
    NotAnswered,
    Places,
    Unanswered,
    ask,
    read_status,
    with_near_misses,
)
from ansible_collections.libreha.vmware.plugins.module_utils.service.status import ABSENT, status_of
from ansible_collections.libreha.vmware.plugins.module_utils.service.status_text import INDENT, status_lines
from socket_server import serving

STATUS = {"request": "status"}


def standby(_request: dict[str, Any]) -> dict[str, Any]:
    now = clock.now()
    return status_of(
        None,
        (),
        now=now,
        started_at=now,
        holder="monitor",
        token=None,
        look_ended_at=None,
        state="standby",
        problem="it waits for the lease",
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A record with one look, and nobody at the socket."""
    url = "sqlite:///%s" % (tmp_path / "state.db")
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("run", 60).token
        with database.change(token) as change:
            change.memory(Memory(looked_at=clock.now(), hosts=(HostRecord("esx1"),)).to_dict())
            change.hosts([{"name": "esx1", "verdict": "healthy", "detail": {"confirmed": True}}])
    return Places(str(tmp_path / "monitor.sock"), url)


def test_the_monitors_answer_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with serving(path, lambda request: {"asked": request["request"]}) as heard:
        assert ask(str(path), STATUS) == {"asked": "status"}
        assert ask(str(path), STATUS) == {"asked": "status"}
    assert heard == [STATUS, STATUS]


def test_a_long_answer_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with serving(path, lambda request: {"text": "x" * 3_000_000}):
        assert len(ask(str(path), STATUS)["text"]) == 3_000_000


def test_a_monitor_that_does_not_run_is_absent_whether_its_socket_was_left_or_not(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    for left in (False, True):
        if left:
            with serving(path, standby):
                pass
        assert path.exists() is left
        with pytest.raises(NotAnswered, match="systemctl start libreha-monitor") as failed:
            ask(str(path), STATUS)
        assert failed.value.why is Unanswered.ABSENT


@pytest.mark.parametrize("answer", [b"", b"what?\n", b"[1]\n"])
def test_an_answer_that_is_none_is_told_as_such(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "monitor.sock"
    with serving(path, lambda request: answer), pytest.raises(NotAnswered) as failed:
        ask(str(path), STATUS)
    assert failed.value.why is Unanswered.SILENT


def test_a_monitor_that_hangs_costs_the_given_time_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"

    def hang(request: dict[str, Any]) -> bytes:
        time.sleep(1)
        return b"{}\n"

    with serving(path, hang):
        began = time.monotonic()
        with pytest.raises(NotAnswered, match="did not answer") as failed:
            ask(str(path), STATUS, seconds=0.2)
        assert time.monotonic() - began < 0.8
    assert failed.value.why is Unanswered.SILENT


def test_a_refusal_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with serving(path, lambda request: {"error": "no such request"}), pytest.raises(LibrehaError, match="refuses x: no such") as failed:
        ask(str(path), {"request": "x"})
    assert not isinstance(failed.value, NotAnswered)


@contextmanager
def nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_user_who_may_not_ask_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    with serving(path, standby):
        path.chmod(0o600)
        with nobody(), pytest.raises(NotAnswered, match="sudo") as failed:
            ask(str(path), STATUS)
    assert failed.value.why is Unanswered.DENIED


def test_without_a_monitor_the_record_is_shown_with_its_age_and_the_reason(places: Places) -> None:
    found = read_status(places)
    assert found.service.state == ABSENT and "no resident monitor listens at" in found.service.problem
    assert found.service.holder == "run"
    assert [host.name for host in found.hosts] == ["esx1"]
    assert found.last_look is not None and found.last_look.age is not None and 0 <= found.last_look.age < 30


def test_a_monitor_in_standby_answers_for_itself_and_the_record_for_the_rest(places: Places) -> None:
    with serving(Path(places.socket), standby):
        found = read_status(places)
    assert (found.service.state, found.service.problem) == ("standby", "it waits for the lease")
    assert [host.name for host in found.hosts] == ["esx1"] and found.last_look is not None


def test_a_monitor_that_answers_is_shown_although_the_record_cannot_be_read(places: Places, tmp_path: Path) -> None:
    with serving(Path(places.socket), standby):
        found = read_status(Places(places.socket, "sqlite:///%s/none/state.db" % tmp_path))
    assert found.service.state == "standby" and found.hosts == ()


@pytest.mark.parametrize("answers", [True, False])
def test_near_misses_are_shown_whoever_answers(places: Places, answers: bool) -> None:
    miss = NearMiss("esx1", Verdict.DEAD, 9.0, 15.0, 9.0, ("api",))
    with StateDatabase.open(places.state_url) as database:
        token = database.lease()["token"]
        database.journal([JournalEntry(NEAR_MISS, miss.text, "esx1", data=to_dict(miss))], token)
    looked = json.loads(json.dumps({**standby({}), "last_look": {"taken_at": to_dict(clock.now()), "age": 1.0}}))
    with serving(Path(places.socket), lambda request: looked) if answers else contextlib.nullcontext():
        found = with_near_misses(read_status(places), places)
    assert found.near_misses[0] == "1 near miss in 30 days; the longest silence was 9.0 of 15 s (esx1)"
    assert INDENT + found.near_misses[0] in status_lines(found)


def test_a_status_that_cannot_be_understood_is_no_status(places: Places) -> None:
    with serving(Path(places.socket), lambda request: {**json.loads(json.dumps(standby({}))), "hosts": "many"}):
        found = read_status(places)
    assert found.service.state == ABSENT and "not understood" in found.service.problem


def test_where_neither_can_be_read_both_reasons_are_told(places: Places, tmp_path: Path) -> None:
    with pytest.raises(LibrehaError) as failed:
        read_status(Places(places.socket, "sqlite:///%s/none/state.db" % tmp_path))
    assert "no resident monitor listens" in str(failed.value) and "the record cannot be read" in str(failed.value)
    assert "systemctl" in failed.value.remedy
