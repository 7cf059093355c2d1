"""The lease of a dead run is taken at once, and never while anything that acts under it lives: with real processes, killed and frozen."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.lease.lock import SUFFIX, LeaseLock
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import LeaseHeld, StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.lease import Lease

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
LENGTH = 300.0  # s; a lease that is taken in this test's time did not run out
HANG_GUARD = 30.0

MONITOR = (
    """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.libreha.vmware.plugins.module_utils.act.worker import ForkServer
from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_process import run_agent
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

url, folder, acts = sys.argv[2], sys.argv[3], sys.argv[4]

def work(order, stopping):
    if order == "agent":
        deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + 60
        return run_agent(os.path.join(folder, "agent"), {}, 60.0, deadline=deadline).code
    open(os.path.join(folder, "child"), "w").write(str(os.getpid()))
    while not stopping():
        time.sleep(0.02)

with ForkServer(work) as server, StateDatabase.open(url) as database:
    lock = database.lease_lock()
    lease = database.acquire_lease("monitor", %f, lock=lock)
    child = server.start(acts, lock.descriptor) if acts else None
    open(os.path.join(folder, "server"), "w").write(str(server.pid))
    os.write(1, b"%%d\\n" %% lease.token)
    time.sleep(600)
"""
    % LENGTH
)


class Monitor:
    """A monitor's process that has the lease, with one child that acts."""

    def __init__(self, url: str, folder: Path, acts: str) -> None:
        command = [sys.executable, "-c", MONITOR, str(COLLECTIONS), url, str(folder), acts]
        self._folder = folder
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.token = int(self.process.stdout.readline())

    def pid(self, name: str) -> int:
        until = time.monotonic() + HANG_GUARD
        while True:
            with contextlib.suppress(OSError, ValueError):
                return int((self._folder / name).read_text())
            assert time.monotonic() < until, "%s never began" % name
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = "sqlite:///%s/state.db" % tmp_path
    StateDatabase.open(url).close()
    return url


