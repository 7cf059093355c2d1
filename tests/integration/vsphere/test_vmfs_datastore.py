"""The module vmfs_datastore on hosts as installed that share a LUN of a real target: made once, mounted by all, and nothing that
holds anything is ever formatted, although the hosts themselves would (esxsim/bare_test.go: TestFormattingAsksNobody)."""

from __future__ import annotations

import re
import struct
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.configure import vmfs_datastore as configuring
from ansible_collections.libreha.vmware.plugins.module_utils.entry import esxi_iscsi, vmfs_datastore
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.vmfs import Vmfs
from ansible_collections.libreha.vmware.plugins.module_utils.storage import lun_content
from real_hosts import DATASTORE_UUID, TARGET, Host, StorageServer

MIB = 1 << 20


@dataclass
class Bench:
    hosts: list[Host]
    ca_path: Path
    storage: StorageServer

    def contents(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in lun_content.read_contents("tgt", int(self.storage.control), 5.0)]

    def run(self, check_mode: bool = False, hosts: list[Host] | None = None, **given: Any) -> dict[str, Any]:
        shared = {"port": 443, "validate_certs": True, "timeout": 10.0}
        listed = [{**host.parameters, "ca_path": str(self.ca_path)} for host in self.hosts if hosts is None or host in hosts]
        defaults = {"datastore": "ds1", "target": TARGET, "lun": 1, "create": True, "resignature": None, "rescan_timeout": 20.0}
        if "lun_contents" not in given:
            given["lun_contents"] = self.contents()
        return vmfs_datastore.run({**shared, "hosts": listed, **defaults, **given}, check_mode)

    def refusals(self, unchanged: slice = slice(None), **given: Any) -> list[str]:
        before = self.storage.content(32 * MIB)[unchanged]
        with pytest.raises(LibrehaError, match="nothing was changed") as caught:
            self.run(**given)
        assert self.storage.content(32 * MIB)[unchanged] == before, "the LUN was written to"
        return caught.value.details["refusals"]

    def rescan(self) -> None:
        for host in self.hosts:
            self.login(host)

    def login(self, host: Host) -> None:
        address, port = self.storage.portal.rsplit(":", 1)
        options = {"purge": False, "rescan": True, "require_login": True, "rescan_timeout": 30.0, "login_timeout": 5.0}
        given = {**host.parameters, "ca_path": str(self.ca_path), "send_targets": [{"address": address, "port": int(port)}]}
        esxi_iscsi.run({**given, **options}, False)


