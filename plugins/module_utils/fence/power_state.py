# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring a host's power into a wanted state and prove it, inside the time in which the run may act."""

from __future__ import annotations

from typing import Any

from ..act.deadman import Permit
from ..decide.observations import Power
from ..errors import LibrehaError
from .interface import Bmc
from .registry import open_power_fence

STATES = ("status", "on", "off", "cycled")


def fence_power(bmc: Bmc, state: str, permit: Permit, *, timeout: float, check_mode: bool = False) -> dict[str, Any]:
    """The result of ``host_fence``: power before and after, ``confirmed_off``, changed, diff. Raises LibrehaError."""
    fence = open_power_fence(bmc)
    before = fence.power()
    changed = state == "cycled" or (state in ("on", "off") and before.value != state)
    after = before
    confirmed_off = before is Power.OFF
    if changed and check_mode:
        after = Power.OFF if state == "off" else Power.ON
    elif changed:
        fence.permit = permit
        {"on": fence.on, "off": fence.off, "cycled": fence.cycle}[state](timeout)
        after = fence.power()
        confirmed_off = state == "cycled" or (state == "off" and after is Power.OFF)
        if state == "off" and after is not Power.OFF:
            raise LibrehaError(
                "it was off, and %s is read now" % after.value,
                host=bmc.name,
                remedy="something switches it on again (power policy, a person): look at the BMC",
                details={"power_before": before.value, "power": after.value, "confirmed_off": False, "changed": True},
            )
    return {
        "changed": changed,
        "power_before": before.value,
        "power": after.value,
        "confirmed_off": confirmed_off,
        "diff": {"before": {"power": before.value}, "after": {"power": after.value}},
    }
