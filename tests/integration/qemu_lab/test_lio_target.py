"""iscsi_target on the kernel's target: what it builds, keeps, refuses, and what a real initiator sees of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from lio import NODE1, NODE2, PORTALS, RESERVATIONS, SAVED, SECRETS, TARGET, Lio, model

pytestmark = [pytest.mark.qemu]


@pytest.fixture
def lio(rig: Lio) -> Lio:
    """The guests with nothing on them."""
    rig.clean()
    return rig


@pytest.fixture
def built(lio: Lio) -> Lio:
    lio.target(model())
    return lio


def test_the_first_run_builds_and_saves_it_and_the_second_changes_nothing(lio: Lio) -> None:
    nothing = lio.dump()
    foreseen = lio.target(model(), "--check", "--diff")
    assert foreseen.changed
    assert lio.dump() == nothing
    first = lio.target(model())
    assert first.result["steps"] == foreseen.result["steps"]
    running = lio.dump()
    second = lio.target(model(), "--diff")
    assert not second.changed
    assert second.result["steps"] == []
    assert not lio.target(model(), "--check").changed
    assert lio.dump() == running
    for answer in (foreseen, first, second):
        assert not [secret for secret in SECRETS.values() if secret in answer.text]
    assert lio.guests.ssh("storage", "stat -c %%a:%%U %s /var/lib/file.img" % SAVED).stdout.split() == ["600:root"] * 2
    # without it LIO refuses every persistent reservation (docs/iscsi-conformance.md)
    assert "make %s, where the kernel keeps persistent reservations" % RESERVATIONS in first.result["steps"]
    assert lio.guests.ssh("storage", "stat -c %%a:%%U %s" % RESERVATIONS).stdout.split() == ["700:root"]


def test_an_initiator_sees_its_luns_by_their_names_and_keeps_its_data(built: Lio) -> None:
    naa = built.target(model()).result["naa"]
    assert built.login() == ""
    for lun, name in ((0, "disk"), (5, "file")):
        for portal in PORTALS:
            shown = built.guests.ssh("node1", "udevadm info -q property -n %s" % built.disk(lun, portal)).stdout
            assert "ID_SERIAL=3%s" % naa[name].removeprefix("naa.") in shown
    built.guests.ssh("node1", "dd if=/dev/urandom of=/root/pattern bs=64k count=16 status=none")
    built.guests.ssh("node1", "dd if=/root/pattern of=%s bs=64k oflag=direct,sync status=none" % built.disk(5))
    read = "dd if=%s bs=64k count=16 iflag=direct status=none | cmp - /root/pattern"
    built.guests.ssh("node1", read % built.disk(5, PORTALS[1]))
    assert built.guests.ssh("storage", "stat -c %b /var/lib/file.img").stdout.strip() < "4096", "the file is not sparse"
    assert "unmap" not in built.guests.ssh("node1", "blkdiscard -o 0 -l 1048576 %s" % built.disk(5)).stderr


def test_who_has_no_right_gets_nowhere(built: Lio) -> None:
    assert "authorization failure" in built.login("not-the-secret-1")
    assert "authorization failure" in built.login(name="somebody")
    without = model()
    without["tpgs"][0]["acls"] = without["tpgs"][0]["acls"][1:]
    built.target(without)
    assert "authorization failure" in built.login()
    assert NODE1 not in built.look()["access"][0]["initiators"]


def test_the_target_proves_itself_with_mutual_chap(lio: Lio) -> None:
    both = model()
    for acl in both["tpgs"][0]["acls"]:
        acl["chap"].update(mutual_user="target", mutual_secret="secret-of-target")
    lio.target(both)
    assert "Could not login" in lio.login(mutual="of-another-target")
    assert lio.login(mutual="secret-of-target") == ""


def test_a_hard_reboot_brings_back_exactly_this(built: Lio) -> None:
    assert built.login() == ""
    before = built.dump()
    built.guests.reboot_hard("storage")
    after = built.dump()
    # rtslib lists folders in the kernel's order; everything else must be the same
    assert in_order(after) == in_order(before)
    assert not built.target(model()).changed
    built.wait_for(lambda: NODE1 in built.sessions(), 60, "node1 is in again by itself")


def test_changing_one_thing_leaves_sessions_alone(built: Lio) -> None:
    assert built.login() == ""
    session = built.sessions()[NODE1]
    more = model()
    more["backstores"].append({"name": "third", "type": "fileio", "path": "/var/lib/third.img", "size": "16M"})
    more["tpgs"][0]["luns"].append({"number": 2, "backstore": "third"})
    more["tpgs"][0]["acls"].append({"initiator": NODE2 + "b", "chap": {"secret": "secret-of-node2b"}})
    more["tpgs"][0]["nopin_timeout"] = 5
    more["tpgs"][0]["acls"][0]["chap"]["secret"] = "a-new-secret-of-1"
    answer = built.target(more, "--diff")
    assert '"chap_secret": "(hidden), another one"' in answer.text
    assert "a-new-secret-of-1" not in answer.text
    assert "secret-of-node1-" not in answer.text
    assert built.sessions()[NODE1] == session
    built.guests.ssh("node1", "iscsiadm -m session --rescan >/dev/null; udevadm settle; test -b %s" % built.disk(2))
    one_portal = model()
    one_portal["backstores"], one_portal["tpgs"][0]["luns"] = more["backstores"], more["tpgs"][0]["luns"]
    del one_portal["tpgs"][0]["portals"][1]
    one_portal["tpgs"][0]["acls"][0]["chap"]["secret"] = "a-new-secret-of-1"
    built.target(one_portal)
    assert built.sessions()[NODE1] == session


def test_a_file_grows_while_it_is_used_and_never_shrinks(built: Lio) -> None:
    assert built.login() == ""
    session = built.sessions()[NODE1]
    larger = model()
    larger["backstores"][1]["size"] = "96MiB"
    assert built.target(larger).result["steps"] == ["grow /backstores/fileio/file"]
    assert not built.target(larger).changed
    size = "iscsiadm -m session --rescan >/dev/null; blockdev --getsize64 %s" % built.disk(5)
    built.wait_for(lambda: int(built.guests.ssh("node1", size).stdout) == 96 << 20, 20, "the initiator sees the new size")
    assert built.sessions()[NODE1] == session
    answer = built.target(model(), fails=True)
    assert "has 100663296 bytes, the model says 67108864. It is never made smaller" in answer.result["msg"]
    built.guests.reboot_hard("storage")
    assert not built.target(larger).changed


def test_nothing_is_taken_from_a_host_without_its_name(built: Lio) -> None:
    assert built.login() == ""
    before = built.dump()
    without_host = model()
    del without_host["tpgs"][0]["acls"][0]
    without_lun = model()
    del without_lun["tpgs"][0]["luns"][1], without_lun["backstores"][1]
    for wanted, says in (
        (without_host, "%s has a session at TPG 1, and its ACL is not in the model" % NODE1),
        (without_lun, "name it in remove_backstores"),
        ({"name": TARGET, "state": "absent"}, "%s has a session" % NODE1),
    ):
        assert says in built.target(wanted, fails=True).result["msg"]
        assert built.dump() == before
    answer = built.target({**without_lun, "remove_backstores": ["file"]})
    assert answer.result["steps"] == ["TPG 1: remove LUN 5 (file)", "remove /backstores/fileio/file, its data stays"]
    assert "file.img" not in built.dump()
    built.guests.ssh("storage", "test -s /var/lib/file.img")
    assert NODE1 in built.sessions()
    built.target({**without_lun, "tpgs": without_host["tpgs"], "backstores": model()["backstores"], "disrupt": [NODE1]})
    assert NODE1 not in built.sessions()


def test_absent_leaves_the_data_and_other_targets(built: Lio) -> None:
    other = {
        "name": "iqn.2026-01.lab.libreha:other",
        "backstores": [{"name": "other", "type": "fileio", "path": "/var/lib/other.img", "size": "16M"}],
        "tpgs": [{"portals": [{"address": PORTALS[0], "port": 3261}], "luns": [{"number": 0, "backstore": "other"}]}],
    }
    built.target(other)
    built.target({"name": TARGET, "state": "absent"})
    assert not built.target({"name": TARGET, "state": "absent"}).changed
    assert TARGET not in built.dump()
    assert not built.target(other).changed
    built.guests.ssh("storage", "test -s /var/lib/file.img")
    built.target({**other, "state": "absent"})
    # the disk was given content by nobody, and what was saved knows it no more
    assert built.target(model()).changed


SPARE = "/dev/disk/by-id/virtio-data2"


@pytest.fixture(scope="module")
def empty(rig: Lio) -> Lio:
    """The guests with nothing on them, for tests that change nothing."""
    rig.clean()
    return rig


def _portal(wanted: dict[str, Any]) -> None:
    wanted["tpgs"][0]["portals"][1]["address"] = "192.0.2.77"


def _iqn(wanted: dict[str, Any]) -> None:
    wanted["name"] = "iqn.2026-13.lab.libreha:storage"


def _secret(wanted: dict[str, Any]) -> None:
    wanted["tpgs"][0]["acls"][0]["chap"]["secret"] = "short"


def _large_disk(wanted: dict[str, Any]) -> None:
    wanted["backstores"][0]["size"] = "8TiB"


def _size(wanted: dict[str, Any]) -> None:
    wanted["backstores"][1]["path"] = "/var/lib/larger.img"


def _mounted(wanted: dict[str, Any]) -> None:
    wanted["backstores"][0]["path"] = SPARE


def _port(wanted: dict[str, Any]) -> None:
    wanted["tpgs"][0]["portals"][0]["port"] = 22


@pytest.mark.parametrize(
    ("prepare", "spoil", "says"),
    [
        ("", _portal, "portal 192.0.2.77:3260: this machine does not have that address"),
        ("", _port, "portal 192.0.2.1:22: another program listens there"),
        ("", _iqn, "name is no iSCSI name: 'iqn.2026-13.lab.libreha:storage'"),
        ("", _large_disk, "backstores[0].size is given for a disk"),
        ("", _secret, "tpgs[0].acls[0].chap.secret of iqn.2026-01.lab.libreha:node1 has 5 characters"),
        ("truncate -s 80M /var/lib/larger.img", _size, "has 83886080 bytes, more than its size of 67108864"),
        ("echo content >/var/lib/larger.img", _size, "/var/lib/larger.img has content"),
        ("mkfs.ext4 -q %s" % SPARE, _mounted, "is not empty, it carries ext4"),
        ("pvcreate -q -ff -y %s" % SPARE, _mounted, "is not empty, it carries LVM2_member"),
        (
            "mkfs.ext4 -q %s && mount %s /mnt" % (SPARE, SPARE),
            _mounted,
            "is in use on this machine: mounted",
        ),
        ("vgcreate -q -ff -y lab %s && lvcreate -q -y -L 16M -n one lab" % SPARE, _mounted, "part of a volume group"),
    ],
    ids=[
        "address",
        "port",
        "iqn",
        "size of a disk",
        "secret",
        "smaller",
        "content",
        "file system",
        "lvm",
        "mounted",
        "volume group in use",
    ],
)
def test_what_is_wrong_is_named_and_nothing_changes(empty: Lio, prepare: str, spoil: Callable[[dict[str, Any]], None], says: str) -> None:
    if prepare:
        empty.guests.ssh("storage", prepare)
    wanted = model()
    spoil(wanted)
    before = empty.everything()
    try:
        for flags in (("--check",), ()):
            assert says in empty.target(wanted, *flags, fails=True).result["msg"]
        assert empty.everything() == before
        assert "file.img" not in before
    finally:
        empty.guests.ssh(
            "storage",
            "umount /mnt; vgremove -qfy lab; pvremove -qffy %s; wipefs -qa %s; rm -f /var/lib/larger.img" % (SPARE, SPARE),
            check=False,
        )


def test_a_kernel_without_the_target_is_named(empty: Lio) -> None:
    before = empty.everything()
    empty.guests.ssh(
        "storage", "modprobe -qr iscsi_target_mod || { rmdir /sys/kernel/config/target/iscsi && modprobe -r iscsi_target_mod; }"
    )
    empty.guests.ssh("storage", "echo 'install iscsi_target_mod /bin/false' >/etc/modprobe.d/no.conf")
    try:
        for flags in (("--check",), ()):
            message = empty.target(model(), *flags, fails=True).result["msg"]
            assert "the kernel's iSCSI target cannot be used" in message
            assert "modprobe iscsi_target_mod" in message
        look = empty.look()
        assert (look["serving"], look["access"]) == (False, [])
    finally:
        empty.guests.ssh("storage", "rm /etc/modprobe.d/no.conf")
    assert empty.everything() == before


def test_a_missing_library_is_named(empty: Lio) -> None:
    place = "/usr/lib/python3/dist-packages/rtslib_fb"
    before = empty.everything()
    empty.guests.ssh("storage", "mv %s %s.away" % (place, place))
    try:
        for flags in (("--check",), ()):
            message = empty.target(model(), *flags, fails=True).result["msg"]
            assert "needs the Python library rtslib-fb" in message
            assert "python3-rtslib-fb" in message
    finally:
        empty.guests.ssh("storage", "mv %s.away %s" % (place, place))
    assert empty.everything() == before


def in_order(dump: str) -> list[Any]:
    """The JSON documents of a dump, without the order of their lists."""

    def sort(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sort(item) for key, item in value.items()}
        if isinstance(value, list):
            return sorted((sort(item) for item in value), key=json.dumps)
        return value

    decoder, found, at = json.JSONDecoder(), [], 0
    text = dump.strip()
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(sort(document))
        while at < len(text) and text[at].isspace():
            at += 1
    return found
