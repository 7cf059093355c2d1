"""The fence on the kernel's target: no write of a fenced initiator lands, whatever it and the storage server go through."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from liblab.qemu import Guests
from san import SECRET, San

pytestmark = [pytest.mark.qemu]
REPEAT = int(os.environ.get("LIBREHA_REPEAT", "1"))
tokens = iter(range(10, 10**6))


@pytest.fixture(scope="module")
def san(guests: Guests, state_folder: Path) -> San:
    made = San(guests, state_folder)
    made.serve()
    return made


@pytest.fixture
def writing(san: San) -> San:
    """node1 has been started afresh, is let in, and writes numbered records."""
    look = san.look()
    secret = SECRET
    if look["fences"]:
        san.guests.reboot_hard("node1")
        secret = "secret-%06d-abc" % next(tokens)
        assert not san.unfence(next(tokens), chap_secret=secret, force="node1", reason="started afresh by the test").get("failed")
        san.login(secret)
    elif not look["sessions"]:
        san.login()
    san.start_writing()
    before = san.newest_record()
    for _try in range(60):
        if san.newest_record() > before:
            return san
        time.sleep(1)
    raise AssertionError("node1 does not write: %s" % san.guests.ssh("node1", "cat /root/write.log; dmesg | tail").stdout)


def test_the_session_is_seen_and_its_io_advances(writing: San) -> None:
    first, second = writing.look(), writing.look()
    (one,), (other,) = first["sessions"], second["sessions"]
    assert (one["initiator"], one["address"]) == (writing.initiator, writing.entry("node1")["addresses"]["stor0"])
    assert other["commands_done"] > one["commands_done"]
    assert first["serving"] is True
    assert first["up_for"] > 0
    assert not first["access"][0]["anybody"]


@pytest.mark.parametrize("state", ["running", "frozen", "killed"])
@pytest.mark.parametrize("_round", range(REPEAT))
def test_not_one_record_lands_after_the_fence(writing: San, state: str, _round: int) -> None:
    san, guests = writing, writing.guests
    if state == "frozen":
        guests.stop("node1")
    elif state == "killed":
        guests.kill("node1")
    result = san.fence(next(tokens))
    print("\n%s: %s" % (state, [(step["step"], step["after"]) for step in result.get("steps", [])]))
    assert not result.get("failed"), result
    assert result["confirmed"]
    after = san.lun()
    if state == "frozen":
        guests.cont("node1")
    elif state == "killed":
        guests.heal("node1")
    time.sleep(10)
    assert san.lun() == after
    if state == "running":
        assert not san.login(check=False)
    look = san.look()
    assert look["sessions"] == []
    assert [fence["confirmed"] for fence in look["fences"]] == [True]
    assert any("neighbour" in name for name in look["access"][0]["initiators"])


def test_the_fence_outlives_a_hard_reboot_of_the_storage_server(writing: San) -> None:
    san = writing
    assert san.fence(next(tokens))["confirmed"]
    after = san.lun()
    san.guests.reboot_hard("storage")
    time.sleep(10)
    look = san.look()
    assert look["serving"] is True
    assert [fence["confirmed"] for fence in look["fences"]] == [True]
    assert san.lun() == after


def test_a_write_that_hangs_in_the_backend_keeps_the_fence_from_being_confirmed(writing: San) -> None:
    """The disk behind the LUN stands still: the kernel cannot end the session, so nothing may start elsewhere yet."""
    san = writing
    san.guests.ssh("storage", "dmsetup suspend --noflush --nolockfs lab-lun0")
    try:
        time.sleep(3)  # a write is in the backend now
        refused = san.fence(next(tokens), timeout=2.0, wait=2.0)
        assert refused["failed"]
        assert "NOT confirmed" in refused["msg"]
        assert "has not come back from the backend" in refused["msg"]
    finally:
        san.guests.ssh("storage", "dmsetup resume lab-lun0")
    assert san.fence(next(tokens))["confirmed"]
    after = san.lun()
    time.sleep(10)
    assert san.lun() == after


def test_fencing_again_changes_nothing_and_check_mode_tells_so(writing: San) -> None:
    san = writing
    foreseen = san.module(
        "iscsi_fence",
        check_mode=True,
        driver="lio",
        state="fenced",
        host="node1",
        initiators=[san.initiator],
        token=next(tokens),
        reason="t",
    )
    assert (foreseen["changed"], foreseen["confirmed"]) == (True, False)
    assert len(san.look()["sessions"]) == 1
    assert san.fence(next(tokens))["changed"] is True
    assert san.fence(next(tokens))["changed"] is False


def test_without_a_fresh_start_and_a_new_secret_it_is_not_let_in(writing: San) -> None:
    """Why a fresh start: tests/integration/storage shows the write that would land."""
    san = writing
    assert san.fence(next(tokens))["confirmed"]
    after = san.lun()
    uptime = float(san.guests.ssh("node1", "cat /proc/uptime").stdout.split()[0])
    refused = san.unfence(next(tokens), chap_secret="another-secret", uptime=uptime, uptime_age=0.0)
    assert refused["failed"]
    assert "it was not restarted since" in refused["msg"]
    none = san.unfence(next(tokens), force="node1", reason="the test")
    assert none["failed"]
    assert "only with a new secret" in none["msg"]
    assert san.lun() == after
