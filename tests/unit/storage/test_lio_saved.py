"""LIO's saved configuration and the kept ACLs of fenced initiators: files only, no kernel."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio import saved
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio.kept import KeptAcls, beside

ESX1, ESX2 = "iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx2"
SAN, OTHER = "iqn.2026-01.lab:san", "iqn.2026-01.lab:other"


def acl(name: str, secret: str = "secret-number-1") -> dict[str, Any]:
    return {"node_wwn": name, "chap_userid": name, "chap_password": secret, "mapped_luns": [{"index": 0, "tpg_lun": 0}]}


def configuration() -> dict[str, Any]:
    def target(iqn: str, *names: str, demo: int = 0, tag: int = 1) -> dict[str, Any]:
        group = {"tag": tag, "attributes": {"generate_node_acls": demo}, "luns": [{"index": 0}], "node_acls": [acl(name) for name in names]}
        return {"fabric": "iscsi", "wwn": iqn, "tpgs": [group]}

    return {"storage_objects": [], "targets": [target(SAN, ESX1, ESX2), target(OTHER, ESX1.upper()), {"fabric": "vhost", "wwn": "naa.1"}]}


@pytest.fixture
def path(tmp_path: Path) -> str:
    saved.write(str(tmp_path / "saveconfig.json"), configuration())
    return str(tmp_path / "saveconfig.json")


def test_who_is_admitted_by_it(path: str) -> None:
    san, other = saved.access(path)
    assert (san.target, san.initiators, san.anybody, san.luns) == (SAN, (ESX1, ESX2), False, (0,))
    assert (other.target, other.initiators) == (OTHER, (ESX1.upper(),))


def test_demo_mode_admits_anybody(path: str) -> None:
    content = saved.read(path)
    content["targets"][0]["tpgs"][0]["attributes"]["generate_node_acls"] = 1
    saved.write(path, content)
    assert [(access.anybody, access.reason) for access in saved.access(path)] == [
        (True, "demo mode (generate_node_acls=1) in TPG 1"),
        (False, ""),
    ]


def test_an_initiator_is_taken_out_of_every_target_whatever_its_case_and_put_back_in_one(path: str) -> None:
    kept: dict[tuple[str, int], dict[str, Any]] = {}
    assert saved.revoke(path, ESX1, kept.update) is True
    assert set(kept) == {(SAN, 1), (OTHER, 1)}
    assert saved.revoke(path, ESX1, kept.update) is False
    assert [access.initiators for access in saved.access(path)] == [(ESX2,), ()]
    assert saved.admit(path, {(SAN, 1): kept[SAN, 1]}) is True
    assert saved.admit(path, {(SAN, 1): kept[SAN, 1]}) is False
    assert [access.initiators for access in saved.access(path)] == [(ESX2, ESX1), ()]


def test_the_right_is_taken_even_if_it_cannot_be_kept(path: str) -> None:
    def refuse(_acls: object) -> None:
        raise LibrehaError("the disk is full")

    with pytest.raises(LibrehaError, match="the disk is full"):
        saved.revoke(path, ESX1, refuse)
    assert [access.initiators for access in saved.access(path)] == [(ESX2,), ()]


def test_the_file_is_only_for_root(path: str) -> None:
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_no_file_admits_nobody_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    assert saved.access(str(tmp_path / "none.json")) == []
    broken = tmp_path / "broken.json"
    for text in ("{", "[]", '{"targets": 5}'):
        broken.write_text(text, encoding="utf-8")
        with pytest.raises(LibrehaError) as error:
            saved.access(str(broken))
        assert "targetcli saveconfig" in error.value.remedy


def test_kept_acls_are_replaced_by_name_and_place_and_dropped_by_target(tmp_path: Path) -> None:
    kept = KeptAcls(str(tmp_path / "fences-acls.json"))
    assert kept.of(ESX1) == {}
    assert kept.keep(ESX1, {(SAN, 1): acl(ESX1), (OTHER, 1): acl(ESX1)}) is True
    assert kept.keep(ESX2, {(SAN, 1): acl(ESX2)}) is True
    assert kept.keep(ESX1.upper(), {(SAN, 1): acl(ESX1)}) is False
    assert kept.keep(ESX1, {(SAN, 1): acl(ESX1, "another-secret")}) is True
    assert kept.of(ESX1)[SAN, 1]["chap_password"] == "another-secret"  # type: ignore[index]
    assert kept.drop(ESX1.upper(), [SAN]) is True
    assert set(kept.of(ESX1)) == {(OTHER, 1)}
    assert set(kept.of(ESX2)) == {(SAN, 1)}
    assert stat.S_IMODE((tmp_path / "fences-acls.json").stat().st_mode) == 0o600


def test_kept_acls_are_named_after_their_fence_list() -> None:
    assert beside("/var/lib/libreha/fences.json") == "/var/lib/libreha/fences-acls.json"


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({"schema": 2, "acls": []}), json.dumps({"schema": 1, "acls": [{}]})])
def test_kept_acls_that_cannot_be_understood_are_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fences-acls.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LibrehaError) as error:
        KeptAcls(str(path)).of(ESX1)
    assert "fences hold without it" in error.value.remedy
