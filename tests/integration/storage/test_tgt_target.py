"""The module tgt_target on a real tgtd: what it builds outlives a restart, ends no session, and lets nobody back in who is fenced."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.entry import tgt_target
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.storage import durable
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fencing import Fencer
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.names import derived_serial, naa_name
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart, unfence
from real_storage import ESX1, ESX2, HANG, TARGET, Storage
from test_modules import run

ESX3 = "iqn.1998-01.com.vmware:esx3"
SECRETS = {ESX1: "secret-of-esx-1", ESX2: "secret-of-esx-2", ESX3: "secret-of-esx-3"}


class Built(Storage):
    """A storage server whose target this module builds; the configuration that tgt loads only includes its file."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.settings = ",nop_interval=3,nop_count=20"  # at the next start they are the command line's, as the portals
        self.file = folder / "conf.d" / "libreha.conf"
        self.file.parent.mkdir()
        self.saved.write_text("include %s/*.conf\n" % self.file.parent)

    def description(self, **changes: Any) -> dict[str, Any]:
        return {
            "name": TARGET,
            "portals": [{"address": "127.0.0.1", "port": self.port}],
            "luns": [self.lun(1)],
            "initiators": [{"name": name} for name in (ESX1, ESX2)],
            "nop_count": 20,
            "file": str(self.file),
            **changes,
        }

    def lun(self, number: int, size: str = "64MiB", **changes: Any) -> dict[str, Any]:
        path = str(self.disk if number == 1 else self.folder / ("lun%d.img" % number))
        return {"number": number, "name": "ds%d" % number, "type": "fileio", "path": path, "size": size, **changes}

    def build(self, *, check: bool = False, **changes: Any) -> dict[str, Any]:
        """In this process, so that it is quick; the module itself is run by the tests that say so."""
        given = {"control_port": self.control_port, "saved_config": str(self.saved), "fence_list": str(self.list_path)}
        return tgt_target.run(_defaults({**self.description(**changes), **given}), check_mode=check)

    def gets_in(self, initiator: str, lun: int = 1, secret: str = "") -> bool:
        account = "%s%%%s@" % (initiator, secret) if secret else ""
        url = "iscsi://%s%s/%s/%d" % (account, self.portal, TARGET, lun)
        return subprocess.run(["iscsi-inq", "-i", initiator, url], capture_output=True, timeout=HANG, check=False).returncode == 0

    def restart(self) -> None:
        self.stop()
        self.start()

    def unfenced(self, secret: str | None = None) -> None:
        fencer = Fencer(self.target(), self.fence_list(), Permit(clock.now().seconds + 60.0), interval=0.1)
        unfence(fencer, "esx1", [ESX1], 9, FreshStart(force="esx1", reason="a test"), chap_secret=secret)


def _defaults(params: dict[str, Any]) -> dict[str, Any]:
    validated = ArgumentSpecValidator(tgt_target.argument_spec()).validate(params)
    assert not validated.error_messages
    return validated.validated_parameters


@pytest.fixture
def server(new_storage, tmp_path):
    """new_storage only says whether a tgtd can run here."""
    (tmp_path / "built").mkdir()
    built = Built(tmp_path / "built")
    try:
        yield built.start()
    finally:
        built.end()


def with_chap(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "chap": {"secret": SECRETS[name]}} for name in names]


def test_the_first_run_builds_the_second_changes_nothing_and_a_restart_brings_it_back(server):
    options = server.description(initiators=with_chap(ESX1, ESX2))
    foreseen, _said = run(server, "tgt_target", check=True, **options)
    assert foreseen["changed"] and not server.file.exists() and not server.gets_in(ESX1, secret=SECRETS[ESX1])
    first, said = run(server, "tgt_target", **options)
    assert first["changed"] and first["steps"] == foreseen["steps"]
    assert not any(secret in said or secret in str(first) for secret in SECRETS.values())
    assert os.stat(server.file).st_mode & 0o777 == 0o600
    second, said = run(server, "tgt_target", **options)
    assert not second["changed"] and second["steps"] == []
    assert not any(secret in said for secret in SECRETS.values())
    server.restart()
    assert server.gets_in(ESX1, secret=SECRETS[ESX1]) and not server.gets_in(ESX1, secret=SECRETS[ESX2])
    assert not server.gets_in(ESX1) and not server.gets_in(ESX3, secret=SECRETS[ESX1])
    assert not server.build(initiators=with_chap(ESX1, ESX2))["changed"]


