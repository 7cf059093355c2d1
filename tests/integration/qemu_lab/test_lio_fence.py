"""The fence on the kernel's target, with a real initiator that writes, sleeps, or is in the middle of its login."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from liblab.qemu import Guests
from lio import NODE1, NODE2, PORTALS, SECRETS, TARGET, Lio, model

pytestmark = [pytest.mark.qemu]
KEPT = "/var/lib/libreha/fences-acls.json"

HALF_A_LOGIN = r"""
import socket, struct, sys, time
portal, initiator, target = sys.argv[1:]
text = "InitiatorName=%s\0SessionType=Normal\0TargetName=%s\0AuthMethod=CHAP\0" % (initiator, target)
data = text.encode()
# Login request (RFC 7143, 11.12): immediate, not transit, security negotiation to security negotiation
length, isid = len(data).to_bytes(3, "big"), bytes.fromhex("00023d000077")
header = struct.pack(">BBBBB3s6sHIHHII16s", 0x43, 0, 0, 0, 0, length, isid, 0, 1, 0, 0, 1, 0, b"")
link = socket.create_connection((portal, 3260))
link.sendall(header + data + b"\0" * (-len(data) % 4))
answer = link.recv(48)
print("status %d.%d" % (answer[36], answer[37]), flush=True)
link.settimeout(60)
rest = link.recv(4096)  # the target's negotiation; then nothing is said any more
began = time.monotonic()
try:
    while link.recv(4096):
        pass
except OSError:
    pass
