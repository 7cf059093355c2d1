"""The guard that runs before the target service: what is fenced is out of the saved configuration, or the target does not start."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry, FenceList, Fences
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio import saved
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lio.fenced_acls import FencedAcls, beside
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt import saved as tgt_saved

GUARD = Path(__file__).resolve().parents[3] / "roles" / "iscsi_target" / "files" / "fence-guard"
TARGET = "iqn.2026-01.com.example:storage1"
ESX1, ESX2 = "iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx2"


class Server:
    """The files of a storage server where esx1 is fenced."""

    def __init__(self, folder: Path) -> None:
        self.fences = folder / "fences.json"
        self.lio = folder / "saveconfig.json"
        entry = Entry("esx1", ESX1.upper().replace("IQN", "iqn"), 7, Instant(1.0, "boot"), "test", (TARGET,))
        FenceList(str(self.fences)).write(Fences(7, (entry,)))
        self.save()

    def save(self, **attributes: Any) -> None:
        acls = [{"node_wwn": name, "chap_userid": name, "chap_password": "a-secret-of-16-c", "mapped_luns": []} for name in (ESX1, ESX2)]
        tpg = {
            "tag": 1,
            "enable": True,
            "attributes": {"generate_node_acls": 0, **attributes},
            "node_acls": acls,
            "luns": [],
            "portals": [],
        }
        content = {"fabric_modules": [], "storage_objects": [], "targets": [{"fabric": "iscsi", "wwn": TARGET, "tpgs": [tpg]}]}
        saved.write(str(self.lio), content)

    def start(self) -> subprocess.CompletedProcess[str]:
        arguments = ["--fence-list", str(self.fences), "--saved-config", str(self.lio)]
        return subprocess.run([sys.executable, str(GUARD), *arguments], capture_output=True, text=True, timeout=30, check=False)

    def admitted(self) -> list[str]:
        return [name for target in saved.access(str(self.lio)) for name in target.initiators]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_fenced_initiator_is_taken_out_and_kept_for_its_unfence(server: Server) -> None:
    done = server.start()
    assert done.returncode == 0, done.stderr
    assert server.admitted() == [ESX2]
    kept = FencedAcls(beside(str(server.fences))).of(ESX1)
    assert kept[TARGET, 1] is not None
    assert kept[TARGET, 1]["chap_password"] == "a-secret-of-16-c"
    assert "a-secret" not in done.stderr + done.stdout
    assert server.lio.stat().st_mode & 0o777 == 0o600


def test_what_is_in_order_is_not_written(server: Server) -> None:
    server.start()
    before = server.lio.stat()
    assert server.start().returncode == 0
    assert server.lio.stat().st_ino == before.st_ino


def test_what_is_kept_already_is_newer_and_stays(server: Server) -> None:
    FencedAcls(beside(str(server.fences))).keep(ESX1, {(TARGET, 1): None})
    server.start()
    assert FencedAcls(beside(str(server.fences))).of(ESX1) == {(TARGET, 1): None}


def test_without_a_fence_list_nothing_is_done(server: Server) -> None:
    server.fences.unlink()
    assert server.start().returncode == 0
    assert server.admitted() == [ESX1, ESX2]


@pytest.mark.parametrize("content", ["", "{", '{"schema": 2, "fences": []}', '{"schema": 1}'])
def test_a_damaged_fence_list_keeps_the_target_down(server: Server, content: str) -> None:
    server.fences.write_text(content)
    done = server.start()
    assert done.returncode == 1
    assert "never just delete it" in done.stderr
    assert server.admitted() == [ESX1, ESX2]


def test_a_saved_target_that_admits_anybody_keeps_the_target_down(server: Server) -> None:
    server.save(generate_node_acls=1)
    done = server.start()
    assert done.returncode == 1
    assert "admits anybody" in done.stderr


def test_a_saved_configuration_that_cannot_be_read_keeps_the_target_down(server: Server) -> None:
    server.lio.write_text("{")
    assert server.start().returncode == 1


def test_it_waits_for_a_run_that_holds_the_lock(server: Server) -> None:
    with open(str(server.fences) + ".lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(1.0, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        done = server.start()
    assert done.returncode == 0
    assert server.admitted() == [ESX2]


TGT = """<target %s>
    incominguser %s a-secret-of-16-c
    initiator-address 255.255.255.255
    initiator-name %s
    initiator-name %s
</target>
""" % (TARGET, ESX1, ESX1, ESX2)


def guard_tgt(server: Server, text: str) -> tuple[int, str, str]:
    """How it ended, what it said, and the file of targets.conf(5) afterwards."""
    path = server.fences.with_name("libreha.conf")
    path.write_text(text)
    command = [sys.executable, str(GUARD), "--fence-list", str(server.fences), "--saved-config", str(path), "--tgt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr, path.read_text()


def test_with_tgt_a_fenced_initiator_is_marked_exactly_as_the_fence_marks_it(server: Server) -> None:
    code, said, left = guard_tgt(server, TGT)
    assert code == 0 and "%s is fenced" % ESX1 in said
    path = server.fences.with_name("fenced.conf")
    path.write_text(TGT)
    tgt_saved.revoke(str(path), ESX1)
    assert left == path.read_text() != TGT
    assert guard_tgt(server, left) == (0, "", left)


def test_with_tgt_a_target_that_admits_everybody_does_not_start_while_a_host_is_fenced(server: Server) -> None:
    text = TGT.replace("    initiator-address 255.255.255.255\n", "")
    code, said, left = guard_tgt(server, text)
    assert code == 1 and "must not start" in said and "initiator-address" in said and left == text
    server.fences.unlink()
    assert guard_tgt(server, text) == (0, "", text)
