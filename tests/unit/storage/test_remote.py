"""A storage server that is asked over ssh: here the far side is another Python of this machine, without our libraries."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.observe import served
from ansible_collections.libreha.vmware.plugins.module_utils.observe.cluster import observe_servers
from ansible_collections.libreha.vmware.plugins.module_utils.storage import remote
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import FenceRequest, ServerAccess, Ssh, UnfenceRequest

NOBODY = 32111  # a control port of no tgtd


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerAccess:
    """ "ssh" runs the last of its words in a shell, as sshd does, in an empty environment."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last do :; done\nexec env -i HOME=%s PATH=/usr/bin:/bin sh -c "$last"\n' % tmp_path)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    python = os.path.realpath(sys.executable)
    return ServerAccess("san2", control_port=NOBODY, fence_list=str(tmp_path / "fences.json"), ssh=Ssh("192.0.2.9", python=python))


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


def test_one_that_cannot_be_asked_is_that_and_says_what_ssh_said(access: ServerAccess, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    (seen,) = observe_servers([access])
    assert (seen.name, seen.serving, seen.fences) == ("san2", None, ())
    assert "Host key verification failed" in seen.reason
    assert "ssh -o BatchMode=yes -l root 192.0.2.9" in seen.reason


def test_a_server_that_hangs_is_given_up(access: ServerAccess, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 1000\n")
    call = remote._Call(access)
    with pytest.raises(LibrehaError, match="it said nothing in time"):
        call.ask({"do": "observe"}, 0.5)


def test_the_host_key_is_checked_and_nothing_secret_is_in_the_command() -> None:
    words = remote.command(Ssh("192.0.2.9", "ha", 2222, "/etc/libreha/key", become=True))
    assert words[0] == "ssh"
    assert {"StrictHostKeyChecking=yes", "BatchMode=yes"} <= set(words)
    assert words[-2] == "192.0.2.9"
    assert shlex.split(words[-1])[:4] == ["sudo", "-n", "/usr/bin/python3", "-c"]


def test_a_request_that_was_under_way_for_too_long_is_a_dead_one(access: ServerAccess, capsys: pytest.CaptureFixture[str]) -> None:
    """The deadline is on the server's own clock: it tells that first, and a request that comes after it changes nothing."""
    fence = {"host": "esx1", "initiators": ["iqn.1998-01.com.vmware:esx1"], "token": 7, "reason": "dead"}
    request = {"do": "fence", "fence": fence, "deadline": clock.now().seconds - 0.1}
    request["server"] = {"name": "san2", "control_port": NOBODY, "fence_list": access.fence_list}

    class Source:
        def read(self) -> bytes:
            return json.dumps(request).encode()

    served.serve(Source())  # type: ignore[arg-type]
    told, answer = map(json.loads, capsys.readouterr().out.splitlines())
    assert abs(told["now"] - clock.now().seconds) < 60
    assert answer["error"]["kind"] in ("LeaseLost", "LibrehaError")
    assert not Path(access.fence_list).exists()


def test_no_act_is_asked_for_when_the_time_to_act_is_over(access: ServerAccess) -> None:
    request = FenceRequest("esx1", ("iqn.1998-01.com.vmware:esx1",), 7, "dead")
    with pytest.raises(LeaseLost):
        remote.fence_remote(access, request, Permit(clock.now().seconds + 0.01))
    assert not Path(access.fence_list).exists()


def test_a_reading_of_an_uptime_never_gets_younger_on_its_way(access: ServerAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dated on the server's own clock, from before the server's first word was read: what is late on its way counts as older."""
    request = UnfenceRequest("esx1", 7, 50.0, clock.now().seconds - 5.0)
    sent: list[dict[str, float]] = []
    dumps = json.dumps
    monkeypatch.setattr(remote.json, "dumps", lambda form: sent.append(form.get("unfence")) or dumps(form))
    with pytest.raises(LibrehaError):  # nobody serves there
        remote.unfence_remote(access, request, Permit(clock.now().seconds + 60.0))
    assert sent[0]["read_at"] <= request.read_at
    assert sent[0]["read_at"] > request.read_at - 10.0
