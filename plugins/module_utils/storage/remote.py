# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A storage server that is not the arbiter, asked over ssh: JSON in, JSON out. observe/served.py is the other end.

The arbiter names no command. Its key decides what runs there: a forced command (sshd(8), "command=") that looks and fences, or one that
also lets hosts in again. ssh checks the server's host key by the server's name in the inventory, reads no other configuration, offers no
other key, and never asks for a password. The connection is kept open between two looks, one for each key: whoever shares a connection
shares the forced command of the key that opened it.

Invariant: an act never happens after its deadline, however long the request was under way. The server first says the time of its own
clock. Each point in time of the request is then one *on that clock*, counted from before that answer was read. So it is always too early
there, never too late: a request that is delayed finds its time over, a reading that it carries seems older than it is, and the server's
kernel ends the process that acts at its deadline (lease/deadman.py).
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any, Optional, cast

from .. import clock
from ..decide.json_form import from_dict
from ..decide.observations import StorageObservation
from ..errors import LeaseLost, LibrehaError, StaleToken
from ..lease.deadman import Permit
from .program import identity
from .server import FENCE_WAIT, FenceRequest, ServerAccess, Ssh, UnfenceRequest

HELLO = 12.0  # s until the server has said its time: the login, with ConnectTimeout in it, and Python's start
AFTERWARDS = 0.5  # s for what ssh still says when it has given up
LONGEST_HELLO = 1 << 16  # bytes
SLACK = 10.0  # s for Python's imports, and the way back
SOCKETS = "/run/libreha-ssh"  # of the connections that are kept open
OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "ConnectTimeout=5",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
)
_RUN_SITE = "run the playbook libreha.vmware.site: it brings the program on the storage servers to that of the monitor"


def observe_remote(access: ServerAccess) -> StorageObservation:
    """One look at a remote server. Raises LibrehaError when it could not be asked."""
    answer = _Call(access).ask("observe", {}, 4 * access.timeout + SLACK)
    seen: StorageObservation = from_dict(StorageObservation, answer["storage"], "storage")
    return seen


def health_remote(access: ServerAccess, smart: bool) -> dict[str, Any]:
    """The JSON form of a remote server's StorageHealth. Raises LibrehaError when it could not be asked."""
    form: dict[str, Any] = _Call(access).ask("health", {"smart": smart}, 4 * access.timeout + SLACK)["health"]
    return form


def fence_remote(access: ServerAccess, request: FenceRequest, permit: Permit) -> dict[str, Any]:
    """As ``fence_here``, on a remote server; may be called in any thread."""
    call = _Call(access)
    outcome: dict[str, Any] = call.ask("fence", {"fence": asdict(request)}, permit.remaining() + FENCE_WAIT + SLACK, permit)["fence"]
    return outcome


def unfence_remote(access: ServerAccess, request: UnfenceRequest, permit: Permit) -> dict[str, Any]:
    """As ``unfence_here``, on a remote server, by the second key; ``read_at`` of *request* is on this machine's clock. May be called in
    any thread."""
    call = _Call(access, unfence=True)
    times = {"read_at": request.read_at}
    outcome: dict[str, Any] = call.ask("unfence", {"unfence": asdict(request)}, permit.remaining() + SLACK, permit, times)["unfence"]
    return outcome


def command(access: ServerAccess, unfence: bool = False) -> list[str]:
    """What is run on the arbiter; it holds no secret."""
    ssh = access.ssh or Ssh(access.name)
    key = ssh.unfence_key if unfence else ssh.key
    words = ["ssh", "-F", "/dev/null", "-T", "-p", str(ssh.port), "-l", ssh.user, "-i", key]
    # Names of hosts are compared in small letters (ssh_config(5)).
    for option in (*OPTIONS, "UserKnownHostsFile=%s" % ssh.known_hosts, "HostKeyAlias=%s" % access.name.lower(), *_sharing(key)):
        words += ["-o", option]
    return [*words, "--", ssh.host]


