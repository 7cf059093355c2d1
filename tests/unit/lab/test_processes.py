"""The lab ends exactly the processes that it started."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from liblab.processes import Process, alive, end, kill, send, spawn, state_of, tail  # noqa: E402


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = spawn(["sleep", "600"], tmp_path / "log")
    yield process
    kill(process)


def test_a_process_is_known_by_its_pid_and_start_time(sleeper: Process) -> None:
    assert alive(sleeper)
    kill(sleeper)
    assert not alive(sleeper)


def test_a_reused_pid_is_never_signalled(sleeper: Process) -> None:
    """The same pid with another start time is somebody else's process."""
    reused = dataclasses.replace(sleeper, start_ticks=sleeper.start_ticks + 1)
    assert not alive(reused)
    assert not send(reused, signal.SIGKILL)
    kill(reused)
    assert alive(sleeper)


def test_a_process_that_ended_but_was_not_collected_is_gone(tmp_path: Path) -> None:
    process = spawn(["true"], tmp_path / "log")
    deadline = time.monotonic() + 10
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path("/proc/%d" % process.pid).exists(), "still a zombie, as nobody waited for it"
    assert not alive(process)
    kill(process)


def test_a_frozen_process_is_ended_too(sleeper: Process) -> None:
    assert send(sleeper, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while state_of(sleeper) != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    end(sleeper)
    assert not alive(sleeper)


def test_what_is_started_outlives_this_session_and_keeps_its_log(tmp_path: Path) -> None:
    process = spawn(["sh", "-c", "echo hello; exec sleep 600"], tmp_path / "log")
    try:
        assert os.getsid(process.pid) == process.pid
        deadline = time.monotonic() + 10
        while "hello" not in tail(tmp_path / "log") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tail(tmp_path / "log") == "hello"
    finally:
        kill(process)