@pytest.fixture
def bench(bare_host: Callable[..., Host], ca_path: Path, storage: StorageServer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(configuring, "SETTLE_SECONDS", 0.5)  # these hosts list at once what a rescan found
    bench = Bench([bare_host(), bare_host(), bare_host()], ca_path, storage)
    bench.rescan()
    return bench


def test_the_first_creates_the_others_mount_and_a_second_run_changes_nothing(bench: Bench) -> None:
    would = bench.run(check_mode=True)
    assert would["steps"] == ["create the datastore on esx1", "mount it on esx2", "mount it on esx3"]
    assert not any(bench.storage.content()), "check mode formatted"
    done = bench.run()
    assert (done["changed"], done["steps"], done["datastore"]["hosts"]) == (True, would["steps"], ["esx1", "esx2", "esx3"])
    assert done["diff"]["before"] == {} and would["diff"]["after"] == {**done["diff"]["after"], "uuid": "(new)"}
    again = bench.run()
    assert (again["changed"], again["datastore"]) == (False, done["datastore"])
    assert (again["diff"]["before"], again["steps"]) == (again["diff"]["after"], [])


def test_a_new_host_only_mounts_it_and_needs_no_evidence(bench: Bench, bare_host: Callable[..., Host]) -> None:
    first = bench.run()
    head = bench.storage.content(512)
    bench.hosts.append(bare_host())
    address, port = bench.storage.portal.rsplit(":", 1)
    bench.login(bench.hosts[-1])
    second = bench.run(lun_contents=[], create=False)
    assert second["datastore"] == {**first["datastore"], "hosts": ["esx1", "esx2", "esx3", "esx4"]}
    assert bench.storage.content(512) == head


LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le


def signature(at: int, data: bytes) -> Callable[[StorageServer], None]:
    return lambda storage: storage.overwrite(at, data)


def gpt(*entries: bytes) -> Callable[[StorageServer], None]:
    """As much of a GPT as tools look at: header and entries (type, own GUID, first and last sector)."""
    table = b"".join((kind + bytes(15) + b"1" + struct.pack("<QQ", 2048, 18431)).ljust(128, b"\0") for kind in entries)
    return signature(512, b"EFI PART".ljust(512, b"\0") + table)


def mbr(kind: int) -> Callable[[StorageServer], None]:
    entry = struct.pack("<B3sB3sII", 0, b"", kind, b"", 2048, 16384)
    return signature(446, entry + bytes(48) + b"\x55\xaa")


def ext4(storage: StorageServer) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", str(storage.image)], check=True, capture_output=True)


def at_the_end(storage: StorageServer) -> None:
    storage.overwrite(storage.image.stat().st_size - 33 * 512, b"EFI PART")


HOLDINGS: dict[str, tuple[Callable[[StorageServer], None], str]] = {
    "ext4, which the hosts do not see": (ext4, "the storage server says of it .*: an ext file system"),
    "GPT": (gpt(LINUX), "esx1 sees linuxNative on it"),
    "an empty GPT": (gpt(), r"esx1 sees an empty partition table \(gpt\)"),
    "MBR": (mbr(0x83), "esx1 sees linuxNative on it"),
    "LVM": (signature(512, b"LABELONE"), "a volume group"),
    "XFS": (signature(0, b"XFSB"), "an XFS"),
    "a VMFS without its partition table": (signature(2 * MIB, b"\x0d\xd0\x01\xc0"), "VMFS"),
    "a byte that nobody knows": (signature(5 * MIB + 17, b"x"), "data, the first at byte 5242897"),
    "the second GPT alone": (at_the_end, "data at its end"),
}


def test_a_lun_that_holds_anything_is_not_formatted(bench: Bench) -> None:
    size = bench.storage.image.stat().st_size
    one = bench.hosts[:1]
    for holds, (make, said) in HOLDINGS.items():
        make(bench.storage)
        refusals = bench.refusals(hosts=one)
        assert any(re.search(said, refusal) for refusal in refusals), (holds, refusals)
        bench.storage.image.write_bytes(b"")
        with bench.storage.image.open("r+b") as image:
            image.truncate(size)
    assert bench.run(hosts=one)["changed"], "and a blank one is"


def test_anothers_datastore_is_neither_formatted_nor_renamed(bench: Bench) -> None:
    bench.run(datastore="another-cluster", hosts=bench.hosts[:1])
    (refusal,) = bench.refusals(slice(0, 8 * 512), hosts=bench.hosts[1:])  # behind it are the heartbeats of hosts that mounted it
    assert "it holds the datastore another-cluster" in refusal and "never formatted" in refusal


def test_a_copy_is_left_alone_until_it_is_named(bench: Bench) -> None:
    head = bytearray(512)
    for place, text in ((0, b"LIBREHALAB1\0"), (16, b"\x04\0\0\0")):
        head[place : place + len(text)] = text
    for place, word in ((32, DATASTORE_UUID), (96, "ds1"), (192, "naa.of-another-disk")):
        head[place : place + 1 + len(word)] = bytes([len(word)]) + word.encode()
    bench.storage.overwrite(0, bytes(head))
    bench.rescan()
    refusals = bench.refusals()
    assert "made on another disk" in refusals[0] and "resignature=%s" % DATASTORE_UUID in refusals[1]
    assert bench.refusals(resignature="11111111-22222222-3333-444444444444") == refusals
    done = bench.run(resignature=DATASTORE_UUID)
    assert done["steps"] == ["resignature the copy on esx1", "mount it on esx2", "mount it on esx3"]
    assert (done["datastore"]["name"], done["datastore"]["uuid"] != DATASTORE_UUID) == ("ds1", True)
    assert bench.run(resignature=DATASTORE_UUID)["changed"] is False


def test_without_the_storage_servers_word_nothing_is_formatted(bench: Bench) -> None:
    assert "its storage server was not asked" in bench.refusals(lun_contents=[])[0]
    (mine,) = bench.contents()
    assert "its storage server was not asked" in bench.refusals(lun_contents=[{**mine, "lun": 2}])[0]
    assert "by more than one" in bench.refusals(lun_contents=[mine, mine])[0]
    assert "not the same LUN" in bench.refusals(lun_contents=[{**mine, "size": mine["size"] - 512}])[0]
    assert "not proved to be blank" in bench.refusals(lun_contents=[{**mine, "blank": False}])[0]
    assert bench.refusals(create=False) == ["it is blank, and create is false"]


def test_a_host_that_does_not_answer_stops_the_run(bench: Bench) -> None:
    bench.hosts[2].end()
    with pytest.raises(LibrehaError, match="esx3: .*refused"):
        bench.run()
    assert not any(bench.storage.content())


def test_a_host_that_does_not_see_the_lun_stops_the_run(bench: Bench) -> None:
    (refusal,) = bench.refusals(lun=2)[:1]
    assert "esx1 does not see LUN 2 of %s" % TARGET in refusal


def test_what_changes_between_judgement_and_format_stops_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run partitions the disk after everybody said that it is blank."""
    real = configuring._create

    def late(*arguments: Any) -> Any:
        gpt()(bench.storage)
        return real(*arguments)

    monkeypatch.setattr(configuring, "_create", late)
    with pytest.raises(LibrehaError, match="has changed since it was judged"):
        bench.run()
    assert bench.storage.content(1024)[512:520] == b"EFI PART"


def test_a_run_that_was_cut_after_the_format_is_completed_by_the_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_arguments: object) -> None:
        raise LibrehaError("cut", host="esx2")

    with monkeypatch.context() as patched:
        patched.setattr(configuring, "_mount", cut)
        with pytest.raises(LibrehaError, match="done before: create the datastore on esx1"):
            bench.run()
    created = bench.storage.content(512)
    done = bench.run()
    assert (done["datastore"]["hosts"], bench.storage.content(512)) == (["esx1", "esx2", "esx3"], created)


def test_the_format_asks_for_the_whole_disk_that_was_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that offered another disk's options is not followed."""
    real = Vmfs.create
    monkeypatch.setattr(Vmfs, "create", lambda self, disk: real(self, disk + "0"))
    with pytest.raises(LibrehaError):
        bench.run()
    assert not any(bench.storage.content())
