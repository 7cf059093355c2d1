# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A storage server that is not the arbiter, asked over ssh: the same code as on the arbiter, run there.

Nothing needs to be installed on the server but Python and what its target's driver needs: the modules of this collection are sent
as an archive in memory. ssh checks the server's host key and never asks for a password; its connection is kept open between two looks.

Invariant: an act never happens after its deadline, however long the request was under way. The server first tells its own clock;
the request then says until when *on that clock* it may act, counted from before that answer was read. A request that is delayed after
that finds its time over, and the server's kernel ends the process that acts at that moment (lease/deadman.py).
"""

from __future__ import annotations

import functools
import io
import json
import shlex
import subprocess
import sys
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any, Optional, cast

from .. import clock
from ..decide.json_form import from_dict
from ..decide.observations import StorageObservation
from ..errors import LeaseLost, LibrehaError, StaleToken
from ..lease.deadman import Permit
from .server import FENCE_WAIT, FenceRequest, ServerAccess, Ssh, UnfenceRequest

SLACK = 10.0  # s for the login, Python's start and the way back
OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=5",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
    "ControlMaster=auto",
    "ControlPath=~/.ssh/libreha-%C",
    "ControlPersist=60",
)
_ROOT = __name__.rpartition(".storage.")[0]
_SERVE = _ROOT + ".observe.served"  # what answers there
_BEGIN = (
    "import os,sys;d=sys.stdin.buffer;n=int(d.readline());f=os.memfd_create('libreha');os.write(f,d.read(n));"
    "sys.path.insert(0,'/proc/self/fd/%%d'%%f);from %s import serve;serve(d)"
)


def observe_remote(access: ServerAccess) -> StorageObservation:
    """One look at a remote server. Raises LibrehaError when it could not be asked."""
    answer = _Call(access).ask({"do": "observe"}, 4 * access.timeout + SLACK)
    seen: StorageObservation = from_dict(StorageObservation, answer["storage"], "storage")
    return seen


def health_remote(access: ServerAccess, smart: bool) -> dict[str, Any]:
    """The JSON form of a remote server's StorageHealth. Raises LibrehaError when it could not be asked."""
    form: dict[str, Any] = _Call(access).ask({"do": "health", "smart": smart}, 4 * access.timeout + SLACK)["health"]
    return form


def fence_remote(access: ServerAccess, request: FenceRequest, permit: Permit) -> dict[str, Any]:
    """As ``fence_here``, on a remote server; may be called in any thread."""
    call = _Call(access)
    fence = {**asdict(request), "initiators": list(request.initiators)}
    outcome: dict[str, Any] = call.ask({"do": "fence", "fence": fence}, permit.remaining() + FENCE_WAIT + SLACK, permit)["fence"]
    return outcome


def unfence_remote(access: ServerAccess, request: UnfenceRequest, permit: Permit) -> dict[str, Any]:
    """As ``unfence_here``, on a remote server; ``read_at`` of *request* is on this machine's clock. May be called in any thread."""
    call = _Call(access)
    unfence = {**asdict(request), "running_vms": list(request.running_vms)}
    outcome: dict[str, Any] = call.ask({"do": "unfence", "unfence": unfence}, permit.remaining() + SLACK, permit)["unfence"]
    return outcome


def command(ssh: Ssh) -> list[str]:
    """What is run on the arbiter; it holds no secret."""
    words = ["ssh", "-T", "-p", str(ssh.port), "-l", ssh.user]
    for option in OPTIONS:
        words += ["-o", option]
    if ssh.key:
        words += ["-i", ssh.key]
    remote = [*(["sudo", "-n"] if ssh.become else []), ssh.python, "-c", _BEGIN % _SERVE]
    return [*words, "--", ssh.host, shlex.join(remote)]


class _Call:
    """One request to one server."""

    def __init__(self, access: ServerAccess, words: Optional[Sequence[str]] = None) -> None:
        self._access = access
        self._ssh = access.ssh or Ssh(access.name)
        self._words = list(words) if words is not None else command(self._ssh)

    def ask(self, request: dict[str, Any], seconds: float, permit: Optional[Permit] = None) -> dict[str, Any]:
        """The answer within *seconds*. Raises LibrehaError, StaleToken or LeaseLost as the server did, or saying why it was not asked."""
        request = {**request, "server": {**asdict(self._access), "ssh": None}}
        process = subprocess.Popen(self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        guard = threading.Timer(seconds, process.kill)
        guard.start()
        try:
            archive, stdin, stdout = _archive(), cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
            stdin.write(b"%d\n" % len(archive) + archive)
            stdin.flush()
            hello = stdout.readline()
            if permit is not None and hello:
                permit.check("ask %s" % self._access.name)
                theirs = json.loads(hello)["now"]  # earlier than our now: a deadline comes out too early, a reading too old
                request["deadline"] = theirs + permit.remaining()
                if "unfence" in request:
                    age = clock.now().seconds - request["unfence"]["read_at"]
                    request["unfence"] = {**request["unfence"], "read_at": theirs - age}
            out, said = process.communicate(json.dumps(request).encode() if hello else None)
        except (BrokenPipeError, ValueError):
            out, said = process.communicate()
        finally:
            guard.cancel()
            process.kill()
            process.wait()
        return self._read(out, said.decode(errors="replace").strip(), process.returncode)

    def _read(self, out: bytes, said: str, code: int) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            raise LibrehaError(
                "could not be asked over ssh (exit code %s): %s" % (code, said[-400:] or "it said nothing in time"),
                host=self._access.name,
                remedy="log in from the arbiter as the monitor does and see what is missing: ssh -o BatchMode=yes -l %s %s"
                % (self._ssh.user, self._ssh.host),
            ) from None
        if "error" in answer:
            error = answer["error"]
            kind = {"StaleToken": StaleToken, "LeaseLost": LeaseLost}.get(error["kind"], LibrehaError)
            raise kind(error["message"], host=error["host"], remedy=error["remedy"], details=error["details"])
        return answer


@functools.lru_cache(maxsize=1)
def _archive() -> bytes:
    """The modules of this collection that are loaded here, as a zip file; Python imports from it there."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        packages: set[str] = set()
        for name, module in sorted(sys.modules.items()):
            if not name.startswith(_ROOT + ".") or module is None:
                continue
            source = module.__loader__.get_source(name) if module.__loader__ is not None else None  # type: ignore[attr-defined]
            path = name.replace(".", "/")
            archive.writestr("%s/__init__.py" % path if hasattr(module, "__path__") else "%s.py" % path, source or "")
            packages.update(name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1))
        for package in sorted(packages - {name for name in sys.modules if name.startswith(_ROOT + ".")}):
            archive.writestr("%s/__init__.py" % package.replace(".", "/"), "")
    return written.getvalue()
