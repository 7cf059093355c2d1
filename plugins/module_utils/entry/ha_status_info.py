# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_status_info``: how the cluster stands, as the resident monitor says it, or else the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decide.json_form import to_dict
from ..errors import LibrehaError
from ..service.client import DEFAULT_SOCKET, TIMEOUT, Places, read_status, with_near_misses
from ..service.health import OLDEST, health_of
from ..service.status_text import status_lines
from .options.state import state_spec


def argument_spec() -> dict[str, Any]:
    return {
        **state_spec(),
        "socket": {"type": "path", "default": DEFAULT_SOCKET},
        "timeout": {"type": "float", "default": TIMEOUT},
        "max_age": {"type": "float", "default": OLDEST},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError when neither the monitor nor the record can be read."""
    for option in ("timeout", "max_age"):
        if params[option] <= 0:
            raise LibrehaError("%s is %g" % (option, params[option]), remedy="give more than 0 seconds")
    places = Places(params["socket"], params["state_url"])
    status = with_near_misses(read_status(places, params["timeout"]), places)
    health = health_of(status, params["max_age"])
    return {
        "changed": False,
        "status": to_dict(status),
        "text": status_lines(status),
        "health": health.level.name.lower(),
        "findings": list(health.findings),
    }