def test_a_lun_is_the_same_disk_as_with_the_kernels_target_before_and_after_a_restart(server):
    naa = naa_name(derived_serial(TARGET, "ds1"))
    assert server.build()["naa"] == {"ds1": naa}
    before = _designators(server)
    assert bytes.fromhex(naa[4:]) in before
    server.restart()
    assert _designators(server) == before


def test_what_is_added_ends_no_session(server):
    server.build()
    writer = server.write(ESX2, "--reconnect").running()  # sends again what got UNIT ATTENTION (reported LUNs data has changed)
    (before,) = [one.sid for one in server.target().sessions()]
    at = writer.acknowledged()
    more = {"luns": [server.lun(1), server.lun(4)], "initiators": [{"name": name} for name in (ESX1, ESX2, ESX3)]}
    assert server.build(**more)["changed"]
    assert server.gets_in(ESX3, lun=4)
    writer.running()
    assert [one.sid for one in server.target().sessions()] == [before]
    assert writer.process.poll() is None and writer.acknowledged() > at
    assert not server.build(**more)["changed"]


def test_a_portal_moves_while_a_session_goes_on(server):
    server.build()
    writer = server.write(ESX2).running()
    at = writer.acknowledged()
    moved = [{"address": "127.0.0.2", "port": server.port}]
    assert server.build(portals=moved)["steps"] == ["close portal 127.0.0.1:%d" % server.port, "open portal 127.0.0.2:%d" % server.port]
    assert not server.gets_in(ESX1)
    server.portal = "127.0.0.2:%d" % server.port
    assert server.gets_in(ESX1) and writer.running().acknowledged() > at


def test_a_fence_holds_through_a_rerun_and_a_restart_and_its_unfence_finds_it(server):
    server.build()
    assert server.fence().confirmed
    fenced = server.file.read_bytes()
    again = server.build()
    assert not again["changed"] and again["fenced"] == [ESX1] and server.file.read_bytes() == fenced
    # something else is added meanwhile
    added = server.build(luns=[server.lun(1), server.lun(2)])
    assert added["changed"] and added["fenced"] == [ESX1]
    assert not server.gets_in(ESX1) and server.gets_in(ESX2, lun=2)
    server.restart()
    assert not server.gets_in(ESX1) and server.gets_in(ESX2)
    server.unfenced()
    assert server.gets_in(ESX1) and not server.build(luns=[server.lun(1), server.lun(2)])["changed"]


def test_a_fence_that_is_only_on_the_list_is_written_into_a_new_file(server):
    """The power failed, or the file was lost: the list is what counts."""
    server.build()
    server.fence()
    server.file.unlink()
    server.stop()
    server.daemon = None
    server.start()
    assert server.build()["fenced"] == [ESX1]
    assert not server.gets_in(ESX1) and server.gets_in(ESX2)
    server.restart()
    assert not server.gets_in(ESX1) and server.gets_in(ESX2)


def test_no_content_of_the_file_ever_admits_a_fenced_initiator(server, monkeypatch):
    server.build()
    server.fence()
    written = []
    replace = durable.replace
    monkeypatch.setattr(durable, "replace", lambda path, content, **more: (written.append(content), replace(path, content, **more)))
    server.build(luns=[server.lun(1), server.lun(2)])
    (content,) = written
    assert b"\n#libreha-fenced#     initiator-name %s\n" % ESX1.encode() in content
    assert b"\n    initiator-name %s\n" % ESX1.encode() not in content


def test_a_mark_without_an_entry_on_the_list_holds_and_is_said(server):
    server.build()
    server.fence()
    server.list_path.unlink()
    again = server.build()
    assert not again["changed"] and "not on the fence list" in again["warnings"][0] and not server.gets_in(ESX1)


