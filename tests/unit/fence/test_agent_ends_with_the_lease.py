"""A fence agent, and all that it starts, ends with the lease and with the module, frozen or not."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils import clock

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT / ".cache" / "collections"
# Stands for the module: says when it may act until, and switches off.
MODULE = """
import sys; sys.path.insert(0, %(collections)r)
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.fence.fence_agent import FenceAgentPower
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
fence = FenceAgentPower(PowerDevice(**%(device)r))
fence.check()
fence.permit = Permit(float(sys.stdin.readline()))
fence.switch(Power.OFF, 60.0)
"""


class Module:
    """The module in a process of its own."""

    def __init__(self, device: dict[str, object]) -> None:
        source = MODULE % {"collections": str(COLLECTIONS), "device": {"name": "esx1", "driver": "fence_agent", "timeout": 10.0, **device}}
        self.process = subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
        )

    def go(self, seconds: float) -> float:
        """Let it act for *seconds*; the deadline on the boot-time clock."""
        deadline = clock.now().seconds + seconds
        assert self.process.stdin is not None
        self.process.stdin.write(b"%f\n" % deadline)
        self.process.stdin.flush()
        return deadline

    def children(self) -> list[int]:
        """It and all below it, the deepest first."""
        parents: dict[int, list[int]] = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found[::-1]

    def wait_for(self, program: str) -> list[int]:
        """Until a process below it runs *program*; all of them."""

        def runs() -> bool:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            return any(program in command(pid) for pid in self.children())

        until(runs, "%s was not started" % program)
        return self.children()


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def alive(pids: list[int]) -> list[str]:
    """Those that are not gone; one that waits for its parent to notice is gone."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append("%d %s" % (pid, command(pid)))
    return found


def until(holds: Callable[[], bool], failed: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, failed
        time.sleep(0.01)


def ipmilan(ipmi) -> dict[str, object]:
    device = ipmi.device()
    return {
        "agent": device.agent,
        "address": device.address,
        "username": device.username,
        "password": device.password,
        "options": device.options,
    }


def slow_to_act(ipmi, folder: Path) -> dict[str, object]:
    """Its ipmitool hesitates before it switches, as a frozen one does: at the last moment, in a child of the agent's."""
    slow = folder / "ipmitool"
    slow.write_text('#!/bin/sh\ncase "$*" in *"power off"*) sleep 9.5 ;; esac\nexec /usr/bin/ipmitool "$@"\n')
    slow.chmod(0o755)
    device = ipmilan(ipmi)
    return {**device, "options": {**device["options"], "ipmitool_path": str(slow)}}  # type: ignore[dict-item]


def test_what_was_frozen_with_the_module_does_not_act_after_the_deadline(ipmi, tmp_path):
    module = Module(slow_to_act(ipmi, tmp_path))
    deadline = module.go(8.0)
    module.wait_for("sleep 9.5")
    tree = module.children()
    for pid in reversed(tree):
        os.kill(pid, signal.SIGSTOP)
    assert clock.now().seconds < deadline, "this machine was too slow for the test"
    until(lambda: clock.now().seconds > deadline + 0.2, "the deadline never came")
    for pid in tree:  # those that could act first
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    until(lambda: not alive(tree), "still there: %s" % alive(tree), 5.0)
    assert ipmi.asked == [] and ipmi.is_on


def test_frozen_and_woken_in_time_it_acts(ipmi, tmp_path):
    """The same before the deadline: it is the deadline that keeps it from acting."""
    module = Module(slow_to_act(ipmi, tmp_path))
    module.go(120.0)
    module.wait_for("sleep 9.5")
    tree = module.children()
    for signal_ in (signal.SIGSTOP, signal.SIGCONT):
        for pid in tree:
            os.kill(pid, signal_)
        time.sleep(0.5)
    until(lambda: not ipmi.is_on, "it was not switched off", 60.0)
    module.process.wait(timeout=60)


def test_an_agent_ends_at_the_deadline(ipmi):
    ipmi.stick()
    module = Module(ipmilan(ipmi))
    deadline = module.go(8.0)
    module.wait_for("ipmitool -f")
    until(lambda: ipmi.asked != [], "it did not ask")
    tree = module.children()[:-1]  # all but the module itself, which may go on to report
    until(lambda: not alive(tree), "still there: %s" % alive(tree), 30.0)
    assert clock.now().seconds < deadline + 2.0


def test_an_agent_and_its_children_end_with_the_module(ipmi, tmp_path):
    module = Module(slow_to_act(ipmi, tmp_path))
    module.go(120.0)
    module.wait_for("sleep 9.5")
    tree = module.children()
    module.process.kill()
    until(lambda: not alive(tree), "still there: %s" % alive(tree), 5.0)
    assert ipmi.asked == [] and ipmi.is_on


def test_what_an_agent_started_in_a_session_of_its_own_ends_with_it():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        options = {
            "ipport": str(silent.getsockname()[1]),
            "ssh": "1",
            "plug": "1",
            "login_timeout": "60",
            "ssh_options": "-o LogLevel=ERROR",
        }
        module = Module({"agent": "fence_apc", "address": "127.0.0.1", "username": "ha", "password": "secret", "options": options})
        module.go(120.0)
        tree = module.wait_for("/usr/bin/ssh ")
        (ssh,) = [pid for pid in tree if command(pid).startswith("/usr/bin/ssh ")]
        assert os.getsid(ssh) != os.getsid(module.process.pid)
        module.process.kill()
        until(lambda: not alive(tree), "still there: %s" % alive(tree), 5.0)
