# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``host_fence``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decide.machine import Machine
from ..errors import LibrehaError
from ..fence.power_state import STATES, fence_power
from .options.bmc import bmc_spec, host_spec, read_bmc
from .options.deadline import deadline_spec, read_permit


def argument_spec() -> dict[str, Any]:
    return {
        **bmc_spec(),
        **host_spec(),
        **deadline_spec(),
        "state": {"type": "str", "choices": list(STATES), "required": True},
        "timeout": {"type": "float", "default": 60.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError."""
    host, timeout = params["host"], params["timeout"]
    if timeout <= 0:
        raise LibrehaError("timeout is %g" % timeout, host=host, remedy="give seconds, such as 60")
    devices = read_bmc(host, params)
    permit = read_permit(params, host=host)
    machine = Machine(**params["machine"]) if params["machine"] else None
    return fence_power(devices, params["state"], permit, timeout=timeout, machine=machine, check_mode=check_mode)
