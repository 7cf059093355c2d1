# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power fencing: proof that a host's VMs no longer execute. One driver for each kind of device; ``levels`` orders them.

Power is proved, not assumed: a device answers a request before the machine has lost its power, and reports a state that it
read some time ago. So a state counts only when two reads in a row say so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

from .. import clock
from ..act.deadman import Permit
from ..decide.instant import Instant
from ..decide.machine import Machine
from ..decide.observations import Power
from ..errors import LibrehaError

READ_INTERVAL = 0.2  # seconds between the two reads
POLL_INTERVAL = 0.5  # seconds between looks while power changes


@dataclass(frozen=True)
class PowerDevice:
    """How to reach one device that switches one host: its BMC, or an outlet that feeds it."""

    name: str  # the host
    address: str  # redfish: https URL; fence_agent: what the agent's option ip takes, "" for an agent without one
    username: str = ""
    password: str = field(default="", repr=False)
    driver: str = "redfish"
    level: int = 1  # levels are tried in rising order; all devices of one level must succeed
    outlet: bool = False  # it switches what feeds the machine: when it is on, the machine may still be off
    timeout: float = 5.0  # seconds for each answer
    system: str = ""  # redfish: the path or id of the host's system, "" the only one
    validate_certs: bool = True  # redfish
    ca_path: str | None = None  # redfish
    agent: str = ""  # fence_agent: the agent's name
    options: Mapping[str, str] = field(default_factory=dict)  # fence_agent: the agent's own options
    secret_options: Mapping[str, str] = field(default_factory=dict, repr=False)  # fence_agent

    @property
    def text(self) -> str:
        """ "redfish https://192.0.2.9", "fence_apc 192.0.2.20 plug 3" """
        plug = self.options.get("plug") or self.options.get("port") or ""
        return " ".join(part for part in (self.agent or self.driver, self.address, "plug " + plug if plug else "") if part)


class PowerFence(ABC):
    """One device. Raises LibrehaError, with the host's name and a remedy, when it cannot be asked. Each request that
    changes something is sent within ``permit``; waiting for its effect is not, it may outlast the lease."""

    permit: Permit | None = None

    def __init__(self, device: PowerDevice, *, now: Callable[[], Instant] = clock.now) -> None:
        self.device = device
        self._now = now

    @abstractmethod
    def read(self) -> Power:
        """The power state as the device says it once."""

    @abstractmethod
    def switch(self, wanted: Power, seconds: float) -> None:
        """Ask for on or off (by force), within ``permit`` and *seconds*. The effect is not waited for."""

    @abstractmethod
    def check(self, *wanted: Power) -> None:
        """Raises LibrehaError when the device cannot read its power or cannot be asked for *wanted*. Changes nothing."""

    def machine(self) -> Machine:
        """The machine that the device says it belongs to; empty when it cannot tell."""
        return Machine()

    def power(self) -> Power:
        """The power state; two equal reads, ``unknown`` when they differ."""
        first = self.read()
        clock.sleep(READ_INTERVAL)
        return first if first is self.read() else Power.UNKNOWN

    def bring(self, wanted: Power, timeout: float) -> None:
        """Switch on or off and wait until two reads say so. Raises LibrehaError when they do not within *timeout* seconds."""
        until = self._now().seconds + timeout
        if self.power() is wanted:
            return
        self.switch(wanted, timeout)
        while True:
            seen = self.power()
            if seen is wanted:
                return
            if self._now().seconds >= until:
                raise LibrehaError(
                    "asked %s for power %s, but after %.0f s it says %s" % (self.device.text, wanted.value, timeout, seen.value),
                    host=self.device.name,
                    remedy="look at the machine and its BMC; it does not count as %s" % wanted.value,
                    details={"power": seen.value},
                )
            clock.sleep(POLL_INTERVAL)
