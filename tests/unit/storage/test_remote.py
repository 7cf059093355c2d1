"""A storage server that is asked over ssh. "ssh" is here a program that runs the forced command of the key, as sshd does, with another
Python; tests/integration/storage/test_over_ssh.py has a real sshd."""

from __future__ import annotations

import ast
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.entry import storage_server_program
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman, Permit
from ansible_collections.libreha.vmware.plugins.module_utils.observe import served
from ansible_collections.libreha.vmware.plugins.module_utils.observe.cluster import observe_servers
from ansible_collections.libreha.vmware.plugins.module_utils.storage import program, remote
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import FenceRequest, ServerAccess, Ssh, UnfenceRequest

NOBODY = 32111  # a control port of no tgtd
ESX1 = "iqn.1998-01.com.vmware:esx1"


def install(folder: Path, access: ServerAccess) -> dict[str, Any]:
    parameters = {**access.settings(), "timeout": 5.0, "program": str(folder / "program.pyz"), "config": str(folder / "server.json")}
    return storage_server_program.run(parameters, False)


def forced(folder: Path, *may: str) -> list[str]:
    return [os.path.realpath(sys.executable), "-I", str(folder / "program.pyz"), str(folder / "server.json"), *may]


def be_ssh(folder: Path, line: str) -> None:
    """What follows "ssh" on the command line is in $@."""
    (folder / "ssh").write_text("#!/bin/sh\n%s\n" % line)
    (folder / "ssh").chmod(0o755)


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerAccess:
    monkeypatch.setattr(remote, "SOCKETS", str(tmp_path / "sockets"))
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    ssh = Ssh("192.0.2.9", key=str(tmp_path / "fence"), unfence_key=str(tmp_path / "unfence"), known_hosts=str(tmp_path / "known_hosts"))
    there = ServerAccess("san2", control_port=NOBODY, fence_list=str(tmp_path / "fences.json"), ssh=ssh)
    install(tmp_path, there)
    run = "exec env -i HOME=/ PATH=/usr/bin:/bin"
    first, second = (shlex.join(forced(tmp_path, *may)) for may in (("look", "fence"), ("look", "fence", "unfence")))
    be_ssh(tmp_path, 'case "$*" in *"-i %s "*) %s %s;; *) %s %s;; esac' % (ssh.unfence_key, run, second, run, first))
    return there


def request(access: ServerAccess, do: str, **more: Any) -> dict[str, Any]:
    now = clock.now().seconds
    whole = {"do": do, "times": {"until": now + 30, "deadline": now + 30}, "settings": access.settings(), "timeout": 5.0, **more}
    return json.loads(json.dumps(whole))


def answer(folder: Path, asked: dict[str, Any], *may: str) -> dict[str, Any]:
    deadman = Deadman()
    try:
        return served.answer(io.StringIO(json.dumps(asked) + "\n"), str(folder / "server.json"), may, deadman)
    finally:
        deadman.disarm()


def test_it_is_observed_as_this_machine_is(access: ServerAccess) -> None:
    seen = remote.observe_remote(access)
    assert (seen.name, seen.driver, seen.serving) == ("san2", "tgt", False)
    assert seen.highest_token == 0


def test_its_own_health_is_read_there(access: ServerAccess) -> None:
    form = remote.health_remote(access, smart=False)
    assert form["name"] == "san2"
    assert [item["mount"] for item in form["figures"]["file_systems"]]


def test_what_it_refuses_is_refused_here(access: ServerAccess) -> None:
    Path(access.fence_list).write_text("not a fence list")
    with pytest.raises(LibrehaError, match="fences.json"):
        remote.observe_remote(access)
    (seen,) = observe_servers([access])
    assert seen.serving is None
    assert "fences.json" in seen.reason


def test_one_that_cannot_be_asked_is_that_and_says_what_ssh_said_and_how_to_log_in_by_hand(access: ServerAccess, tmp_path: Path) -> None:
    be_ssh(tmp_path, "echo 'Host key verification failed.' >&2\nexit 255")
    (seen,) = observe_servers([access])
    assert (seen.name, seen.serving, seen.fences) == ("san2", None, ())
    assert "Host key verification failed" in seen.reason
    assert shlex.join(remote.command(access)) in seen.reason


