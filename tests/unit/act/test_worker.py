"""Acts in child processes: their answers, their ends, and what is left of a monitor that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.worker import (
    Child,
    Died,
    Failed,
    ForkServer,
    ForkServerGone,
    wait_for_any,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import AnswerLost
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import FaultKind, HostUnavailable, HypervisorFault
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman
from ansible_collections.libreha.vmware.plugins.module_utils.record.lease import LeaseHeld

HANG_GUARD = 30.0  # s
HERE = Path(__file__).resolve().parent


def work(order: Any, stopping: Callable[[], bool]) -> Any:
    what, argument = order
    if what == "echo":
        return os.getpid(), argument
    if what == "raise":
        raise argument
    if what == "unreadable":
        return Unreadable()
    if what == "open files":
        return [os.readlink("/proc/self/fd/%s" % name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/%s" % name)]
    if what == "die at":
        Deadman().arm(argument[0])
        Path(argument[1]).write_text(str(os.getpid()))
        time.sleep(argument[0] + 0.5)
        Path(argument[1]).write_text("acted after its deadline")
        return None
    assert what == "until stopped"
    Path(argument).write_text("at work")
    while not stopping():
        time.sleep(0.02)
    Path(argument).write_text("stopped")
    return "stopped"


class Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return of_another_release, ()


def of_another_release() -> None:
    raise ValueError("from another release")


@pytest.fixture
def server() -> Iterator[ForkServer]:
    with ForkServer(work) as server:
        yield server


def in_another_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    import ansible_collections.libreha

    collections = str(Path(next(iter(ansible_collections.libreha.__path__))).parents[1])
    paths = os.pathsep.join([collections, *(path for path in sys.path if path)])
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)


def ended(child: Child) -> Any:
    until = time.monotonic() + HANG_GUARD
    while not child.poll():
        assert time.monotonic() < until, "it does not end"
        wait_for_any([child], 0.5)
    return child.answer


def comes(path: Path, text: str) -> None:
    until = time.monotonic() + HANG_GUARD
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < until, "%s: waited in vain for %r" % (path, text)
        time.sleep(0.02)


def test_each_order_is_a_process_of_its_own_and_its_answer_comes_back(server: ForkServer) -> None:
    big = "x" * 3_000_000
    children = [server.start(("echo", number)) for number in range(5)] + [server.start(("echo", big))]
    answers = [ended(child) for child in children]
    assert [argument for _pid, argument in answers] == [0, 1, 2, 3, 4, big]
    assert len({pid for pid, _argument in answers} | {os.getpid(), server.pid}) == 8


def test_what_an_act_raises_is_its_own_answer(server: ForkServer) -> None:
    failed = ended(server.start(("raise", LibrehaError("no room", host="esx1", remedy="make some", details={"a": 1}))))
    assert isinstance(failed, Failed)
    assert (str(failed.error), failed.error.details, failed.ends_the_run) == ("esx1: no room. Remedy: make some", {"a": 1}, False)
    assert ended(server.start(("raise", LeaseLost("over")))).ends_the_run
    unforeseen = ended(server.start(("raise", KeyError("esx2"))))
    assert "unexpected KeyError: 'esx2'" in str(unforeseen.error)


@pytest.mark.parametrize(
    "error",
    [
        HypervisorFault("it refused", kind=FaultKind.TIMED_OUT, host="esx1", remedy="look at it"),
        HostUnavailable("no answer", answer=ApiAnswer.TIMED_OUT, host="esx1", remedy="look at it"),
        *(kind("what came back") for kind in (ForkServerGone, LeaseHeld, StaleToken, AnswerLost)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_kind_of_error_it_is(server: ForkServer, error: LibrehaError) -> None:
    failed = ended(server.start(("raise", error)))
    assert isinstance(failed, Failed), failed
    assert (type(failed.error), str(failed.error), vars(failed.error)) == (type(error), str(error), vars(error))


def test_an_answer_that_cannot_be_read_is_one_acts_death(server: ForkServer) -> None:
    died = ended(server.start(("unreadable", None)))
    assert isinstance(died, Died) and "its answer cannot be read: unexpected ValueError: from another release" in died.text


def test_a_child_inherits_nothing_that_was_opened_after_the_server(server: ForkServer, tmp_path: Path) -> None:
    with (tmp_path / "state.db").open("w") as database:
        files = ended(server.start(("open files", None)))
    assert database.name not in files


def test_a_child_ends_at_its_deadline_also_when_it_was_frozen_before(server: ForkServer, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = server.start(("die at", (1.0, str(mark))))
    while not mark.exists() or not mark.read_text():
        time.sleep(0.01)
    pid = int(mark.read_text())
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.3)
    os.kill(pid, signal.SIGCONT)
    assert isinstance(ended(child), Died)
    assert mark.read_text() == str(pid)


def test_a_child_that_is_asked_to_comes_to_an_end(server: ForkServer, tmp_path: Path) -> None:
    child = server.start(("until stopped", str(tmp_path / "mark")))
    comes(tmp_path / "mark", "at work")
    assert not child.poll()
    child.stop()
    assert ended(child) == "stopped"


def test_a_killed_server_starts_nothing_more_and_what_is_under_way_answers(server: ForkServer, tmp_path: Path) -> None:
    child = server.start(("until stopped", str(tmp_path / "mark")))
    comes(tmp_path / "mark", "at work")
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(LibrehaError, match="the process that starts the acts is gone"):
        for _again in range(100):
            ended(server.start(("echo", 1)))
            time.sleep(0.01)
    child.stop()
    assert ended(child) == "stopped"


def test_no_act_pays_for_an_import_that_the_server_has_made() -> None:
    driver = "ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.vsphere"
    monitor = """
import sys, time
from ansible_collections.libreha.vmware.plugins.module_utils.cycle import real
real.carry_out = lambda driver, _stopping: driver in sys.modules
assert sys.argv[1] not in sys.modules
child = real.fork_server().start(sys.argv[1])
while not child.poll():
    time.sleep(0.02)
print(child.answer, sys.argv[1] in sys.modules)
"""
    done = in_another_process(monitor, driver)
    assert done.communicate(timeout=10 * HANG_GUARD)[0].split() == ["True", "False"]


def test_children_of_a_killed_monitor_come_to_an_end(tmp_path: Path) -> None:
    monitor = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_worker import work
from ansible_collections.libreha.vmware.plugins.module_utils.act.worker import ForkServer
child = ForkServer(work).start(("until stopped", sys.argv[2]))
time.sleep(60)
"""
    with in_another_process(monitor, str(HERE), str(tmp_path / "mark")) as process:
        comes(tmp_path / "mark", "at work")
        process.kill()
        comes(tmp_path / "mark", "stopped")
