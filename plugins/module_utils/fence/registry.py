# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power fence drivers by name."""

from __future__ import annotations

from ..errors import LibrehaError
from .fence_agent import FenceAgentPower
from .interface import PowerDevice, PowerFence
from .redfish import RedfishPower

DRIVERS = ("redfish", "fence_agent")


def open_power_fence(device: PowerDevice) -> PowerFence:
    """The driver for *device*; nothing is asked yet. Raises LibrehaError for an unknown driver."""
    if device.driver == "redfish":
        return RedfishPower(device)
    if device.driver == "fence_agent":
        return FenceAgentPower(device)
    raise LibrehaError("there is no power fence driver %r" % device.driver, host=device.name, remedy="use one of: %s" % ", ".join(DRIVERS))
