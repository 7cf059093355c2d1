"""The fence on the kernel's target: no write of a fenced initiator lands, whatever it and the storage server go through."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

import pytest
from lio import NODE1, NODE2, PORTALS, TARGET, Lio, on_volume

pytestmark = [pytest.mark.qemu]
REPEAT = int(os.environ.get("LIBREHA_REPEAT", "1"))
tokens = itertools.count(10)


@pytest.fixture(scope="module")
def served(rig: Lio) -> Lio:
    rig.volume()
    rig.target(on_volume())
    return rig


@pytest.fixture
def writing(served: Lio) -> Lio:
    """node1 is let in, has nothing from before a fence, and writes numbered records, each durable before the next."""
    served.guests.heal("node1")
    if served.fenced or not served.writing():
        served.leave()
        if served.fenced:
            served.unfence(next(tokens), chap_secret="secret-%06d-abc" % next(tokens), force="node1", reason="it has nothing from before")
        assert served.login() == ""
        served.start_writing(first=served.landed() + 1)
    return served


def test_the_session_is_seen_and_its_io_advances(writing: Lio) -> None:
    first, second = writing.look(), writing.look()
    (one,), (other,) = first["sessions"], second["sessions"]
    assert one["initiator"] == NODE1
    assert other["commands_done"] > one["commands_done"]
    assert first["serving"] is True
    assert first["up_for"] > 0
    assert not first["access"][0]["anybody"]


# Frozen is the one that CI runs: what the initiator had queued is tried again twice, before and after the reboot.
# molecule's scenario fences one that runs.
@pytest.mark.parametrize("state", ["frozen", *(pytest.param(state, marks=pytest.mark.prove) for state in ("running", "killed"))])
@pytest.mark.parametrize("_round", range(REPEAT))
def test_not_one_record_lands_after_the_fence(writing: Lio, state: str, _round: int) -> None:
    """Then the power of the storage server fails: not one lands after that either, by its saved configuration."""
    guests = writing.guests
    acknowledged = writing.acked()
    if state == "frozen":
        guests.stop("node1")
    elif state == "killed":
        guests.kill("node1")
    fenced = writing.fence(next(tokens)).result
    landed, digest = writing.landed(), writing.digest()
    print("\n%s: %s" % (state, [(step["step"], step["after"]) for step in fenced["steps"]]))
    assert fenced["confirmed"]
    assert landed >= acknowledged
    guests.heal("node1")
    time.sleep(8)  # a kernel initiator tries to log in every 2 to 3 s
    assert (writing.landed(), writing.digest()) == (landed, digest)
    assert_fenced(writing)
    if state == "killed":  # it has no login of before that it tries again
        assert_refused(writing)
    if state == "frozen":
        guests.stop("node1")
    guests.reboot_hard("storage")
    guests.heal("node1")
    time.sleep(8)
    assert_fenced(writing)
    writing.leave()
    assert_refused(writing)
    assert (writing.landed(), writing.digest()) == (landed, digest)


def assert_refused(lio: Lio) -> None:
    """By a word of the target: an emulated one on a busy machine may need longer for it than a kernel waits by itself."""
    said = lio.login(patience=60)
    assert "authorization failure" in said, said


def assert_fenced(lio: Lio) -> None:
    look = lio.look()
    assert look["serving"] is True
    assert look["sessions"] == []
    assert [fence["confirmed"] for fence in look["fences"]] == [True]
    assert NODE2 in look["access"][0]["initiators"], "the fence has hit a neighbour"


def test_a_write_that_hangs_in_the_backend_keeps_the_fence_from_being_confirmed(writing: Lio) -> None:
    """The disk behind the LUN stands still: the kernel cannot end the session, so nothing may start elsewhere yet."""
    writing.guests.ssh("storage", "dmsetup suspend --noflush --nolockfs lab-lun0")
    try:
        time.sleep(3)  # a write is in the backend now
        refused = writing.fence(next(tokens), timeout=2.0, wait=2.0, fails=True).result
        assert "NOT confirmed" in refused["msg"]
        assert "has not come back from the backend" in refused["msg"]
    finally:
        writing.guests.ssh("storage", "dmsetup resume lab-lun0")
    assert writing.fence(next(tokens)).result["confirmed"]
    after = writing.digest()
    time.sleep(8)
    assert writing.digest() == after


@pytest.mark.prove
def test_fencing_again_changes_nothing_and_check_mode_tells_so(writing: Lio) -> None:
    foreseen = writing.fence(next(tokens), NODE1, "--check").result
    assert (foreseen["changed"], foreseen["confirmed"]) == (True, False)
    assert len(writing.look()["sessions"]) == 1
    assert writing.fence(next(tokens)).changed
    assert not writing.fence(next(tokens)).changed


def test_a_login_half_way_is_cut_and_never_becomes_a_session(rig: Lio) -> None:
    """Its access was checked before the fence, and it would go on after it."""
    rig.clean()
    rig.volume()
    rig.target(on_volume(chap=False))
    rig.guests.put("node1", Path(__file__).resolve().parents[1] / "storage" / "half_login.py", "/root/half_login.py")
    words = "python3 /root/half_login.py %s 3260 %s %s" % (PORTALS[0], TARGET, NODE1)
    with subprocess.Popen(
        rig.guests.ssh_command("node1", words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as login:
        assert login.stdin
        assert login.stdout
        assert login.stdout.readline() == "half way\n"
        assert rig.fence(next(tokens)).result["confirmed"]
        login.stdin.write("\n")
        login.stdin.flush()
        assert login.stdout.readline() == "out\n"
    assert rig.look()["sessions"] == []
