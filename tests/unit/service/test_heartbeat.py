"""Signs of life for a dead man's switch elsewhere."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.service import heartbeat as heartbeat_module
from ansible_collections.libreha.vmware.plugins.module_utils.service.heartbeat import Heartbeat

SECRET = "s3cr3t-w0rd"


class Switch(http.server.ThreadingHTTPServer):
    """A dead man's switch; ``code`` is what it answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.code = 200
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d/%s" % (self.server_address[1], SECRET)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Switch

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def switch() -> Iterator[Switch]:
    switch = Switch()
    yield switch
    switch.shutdown()
    switch.server_close()


def sent(heartbeat: Heartbeat) -> None:
    heartbeat.beat()
    if heartbeat._sending is not None:
        heartbeat._sending.join(20)


def test_a_url_is_asked_once_in_a_while(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[str] = []
    heartbeat = Heartbeat(switch.url, failures.append)
    sent(heartbeat)
    sent(heartbeat)
    assert switch.asked == ["/" + SECRET]
    monkeypatch.setattr(heartbeat_module, "EVERY", 0.0)
    sent(heartbeat)
    assert len(switch.asked) == 2
    assert failures == []


def test_a_failure_is_told_once_until_it_is_sent_again_and_never_the_url(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "EVERY", 0.0)
    failures: list[str] = []
    heartbeat = Heartbeat(switch.url, failures.append)
    for switch.code in (500, 500, 200, 404):
        sent(heartbeat)
    assert failures == ["the heartbeat is not sent: HTTP status 500", "the heartbeat is not sent: HTTP status 404"]


def test_a_command_is_run_with_its_arguments(tmp_path: Path) -> None:
    failures: list[str] = []
    sent(Heartbeat("/usr/bin/touch '%s/it lives'" % tmp_path, failures.append))
    assert (tmp_path / "it lives").exists()
    sent(Heartbeat("/bin/sh -c 'exit 3' %s" % SECRET, failures.append))
    sent(Heartbeat("/no/such/command %s" % SECRET, failures.append))
    assert failures == [
        "the heartbeat is not sent: its command ended with exit code 3",
        "the heartbeat is not sent: No such file or directory",
    ]


def test_one_that_hangs_holds_up_nobody_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "EVERY", 0.0)
    monkeypatch.setattr(heartbeat_module, "TIMEOUT", 0.3)
    failures: list[str] = []
    heartbeat = Heartbeat("/bin/sleep 60", failures.append)
    began = time.monotonic()
    heartbeat.beat()
    first = heartbeat._sending
    heartbeat.beat()
    assert time.monotonic() - began < 0.2
    assert heartbeat._sending is first, "one at a time"
    sent(heartbeat)
    assert len(failures) == 1 and "no end within" in failures[0]


def test_without_one_nothing_is_sent() -> None:
    heartbeat = Heartbeat("", pytest.fail)
    heartbeat.beat()
    assert heartbeat._sending is None
