# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs on a storage server when the arbiter's ssh logs in: one request in, one answer out (storage/remote.py is the other end).

It is the forced command of the arbiter's keys:

    restrict,command="python3 -I /usr/local/lib/libreha/storage-server.pyz /etc/libreha/storage-server.json look fence" ssh-ed25519 ...

Its words say what that key may do. Which target is served and where its fence list lies is said by the file, written by root, and never by
the request: whoever has the key can have no other file read or written. A request that takes it to be elsewhere is refused.

Nothing outlasts its time: the kernel ends this process when the request's time is over, also where the target hangs or the arbiter is gone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from .. import clock
from ..decide.json_form import to_dict
from ..errors import LibrehaError, as_outcome
from ..lease.deadman import Deadman, Permit
from ..storage.server import FenceRequest, ServerAccess, UnfenceRequest, fence_here, observe_here, unfence_here
from .storage_health.look import Wanted, look

LOOK, FENCE, UNFENCE = "look", "fence", "unfence"
IDLE = 60.0  # s in which the request must have come
LONGEST = 1 << 20  # bytes of a request


def main(arguments: Sequence[str], program: str) -> int:
    """The exit code. *arguments*: the file of the server's settings, and what the key may do. *program*: this program's identity."""
    if os.environ.get("SSH_ORIGINAL_COMMAND"):
        sys.stderr.write("refused: this key runs no command; it is the arbiter's, for the requests of libreha.vmware only\n")
        return 1
    deadman = Deadman()
    deadman.arm(IDLE)
    settings, *may = arguments
    _say({"now": clock.now().seconds, "program": program})
    try:
        _say(answer(sys.stdin, settings, may, deadman))
    except Exception as error:
        failed = error if isinstance(error, LibrehaError) else as_outcome(error, "answering the arbiter", os.uname().nodename)
        _say({"error": _form(failed)})
    return 0


def answer(source: TextIO, settings: str, may: Collection[str], deadman: Deadman) -> dict[str, Any]:
    """What is answered to the one request in *source*; *deadman* ends the process when the request's time is over.
    Raises LibrehaError for whatever is refused or fails."""
    try:
        request = json.loads(source.readline(LONGEST))
        do, times, expected, timeout = request["do"], request["times"], request["settings"], float(request["timeout"])
    except (KeyError, TypeError, ValueError) as error:
        raise LibrehaError("this is no request: %s" % error, remedy="ask with the monitor of this collection") from error
    service = _SERVICES.get(str(do))
    if service is None:
        raise LibrehaError("nobody can ask for %r here" % (do,), remedy="ask for one of: %s" % ", ".join(_SERVICES))
    if service.needs not in may:
        raise LibrehaError(
            "refused: by this key one may %s, not %s" % (" and ".join(may), service.needs),
            host=expected.get("name"),
            remedy="let hosts in again by the second key of the arbiter (libreha_storage.ssh.unfence_key)",
        )
    server = ServerAccess(**{**_settings(settings), "timeout": timeout})
    _require_same(server.settings(), expected, settings)
    deadman.arm(times["until"] - clock.now().seconds)
    return service.serve(server, request, times)


def read_health(server: ServerAccess, smart: bool, state_file: str = "") -> dict[str, Any]:
    """The JSON form of this machine's StorageHealth; what lies beside *state_file* and the fence list must not fill up."""
    paths = (os.path.dirname(server.fence_list), *([state_file] if state_file else []))
    return look(Wanted(server.name, paths, server.driver, server.control_port, server.saved_config, smart, server.timeout))


@dataclass(frozen=True)
class _Service:
    """What the key must allow, and what is done."""

    needs: str
    serve: Callable[[ServerAccess, Mapping[str, Any], Mapping[str, float]], dict[str, Any]]


def _observe(server: ServerAccess, request: Mapping[str, Any], times: Mapping[str, float]) -> dict[str, Any]:
    return {"storage": to_dict(observe_here(server))}


def _health(server: ServerAccess, request: Mapping[str, Any], times: Mapping[str, float]) -> dict[str, Any]:
    return {"health": read_health(server, request["smart"])}


def _fence(server: ServerAccess, request: Mapping[str, Any], times: Mapping[str, float]) -> dict[str, Any]:
    fence = FenceRequest(**{**request["fence"], "initiators": tuple(request["fence"]["initiators"])})
    return {"fence": fence_here(server, fence, Permit(times["deadline"], host=fence.host))}


def _unfence(server: ServerAccess, request: Mapping[str, Any], times: Mapping[str, float]) -> dict[str, Any]:
    given = {**request["unfence"], "running_vms": tuple(request["unfence"]["running_vms"]), "read_at": times["read_at"]}
    unfence = UnfenceRequest(**given)
    return {"unfence": unfence_here(server, unfence, Permit(times["deadline"], host=unfence.host))}


_SERVICES = {
    "observe": _Service(LOOK, _observe),
    "health": _Service(LOOK, _health),
    "fence": _Service(FENCE, _fence),
    "unfence": _Service(UNFENCE, _unfence),
}


def _settings(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as source:
            found: dict[str, Any] = json.load(source)
    except (OSError, ValueError) as error:
        raise LibrehaError(
            "%s on the storage server cannot be read: %s" % (path, error),
            remedy="run the playbook libreha.vmware.site: it writes that file",
        ) from error
    return found


def _require_same(here: Mapping[str, Any], expected: Mapping[str, Any], path: str) -> None:
    wrong = [
        "%s is %r, and the arbiter takes it for %r" % (name, value, expected.get(name))
        for name, value in here.items()
        if expected.get(name) != value
    ]
    if wrong:
        raise LibrehaError(
            "this storage server (%s) is set up otherwise than the arbiter believes: %s" % (here["name"], "; ".join(wrong)),
            host=expected.get("name"),
            remedy="see that the inventory names the right machine, then run the playbook libreha.vmware.site, which writes %s" % path,
        )


def _form(error: LibrehaError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "host": error.host,
        "remedy": error.remedy,
        "details": error.details,
    }


def _say(form: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(form) + "\n")
    sys.stdout.flush()
