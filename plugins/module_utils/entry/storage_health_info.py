# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``storage_health_info``."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from ..errors import LibrehaError
from ..observe.storage_health.look import Wanted, look
from .options.storage import read_storage, storage_spec

DEFAULT_PATHS = ("/var/lib/libreha",)


def argument_spec() -> dict[str, Any]:
    return {
        **storage_spec(),
        "name": {"type": "str"},
        "paths": {"type": "list", "elements": "path", "default": list(DEFAULT_PATHS)},
        "smart": {"type": "bool", "default": True},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError for an option that makes no sense."""
    read_storage(params)  # for its checks
    for path in params["paths"]:
        if not path.startswith("/"):
            raise LibrehaError("paths: %s is not an absolute path" % path, remedy="give the whole path")
    wanted = Wanted(
        name=params["name"] or socket.gethostname(),
        paths=(*params["paths"], os.path.dirname(params["fence_list"])),
        driver=params["driver"],
        control_port=params["control_port"],
        saved_config=params["saved_config"] or "",
        smart=params["smart"],
        seconds=params["timeout"],
    )
    return {"changed": False, "storage_health": look(wanted)}
