"""A storage server that is not the arbiter: set up by the role storage_access, and asked through a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.observe.cluster import observe_servers
from ansible_collections.libreha.vmware.plugins.module_utils.storage import program, remote
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import FenceRequest, UnfenceRequest
from over_ssh import RemoteServer, ssh_keygen
from real_storage import ESX1, until


def recap(said: str) -> dict[str, int]:
    """Host -> how many tasks changed something."""
    lines = said[said.index("PLAY RECAP") :].splitlines()
    return {line.split()[0]: int(line.partition("changed=")[2].split()[0]) for line in lines if "changed=" in line}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteServer]:
    for command in ("sshd", "ssh", "ssh-keygen", "tgtd", "tgtadm", "tgt-admin"):
        if shutil.which(command) is None:
            pytest.skip("%s is missing: install openssh-server, openssh-client and tgt" % command)
    if os.geteuid() != 0:
        pytest.skip("tgtd and sshd need root")
    there = RemoteServer(tmp_path_factory.mktemp("remote"))
    try:
        there.foreseen = there.play("--check", "--diff")
        there.built = there.play("--diff")
        yield there
    finally:
        there.end()


@pytest.fixture(autouse=True)
def sockets(server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SOCKETS", str(server.sockets))


def soon(seconds: float = 30.0) -> Permit:
    return Permit(clock.now().seconds + seconds)


def fence(server: RemoteServer, token: int) -> dict:
    return remote.fence_remote(server.access, FenceRequest("esx1", (ESX1,), token, "dead"), soon())


def manual_step(key: str, server: RemoteServer, *command: str) -> subprocess.CompletedProcess[str]:
    """As somebody who has stolen the key."""
    words = remote.command(replace(server.access, ssh=replace(server.ssh, key=key)))
    return subprocess.run([*words, *command], input="", capture_output=True, text=True, timeout=30, check=False)


def test_the_role_sets_it_up_once_and_shows_before_what_it_will_do(server: RemoteServer) -> None:
    assert recap(server.foreseen)["san2"] >= 4 and recap(server.foreseen).get("san1", 0) == 0
    assert recap(server.built)["san2"] >= 4
    assert recap(server.play()) == {"san1": 0, "san2": 0}
    assert [(server.keys / name).stat().st_mode & 0o777 for name in ("fence", "unfence")] == [0o600, 0o600]
    assert "PRIVATE KEY" not in server.foreseen + server.built
    noted = (server.keys / "known_hosts").read_text().split()
    assert noted == ["san2", *(server.folder / "sshd/host_key.pub").read_text().split()[:2]]
    admitted = [line for line in (server.folder / "sshd/authorized_keys").read_text().splitlines() if "libreha" in line and "#" not in line]
    assert [line.partition('" ssh-ed25519')[0].rpartition(".json ")[2] for line in admitted] == ["look fence", "look fence unfence"]
    assert all(line.startswith('restrict,command="') for line in admitted)


def test_it_is_seen_as_it_is_over_one_connection_that_is_made_again_after_it_broke(server: RemoteServer) -> None:
    before = server.sshd.logins()
    for _look in range(3):
        (seen,) = observe_servers([server.access])
        assert (seen.name, seen.serving, seen.reason) == ("san2", True, "")
    assert remote.health_remote(server.access, smart=False)["name"] == "san2"
    assert server.sshd.logins() == before + 1
    server.sshd.cut()
    until(lambda: observe_servers([server.access])[0].serving, "it is asked again")
    assert server.sshd.logins() == before + 2


def test_a_host_is_fenced_there_by_the_first_key_and_let_in_by_the_second_only(server: RemoteServer) -> None:
    assert not server.storage.login_refused()
    outcome = fence(server, 7)
    assert (outcome["confirmed"], outcome["changed"], outcome["token"]) == (True, True, 7)
    assert server.storage.login_refused()
    (seen,) = observe_servers([server.access])
    assert (seen.highest_token, [(one.host, one.confirmed) for one in seen.fences]) == (7, [("esx1", True)])
    with pytest.raises(StaleToken):
        fence(server, 6)

    let_in = UnfenceRequest("esx1", 8, uptime=1.0, read_at=clock.now().seconds, word="it was restarted, I saw it")
    first_only = replace(server.access, ssh=replace(server.ssh, unfence_key=server.ssh.key))
    with pytest.raises(LibrehaError, match="by this key one may look and fence, not unfence"):
        remote.unfence_remote(first_only, let_in, soon())
    assert server.storage.login_refused()
    with pytest.raises(LibrehaError, match="it was not restarted since"):
        remote.unfence_remote(server.access, replace(let_in, uptime=1000.0, word=""), soon())
    assert remote.unfence_remote(server.access, let_in, soon())["changed"] is True
    assert not server.storage.login_refused()


def test_a_stolen_key_runs_nothing_opens_nothing_and_names_no_file(server: RemoteServer) -> None:
    for key in (server.ssh.key, server.ssh.unfence_key):
        done = manual_step(key, server, "touch %s/intruder" % server.folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert "this key runs no command" in done.stderr
    words = remote.command(server.access)
    tunnel = subprocess.run(
        [*words[:1], "-o", "ControlPath=none", "-W", "127.0.0.1:%d" % server.storage.port, *words[1:]],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert tunnel.returncode != 0 and "administratively prohibited" in tunnel.stderr
    with pytest.raises(LibrehaError, match="set up otherwise than the arbiter believes"):
        remote.observe_remote(replace(server.access, fence_list=str(server.folder / "another.json")))
    assert not (server.folder / "intruder").exists()


def test_another_host_key_is_another_machine_and_it_is_not_asked(server: RemoteServer, tmp_path: Path) -> None:
    other = ssh_keygen(tmp_path / "other").with_suffix(".pub").read_text().split()[:2]
    (tmp_path / "known_hosts").write_text("san2 %s\n" % " ".join(other))
    server.sshd.cut()
    (seen,) = observe_servers([replace(server.access, ssh=replace(server.ssh, known_hosts=str(tmp_path / "known_hosts")))])
    assert (seen.serving, seen.fences) == (None, ())
    assert "Host key verification failed" in seen.reason


def test_a_request_that_is_delayed_past_its_deadline_is_a_dead_one(server: RemoteServer) -> None:
    """It waits in sshd's frozen process, which goes on when the deadline is over; nothing is written, nobody is fenced."""
    server.storage.list_path.unlink(missing_ok=True)
    process = subprocess.Popen(remote.command(server.access), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    hello = json.loads(process.stdout.readline())
    end = clock.now().seconds + 1.0
    asked = {"fence": {"host": "esx1", "initiators": [ESX1], "token": 9, "reason": "dead"}}
    with server.sshd.frozen():
        times = {"deadline": end, "until": end + 20}
        process.stdin.write(remote._Call(server.access)._request("fence", asked, times, hello["now"]))
        process.stdin.flush()
        time.sleep(2.0)
    answer = json.loads(process.communicate(timeout=30)[0])
    assert answer["error"]["kind"] == "LeaseLost"
    assert not server.storage.list_path.exists()
    assert not server.storage.login_refused()


def test_a_server_that_hangs_is_unknown_and_asked_again_when_it_goes_on(server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "HELLO", 1.0)
    with server.sshd.frozen():
        began = time.monotonic()
        (seen,) = observe_servers([server.access])
        assert (seen.serving, seen.sessions) == (None, None)
        assert "it said nothing in time" in seen.reason
        assert time.monotonic() - began < 5
    monkeypatch.undo()
    monkeypatch.setattr(remote, "SOCKETS", str(server.sockets))
    until(lambda: observe_servers([server.access])[0].serving, "it is asked again")


def test_nothing_of_what_was_asked_stays_behind_there(server: RemoteServer) -> None:
    """The arbiter's ssh is killed while the target hangs; the program's own time ends it."""
    process = subprocess.Popen(remote.command(server.access), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    hello = json.loads(process.stdout.readline())
    server.storage.daemon.send_signal(19)
    try:
        end = clock.now().seconds + 1.5
        process.stdin.write(remote._Call(server.access)._request("observe", {}, {"until": end}, hello["now"]))
        process.stdin.flush()
        process.kill()
        process.wait()
        program_of = str(server.folder / "lib/storage-server.pyz").encode()

        def at_it() -> list[int]:
            return [pid for pid in server.sshd.sessions() if program_of in Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")]

        until(lambda: not at_it(), "the program ended", 10)
    finally:
        server.storage.daemon.send_signal(18)


def test_a_program_of_another_release_is_asked_for_nothing(server: RemoteServer) -> None:
    path = server.folder / "lib/storage-server.pyz"
    ours = path.read_bytes()
    try:
        path.write_bytes(b"")  # a new file, so that Python reads no index of the old one
        subprocess.run(["python3", "-c", OLDER, str(path), program.ENTRY], check=True, input=ours)
        (seen,) = observe_servers([server.access])
        assert seen.serving is None
        assert "its program is 0123456789abcdef, and this monitor's is %s" % program.identity() in seen.reason
        assert "libreha.vmware.site" in seen.reason
        with pytest.raises(LibrehaError, match="of different releases"):
            fence(server, 50)
        assert server.storage.fence_list().read().highest_token < 50
    finally:
        path.write_bytes(ours)
    assert observe_servers([server.access])[0].serving is True


OLDER = """
import io, sys, zipfile
old = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
with zipfile.ZipFile(sys.argv[1], "w") as new:
    for name in old.namelist():
        new.writestr(name, old.read(name))if name != "__main__.py" else new.writestr(
            name, "import sys\\nfrom %s import main\\nsys.exit(main(sys.argv[1:], '0123456789abcdef'))" % sys.argv[2])
"""


def test_new_keys_of_the_arbiter_take_the_place_of_the_old_ones(server: RemoteServer, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copy(server.ssh.key, old)
    for name in ("fence", "unfence"):
        (server.keys / name).unlink()
        (server.keys / (name + ".pub")).unlink()
    assert recap(server.play())["san2"] == 2
    assert manual_step(str(old), server).returncode == 255
    assert observe_servers([server.access])[0].serving is True
