# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a storage server does that is asked over ssh: one request in, one answer out (storage/remote.py is the other end)."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

from .. import clock
from ..decide.json_form import to_dict
from ..errors import LibrehaError
from ..lease.deadman import Permit
from ..storage.server import FenceRequest, ServerAccess, UnfenceRequest, fence_here, observe_here, unfence_here
from .storage_health.look import Wanted, look


def serve(source: BinaryIO) -> None:
    """Answer the one request in *source*, on standard output, after this machine's own time."""
    _say({"now": clock.now().seconds})
    try:
        _say(_answer(json.loads(source.read())))
    except LibrehaError as error:
        told = {
            "kind": type(error).__name__,
            "message": error.message,
            "host": error.host,
            "remedy": error.remedy,
            "details": error.details,
        }
        _say({"error": told})


def _say(form: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(form) + "\n")
    sys.stdout.flush()


def read_health(server: ServerAccess, smart: bool, state_file: str = "") -> dict[str, Any]:
    """The JSON form of this machine's StorageHealth; what lies beside *state_file* and the fence list must not fill up."""
    paths = (os.path.dirname(server.fence_list), *([state_file] if state_file else []))
    return look(Wanted(server.name, paths, server.driver, server.control_port, server.saved_config, smart, server.timeout))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    server = ServerAccess(**request["server"])
    if request["do"] == "observe":
        return {"storage": to_dict(observe_here(server))}
    if request["do"] == "health":
        return {"health": read_health(server, request["smart"])}
    if request["do"] == "unfence":
        unfence = UnfenceRequest(**{**request["unfence"], "running_vms": tuple(request["unfence"]["running_vms"])})
        return {"unfence": unfence_here(server, unfence, Permit(request["deadline"], host=unfence.host))}
    fence = FenceRequest(**{**request["fence"], "initiators": tuple(request["fence"]["initiators"])})
    return {"fence": fence_here(server, fence, Permit(request["deadline"], host=fence.host))}
