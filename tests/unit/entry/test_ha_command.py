# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ha_command with a real database; a thread takes the place of the run that takes the command up."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import HostRecord, Memory
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_command import run
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import Heard
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = "sqlite:///%s" % (tmp_path / "state.db")
    StateDatabase.open(url).close()
    return url


def given(url: str, **more: Any) -> dict[str, Any]:
    command = {"kind": "approve", "subject": "esx1", "to": "", "by": "Ada", "reason": "I saw it burn"}
    return {"state_url": url, "wait": 0.0, "valid_for": 600.0, **command, **more}


def taken_up(url: str, state: str, outcome: str) -> threading.Thread:
    """A run that takes up what waits."""

    def look() -> None:
        with StateDatabase.open(url, create=False) as database:
            token = database.acquire_lease("run", 60).token
            until = time.monotonic() + 10
            while not database.waiting_commands() and time.monotonic() < until:
                time.sleep(0.05)
            with database.change(token) as change:
                change.heard([Heard(item.number, state, outcome) for item in database.waiting_commands()])

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def test_without_waiting_the_command_is_left_for_the_next_run(url: str) -> None:
    found = run(given(url), False)
    assert (found["changed"], found["command"]["state"], found["command"]["number"]) == (True, "waiting", 1)


def test_what_became_of_it_is_told(url: str) -> None:
    thread = taken_up(url, "applied", "what is proposed for esx1 is approved (Ada)")
    found = run(given(url, wait=10.0), False)
    thread.join()
    assert (found["command"]["state"], found["command"]["outcome"]) == ("applied", "what is proposed for esx1 is approved (Ada)")


def test_a_command_that_is_refused_fails_with_the_reason(url: str) -> None:
    thread = taken_up(url, "refused", "no host esx1 is known")
    with pytest.raises(LibrehaError, match="approve is refused: no host esx1 is known") as failed:
        run(given(url, wait=10.0), False)
    thread.join()
    assert failed.value.details["command"]["state"] == "refused"


def test_a_command_that_nobody_takes_up_in_time_is_withdrawn(url: str) -> None:
    with pytest.raises(LibrehaError, match="within 0.1 s; it is withdrawn"):
        run(given(url, wait=0.1), False)
    with StateDatabase.open(url, create=False) as database:
        assert database.waiting_commands() == ()


def test_check_mode_gives_nothing_and_says_what_would_be_refused(url: str) -> None:
    assert run(given(url), True) == {"changed": True}
    with StateDatabase.open(url, create=False) as database:
        token = database.acquire_lease("run", 60).token
        database.save_memory(Memory(looked_at=clock.now(), hosts=(HostRecord("esx1"),)).to_dict(), token)
    assert run(given(url), True) == {"changed": True}
    with pytest.raises(LibrehaError, match="would be refused: no host esx9 is known; the known ones: esx1"):
        run(given(url, subject="esx9"), True)
    with StateDatabase.open(url, create=False) as database:
        assert database.commands(limit=9) == []


def test_times_that_make_no_sense_are_refused(url: str) -> None:
    for wrong in ({"wait": -1.0}, {"valid_for": 0.0}):
        with pytest.raises(LibrehaError, match="valid_for"):
            run(given(url, **wrong), False)
