"""Why a fenced host is let in again only after a fresh start, and with a new secret: the kernel's target, a kernel initiator.

The cable of the host is pulled while it writes: its last writes are issued and cannot be delivered. It is fenced, the cable is plugged in
again, and somebody lets it in. What then reaches the disk was issued before the fence.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from lio import NODE1, PORTALS, TARGET, VOLUME, Lio, on_volume

pytestmark = [pytest.mark.qemu]
tokens = itertools.count(10)
WRITERS = 8

# Each process writes a record, waits for the word, notes the number of another one, and writes that: it cannot be delivered any more.
QUEUE = r"""
import mmap, os, struct, sys, time
disk, issued, word, writers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
notes = os.open(issued, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
me = next((number for number in range(1, writers) if os.fork() == 0), writers)
out = os.open(disk, os.O_WRONLY | os.O_DIRECT | os.O_SYNC)
block = mmap.mmap(-1, 512)
def write(number):
    block[:16] = b"LHTEST02" + struct.pack("<Q", number)
    os.pwrite(out, block, number * 512)
write(100 + me)
while not os.path.exists(word):
    time.sleep(0.1)
os.write(notes, b"%d\n" % me)
write(me)
"""
LANDED = r"""
import struct, sys
data = open(sys.argv[1], "rb").read(512 << 8)
blocks = (data[at : at + 16] for at in range(0, len(data), 512))
print(*(struct.unpack("<Q", block[8:])[0] for block in blocks if block.startswith(b"LHTEST02")))
"""


def landed(lio: Lio) -> set[int]:
    """Numbers of the records that are on the storage server's disk."""
    found = lio.guests.ssh("storage", "blockdev --flushbufs %s; python3 - %s" % (VOLUME, VOLUME), input=LANDED)
    return set(map(int, found.stdout.split()))


def issued(lio: Lio) -> set[int]:
    return set(map(int, lio.guests.ssh("node1", "cat /root/issued").stdout.split()))


@pytest.fixture(params=[False, True], ids=["no CHAP", "CHAP"])
def chap(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def stale(rig: Lio, chap: bool) -> Iterator[tuple[Lio, set[int]]]:
    """node1 was cut off while it wrote, is fenced, and reaches the storage again: the records that it issued before the fence and
    that have not landed."""
    rig.clean()
    rig.volume()
    rig.secret = type(rig)(rig.guests, rig.folder).secret
    rig.target(on_volume(chap=chap))
    assert rig.login("" if not chap else None, portals=PORTALS[:1]) == ""
    rig.guests.ssh("node1", "cat >/root/queue.py; rm -f /root/issued /root/cut", input=QUEUE)
    rig.guests.ssh(
        "node1", "setsid python3 /root/queue.py %s /root/issued /root/cut %d </dev/null >/root/queue.log 2>&1 &" % (rig.disk(0), WRITERS)
    )
    rig.wait_for(lambda: len(landed(rig)) == WRITERS, 60, "node1 writes")
    rig.guests.set_cable("node1", "stor0", plugged=False)
    rig.guests.ssh("node1", "touch /root/cut")
    rig.wait_for(lambda: len(issued(rig)) == WRITERS, 60, "node1 has issued its writes")
    assert rig.fence(next(tokens)).result["confirmed"]
    left = issued(rig)
    assert not landed(rig) & left
    rig.guests.set_cable("node1", "stor0", plugged=True)
    time.sleep(8)
    assert not landed(rig) & left, "the fence did not hold"
    assert rig.look()["sessions"] == []
    yield rig, left
    rig.guests.ssh("node1", "pkill -9 -f '[/]root/queue.py'; true")


def uptime(lio: Lio) -> float:
    return float(lio.guests.ssh("node1", "cat /proc/uptime").stdout.split()[0])


@pytest.mark.parametrize("chap", [False], indirect=True)
def test_let_in_without_a_fresh_start_it_delivers_what_it_wrote_before_the_fence(stale: tuple[Lio, set[int]]) -> None:
    lio, left = stale
    refused = lio.unfence(next(tokens), uptime=uptime(lio), uptime_age=0.0, fails=True).result
    assert "it was not restarted since" in refused["msg"]
    before = landed(lio)
    assert not before & left
    lio.unfence(next(tokens), force="node1", reason="to show what it would do")
    waited = lio.wait_for(lambda: landed(lio) >= left, 90, "the stale writes land")
    print("\n%d stale writes landed within %.1f s of the unfence" % (len(left), waited))
    assert landed(lio) == before | left


@pytest.mark.parametrize("chap", [False], indirect=True)
def test_after_a_fresh_start_nothing_old_lands(stale: tuple[Lio, set[int]]) -> None:
    lio, left = stale
    lio.guests.reboot_hard("node1")
    lio.unfence(next(tokens), uptime=uptime(lio), uptime_age=0.0, margin=3.0)
    assert lio.login("", portals=PORTALS[:1]) == ""
    time.sleep(5)
    assert NODE1 in lio.sessions()
    assert not landed(lio) & left


@pytest.mark.parametrize("chap", [True], indirect=True)
def test_with_a_new_secret_what_it_wrote_before_the_fence_never_lands(stale: tuple[Lio, set[int]]) -> None:
    lio, left = stale
    old = lio.secret
    for none, says in ((None, "only with a new secret"), (old, "is an old one")):
        refused = lio.unfence(next(tokens), force="node1", reason="test", fails=True, **({"chap_secret": none} if none else {}))
        assert says in refused.result["msg"]
        assert old not in refused.text
    lio.unfence(next(tokens), force="node1", reason="to show what it would do", chap_secret="second-secret-02")
    time.sleep(10)
    assert lio.look()["sessions"] == []
    assert not landed(lio) & left
    # the inventory still has the old secret: a run of iscsi_target must not undo that
    before = lio.dump()
    for flags in ((), ("--check",)):
        refused = lio.target(on_volume(chap=True), *flags, fails=True)
        assert "the CHAP secret of %s is one that its fence has retired" % NODE1 in refused.result["msg"]
        assert lio.dump() == before
    renewed = on_volume(chap=True)
    renewed["tpgs"][0]["acls"][0]["chap"]["secret"] = "second-secret-02"
    assert not lio.target(renewed).changed
    # its old session goes on with the secret that it began with, also when the new one is in the host's settings and iscsid starts again
    lio.guests.ssh("node1", "iscsiadm -m node -T %s -o update -n node.session.auth.password -v second-secret-02" % TARGET)
    lio.guests.ssh("node1", "systemctl kill -s KILL iscsid; systemctl restart iscsid")
    time.sleep(10)
    assert lio.look()["sessions"] == []
    # after a fresh start the new secret lets it in, and nothing is left of what it had
    lio.guests.reboot_hard("node1")
    assert lio.login(portals=PORTALS[:1]) == ""
    time.sleep(5)
    assert NODE1 in lio.sessions()
    assert not landed(lio) & left
