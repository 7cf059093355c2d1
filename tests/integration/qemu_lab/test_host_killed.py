"""A host that dies at once: how long until iscsi_session_info says so, with the module's NOP settings and with LIO's own.

The module runs over and over in the storage guest, as Ansible had packed it, so each look costs what the module costs there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lio import NODE1, PORTALS, Lio, on_volume

pytestmark = [pytest.mark.qemu]

LOOK_ON = "cd /root/looking; while test -e on; do python3 module/AnsiballZ_iscsi_session_info.py >>looks; echo >>looks; done"
SLACK = 5.0  # seconds, beside the two looks that may lie between the end of a session and the one that sees it


@dataclass(frozen=True)
class Look:
    """``at``: on the storage server's boot-time clock. ``moved``: what all sessions of node1 have moved; None without a session."""

    at: float
    moved: int | None


def served(lio: Lio, nopin_timeout: int, nopin_response_timeout: int) -> Lio:
    lio.clean()
    lio.volume()
    wanted = on_volume(portals=[{"address": PORTALS[0]}], nopin_timeout=nopin_timeout, nopin_response_timeout=nopin_response_timeout)
    lio.target(wanted)
    assert lio.login(portals=PORTALS[:1]) == ""
    lio.start_writing()
    return lio


@pytest.fixture
def looking(rig: Lio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lio]:
    """The module lies in the storage guest as Ansible packs it."""
    monkeypatch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
    rig.guests.ssh("storage", "rm -rf /root/.ansible/tmp /root/looking; mkdir -p /root/looking")
    rig.look()
    rig.guests.ssh("storage", "mv /root/.ansible/tmp/ansible-tmp-* /root/looking/module")
    yield rig
    rig.guests.ssh("storage", "rm -rf /root/looking")
    rig.guests.heal("node1")


def looks(lio: Lio) -> list[Look]:
    found = []
    for line in lio.guests.ssh("storage", "cat /root/looking/looks").stdout.splitlines():
        if line.strip():
            seen: dict[str, Any] = json.loads(line)["storage"]
            assert seen["reason"] == ""
            sessions = [one for one in seen["sessions"] if one["initiator"] == NODE1]
            moved = sum(one["commands_done"] + one["bytes_done"] for one in sessions) if sessions else None
            found.append(Look(seen["taken_at"]["seconds"], moved))
    return found


def now(lio: Lio) -> tuple[float, float]:
    """(earliest, latest) that the storage guest's boot-time clock may show at this moment."""
    began = time.monotonic()
    shown = float(lio.guests.ssh("storage", "cat /proc/uptime").stdout.split()[0])
    return shown, shown + time.monotonic() - began


def killed(lio: Lio, name: str, nopin_timeout: int, nopin_response_timeout: int) -> float:
    """Kill node1 while it writes; seconds until its session is gone, at most."""
    served(lio, nopin_timeout, nopin_response_timeout)
    lio.guests.ssh("storage", "touch /root/looking/on; rm -f /root/looking/looks; setsid sh -c '%s' </dev/null >/dev/null 2>&1 &" % LOOK_ON)
    lio.wait_for(lambda: len(looks(lio)) >= 2, 60, "the module looks")
    earliest = now(lio)[0]
    lio.guests.kill("node1")
    latest = now(lio)[1]
    lio.wait_for(lambda: looks(lio)[-1].moved is None, nopin_timeout + nopin_response_timeout + 60, "the session is gone")
    lio.guests.ssh("storage", "rm /root/looking/on; sleep 3")

    seen = looks(lio)
    gone = next(look.at for look in seen if look.moved is None)
    with_session = [look for look in seen if look.moved is not None]
    moving = [after.at for before, after in zip(with_session, with_session[1:]) if after.moved != before.moved]
    assert moving, "the host was never seen writing"
    assert all(look.moved is None for look in seen if look.at >= gone), "a dead host's session came back"
    step = (seen[-1].at - seen[0].at) / (len(seen) - 1)
    still = next((look.at for look in seen if look.at > moving[-1]), gone)
    print(
        "\n%s (NOP every %d s, answer within %d s): the last look with progress %.1f s after the kill, the next without %.1f s, "
        "session gone %.1f s; up to %.1f s less, a look every %.1f s"
        % (name, nopin_timeout, nopin_response_timeout, moving[-1] - earliest, still - earliest, gone - earliest, latest - earliest, step)
    )
    assert gone - earliest <= nopin_timeout + nopin_response_timeout + SLACK + 2 * step
    return gone - earliest


def test_a_killed_host_is_seen_sooner_with_the_modules_settings_than_with_the_defaults(looking: Lio) -> None:
    ours = killed(looking, "iscsi_target", 3, 3)
    defaults = killed(looking, "LIO's defaults", 15, 30)
    assert defaults > 15
    assert ours < defaults / 2
