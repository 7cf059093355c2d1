"""Which releases of tgt a fence may rely on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt import release, saved


@pytest.mark.parametrize("version", ["1.0.83", "1.0.85", "1.0.100", "1.1.0", "2.0.0", "1.0.85-rc1"])
def test_releases_that_admit_by_name_alone(version: str) -> None:
    assert release.lacking(version) == ""
    release.require(version)


@pytest.mark.parametrize("version", ["1.0.82", "1.0.80", "1.0.9", "0.9.99"])
def test_releases_that_want_the_address_too_are_refused(version: str) -> None:
    assert ("this is tgt %s" % version) in release.lacking(version)
    with pytest.raises(LibrehaError) as refused:
        release.require(version)
    assert "1.0.83 or newer" in (refused.value.remedy or "")


@pytest.mark.parametrize("said", ["", "Python 3.11.2", "v1.0.85"])
def test_what_does_not_tell_its_release_is_not_trusted(said: str) -> None:
    assert "it cannot be told which release of tgt this is" in release.lacking(said)


def test_a_process_is_asked_and_one_that_is_gone_tells_nothing() -> None:
    assert release.running(os.getpid()).startswith("Python ")
    assert release.running(2**22 + 1) == ""


def test_a_machine_without_tgt_has_none_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(release, "_ALSO", str(tmp_path))
    assert release.installed() is None
    (tmp_path / "tgtd").write_text("#!/bin/sh\necho 1.0.79\n")
    (tmp_path / "tgtd").chmod(0o755)
    assert release.installed() == "1.0.79"


@pytest.mark.parametrize(
    ("text", "iser"),
    [
        ("<target iqn.t:one>\ndriver iser\ninitiator-address 255.255.255.255\n</target>\n", True),
        ("default-driver iser\n<target iqn.t:one>\ninitiator-address 255.255.255.255\n</target>\n", True),
        ("default-driver iser\n<target iqn.t:one>\ndriver iscsi\ninitiator-address 255.255.255.255\n</target>\n", False),
        ("<target iqn.t:one>\ninitiator-address 255.255.255.255\n</target>\n", False),
    ],
)
def test_a_saved_target_over_iser_is_unfenceable(tmp_path: Path, text: str, iser: bool) -> None:
    (tmp_path / "targets.conf").write_text(text)
    (access,) = saved.access(str(tmp_path / "targets.conf"))
    assert ("over iSER" in access.unfenceable) is iser and not access.anybody


def test_a_program_that_did_not_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make a target unfenceable for as long as the monitor runs."""
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    (tmp_path / "tgtd").write_text("#!/bin/sh\n[ -e %s/there ] || exit 1\necho 1.0.85\n" % tmp_path)
    (tmp_path / "tgtd").chmod(0o755)
    assert release.installed() == ""
    (tmp_path / "there").touch()
    assert release.installed() == "1.0.85"