@pytest.mark.parametrize("line", ["exec sleep 1000", 'echo \'{"now": 1, "program": "%s"}\'; exec sleep 1000' % program.identity()])
def test_a_server_that_hangs_before_or_after_its_first_word_is_given_up(
    access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    be_ssh(tmp_path, line)
    monkeypatch.setattr(remote, "HELLO", 0.5)
    monkeypatch.setattr(remote, "SLACK", 0.5)
    with pytest.raises(LibrehaError, match="it said nothing in time"):
        remote._Call(access).ask("observe", {}, 0.5)


def test_the_host_key_is_checked_by_the_servers_name_and_nothing_but_the_key_is_offered(access: ServerAccess) -> None:
    words = remote.command(access)
    assert {"StrictHostKeyChecking=yes", "BatchMode=yes", "HostKeyAlias=san2", "IdentitiesOnly=yes", "IdentityAgent=none"} <= set(words)
    assert words[words.index("-F") + 1] == "/dev/null"
    assert words[-2:] == ["--", "192.0.2.9"], "no command is named: the key decides"


def test_each_key_has_a_connection_of_its_own_and_a_new_key_too(access: ServerAccess) -> None:
    def socket(unfence: bool = False) -> str:
        return next((word for word in remote.command(access, unfence) if word.startswith("ControlPath=")), "")

    assert access.ssh is not None
    assert socket() == "", "there is no key yet"
    for number, path in enumerate((access.ssh.key, access.ssh.unfence_key)):
        Path(path).touch()
        os.utime(path, (number, number))
    first, second = socket(), socket(unfence=True)
    assert first and second and first != second
    os.utime(access.ssh.key, (1000, 1000))
    assert socket() not in (first, second)


def test_another_release_there_is_asked_for_nothing_and_the_error_says_so(access: ServerAccess, tmp_path: Path) -> None:
    other = 'import time; print(\'{"now": 1.0, "program": "0123456789abcdef"}\', flush=True); print(input())'
    be_ssh(tmp_path, "exec %s -c %s" % (sys.executable, shlex.quote(other)))
    with pytest.raises(LibrehaError, match=r"0123456789abcdef.*%s.*libreha\.vmware\.site" % program.identity()):
        remote.observe_remote(access)
    (seen,) = observe_servers([access])
    assert (seen.serving, "of different releases" in seen.reason) == (None, True)


def test_a_shell_in_the_programs_place_is_told_from_it(access: ServerAccess, tmp_path: Path) -> None:
    be_ssh(tmp_path, "echo Welcome; exec sh")
    with pytest.raises(LibrehaError, match="something else than this collection's program answers there, with b'Welcome"):
        remote.observe_remote(access)


def test_the_first_key_does_not_let_anybody_in_and_the_second_does(access: ServerAccess, tmp_path: Path) -> None:
    unfence = {"unfence": {"host": "esx1", "token": 8, "uptime": 1.0, "running_vms": [], "word": "", "chap_secret": ""}}
    with pytest.raises(LibrehaError, match="by this key one may look and fence, not unfence"):
        answer(tmp_path, request(access, "unfence", **unfence), "look", "fence")
    with pytest.raises(LibrehaError, match="one may look, not fence"):
        answer(tmp_path, request(access, "fence"), "look")
    with pytest.raises(LibrehaError) as refused:  # by the target, which is down: the key was no reason
        remote.unfence_remote(access, UnfenceRequest("esx1", 8, 1.0, clock.now().seconds), Permit(clock.now().seconds + 30))
    assert "by this key" not in str(refused.value)


@pytest.mark.parametrize("do", ["shell", "", None, ["fence"]])
def test_what_nobody_serves_is_refused_by_name(access: ServerAccess, tmp_path: Path, do: Any) -> None:
    with pytest.raises(LibrehaError, match="nobody can ask for|no request"):
        answer(tmp_path, request(access, do), "look", "fence", "unfence")


def test_the_request_does_not_say_which_files_are_read_and_written(access: ServerAccess, tmp_path: Path) -> None:
    asked = request(access, "observe")
    asked["settings"]["fence_list"] = "/etc/passwd"
    with pytest.raises(
        LibrehaError, match=r"set up otherwise.*fence_list is '%s/fences.json', and the arbiter takes it for '/etc/passwd'" % tmp_path
    ):
        answer(tmp_path, asked, "look", "fence")
    asked = request(access, "observe")
    asked["settings"]["name"] = "san3"
    with pytest.raises(LibrehaError, match="name is 'san2', and the arbiter takes it for 'san3'"):
        answer(tmp_path, asked, "look", "fence")


def test_a_key_of_the_arbiter_runs_no_command_of_the_client(access: ServerAccess, tmp_path: Path) -> None:
    done = subprocess.run(
        forced(tmp_path, "look", "fence"), env={"SSH_ORIGINAL_COMMAND": "id"}, input="", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "this key runs no command" in done.stderr


def test_a_request_that_was_under_way_for_too_long_is_a_dead_one(access: ServerAccess, tmp_path: Path) -> None:
    """The deadline is on the server's own clock: it tells that first, and a request that comes after it changes nothing."""
    asked = request(access, "fence", fence={"host": "esx1", "initiators": [ESX1], "token": 7, "reason": "dead"})
    asked["times"]["until"] = asked["times"]["deadline"] = clock.now().seconds - 0.1
    with pytest.raises(LeaseLost):
        answer(tmp_path, asked, "look", "fence")
    assert not Path(access.fence_list).exists()


def test_points_in_time_cross_over_as_too_early_by_the_time_that_the_answer_was_under_way(access: ServerAccess) -> None:
    """A server whose clock says 1000, in an answer that was under way for 2 s: what is in 10 s here is at 1010 there or before."""
    here = clock.now().seconds
    crossed = json.loads(remote._Call(access)._request("unfence", {}, {"deadline": here + 10, "read_at": here - 5}, 1000.0))["times"]
    assert 1009.0 < crossed["deadline"] <= 1010.0
    assert 994.0 < crossed["read_at"] <= 995.0


def test_no_act_is_asked_for_when_the_time_to_act_is_over(access: ServerAccess) -> None:
    asked = FenceRequest("esx1", (ESX1,), 7, "dead")
    with pytest.raises(LeaseLost):
        remote.fence_remote(access, asked, Permit(clock.now().seconds + 0.01))
    assert not Path(access.fence_list).exists()


def test_the_program_holds_every_module_that_one_of_its_modules_imports() -> None:
    held = program.sources()
    root = program.ENTRY.partition(".observe.")[0]
    for name, source in held.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith(root) for alias in node.names), "%s: by a relative name, please" % name
            if isinstance(node, ast.ImportFrom) and node.level:
                module = ".".join([name.rsplit(".", node.level)[0], *([node.module] if node.module else [])])
                members = ["%s.%s" % (module, alias.name) for alias in node.names]
                assert module in held or all(member in held for member in members), "%s imports %s" % (name, module)


def test_the_program_is_written_once_again_when_it_is_damaged_and_foreseen_in_check_mode(access: ServerAccess, tmp_path: Path) -> None:
    assert install(tmp_path, access)["changed"] is False
    whole = (tmp_path / "program.pyz").read_bytes()
    (tmp_path / "program.pyz").write_bytes(whole[:500] + b"\0" * 9 + whole[509:])
    parameters = {**access.settings(), "timeout": 5.0, "program": str(tmp_path / "program.pyz"), "config": str(tmp_path / "server.json")}
    foreseen = storage_server_program.run(parameters, True)
    assert foreseen["changed"] and foreseen["diff"]["before"]["program"] == "another program, or a damaged one"
    assert install(tmp_path, access)["changed"] is True
    assert remote.observe_remote(access).name == "san2"
