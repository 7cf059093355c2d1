"""Processes that the lab starts: recorded by pid and start time, so that a reused pid is never touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError


@dataclass(frozen=True)
class Process:
    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat: clock ticks after boot


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; the second holds the name, which may hold anything."""
    return Path("/proc/%d/stat" % pid).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def state_of(process: Process | None) -> str | None:
    """The state letter of exactly this process (R, S, D, T, ...); None when it has ended.

    A zombie has ended, but only once its other threads have: until then they hold its files, locks and sockets.
    """
    if process is None:
        return None
    try:
        fields = _stat(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    threads = int(fields[17])
    if int(fields[19]) != process.start_ticks or (fields[0] in "ZXx" and threads <= 1):
        return None
    return fields[0]


def alive(process: Process | None) -> bool:
    return state_of(process) is not None


def spawn(
    argv: Sequence[str], log: Path, *, namespace: str | None = None, pass_fds: Sequence[int] = (), env: dict[str, str] | None = None
) -> Process:
    """Start a process that outlives this command, its output appended to ``log``, optionally in a network namespace."""
    command = list(argv)
    if namespace is not None:
        # nsenter replaces itself by the command: the pid is the command's own
        command = ["nsenter", "--net=/run/netns/%s" % namespace, "--", *command]
    with open(log, "ab") as sink:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                cwd="/",
                pass_fds=pass_fds,
                env={**os.environ, **(env or {})},
            )
        except OSError as error:
            raise LabError("Could not start '%s': %s" % (" ".join(command), error)) from error
    child.returncode = 0  # it is not ours to wait for: keeps Popen from warning when it is collected
    # A session of its own is weighed by its autogroup (sched(7)), which does not inherit what nice said.
    with contextlib.suppress(OSError):
        Path("/proc/%d/autogroup" % child.pid).write_text("%d" % os.nice(0))
    return Process(child.pid, int(_stat(child.pid)[19]))


def send(process: Process | None, number: signal.Signals) -> bool:
    """Signal exactly this process; whether it was there. The pidfd is checked after opening, so the pid cannot be reused between."""
    if process is None:
        return False
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(process: Process | None, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        reap(process)
        time.sleep(0.01)
    reap(process)
    return True


def reap(process: Process | None) -> None:
    """Collect our own ended child; another command's child is collected by init."""
    if process is not None:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            return


def end(process: Process | None, *, patience: float = 5.0) -> None:
    """SIGTERM, and SIGKILL when that is not heard (a stopped process hears nothing else)."""
    if send(process, signal.SIGTERM) and state_of(process) != "T" and wait_gone(process, patience):
        return
    kill(process)


def kill(process: Process | None) -> None:
    """SIGKILL and wait until it is gone. Raises LabError if it stays."""
    send(process, signal.SIGKILL)
    if process is not None and not wait_gone(process, 10):
        raise LabError("Process %d did not end within 10 s of SIGKILL: it waits for a device. See /proc/%d/stack." % ((process.pid,) * 2))


def tail(log: Path, lines: int = 25, start: int = 0) -> str:
    """The last lines of a log from byte ``start`` on, for error messages."""
    try:
        with open(log, "rb") as source:
            source.seek(start)
            text = source.read().decode("utf-8", "replace")
    except OSError as error:
        return "(no log: %s)" % error
    return "\n".join(text.splitlines()[-lines:]) or "(the log %s is empty)" % log
