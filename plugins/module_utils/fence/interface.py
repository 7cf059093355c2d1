# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power fencing: proof that a host's VMs no longer execute. One driver for each kind of BMC."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from ..act.deadman import Permit
from ..decide.observations import Power


@dataclass(frozen=True)
class Bmc:
    """How to reach one host's BMC. ``driver`` is redfish; ``system`` the path or id of its system, "" the only one."""

    name: str  # the host that it belongs to
    address: str  # https URL
    username: str
    password: str = field(repr=False)
    driver: str = "redfish"
    system: str = ""
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: float = 5.0


class PowerFence(ABC):
    """Raises LibrehaError, with the host's name and a remedy, when the BMC cannot be asked. Each request that
    changes something is sent within ``permit``; waiting for its effect is not, it may outlast the lease."""

    permit: Permit | None = None

    @abstractmethod
    def power(self) -> Power:
        """The power state; two equal reads, ``unknown`` when they differ."""

    @abstractmethod
    def off(self, timeout: float) -> None:
        """Force off and wait until two reads say off."""

    @abstractmethod
    def on(self, timeout: float) -> None:
        """Switch on."""

    @abstractmethod
    def cycle(self, timeout: float) -> None:
        """Force off, confirmed, then on."""
