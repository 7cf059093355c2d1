"""What systemd and the system's log are told."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.service.log import Log, priority_of
from ansible_collections.libreha.vmware.plugins.module_utils.service.systemd import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_datagrams_go_to_the_socket_that_the_environment_names(tmp_path: Path, abstract: bool) -> None:
    name = "@libreha-test-%s" % tmp_path.name if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready()
        notifier.status("looking:\n3 hosts")
        notifier.status("looking:\n3 hosts")
        notifier.alive()
        notifier.reloading()
        notifier.stopping("acts end")
        found = [systemd.recv(1000).decode() for _message in range(6)]
    assert [message.partition("\n")[0] for message in found] == [
        "READY=1",
        "STATUS=looking: 3 hosts",
        "WATCHDOG=1",
        "RELOADING=1",
        "STOPPING=1",
        "STATUS=acts end",
    ]
    assert "MONOTONIC_USEC=" in found[3]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_systemd_nobody_is_told_and_nothing_fails(environment: dict[str, str]) -> None:
    Notifier(environment).ready()


def test_a_systemd_that_takes_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _again in range(2000):
            notifier.alive()


def entry(kind: str, text: str = "esx1 is fenced", **data: Any) -> dict[str, Any]:
    return {"kind": kind, "text": text, "data": data}


@pytest.mark.parametrize(
    ("item", "priority"),
    [
        (entry("alarm", alarm="raised", severity="critical"), 3),
        (entry("alarm", alarm="raised", severity="warning"), 4),
        (entry("alarm", alarm="raised", severity="info"), 5),
        (entry("alarm", alarm="cleared", severity="critical"), 5),
        (entry("act", ok=False), 4),
        (entry("fence"), 5),
        (entry("step"), 6),
    ],
)
def test_alarms_have_the_priority_of_their_severity(item: dict[str, Any], priority: int) -> None:
    assert priority_of(item) == priority


def test_an_entry_is_one_line() -> None:
    stream = io.StringIO()
    Log(stream).entry(entry("alarm", "it says:\n<0>forged", alarm="raised", severity="critical"))
    assert stream.getvalue() == "<3>alarm: it says: <0>forged\n"
