# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vm_power``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..act.vm_power import KINDS, PowerRequest, power_vms, would_power
from ..errors import LibrehaError
from ..record.database import StateDatabase
from .options.hosts import hosts_spec, read_hosts
from .options.state import state_spec


def argument_spec() -> dict[str, Any]:
    return {
        "state": {"type": "str", "choices": list(KINDS), "default": "powered_off"},
        "vms": {"type": "list", "elements": "str", "default": []},
        "stop_timeout": {"type": "float", "default": 10},
        "guest_timeout": {"type": "float", "default": 120},
        "only_without_heartbeat": {"type": "bool", "default": False},
        "holder": {"type": "str", "required": True},
        "token": {"type": "int", "required": True, "no_log": False},
        "lease": {"type": "float", "default": 60},
        **hosts_spec(),
        **state_spec(),
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError naming every VM with which it was not done."""
    accesses = {access.name: access for access in read_hosts(params)}
    request = PowerRequest(
        params["state"], tuple(params["vms"]), params["only_without_heartbeat"], params["stop_timeout"], params["guest_timeout"]
    )
    if request.state != "powered_off" and not request.vms:
        raise LibrehaError("vms is empty", remedy="name the VMs by their ids; only state powered_off takes all VMs of the hosts")
    if check_mode:
        return would_power(accesses, request)
    with StateDatabase.open(params["state_url"], create=False) as database:
        return power_vms(accesses, request, database, params["holder"], params["token"], params["lease"])
