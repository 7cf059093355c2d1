# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host as the cluster's inventory has it: how it is reached, and what switches its power."""

from __future__ import annotations

from dataclasses import dataclass

from .fence.interface import PowerDevice
from .hypervisor.interface import Connection


@dataclass(frozen=True)
class HostAccess:
    """How to reach one host, and the devices that switch its power, where it has any."""

    connection: Connection
    bmc: tuple[PowerDevice, ...] = ()

    @property
    def name(self) -> str:
        return self.connection.name