print("ended after %.1f s" % (time.monotonic() - began), flush=True)
"""


@pytest.fixture
def lio(guests: Guests, tmp_path: Path) -> Iterator[Lio]:
    """A target with two hosts, node1 logged in on both networks."""
    found = Lio(guests, tmp_path)
    guests.heal("storage")
    guests.heal("node1")
    found.clean()
    found.target(model())
    assert found.login() == ""
    yield found
    guests.heal("node1")


def fences(lio: Lio) -> list[dict[str, object]]:
    return list(lio.look()["fences"])


def test_the_look_tells_sessions_and_progress(lio: Lio) -> None:
    first = lio.look()
    assert first["serving"] is True
    assert 0 < first["up_for"] < 300
    assert [(one["initiator"], one["target"]) for one in first["sessions"]] == [(NODE1, TARGET)]
    assert first["sessions"][0]["address"] in ("192.0.2.101", "198.51.100.101")
    assert first["access"] == [{"target": TARGET, "initiators": [NODE1, NODE2], "anybody": False, "reason": "", "luns": [0, 5]}]
    second = lio.look()  # nobody writes: the answered NOPs are progress all the same
    assert second["sessions"][0]["bytes_done"] > first["sessions"][0]["bytes_done"]
    lio.start_writing()
    third = lio.look()
    assert third["sessions"][0]["commands_done"] > second["sessions"][0]["commands_done"]
    lio.guests.ssh("storage", "targetctl clear")
    down = lio.look()
    assert (down["serving"], down["up_for"], down["sessions"]) == (False, None, [])


def test_demo_mode_is_seen_as_everybody(lio: Lio) -> None:
    tpg = "/sys/kernel/config/target/iscsi/%s/tpgt_1" % TARGET
    lio.guests.ssh("storage", "echo 1 >%s/attrib/generate_node_acls" % tpg)
    access = lio.look()["access"][0]
    assert (access["anybody"], access["reason"]) == (True, "demo mode (generate_node_acls=1) in TPG 1")
    # an initiator that has no ACL is now in; then demo mode ends, and its session does not
    lio.guests.ssh("storage", "rmdir %s/acls/%s/lun_* 2>/dev/null; targetcli /iscsi/%s/tpg1/acls delete %s" % (tpg, NODE1, TARGET, NODE1))
    lio.guests.ssh("storage", "echo 0 >%s/attrib/authentication" % tpg)
    lio.wait_for(lambda: NODE1 in lio.sessions(), 60, "node1 is in without an ACL")
    lio.guests.ssh("storage", "echo 0 >%s/attrib/generate_node_acls" % tpg)
    access = lio.look()["access"][0]
    assert access["reason"] == "sessions without an ACL in TPG 1: %s" % NODE1
    lio.fence(1)
    assert lio.sessions() == {}
    assert fences(lio)[0]["confirmed"] is True
    # what is saved counts as well
    lio.guests.ssh("storage", r"sed -i 's/\"generate_node_acls\": 0/\"generate_node_acls\": 1/' /etc/rtslib-fb-target/saveconfig.json")
    assert lio.look()["access"][0]["anybody"] is True


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_not_one_record_lands_after_a_fence(lio: Lio, state: str) -> None:
    lio.start_writing()
    if state == "frozen":
        lio.guests.stop("node1")
    fenced = lio.fence(1)
    assert fenced.result["confirmed"] is True
    assert fenced.result["sessions_ended"] == 1
    landed = lio.landed()
    if state == "frozen":
        lio.guests.cont("node1")
    assert landed >= lio.acked() > 20
    lio.wait_for(lambda: "authorization" in lio.guests.ssh("node1", "journalctl -b -u iscsid --no-pager").stdout, 60, "node1 is refused")
    assert lio.landed() == landed
    assert lio.sessions() == {}
    assert not lio.fence(2).changed
    print(state, fenced.result["steps"])


def test_a_killed_host_is_fenced_and_its_session_goes_by_itself_within_seconds(lio: Lio) -> None:
    lio.start_writing()
    lio.guests.kill("node1")
    seconds = lio.wait_for(lambda: not lio.sessions(), 30, "the session of a dead host ends")
    print("session gone after %.1f s" % seconds)
    assert lio.fence(1).result["confirmed"] is True


@pytest.mark.parametrize("how", ["hard reboot", "restart of the service"])
def test_a_fence_outlives_the_target(lio: Lio, how: str) -> None:
    lio.start_writing()
    assert lio.fence(3).result["confirmed"] is True
    if how == "hard reboot":
        lio.guests.reboot_hard("storage")
    else:
        lio.guests.ssh("storage", "systemctl restart rtslib-fb-targetctl")
    look = lio.look()
    assert look["serving"] is True
    assert look["access"][0]["initiators"] == [NODE2]
    assert look["sessions"] == []
    assert [(one["initiator"], one["confirmed"]) for one in look["fences"]] == [(NODE1, True)]
    assert look["highest_token"] == 3
    landed = lio.landed()
    lio.wait_for(lambda: "authorization" in lio.guests.ssh("node1", "journalctl -b -u iscsid --no-pager").stdout, 60, "node1 is refused")
    assert lio.landed() == landed


def test_a_login_that_was_under_way_never_becomes_a_session(lio: Lio) -> None:
    lio.guests.ssh("node1", "iscsiadm -m node -u")
    said: list[str] = []

    def begin() -> None:
        # PORTALS[1] of an initiator that is asleep in the middle of its login
        command = "python3 - %s %s %s" % (PORTALS[1], NODE1, TARGET)
        said.append(lio.guests.ssh("node1", command, input=HALF_A_LOGIN, check=False).stdout)

    login = threading.Thread(target=begin)
    login.start()
    lio.wait_for(lambda: PORTALS[1] in lio.guests.ssh("storage", "ss -Htn state established sport = :3260").stdout, 20, "the login began")
    fenced = lio.fence(1)
    assert fenced.result["confirmed"] is True
    print(fenced.result["steps"])
    login.join(60)
    assert said
    assert said[0].startswith("status 0.0"), said
    assert lio.sessions() == {}


def test_the_module_does_not_let_a_fenced_host_back_in(lio: Lio) -> None:
    assert lio.fence(1).result["confirmed"] is True
    again = lio.target(model())
    assert not again.changed
    assert again.result["fenced"] == [NODE1]
    assert "%s (host node1) is fenced and was not admitted" % NODE1 in again.text
    # what is configured meanwhile is what it will get
    more = model()
    more["backstores"].append({"name": "third", "type": "fileio", "path": "/var/lib/third.img", "size": "16M"})
    more["tpgs"][0]["luns"].append({"number": 2, "backstore": "third"})
    assert lio.target(more, "--check").changed
    assert lio.target(more).changed
    assert not lio.target(more).changed
    look = lio.look()
    assert look["access"][0]["initiators"] == [NODE2]
    assert look["fences"][0]["confirmed"] is True
    # someone lets it in by hand: the next run takes it out again
    lio.guests.ssh("storage", "targetcli /iscsi/%s/tpg1/acls create %s && targetcli saveconfig" % (TARGET, NODE1))
    assert lio.look()["fences"][0]["admitted"] is True
    assert lio.target(more).result["steps"] == ["TPG 1: revoke %s" % NODE1]
    assert lio.look()["fences"][0]["confirmed"] is True
    assert lio.guests.ssh("storage", "stat -c %%a:%%U %s" % KEPT).stdout.strip() == "600:root"

    assert "only with a new secret" in lio.unfence(2, fails=True).result["msg"]
    assert "is the old one" in lio.unfence(2, fails=True, chap_secret=SECRETS[NODE1]).result["msg"]
    assert lio.look()["access"][0]["initiators"] == [NODE2]
    lio.unfence(2, chap_secret="a-new-secret-of-1")
    assert json.loads(lio.guests.ssh("storage", "cat %s" % KEPT).stdout)["acls"] == []
    lio.guests.ssh("node1", "iscsiadm -m node -u; true")
    assert "authorization failure" in lio.login()
    assert lio.login("a-new-secret-of-1") == ""
    lio.guests.ssh("node1", "test -b %s" % lio.disk(2))
    more["tpgs"][0]["acls"][0]["chap"]["secret"] = "a-new-secret-of-1"
    assert not lio.target(more).changed
    lio.guests.reboot_hard("storage")
    assert not lio.target(more).changed


def test_an_old_run_neither_fences_nor_unfences(lio: Lio) -> None:
    lio.fence(9, NODE2)
    stale = lio.module("iscsi_fence", {"driver": "lio", "host": "node1", "initiators": [NODE1], "token": 8, "reason": "old"}, fails=True)
    assert "token 8 is older than 9" in stale.result["msg"]
    assert NODE1 in lio.sessions()
    lio.unfence(8, NODE2, fails=True, chap_secret="a-new-secret-of-2")
