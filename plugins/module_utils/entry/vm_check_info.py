# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vm_check_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LibrehaError
from ..observe.vm_check import check_vms
from .options.hosts import hosts_spec, read_hosts


def argument_spec() -> dict[str, Any]:
    return {
        **hosts_spec(),
        "vms": {"type": "list", "elements": "str", "required": True},
        "drill": {"type": "dict"},
        "restarted": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "float", "default": 0.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    accesses = read_hosts(params)
    if not accesses:
        raise LibrehaError("hosts is empty", remedy="list all hosts of the cluster")
    return check_vms(accesses, params["vms"], params["drill"], params["restarted"], params["wait"])
