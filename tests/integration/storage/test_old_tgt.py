"""A tgt before 1.0.83 admits by name *and* address: it is not fenced with, and nothing of its configuration is touched.

The daemon is the installed one with another version in its program file: what is asked is what it says of itself. What an old tgt
really does was tried with 1.0.80, built by hand; see docs/tested.md.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.entry import tgt_target
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry, Fences
from ansible_collections.libreha.vmware.plugins.module_utils.storage.observing import observe_storage
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt import release
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart, unfence
from real_storage import ESX1, ESX2, TARGET, Storage

OLD = b"1.0.80"
SAYS = "this is tgt 1.0.80, which admits an initiator only if both its name and its address match"


@pytest.fixture
def old_program(tmp_path: Path) -> Path:
    """A folder for PATH with a tgtd that says of itself that it is 1.0.80."""
    program = Path(shutil.which("tgtd") or pytest.skip("tgtd is missing: install tgt"))
    version = release._version_of(str(program)).encode()
    content = program.read_bytes()
    assert content.count(version + b"\0") == 1, "tgtd has its version once"
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "tgtd").write_bytes(content.replace(version + b"\0", OLD.ljust(len(version), b"\0") + b"\0"))
    (folder / "tgtd").chmod(0o755)
    return folder


@pytest.fixture
def old(new_storage: Storage, old_program: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("PATH", "%s:%s" % (old_program, os.environ["PATH"]))
    return new_storage


def fence_by_hand(storage: Storage) -> None:
    """As a newer tgt, or another server, has left it."""
    storage.fence_list().write(Fences(3, (Entry("esx1", ESX1, 3, Instant(clock.now().boot_id, 0.0), "test", (TARGET,)),)))


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_is_not_fenced_with_and_nothing_is_changed(old: Storage, check_mode: bool) -> None:
    old.start()
    before = old.saved.read_bytes()
    with pytest.raises(LibrehaError, match=SAYS) as refused:
        old.fencer().fence("esx1", [ESX1], 7, "test", wait=1.0, check_mode=check_mode)
    assert "install tgt 1.0.83 or newer" in (refused.value.remedy or "")
    assert old.saved.read_bytes() == before and not old.list_path.exists()
    assert old.target().access()[0].initiators == (ESX1, ESX2)


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_reapplied_to_what_it_runs_or_would_load(old: Storage, running: bool) -> None:
    if running:
        old.start()
    fence_by_hand(old)
    before = old.saved.read_bytes()
    with pytest.raises(LibrehaError, match=SAYS):
        old.fencer().reapply(wait=1.0)
    assert old.saved.read_bytes() == before


def test_nobody_is_unfenced_there(old: Storage) -> None:
    old.start()
    fence_by_hand(old)
    with pytest.raises(LibrehaError, match=SAYS):
        unfence(old.fencer(), "esx1", [], 7, FreshStart(force="esx1", reason="test"))
    assert old.fence_list().read().of(ESX1) is not None


def test_every_look_says_so_and_no_fence_is_confirmed(old: Storage) -> None:
    old.start()
    fence_by_hand(old)
    old.admin("--op", "unbind", "--mode", "target", "--tid", "1", "--initiator-name", ESX1)
    look = observe_storage("san", old.target(), old.fence_list(), interval=0.05)
    assert [SAYS in access.unfenceable and not access.anybody for access in look.access] == [True]
    (fence,) = look.fences
    assert not fence.confirmed and SAYS in fence.why_not


def test_an_older_program_on_disk_is_a_danger_of_the_next_start(new_storage: Storage, old_program: Path, tmp_path: Path) -> None:
    """A downgrade without a restart, of a tgt that is not where the distribution would have it."""
    (tmp_path / "own").mkdir()
    program = tmp_path / "own" / "tgtd"
    shutil.copy(shutil.which("tgtd") or "", program)
    new_storage.environment["PATH"] = "%s:%s" % (program.parent, os.environ["PATH"])
    storage = new_storage.start()
    assert storage.target().access()[0].unfenceable == ""
    (old_program / "tgtd").rename(program)
    look = observe_storage("san", storage.target(), storage.fence_list(), interval=0.05)
    assert look.access[0].unfenceable.startswith("after the next start: " + SAYS)
    before = storage.saved.read_bytes()
    with pytest.raises(LibrehaError, match=SAYS):
        storage.fence()
    assert storage.saved.read_bytes() == before


def test_a_newer_program_on_disk_does_not_excuse_the_old_one_that_runs(old: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade without a restart; the old file is gone."""
    old.start()
    program = Path(shutil.which("tgtd") or "")
    program.unlink()
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    assert release.lacking(release.installed() or "") == ""
    assert SAYS in old.target().access()[0].unfenceable


@pytest.mark.parametrize("check_mode", [False, True])
def test_no_target_is_built_with_it(old: Storage, tmp_path: Path, check_mode: bool) -> None:
    old.start()
    params = {key: spec.get("default") for key, spec in tgt_target.argument_spec().items()}
    params.update(
        name=TARGET,
        portals=[{"address": "127.0.0.1", "port": old.port, "floating": False}],
        file=str(tmp_path / "libreha.conf"),
        saved_config=str(old.saved),
        fence_list=str(old.list_path),
        control_port=old.control_port,
    )
    with pytest.raises(LibrehaError, match=SAYS):
        tgt_target.run(params, check_mode)
