# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``storage_server_program``: what a storage server needs so that an arbiter elsewhere can ask it (observe/served.py)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import LibrehaError
from ..storage import durable, program
from ..storage.server import ServerAccess
from .options.storage import require_absolute, require_control, storage_spec

PROGRAM = "/usr/local/lib/libreha/storage-server.pyz"
CONFIG = "/etc/libreha/storage-server.json"


def argument_spec() -> dict[str, Any]:
    return {
        **storage_spec(),
        "name": {"type": "str", "required": True},
        "program": {"type": "path", "default": PROGRAM},
        "config": {"type": "path", "default": CONFIG},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError."""
    require_control(params)
    require_absolute(params, "saved_config", "fence_list", "program", "config")
    settings = ServerAccess(
        params["name"], params["driver"], params["control_port"], params["saved_config"] or "", params["fence_list"]
    ).settings()
    before = {"program": _identity(params["program"]), "settings": _settings(params["config"])}
    after = {"program": program.label().decode(), "settings": settings}
    if not check_mode:
        if before["program"] != after["program"]:
            _write(params["program"], program.build())
        if before["settings"] != settings:
            _write(params["config"], (json.dumps(settings, indent=2) + "\n").encode())
    return {
        "changed": before != after,
        "python": sys.executable,
        "identity": program.identity(),
        "diff": {"before": before, "after": after},
    }


def _identity(path: str) -> str:
    """What is there: the label of this very program, or another word."""
    if not os.path.exists(path):
        return "absent"
    return program.label().decode() if program.is_whole(path) else "another program, or a damaged one"


def _settings(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as source:
            return json.load(source)
    except FileNotFoundError:
        return "absent"
    except ValueError:
        return "unreadable"


def _write(path: str, content: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    except OSError as error:
        raise LibrehaError("cannot make the folder of %s: %s" % (path, error), remedy="run it as root") from error
    durable.replace(path, content, mode=0o644)
