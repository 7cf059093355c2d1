"""The resident monitor as systemd runs it: a process of its own, signals, and a successor that takes over at once when it was killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
MODULE = "ansible_collections.libreha.vmware.plugins.module_utils.entry.monitor"
HANG_GUARD = 60.0


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + HANG_GUARD
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, "waited in vain for %s" % what
        time.sleep(0.05)


class Place:
    """A configuration of one host that nobody can reach, with its state database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "monitor.json"
        self.url = "sqlite:///%s/state.db" % folder
        self.socket = str(folder / "monitor.sock")
        StateDatabase.open(self.url).close()
        self.write()
        secrets = folder / "secrets.json"
        secrets.write_text(json.dumps({"hosts": {"esx1": {"password": "s3cr3t-w0rd"}}}))
        secrets.chmod(0o600)

    def write(self, **policy: Any) -> None:
        hosts = {"esx1": {"initiator": "iqn.1998-01.com.vmware:esx1"}}
        given = {
            "policy": {"mode": "observe", "hosts": hosts, "storage": {"san1": {}}, **policy},
            "hosts": [{"name": "esx1", "hostname": "127.0.0.1", "port": 9, "username": "ha", "timeout": 0.5, "validate_certs": False}],
            "storage": [
                {"name": "san1", "driver": "tgt", "control_port": 31999, "fence_list": str(self.folder / "fences.json"), "timeout": 0.5}
            ],
            "state_url": self.url,
            "socket": self.socket,
        }
        self.config.write_text(json.dumps(given))

    def status(self) -> dict[str, Any]:
        """As the socket answers; empty while nobody does."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as context:
            context.settimeout(5)
            context.connect(self.socket)
            context.sendall(b'{"request": "status"}\n')
            found: dict[str, Any] = json.loads(context.makefile().readline())
            return found
        return {}

    def lease(self) -> dict[str, Any]:
        with StateDatabase.open(self.url) as database:
            return database.lease()


class Monitor:
    def __init__(self, place: Place, *more: str) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = str(place.folder / ("notify-%d" % time.monotonic_ns()))
        self.notify.bind(address)
        self.notify.setblocking(False)
        self.messages: list[str] = []
        self.log = place.folder / ("log-%d" % time.monotonic_ns())
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "NOTIFY_SOCKET": address}
        with self.log.open("w") as log:
            command = [sys.executable, "-m", MODULE, "--config", str(place.config), *more]
            self.process = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)

    def told(self, message: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(self.notify.recv(4096).decode())
        return any(item.startswith(message) for item in self.messages)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.notify.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def start(place: Place) -> Iterator[Callable[..., Monitor]]:
    made: list[Monitor] = []

    def started(*more: str) -> Monitor:
        made.append(Monitor(place, *more))
        return made[-1]

    yield started
    for monitor in made:
        monitor.end()


def looks(place: Place) -> bool:
    return place.status().get("service", {}).get("state") == "looking" and place.lease()["alive"]


def test_check_only_checks(place: Place, start: Callable[..., Monitor]) -> None:
    assert start("--check").process.wait(HANG_GUARD) == 0
    assert place.lease()["token"] == 0
    place.write(confirm_aftr=3)
    wrong = start("--check")
    assert wrong.process.wait(HANG_GUARD) == 2
    assert (
        "<3>%s: libreha_policy: unknown option; did you mean" % place.config in wrong.log.read_text()
        or "confirm_aftr" in wrong.log.read_text()
    )
    assert start().process.wait(HANG_GUARD) == 2


def test_it_tells_systemd_answers_on_its_socket_and_frees_the_lease_at_sigterm(place: Place, start: Callable[..., Monitor]) -> None:
    monitor = start()
    until(lambda: looks(place), "the first look")
    until(lambda: monitor.told("WATCHDOG=1"), "a sign of life")
    assert monitor.messages[0] == "READY=1"
    began = time.monotonic()
    monitor.process.terminate()
    assert monitor.process.wait(HANG_GUARD) == 0
    assert time.monotonic() - began < 20
    assert monitor.told("STOPPING=1")
    assert place.lease()["holder"] == ""
    assert not os.path.exists(place.socket)
    text = monitor.log.read_text()
    assert "taken by monitor" in text and "Traceback" not in text and "s3cr3t-w0rd" not in text


def test_sighup_reads_the_configuration_anew_and_refuses_a_wrong_one(place: Place, start: Callable[..., Monitor]) -> None:
    monitor = start()
    until(lambda: looks(place), "the first look")
    place.write(confirm_aftr=3)
    monitor.process.send_signal(signal.SIGHUP)
    until(lambda: "the old one stays" in monitor.log.read_text(), "the refusal")
    place.write(mode="ask")
    monitor.process.send_signal(signal.SIGHUP)
    until(lambda: "the configuration was read anew" in monitor.log.read_text(), "the new configuration")
    until(lambda: place.status().get("mode") == "ask", "a look by it")
    assert place.lease()["token"] == 1, "in the same run"


def test_a_successor_of_a_killed_monitor_looks_within_seconds(place: Place, start: Callable[..., Monitor]) -> None:
    """The lease has 60 s. Of the killed one the fork server is left, which sees its end."""
    first = start()
    until(lambda: looks(place), "the first look")
    first.process.kill()
    first.process.wait()
    second = start()
    began = time.monotonic()
    until(lambda: place.lease()["token"] == 2, "the successor's lease")
    assert time.monotonic() - began < 30
    until(lambda: looks(place), "its look")
    assert second.process.poll() is None


def test_a_second_monitor_stands_by_and_takes_over_when_the_first_is_killed(
    place: Place, start: Callable[..., Monitor], tmp_path: Path
) -> None:
    first = start()
    until(lambda: looks(place), "the first look")
    there = json.loads(place.config.read_text())
    there["socket"] = str(tmp_path / "second.sock")
    place.config.write_text(json.dumps(there))
    second = start()
    until(lambda: "standby: monitor" in second.log.read_text(), "the standby")
    until(lambda: second.told("WATCHDOG=1"), "a sign of life of the standby")
    first.process.kill()
    first.process.wait()
    began = time.monotonic()
    until(lambda: place.lease()["token"] == 2, "the standby's lease")
    assert time.monotonic() - began < 5
