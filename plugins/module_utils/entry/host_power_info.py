# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``host_power_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decide.machine import Machine
from ..fence.power_state import read_power
from .options.bmc import bmc_spec, host_spec, read_bmc


def argument_spec() -> dict[str, Any]:
    return {**bmc_spec(), **host_spec()}


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    devices = read_bmc(params["host"], params)
    return read_power(devices, Machine(**params["machine"]) if params["machine"] else None)
