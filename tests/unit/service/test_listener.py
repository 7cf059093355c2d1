"""The socket: who may ask, what is answered, and what nonsense costs."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.service import listener as listener_module
from ansible_collections.libreha.vmware.plugins.module_utils.service.listener import LONGEST, Listener


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "monitor.sock")


@pytest.fixture
def listener(path: str) -> Iterator[Listener]:
    def broken() -> dict[str, Any]:
        raise KeyError("esx9")

    listener = Listener(path, {"status": lambda: {"state": "looking"}, "broken": broken})
    yield listener
    listener.close()


def ask(path: str, *lines: bytes) -> list[Any]:
    with socket.socket(socket.AF_UNIX) as context:
        context.settimeout(10)
        context.connect(path)
        answers = context.makefile("rb")
        found = []
        for line in lines:
            context.sendall(line)
            found.append(json.loads(answers.readline()))
        return found


def test_each_line_is_answered_with_a_line(listener: Listener, path: str) -> None:
    assert ask(path, b'{"request": "status"}\n', b'{"request": "status"}\n') == [{"state": "looking"}] * 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense\n", "no request"),
        (b"[]\n", "no request"),
        (b"{}\n", "no request"),
        (b'{"request": ["status"]}\n', "unknown request ['status']"),
        (b"\xff\n", "no request"),
        (b'{"request": "reboot"}\n', "unknown request reboot; there are broken, status"),
        (b'{"request": "broken"}\n', "unexpected KeyError: 'esx9'"),
    ],
)
def test_what_cannot_be_answered_is_told(listener: Listener, path: str, line: bytes, words: str) -> None:
    refused, fine = ask(path, line, b'{"request": "status"}\n')
    assert words in refused["error"]
    assert fine == {"state": "looking"}


def test_an_asker_that_never_ends_its_line_costs_itself_only(listener: Listener, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module._Asked, "timeout", 0.2)
    with socket.socket(socket.AF_UNIX) as slow, socket.socket(socket.AF_UNIX) as endless:
        for context in (slow, endless):
            context.settimeout(10)
            context.connect(path)
        slow.sendall(b'{"request"')
        endless.sendall(b"x" * LONGEST)
        assert ask(path, b'{"request": "status"}\n') == [{"state": "looking"}]
        assert slow.recv(1) == b"", "it is given up"
        assert endless.recv(1) == b""


def test_only_owner_and_group_may_ask_from_the_first_moment(listener: Listener, path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    assert os.umask(0o022) != 0o777 & ~0o660, "the umask is as it was"


def test_the_socket_is_gone_when_it_is_closed(path: str) -> None:
    Listener(path, {}).close()
    assert not os.path.exists(path)


def test_the_socket_of_a_killed_monitor_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listener = Listener(path, {"status": dict})
    assert ask(path, b'{"request": "status"}\n') == [{}]
    listener.close()


def test_a_monitor_that_answers_there_is_not_pushed_aside(listener: Listener, path: str) -> None:
    with pytest.raises(LibrehaError, match="another monitor answers at"):
        Listener(path, {})
    assert ask(path, b'{"request": "status"}\n') == [{"state": "looking"}]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibrehaError, match="no/monitor.sock cannot be made: No such file.*RuntimeDirectory"):
        Listener(str(tmp_path / "no" / "monitor.sock"), {})


def taken(path: str, user: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], Any]:
    """What an asker of that user hands over, and the answer."""
    monkeypatch.setattr(listener_module, "_user_of", lambda connection: user)
    found: list[Any] = []

    def take(request: Any) -> dict[str, Any]:
        if "host" not in request:
            raise LibrehaError("a host is missing", remedy="give one")
        found.append(request["host"])
        return {"host": request["host"]}

    listener = Listener(path, {}, {"secret": take})
    try:
        (answer,) = ask(path, b'{"request": "secret", "host": "esx1"}\n')
        assert "a host is missing" in ask(path, b'{"request": "secret"}\n')[0]["error"] or user not in (0, os.getuid())
    finally:
        listener.close()
    return found, answer


def test_something_is_handed_over_by_root_and_the_monitors_own_user(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in sorted({0, os.getuid()}):
        assert taken(path, user, monkeypatch) == (["esx1"], {"host": "esx1"})


def test_nobody_else_hands_anything_over(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(path, os.getuid() + 1, monkeypatch) == ([], {"error": "secret is heard from root only"})


def test_the_kernel_says_who_asks() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert listener_module._user_of(here) == os.getuid()
