"""The fence list file: durable, never taken for empty, and one lock for all."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.storage import durable
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry, FenceList, Fences

ENTRY = Entry("esx1", "iqn.a:esx1", 7, Instant("boot", 12.5, "2026-01-01T00:00:00+00:00"), "dead", ("iqn.t:one",))


def permit(seconds: float = 5.0) -> Permit:
    return Permit(clock.now().seconds + seconds)


@pytest.fixture
def fence_list(tmp_path) -> FenceList:
    return FenceList(str(tmp_path / "fences.json"))


def test_what_is_written_is_read(fence_list):
    with fence_list.locked(permit()):
        fence_list.write(Fences().with_token(7).with_entry(ENTRY))
    assert fence_list.read() == Fences(7, (ENTRY,))
    assert os.stat(fence_list.path).st_mode & 0o777 == 0o600


def test_who_was_let_in_again_is_remembered_until_the_next_fence(fence_list):
    released = Fences(7, (ENTRY,)).without([ENTRY.initiator.upper()])
    assert released == Fences(7, (), ((ENTRY.host, ENTRY.initiator),))
    with fence_list.locked(permit()):
        fence_list.write(released)
    assert fence_list.read() == released
    assert released.knows("esx1") and released.knows("esx1", ENTRY.initiator) and not released.knows("esx1", "iqn.a:other")
    assert not released.knows("esx11")
    assert released.with_entry(ENTRY) == Fences(7, (ENTRY,))


def test_a_list_of_an_older_release_names_nobody_who_was_let_in_again(fence_list):
    with open(fence_list.path, "w", encoding="utf-8") as file:
        file.write(good())
    assert fence_list.read().released == ()


def test_no_file_is_an_empty_list_and_its_folder_is_made(tmp_path):
    fence_list = FenceList(str(tmp_path / "new" / "fences.json"))
    assert fence_list.read() == Fences()
    with fence_list.locked(permit()):
        fence_list.write(Fences(1))
    assert fence_list.read() == Fences(1)


def good(**changes) -> str:
    entry = {"host": "h", "initiator": "iqn.a:b", "token": 7, "at": {"boot_id": "b", "seconds": 1.0}, "reason": "", "targets": []}
    return json.dumps({"schema": 1, "highest_token": 7, "fences": [{**entry, **changes.pop("entry", {})}], **changes})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        good()[:-1],
        good(schema="1"),
        good(highest_token="7"),
        good(highest_token=-1),
        good(fences=None),
        good(fences=[{}]),
        good(released=[{}]),
        good(entry={"token": "7"}),
        good(entry={"at": None}),
        good(entry={"initiator": None}),
    ],
)
def test_a_damaged_list_is_refused_and_never_empty(fence_list, content):
    with open(fence_list.path, "w") as output:
        output.write(content)
    with pytest.raises(LibrehaError, match="damaged") as error:
        fence_list.read()
    assert "never just delete it" in error.value.remedy


def test_a_list_of_a_newer_release_is_refused(fence_list):
    with open(fence_list.path, "w") as output:
        output.write(good(schema=2))
    with pytest.raises(LibrehaError, match="newer release"):
        fence_list.read()


def test_a_lower_token_is_refused_and_the_highest_only_grows():
    fences = Fences(7)
    fences.require(7, "esx1", "fence")
    with pytest.raises(StaleToken):
        fences.require(6, "esx1", "fence")
    assert fences.with_token(5).highest_token == 7


def test_initiator_names_are_compared_without_regard_to_case():
    fences = Fences(7, (ENTRY,))
    assert fences.of("IQN.A:ESX1") == ENTRY
    assert fences.without(["IQN.A:ESX1"]).entries == ()


def test_a_crash_while_writing_leaves_the_old_list(fence_list, monkeypatch):
    with fence_list.locked(permit()):
        fence_list.write(Fences(7))

    def dies(*_paths: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable.os, "rename", dies)
    with pytest.raises(LibrehaError, match="Input/output error"), fence_list.locked(permit()):
        fence_list.write(Fences(8))
    assert fence_list.read() == Fences(7)
    assert sorted(os.listdir(os.path.dirname(fence_list.path))) == ["fences.json", "fences.json.lock"]


def test_file_and_folder_are_synced_before_the_write_returns(fence_list, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        durable.os, "fsync", lambda descriptor: (synced.append(os.readlink("/proc/self/fd/%d" % descriptor)), real(descriptor))
    )
    durable.replace(fence_list.path, b"content")
    folder = os.path.dirname(fence_list.path)
    assert [os.path.dirname(synced[0]), synced[1]] == [folder, folder]


def test_a_full_disk_is_an_error_that_says_so(tmp_path):
    full = "/dev/full"
    with pytest.raises(LibrehaError, match="No space left"):
        _write_through(full, tmp_path)


def _write_through(device: str, tmp_path) -> None:
    """A file system without room: the temporary file's data goes to /dev/full."""
    real = durable.tempfile.mkstemp

    def on_full(**options):
        _descriptor, path = real(**options)
        os.close(_descriptor)
        return os.open(device, os.O_WRONLY), path

    durable.tempfile.mkstemp, saved = on_full, real
    try:
        durable.replace(str(tmp_path / "file"), b"x" * 100)
    finally:
        durable.tempfile.mkstemp = saved


def test_the_lock_is_waited_for_no_longer_than_the_permit_lasts(fence_list):
    other = FenceList(fence_list.path)
    with fence_list.locked(permit(60)), pytest.raises(LibrehaError, match="another run.*holds the lock"), other.locked(permit(0.2)):
        pass
