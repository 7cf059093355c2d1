# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power fencing: proof that a host's VMs no longer execute. One driver for each kind of device; ``levels`` orders them.

Power is proved, not assumed: a device answers a request before the machine has lost its power, and reports a state that it
read some time ago. So a state counts only when two reads in a row say so. What a device answers to an order is no proof either way:
a BMC refuses to switch off a machine that is off already, and an answer may be lost after the order was carried out. So every
order is followed by readings, and those count. An order is given again only after readings that say that nothing has happened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

from .. import clock
from ..decide.machine import Machine
from ..decide.observations import Power
from ..errors import LeaseLost, LibrehaError
from ..instant import Instant
from ..lease.deadman import Permit
from .agent_proof import doubt_of

READ_INTERVAL = 0.2  # seconds between the two reads
POLL_INTERVAL = 0.5  # seconds between looks while power changes
AFTER_FAILURE = 10.0  # seconds of readings after an order that failed: it may have been carried out, and BMCs report power with a delay
WORD_REMEDY = (
    "use another agent, or, if you know that this device says off only when the machine has no power, "
    "assert it with proves_power_off: true (docs/power-fencing.md)"
)


class AnswerLost(LibrehaError):
    """An order was sent and no answer came back: it may have been carried out."""


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
    proves_power_off: bool = False  # fence_agent: the operator's word for an agent that is not known to read power

    @property
    def doubt(self) -> str:
        """Why this device's "off" proves nothing; "" when it is a proof."""
        if self.driver != "fence_agent" or self.proves_power_off:
            return ""
        return doubt_of(self.agent, self.options)

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
        """Ask for on or off (by force), within ``permit`` and *seconds*. The effect is not waited for.

        Raises LibrehaError for an order that was refused or failed, AnswerLost where its outcome is not known, LeaseLost.
        """

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

    def bring(self, wanted: Power, timeout: float, seen: Power | None = None) -> None:
        """Switch on or off and wait until two reads say so. Raises LibrehaError when they do not within *timeout* seconds.

        *seen* is what two reads said a moment ago; None: it is read here. If it has changed since, the order changes nothing.
        """
        until = self._now().seconds + timeout
        if (self.power() if seen is None else seen) is wanted:
            return
        while True:
            failure = self._order(wanted, until)
            found = self._await(wanted, until if failure is None else min(until, self._now().seconds + AFTER_FAILURE))
            if found is wanted:
                return
            if not isinstance(failure, AnswerLost) or self._now().seconds >= until:
                raise self._not_reached(wanted, timeout, found, failure)

    def _order(self, wanted: Power, until: float) -> LibrehaError | None:
        """Give the order once. What went wrong is returned: readings tell whether it matters. Raises LeaseLost."""
        try:
            self.switch(wanted, max(1.0, until - self._now().seconds))
        except LeaseLost:
            raise
        except LibrehaError as error:
            return error
        return None

    def _await(self, wanted: Power, until: float) -> Power | LibrehaError:
        """Read until two reads say *wanted*, or *until*. Returns the last reading, or what kept the last one from being made."""
        while True:
            seen: Power | LibrehaError
            try:
                seen = self.power()
            except LibrehaError as error:  # a BMC may be busy with the order; the next reading tells
                seen = error
            if seen is wanted or self._now().seconds >= until:
                return seen
            clock.sleep(POLL_INTERVAL)

    def _not_reached(self, wanted: Power, timeout: float, seen: Power | LibrehaError, failure: LibrehaError | None) -> LibrehaError:
        read = "it cannot be read: %s" % seen.message if isinstance(seen, LibrehaError) else "it says %s" % seen.value
        if failure is not None:
            text, remedy = "%s; afterwards %s" % (failure.message, read), failure.remedy
        else:
            text = "asked %s for power %s, but after %.0f s %s" % (self.device.text, wanted.value, timeout, read)
            remedy = "look at the machine and its BMC; it does not count as %s" % wanted.value
        power = Power.UNKNOWN if isinstance(seen, LibrehaError) else seen
        return LibrehaError(text, host=self.device.name, remedy=remedy, details={"power": power.value})
