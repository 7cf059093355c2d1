# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power fence drivers by name."""

from __future__ import annotations

from ..errors import LibrehaError
from .interface import Bmc, PowerFence
from .redfish import RedfishPower

DRIVERS = ("redfish",)


def open_power_fence(bmc: Bmc) -> PowerFence:
    """The driver for *bmc*; nothing is asked yet. Raises LibrehaError for an unknown driver."""
    if bmc.driver == "redfish":
        return RedfishPower(bmc)
    raise LibrehaError("there is no power fence driver %r" % bmc.driver, host=bmc.name, remedy="use one of: %s" % ", ".join(DRIVERS))
