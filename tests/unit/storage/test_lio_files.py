"""LIO's files: what the kernel shows in configfs, the saved configuration, the ACLs that fences took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio import saved
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio.configfs import SessionReading, read_tpgs
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio.fenced_acls import FencedAcls, beside

TARGET = "iqn.2026-01.lab.libreha:storage"
NODE1, NODE2 = "iqn.2026-01.lab.libreha:node1", "iqn.2026-01.lab.libreha:node2"

# as Linux 6.1 shows it
INFO = """InitiatorName: iqn.2026-01.lab.libreha:node1
InitiatorAlias: node1
LIO Session ID: 2   ISID: 0x00 02 3d 00 00 02  TSIH: 2  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT
 0x00000040   0x00000040   0x00000055   0x00000094   0x0000005d   0x00000056
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 192.0.2.101 TCP  StatSN: 0xc595dd84
"""


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def configfs(tmp_path: Path) -> Path:
    """A target with one initiator that is in and one that is not."""
    tpg = tmp_path / "iscsi" / TARGET / "tpgt_1"
    write(tmp_path / "iscsi" / "discovery_auth" / "userid", "\n")
    write(tmp_path / "iscsi" / TARGET / "fabric_statistics" / "iscsi_instance" / "sessions", "2\n")
    for name, text in {
        "enable": "1\n",
        "dynamic_sessions": "",
        "attrib/generate_node_acls": "0\n",
        "attrib/cache_dynamic_acls": "0\n",
    }.items():
        write(tpg / name, text)
    (tpg / "np" / "192.0.2.1:3260").mkdir(parents=True)
    (tpg / "lun" / "lun_0").mkdir(parents=True)
    (tpg / "lun" / "lun_5").mkdir()
    write(tpg / "acls" / NODE2 / "info", "No active iSCSI Session for Initiator Endpoint: %s\n" % NODE2)
    acl = tpg / "acls" / NODE1
    write(acl / "info", INFO)
    for name, value in {"rxdata_octs": 512, "txdata_octs": 4096}.items():
        write(acl / "fabric_statistics" / "iscsi_sess_stats" / name, "%d\n" % value)
    for lun in ("lun_0", "lun_5"):
        for name, value in {"num_cmds": 85, "read_mbytes": 2, "write_mbytes": 1}.items():
            write(acl / lun / "statistics" / "scsi_auth_intr" / name, "%d\n" % value)
    return tmp_path


def test_sessions_and_rights_are_read_from_configfs(configfs: Path) -> None:
    (tpg,) = read_tpgs(str(configfs))
    assert (tpg.target, tpg.tag, tpg.enabled, tpg.luns, tpg.portals) == (TARGET, 1, True, (0, 5), ("192.0.2.1:3260",))
    sessions = {acl.initiator: acl.session for acl in tpg.acls}
    assert sessions == {NODE1: SessionReading("2", "LOGGED_IN", "192.0.2.101", 170, 512 + 4096 + (6 << 20)), NODE2: None}
    assert tpg.open_rules == ()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("attrib/generate_node_acls", "1\n", "demo mode"),
        ("attrib/cache_dynamic_acls", "1\n", "remembered"),
        ("dynamic_sessions", "%s\0" % NODE2, "sessions without an ACL in TPG 1: %s" % NODE2),
    ],
)
def test_whatever_admits_without_a_name_is_seen(configfs: Path, file: str, text: str, says: str) -> None:
    write(configfs / "iscsi" / TARGET / "tpgt_1" / file, text)
    (tpg,) = read_tpgs(str(configfs))
    assert says in "; ".join(tpg.open_rules)


def test_no_target_in_the_kernel_is_no_tpg(tmp_path: Path) -> None:
    assert read_tpgs(str(tmp_path)) == []


def acl(initiator: str) -> dict[str, Any]:
    return {"node_wwn": initiator, "mapped_luns": [{"index": 0, "tpg_lun": 0}], "chap_userid": "u", "chap_password": "p" * 12}


def content(**attributes: int) -> dict[str, Any]:
    def tpg(tag: int) -> dict[str, Any]:
        return {
            "tag": tag,
            "attributes": {"generate_node_acls": 0, **attributes},
            "luns": [{"index": 0, "storage_object": "/backstores/block/ds1"}],
            "node_acls": [acl(NODE1), acl(NODE2)],
        }

    other = {"wwn": "naa.5001405aaaaaaaaa", "fabric": "loopback", "tpgs": [tpg(1)]}
    stores = [{"plugin": "block", "name": "ds1", "dev": "/dev/vg/ds1"}, {"plugin": "block", "name": "other", "dev": "/dev/vg/other"}]
    return {
        "fabric_modules": [],
        "storage_objects": stores,
        "targets": [{"wwn": TARGET, "fabric": "iscsi", "tpgs": [tpg(1), tpg(2)]}, other],
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "saveconfig.json"
    path.write_text(json.dumps(content()))
    return path


def test_a_right_is_taken_from_every_tpg_of_the_saved_configuration_and_kept_first(config: Path) -> None:
    kept: dict[tuple[str, int], Any] = {}

    def keep(acls: dict[tuple[str, int], Any]) -> None:
        assert NODE1 in config.read_text()
        kept.update(acls)

    assert saved.revoke(str(config), NODE1.upper(), keep)
    assert kept == {(TARGET, 1): acl(NODE1), (TARGET, 2): acl(NODE1)}
    (access,) = saved.access(str(config))
    assert (access.initiators, access.anybody, access.luns) == ((NODE2,), False, (0,))
    assert not saved.revoke(str(config), NODE1, keep)
    assert json.loads(config.read_text())["targets"][1] == content()["targets"][1], "another fabric's ACLs are no iSCSI rights"

    assert saved.admit(str(config), kept)
    assert not saved.admit(str(config), kept)
    assert saved.same(json.loads(config.read_text()), content())


def test_a_right_is_taken_even_if_it_cannot_be_kept(config: Path) -> None:
    def keep(acls: dict[tuple[str, int], Any]) -> None:
        raise LibrehaError("the disk is full")

    with pytest.raises(LibrehaError, match="the disk is full"):
        saved.revoke(str(config), NODE1, keep)
    assert saved.access(str(config))[0].initiators == (NODE2,)


def test_saved_demo_mode_admits_anybody(tmp_path: Path) -> None:
    path = tmp_path / "saveconfig.json"
    path.write_text(json.dumps(content(generate_node_acls=1)))
    (access,) = saved.access(str(path))
    assert access.anybody
    assert access.reason == "demo mode (generate_node_acls=1) in TPG 1; demo mode (generate_node_acls=1) in TPG 2"


@pytest.mark.parametrize("text", ["{", "[]", '{"targets": [{"fabric": "iscsi", "wwn": 1, "tpgs": [{}]}]}', '{"targets": [{"wwn": "x"}]}'])
def test_a_saved_configuration_that_is_not_understood_is_refused_and_left_alone(config: Path, text: str) -> None:
    config.write_text(text)
    for act in (lambda: saved.access(str(config)), lambda: saved.revoke(str(config), NODE1, lambda acls: None)):
        with pytest.raises(LibrehaError, match="cannot be understood"):
            act()
    assert config.read_text() == text


def test_without_a_saved_configuration_nobody_is_admitted_at_the_next_start(tmp_path: Path) -> None:
    assert saved.access(str(tmp_path / "none.json")) == []


def test_only_the_own_target_and_backstores_are_saved_anew() -> None:
    running = {
        "storage_objects": [{"plugin": "block", "name": "new", "dev": "/dev/vg/new"}, {"plugin": "block", "name": "foreign"}],
        "targets": [],
    }
    after = saved.with_target(content(), TARGET, running, frozenset({"/backstores/block/ds1", "/backstores/block/new"}))
    assert [store["name"] for store in after["storage_objects"]] == ["other", "new"]
    assert [target["fabric"] for target in after["targets"]] == ["loopback"]


def test_what_is_kept_is_for_root_only_and_by_place(tmp_path: Path) -> None:
    path = beside(str(tmp_path / "fences.json"))
    assert path == str(tmp_path / "fences-acls.json")
    kept = FencedAcls(path)
    assert kept.of(NODE1) == {}
    assert kept.keep(NODE1.upper(), {(TARGET, 1): acl(NODE1)})
    assert kept.replace_target("iqn.2026-01.lab.x:other", {(1, NODE1): None})
    assert not kept.keep(NODE1, {(TARGET, 1): acl(NODE1)})
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert kept.of(NODE1) == {(TARGET, 1): acl(NODE1), ("iqn.2026-01.lab.x:other", 1): None}
    assert kept.of_target(TARGET) == {(1, NODE1): acl(NODE1)}
    assert kept.replace_target(TARGET, {(1, NODE2): acl(NODE2)})
    assert kept.of_target(TARGET) == {(1, NODE2): acl(NODE2)}
    assert kept.drop(NODE1, ["iqn.2026-01.lab.x:other"])
    assert kept.of(NODE1) == {}
    Path(path).write_text("{}")
    with pytest.raises(LibrehaError, match="the kept ACLs .* are damaged"):
        kept.of(NODE1)


def test_a_secret_that_a_fence_took_stays_retired_and_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "fences-acls.json"
    kept = FencedAcls(str(path))
    assert not kept.retired().has(NODE1, "first-secret-01")
    for secret in ("first-secret-01", "second-secret-02"):
        assert kept.keep(NODE1.upper(), {(TARGET, 1): {**acl(NODE1), "chap_password": secret}})
    assert kept.drop(NODE1, [TARGET])
    kept.replace_target(TARGET, {(1, NODE2): {**acl(NODE2), "chap_password": "never-in-use-03"}})
    for secret in ("first-secret-01", "second-secret-02"):
        assert kept.retired().has(NODE1, secret)
        assert not kept.retired().has(NODE2, secret)
        assert secret not in path.read_text()
    assert not kept.retired().has(NODE1, "another-secret-4")
    assert not kept.retired().has(NODE2, "never-in-use-03"), "what is only configured for a fenced host was not yet in use"


def test_retiring_a_secret_again_writes_nothing(tmp_path: Path) -> None:
    kept = FencedAcls(str(tmp_path / "fences-acls.json"))
    assert kept.keep(NODE1, {(TARGET, 1): {**acl(NODE1), "chap_password": "first-secret-01"}})
    assert not kept.keep(NODE1, {(TARGET, 1): {**acl(NODE1), "chap_password": "first-secret-01"}})


ELSEWHERE = "iqn.2026-01.lab.libreha:elsewhere"


def test_a_name_is_taken_whatever_its_case_in_every_target_and_given_back_in_one(tmp_path: Path) -> None:
    config = tmp_path / "new.json"
    more = content()
    more["targets"].append({"wwn": ELSEWHERE, "fabric": "iscsi", "tpgs": [{"tag": 1, "node_acls": [acl(NODE1.upper())]}]})
    saved.write(str(config), more)
    assert config.stat().st_mode & 0o777 == 0o600
    assert [access.initiators for access in saved.access(str(config))] == [(NODE1, NODE2), (NODE1.upper(),)]
    kept: dict[tuple[str, int], Any] = {}
    assert saved.revoke(str(config), NODE1, kept.update) is True
    assert set(kept) == {(TARGET, 1), (TARGET, 2), (ELSEWHERE, 1)}
    assert [access.initiators for access in saved.access(str(config))] == [(NODE2,), ()]
    assert saved.admit(str(config), {(TARGET, 1): kept[TARGET, 1]}) is True
    assert saved.admit(str(config), {(TARGET, 1): kept[TARGET, 1]}) is False
    assert [access.initiators for access in saved.access(str(config))] == [(NODE2, NODE1), ()]


@pytest.mark.parametrize("text", ["{", "[]", '{"targets": 5}'])
def test_a_broken_saved_configuration_says_how_to_write_it_anew(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(LibrehaError) as error:
        saved.access(str(config))
    assert "targetcli saveconfig" in error.value.remedy


def test_a_kept_acl_is_replaced_and_dropped_by_target_and_name(tmp_path: Path) -> None:
    kept = FencedAcls(str(tmp_path / "fences-acls.json"))
    assert kept.keep(NODE1, {(TARGET, 1): acl(NODE1), (ELSEWHERE, 1): acl(NODE1)}) is True
    assert kept.keep(NODE2, {(TARGET, 1): acl(NODE2)}) is True
    assert kept.keep(NODE1, {(TARGET, 1): {**acl(NODE1), "chap_password": "another-secret"}}) is True
    assert kept.of(NODE1)[TARGET, 1]["chap_password"] == "another-secret"  # type: ignore[index]
    assert kept.drop(NODE1.upper(), [TARGET]) is True
    assert set(kept.of(NODE1)) == {(ELSEWHERE, 1)}
    assert set(kept.of(NODE2)) == {(TARGET, 1)}


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({"schema": 2, "acls": []}), json.dumps({"schema": 1, "acls": [{}]})])
def test_kept_acls_that_cannot_be_understood_say_that_fences_hold_without_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fences-acls.json"
    path.write_text(text)
    with pytest.raises(LibrehaError) as error:
        FencedAcls(str(path)).of(NODE1)
    assert "fences hold without it" in error.value.remedy


def test_a_session_that_could_not_be_read_is_not_taken_for_none(configfs: Path) -> None:
    """Neither "no session", which is evidence against the host and would confirm a fence, nor a counter that stands still."""
    info = configfs / "iscsi" / TARGET / "tpgt_1" / "acls" / NODE1 / "info"
    info.unlink()
    assert read_tpgs(str(configfs))[0].acls[0].session is None  # gone meanwhile
    info.symlink_to(info.name)
    with pytest.raises(LibrehaError, match="symbolic links"):
        read_tpgs(str(configfs))


def test_a_session_text_of_an_unknown_kind_is_not_taken_for_no_session(configfs: Path) -> None:
    (configfs / "iscsi" / TARGET / "tpgt_1" / "acls" / NODE1 / "info").write_text("Session: 2 (LOGGED_IN)\n")
    with pytest.raises(LibrehaError, match="neither a session nor"):
        read_tpgs(str(configfs))