def test_after_an_unfence_the_old_secret_is_not_set_again_without_a_word(server):
    server.build(initiators=with_chap(ESX1, ESX2))
    server.fence()
    server.unfenced("a-new-secret-for-1")
    with pytest.raises(LibrehaError, match=r"CHAP secret of %s is not the one that is in force" % ESX1):
        server.build(initiators=with_chap(ESX1, ESX2))
    assert server.gets_in(ESX1, secret="a-new-secret-for-1") and not server.gets_in(ESX1, secret=SECRETS[ESX1])
    new = [{"name": ESX1, "chap": {"secret": "a-new-secret-for-1"}}, *with_chap(ESX2)]
    assert not server.build(initiators=new)["changed"]
    writer_less = server.build(initiators=with_chap(ESX1, ESX2), disrupt=[ESX1])
    assert writer_less["changed"] and "another one" in str(writer_less["diff"]) and SECRETS[ESX1] not in str(writer_less)
    assert server.gets_in(ESX1, secret=SECRETS[ESX1])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"luns": []}, r"LUN 1 \(.*\) is exported and not described"),
        ({"initiators": [{"name": ESX2}]}, r"%s is admitted and not described" % ESX1),
        ({"luns": [{"number": 1, "name": "ds1", "type": "fileio", "path": "/tmp/other.img", "size": "64MiB"}]}, "take it for another disk"),
        ({"portals": [{"address": "192.0.2.77"}]}, "does not have that address"),
        ({"luns": [{"number": 0, "name": "ds1", "type": "block", "path": "/dev/x"}]}, r"luns\[0\]\.number is 0"),
        ({"initiators": [{"name": "esx1"}]}, r"initiators\[0\]\.name is no iSCSI name"),
        ({"initiators": [{"name": ESX1, "chap": {"secret": "short"}}]}, r"initiators\[0\]\.chap\.secret of .* has 5 characters"),
        ({"initiators": [{"name": ESX1, "chap": {"secret": "a$(reboot)secret"}}]}, "a shell would not leave"),
        ({"disrupt": ["x"]}, "disrupt is no iSCSI name"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_nothing_changes(server, changes, says):
    server.build()
    before = server.file.read_bytes(), server.admin("--op", "show", "--mode", "target")
    with pytest.raises(LibrehaError, match=says):
        server.build(**changes)
    assert (server.file.read_bytes(), server.admin("--op", "show", "--mode", "target")) == before


def test_a_smaller_lun_is_refused_and_a_larger_one_waits_for_the_next_start(server):
    server.build()
    with pytest.raises(LibrehaError, match="never made smaller"):
        server.build(luns=[server.lun(1, "32MiB")])
    grown = server.build(luns=[server.lun(1, "96MiB")])
    assert grown["changed"] and "looks at a size only when it starts" in grown["warnings"][0]
    again = server.build(luns=[server.lun(1, "96MiB")])
    assert not again["changed"] and again["warnings"]
    server.restart()
    assert not server.build(luns=[server.lun(1, "96MiB")])["warnings"]


def test_a_file_with_content_is_not_exported_without_a_word(server):
    server.disk.write_bytes(b"x" * (1 << 20))
    with pytest.raises(LibrehaError, match=r"LUN ds1"):
        server.build()
    assert server.build(luns=[server.lun(1, existing_data="export")])["changed"]


def test_a_target_that_is_configured_elsewhere_is_left_alone(server):
    (server.file.parent / "mine.conf").write_text("<target %s>\n  initiator-address 255.255.255.255\n</target>\n" % TARGET)
    with pytest.raises(LibrehaError, match=r"the target is in .*mine\.conf as well"):
        server.build()
    (server.file.parent / "mine.conf").unlink()
    server.saved.write_text("# nothing\n")
    with pytest.raises(LibrehaError, match="does not include"):
        server.build()


def _designators(server: Built) -> bytes:
    """INQUIRY page 0x83 of LUN 1 as it comes, read with libiscsi."""
    lib = ctypes.CDLL("libiscsi.so.7")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    lib.iscsi_create_context.restype = lib.scsi_cdb_inquiry.restype = lib.iscsi_scsi_command_sync.restype = pointer
    for name, arguments in {
        "iscsi_set_targetname": [pointer, ctypes.c_char_p],
        "iscsi_set_session_type": [pointer, number],
        "iscsi_full_connect_sync": [pointer, ctypes.c_char_p, number],
        "scsi_task_add_data_in_buffer": [pointer, number, ctypes.c_char_p],
        "iscsi_scsi_command_sync": [pointer, number, pointer, pointer],
        "scsi_free_scsi_task": [pointer],
        "iscsi_logout_sync": [pointer],
        "iscsi_destroy_context": [pointer],
    }.items():
        getattr(lib, name).argtypes = arguments
    iscsi = lib.iscsi_create_context(ESX2.encode())
    lib.iscsi_set_targetname(iscsi, TARGET.encode())
    lib.iscsi_set_session_type(iscsi, 2)  # normal
    assert lib.iscsi_full_connect_sync(iscsi, server.portal.encode(), 1) == 0
    answer = ctypes.create_string_buffer(255)
    task = lib.scsi_cdb_inquiry(1, 0x83, len(answer))
    lib.scsi_task_add_data_in_buffer(task, len(answer), answer)
    assert lib.iscsi_scsi_command_sync(iscsi, 1, task, None)
    lib.scsi_free_scsi_task(task)
    lib.iscsi_logout_sync(iscsi)
    lib.iscsi_destroy_context(iscsi)
    assert answer.raw[1] == 0x83
    return answer.raw[: 4 + int.from_bytes(answer.raw[2:4], "big")]


CAPITALS = "iqn.1998-01.com.vmware:ESX3-5F"


def test_a_host_with_capitals_gets_in_under_the_name_that_it_says(server):
    """tgtd compares names, and CHAP users, letter by letter."""
    initiators = [*with_chap(ESX1), {"name": CAPITALS, "chap": {"secret": SECRETS[ESX3]}}]
    built = server.build(initiators=initiators)
    assert server.gets_in(CAPITALS, secret=SECRETS[ESX3]) and not built["warnings"]
    server.restart()
    assert server.gets_in(CAPITALS, secret=SECRETS[ESX3])
    assert not server.build(initiators=initiators)["changed"]


def test_another_spelling_than_the_hosts_own_does_not_take_the_right_from_it(server):
    """The description is in lower case, the target has the host's own spelling."""
    server.build(initiators=[{"name": CAPITALS}])
    session = server.write(CAPITALS).running()
    built = server.build(initiators=[{"name": CAPITALS.lower()}])
    assert session.process.poll() is None
    (warning,) = built["warnings"]
    assert CAPITALS in warning and "compares letter by letter" in warning
    assert not server.build(initiators=[{"name": CAPITALS.lower()}])["changed"]
    session.kill()
    server.restart()
    assert server.gets_in(CAPITALS) and server.gets_in(CAPITALS.lower())


def test_once_the_host_is_described_as_it_says_the_other_spelling_goes_with_the_next_start(server):
    server.build(initiators=[{"name": CAPITALS.lower()}])
    server.build(initiators=[{"name": CAPITALS}])
    server.write(CAPITALS).running()
    built = server.build(initiators=[{"name": CAPITALS}])
    assert built["warnings"] == [] and CAPITALS.lower() not in server.file.read_text()


def test_every_spelling_is_fenced_and_comes_back(server):
    server.build(initiators=[{"name": CAPITALS}])
    server.build(initiators=[{"name": CAPITALS.lower()}])
    assert server.fence(initiator=CAPITALS.lower(), host="esx3").confirmed
    assert server.build(initiators=[{"name": CAPITALS.lower()}])["fenced"] == [CAPITALS.lower()]
    assert not server.gets_in(CAPITALS) and not server.gets_in(CAPITALS.lower())
    server.restart()
    assert not server.gets_in(CAPITALS) and not server.gets_in(CAPITALS.lower())
    fencer = Fencer(server.target(), server.fence_list(), Permit(clock.now().seconds + 60.0), interval=0.1)
    unfence(fencer, "esx3", [], 9, FreshStart(force="esx3", reason="a test"))
    assert server.gets_in(CAPITALS) and server.gets_in(CAPITALS.lower())


def test_a_target_whose_name_differs_in_case_only_is_no_second_one(server):
    server.admin("--op", "new", "--mode", "target", "--tid", "5", "-T", TARGET.replace("shared", "Shared"))
    with pytest.raises(LibrehaError, match="differs from it in case only"):
        server.build()
