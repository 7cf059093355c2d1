# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``host_certificate``. It logs in nowhere, so it takes no user and no password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configure.host_certificate import set_up
from ..hypervisor.interface import Connection


def argument_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str"},
        "hostname": {"type": "str", "required": True},
        "port": {"type": "int", "default": 443},
        "timeout": {"type": "float", "default": 5.0},
        "fingerprint": {"type": "str"},
        "path": {"type": "path"},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError; details have what the host shows."""
    hostname = params["hostname"]
    connection = Connection(params["name"] or hostname, hostname, "", "", port=params["port"], timeout=params["timeout"])
    return set_up(connection, params["path"], params["fingerprint"] or None, check_mode)
