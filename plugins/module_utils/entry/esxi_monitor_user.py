# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``esxi_monitor_user``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configure.esxi_monitor_user import Wanted, set_up
from ..hypervisor.privileges import GRANTED_NAMES
from .options.hosts import read_single_host, single_host_spec


def argument_spec() -> dict[str, Any]:
    return {
        **single_host_spec(),
        "monitor_user": {"type": "str", "default": "libreha"},
        "monitor_password": {"type": "str", "no_log": True},
        "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "on_create", "no_log": False},
        "role": {"type": "str", "default": "libreha_monitor"},
        "additional_privileges": {"type": "list", "elements": "str", "default": []},
        "description": {"type": "str", "default": "libreha: watches this host and fails its VMs over"},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError; details say what was done before."""
    wanted = Wanted(
        user=params["monitor_user"],
        role=params["role"],
        privileges=frozenset([*GRANTED_NAMES, *(params["additional_privileges"] or ())]),
        description=params["description"],
        password=params["monitor_password"] or None,
        always=params["update_password"] == "always",
    )
    return set_up(read_single_host(params).connection, wanted, check_mode)