@pytest.fixture
def monitor_with(url: str, tmp_path: Path) -> Iterator[Callable[[str], Monitor]]:
    made: list[Monitor] = []

    def make(acts: str) -> Monitor:
        made.append(Monitor(url, tmp_path, acts))
        return made[-1]

    yield make
    for monitor in made:
        monitor.kill()
        for name in ("child", "server", "agent.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)


def successor(url: str, wait: float = 0.0) -> Lease:
    with StateDatabase.open(url) as database:
        lock = database.lease_lock()
        try:
            return database.acquire_lease("successor", LENGTH, wait=wait, lock=lock)
        finally:
            lock.close()


def refused(url: str) -> None:
    with pytest.raises(LeaseHeld, match="monitor"):
        successor(url, 0.6)


def test_the_lease_of_a_killed_monitor_is_taken_at_once_when_all_are_gone(url: str, monitor_with: Callable[[str], Monitor]) -> None:
    monitor = monitor_with("acts")
    monitor.pid("child")
    refused(url)
    monitor.kill()
    began = time.monotonic()
    lease = successor(url, 10.0)  # the child sees that its monitor is gone, and comes to its end
    assert time.monotonic() - began < 5.0
    assert lease.token > monitor.token
    with StateDatabase.open(url) as database, pytest.raises(LeaseLost):
        database.check_lease(monitor.token)


def test_it_is_not_taken_while_a_child_that_may_act_is_only_frozen(url: str, monitor_with: Callable[[str], Monitor]) -> None:
    """It may be about to send a request."""
    monitor = monitor_with("acts")
    os.kill(monitor.pid("child"), signal.SIGSTOP)
    monitor.kill()
    refused(url)
    os.kill(monitor.pid("child"), signal.SIGKILL)
    assert successor(url, 5.0).token > monitor.token


ORDER_ON_ITS_WAY = MONITOR.replace(
    "child = server.start(acts, lock.descriptor) if acts else None",
    "os.kill(server.pid, signal.SIGSTOP); child = server.start(acts, lock.descriptor)",
)


def test_an_order_that_no_child_has_taken_up_holds_the_lock(
    url: str, monitor_with: Callable[[str], Monitor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(globals(), "MONITOR", ORDER_ON_ITS_WAY)
    monitor = monitor_with("acts")
    server = monitor.pid("server")
    monitor.kill()
    refused(url)
    assert not (tmp_path / "child").exists()
    os.kill(server, signal.SIGCONT)  # it starts the child, which finds its monitor gone
    assert successor(url, 10.0).token > monitor.token


def test_it_is_not_taken_while_a_fence_agent_runs(url: str, monitor_with: Callable[[str], Monitor], tmp_path: Path) -> None:
    """Monitor, server and child are killed; the launcher is frozen before the kernel can have it end its agent."""
    if os.geteuid() != 0:
        pytest.skip("a PID namespace needs root")
    agent = tmp_path / "agent"
    script = "#!%s\nimport time\nopen(%r, 'w').close()\ntime.sleep(600)\n"
    agent.write_text(script % (sys.executable, str(tmp_path / "agent.ran")))
    agent.chmod(0o755)
    monitor = monitor_with("agent")
    until = time.monotonic() + HANG_GUARD
    while not (tmp_path / "agent.ran").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    launcher, running = agents_of(tmp_path)
    (tmp_path / "agent.pid").write_text(str(running))
    lock = (tmp_path / ("state.db" + SUFFIX)).stat().st_ino
    for process in (launcher, running):
        assert lock in open_inodes(process), "it does not hold the lock"
    child = parent_of(launcher)
    assert child != monitor.process.pid
    monitor.kill()
    refused(url)  # the child waits for its agent
    os.kill(running, signal.SIGSTOP)
    refused(url)
    os.kill(child, signal.SIGKILL)  # with it the kernel ends launcher and agent, frozen or not
    assert successor(url, 10.0).token > monitor.token
    assert state_of(running) in ("", "Z", "X"), "the agent runs on"


def agents_of(folder: Path) -> tuple[int, int]:
    """The launcher and the agent in *folder*."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc/%s/cmdline" % pid).read_bytes().split(b"\0")
            if str(folder / "agent").encode() in words:
                found["launcher" if b"-I" in words else "agent"] = int(pid)
    return found["launcher"], found["agent"]


def open_inodes(pid: int) -> set[int]:
    found = set()
    for name in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(OSError):
            found.add(os.stat("/proc/%d/fd/%s" % (pid, name)).st_ino)
    return found


def state_of(pid: int) -> str:
    """As proc(5) has it; "" when it is gone."""
    with contextlib.suppress(OSError):
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0]
    return ""


def parent_of(pid: int) -> int:
    return int(Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[1])


# What the lock must not be taken for


@pytest.fixture
def dead_run(url: str) -> int:
    """The token of a run that had the lease and its lock, and is gone with all of it."""
    with StateDatabase.open(url) as database:
        lock = database.lease_lock()
        lease = database.acquire_lease("monitor", LENGTH, lock=lock)
        lock.close()
    return lease.token


def test_whoever_does_not_hold_the_lock_waits_for_the_leases_end(url: str, dead_run: int) -> None:
    """A playbook keeps a lease between two modules, with no process of its own."""
    with StateDatabase.open(url) as database, pytest.raises(LeaseHeld):
        database.acquire_lease("playbook", LENGTH)


def test_a_lease_that_was_taken_without_the_lock_is_not_taken_from_its_holder(url: str) -> None:
    with StateDatabase.open(url) as database:
        database.acquire_lease("monitor of a playbook", LENGTH)
    refused(url)


def test_a_lease_that_followed_a_bound_one_is_not_taken_for_it(url: str, dead_run: int) -> None:
    """The lock file still names the run before."""
    with StateDatabase.open(url) as database:
        database.release_lease("monitor", dead_run)
        database.acquire_lease("monitor of a playbook", LENGTH)
    refused(url)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"holder": "monitor"}', '{"holder": "monitor", "token": 1, "boot_id": 1, "inode": 2}'])
def test_a_lock_file_that_says_nothing_proves_nothing(url: str, dead_run: int, tmp_path: Path, content: str) -> None:
    (tmp_path / ("state.db" + SUFFIX)).write_text(content)
    refused(url)


@pytest.mark.parametrize("done", ["removed", "replaced by a copy"])
def test_another_lock_file_proves_nothing(url: str, monitor_with: Callable[[str], Monitor], tmp_path: Path, done: str) -> None:
    """Somebody cleans up, or restores a folder, below a monitor that lives."""
    monitor_with("acts")
    file = tmp_path / ("state.db" + SUFFIX)
    copy = tmp_path / "copy"
    shutil.copy(file, copy)
    file.unlink()
    if done == "replaced by a copy":
        copy.rename(file)
    refused(url)


def test_a_lock_of_another_boot_proves_nothing(url: str, dead_run: int, tmp_path: Path) -> None:
    """Restored from a backup: the same file, and a token that is given once more."""
    file = tmp_path / ("state.db" + SUFFIX)
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot_id": "another"}))
    refused(url)


def test_a_lock_that_cannot_be_opened_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LibrehaError, match="no/such/state.db%s, cannot be opened: No such file" % SUFFIX) as error:
        LeaseLock.beside(str(tmp_path / "no" / "such" / "state.db"))
    assert error.value.remedy


def test_a_run_binds_its_lease_later_when_a_frozen_child_of_the_run_before_had_the_lock(tmp_path: Path) -> None:
    first, second = LeaseLock(str(tmp_path / "lock")), LeaseLock(str(tmp_path / "lock"))
    assert first.bind("a", 1)
    assert not second.bind("b", 2)
    first.close()
    assert second.bind("b", 2)
    second.close()
    third = LeaseLock(str(tmp_path / "lock"))
    ended = third.ended()
    assert ended is not None and (ended.holder, ended.token) == ("b", 2)
    third.close()