def _sharing(key: str) -> list[str]:
    """The options of a connection that stays open, until it is idle for a minute. A key that was replaced opens one of its own.
    Where its socket has no place, none: each request then logs in anew."""
    try:
        os.makedirs(SOCKETS, mode=0o700, exist_ok=True)
        made = os.stat(key)
    except OSError:
        return []
    of_key = "%x-%x" % (made.st_ino, made.st_mtime_ns // 1_000_000_000)
    return ["ControlMaster=auto", "ControlPersist=60", "ControlPath=%s/%%C-%s" % (SOCKETS, of_key)]


class _Call:
    """One request to one server."""

    def __init__(self, access: ServerAccess, *, unfence: bool = False, words: Optional[Sequence[str]] = None) -> None:
        self._access = access
        self._words = list(words) if words is not None else command(access, unfence)

    def ask(
        self,
        do: str,
        what: Mapping[str, Any],
        seconds: float,
        permit: Optional[Permit] = None,
        times: Optional[Mapping[str, float]] = None,
    ) -> dict[str, Any]:
        """The answer within *seconds* after the server has said its time. *times* are points in time on this machine's clock.

        Raises LibrehaError, StaleToken or LeaseLost as the server did, or saying why it was not asked.
        """
        with self._start() as process:
            try:
                hello = _first_line(cast(IO[bytes], process.stdout), HELLO)
                if not hello:
                    out, said = _rest(process, None, AFTERWARDS)
                else:
                    theirs = self._time_there(hello)
                    if permit is not None:
                        permit.check("ask %s" % self._access.name)
                    ends = {"until": clock.now().seconds + seconds, **({"deadline": permit.deadline} if permit is not None else {})}
                    out, said = _rest(process, self._request(do, what, {**ends, **(times or {})}, theirs), seconds)
            finally:
                process.kill()
        return self._read(out, said.decode(errors="replace").strip(), process.returncode)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(self._words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise LibrehaError(
                "could not be asked: ssh cannot be run on the arbiter: %s" % error,
                host=self._access.name,
                remedy="install openssh-client there",
            ) from error

    def _time_there(self, hello: bytes) -> float:
        """The server's clock, once it is certain that its program is ours."""
        try:
            said = json.loads(hello)
            now, program = float(said["now"]), str(said["program"])
        except (KeyError, TypeError, ValueError):
            raise LibrehaError(
                "could not be asked over ssh: something else than this collection's program answers there, with %r" % hello[:200],
                host=self._access.name,
                remedy="run the playbook libreha.vmware.site, which sets up the arbiter's keys there; "
                "no other line of authorized_keys may have the same key",
            ) from None
        if program != identity():
            raise LibrehaError(
                "was not asked: its program is %s, and this monitor's is %s; they are of different releases" % (program, identity()),
                host=self._access.name,
                remedy=_RUN_SITE,
            )
        return now

    def _request(self, do: str, what: Mapping[str, Any], times: Mapping[str, float], theirs: float) -> bytes:
        """*theirs* was read before our own clock is, so every time is too early there, by the time that the answer was under way."""
        here = clock.now().seconds
        there = {name: theirs + (at - here) for name, at in times.items()}
        request = {"do": do, **what, "times": there, "settings": self._access.settings(), "timeout": self._access.timeout}
        return json.dumps(request).encode() + b"\n"

    def _read(self, out: bytes, said: str, code: int) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            raise LibrehaError(
                "could not be asked over ssh (exit code %s): %s" % (code, said[-400:] or "it said nothing in time"),
                host=self._access.name,
                remedy="log in from the arbiter as the monitor does and see what is missing: %s" % shlex.join(self._words),
            ) from None
        if "error" in answer:
            error = answer["error"]
            kind = {"StaleToken": StaleToken, "LeaseLost": LeaseLost}.get(error["kind"], LibrehaError)
            raise kind(error["message"], host=error["host"], remedy=error["remedy"], details=error["details"])
        return answer


# Whoever shares a connection has handed its pipes to the process that holds the connection. So they stay open when ssh is killed, and
# nothing here may wait for their end without a limit.
def _first_line(source: IO[bytes], seconds: float) -> bytes:
    """What came until the end of a line; nothing when none came in time."""
    line = b""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        ready.register(source, selectors.EVENT_READ)
        while not line.endswith(b"\n") and len(line) < LONGEST_HELLO:
            if not ready.select(max(0.0, end - time.monotonic())):
                return b""
            piece = os.read(source.fileno(), 4096)
            if not piece:
                break
            line += piece
    return line


def _rest(process: subprocess.Popen[bytes], request: Optional[bytes], seconds: float) -> tuple[bytes, bytes]:
    """*request* is sent; both outputs until they end, or what of them came in time."""
    try:
        return process.communicate(request, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        return late.stdout or b"", late.stderr or b""
