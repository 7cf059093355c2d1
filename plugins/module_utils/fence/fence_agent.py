# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power fencing through any fence agent of the ClusterLabs family (fence_ipmilan, fence_redfish, fence_apc, ...).

The agents' API: options as ``name=value`` lines on standard input, what to do in ``action``; ``status`` ends with 0 for on, 2 for
off and anything else for "cannot tell". An agent switches, waits and reads by itself; it is not believed: what counts are two
reads of ours afterwards.
"""

from __future__ import annotations

import functools
import os

from ..decide.observations import Power
from ..errors import LibrehaError
from .agent_launcher import NO_NAMESPACE, TOO_LATE
from .agent_metadata import Metadata, check_options, read_metadata
from .agent_process import Answer, InMemory, run_agent
from .interface import PowerFence

NAMES = {"ip": ("ip", "ipaddr"), "username": ("username", "login"), "password": ("password", "passwd")}
READINGS = {0: Power.ON, 2: Power.OFF}


class FenceAgentPower(PowerFence):
    """One agent with one set of options. Which machine is behind it no agent tells: the mapping stays unproven."""

    def check(self, *wanted: Power) -> None:
        try:
            lacking = self._metadata.lacking(power.value for power in wanted)
            if not lacking:
                check_options(self._metadata, self._options)
        except LibrehaError as error:
            raise LibrehaError(error.message, host=self.device.name, remedy=error.remedy) from None
        if lacking:
            raise self._error(lacking, "use another agent, or fence this host by storage alone")

    def read(self) -> Power:
        answer = self._run("status", self.device.timeout)
        if answer.code not in READINGS:
            raise self._failed("read the power", answer, self.device.timeout)
        return READINGS[answer.code]

    def switch(self, wanted: Power, seconds: float) -> None:
        """The agent is ended with the permit. One that was ended may have switched, so it is the reads that tell."""
        self.check(wanted)
        deadline = None
        if self.permit is not None:
            self.permit.check("switch it %s" % wanted.value)
            deadline = self.permit.deadline
            seconds = min(seconds, self.permit.remaining() + 1.0)
        answer = self._run(wanted.value, seconds, deadline)
        if answer.code == NO_NAMESPACE:
            raise self._error(
                "was not started: %s" % answer.said,
                "run the task as root, in a container with the capability SYS_ADMIN: otherwise the agent could act after the lease",
            )
        if answer.code == TOO_LATE and self.permit is not None:
            self.permit.check("switch it %s" % wanted.value)
        if answer.code not in (0, None) and answer.code < 128:
            raise self._failed("switch it %s" % wanted.value, answer, seconds)

    @functools.cached_property
    def _metadata(self) -> Metadata:
        return read_metadata(self.device.agent)

    @functools.cached_property
    def _options(self) -> dict[str, str]:
        given = {"ip": self.device.address, "username": self.device.username, "password": self.device.password}
        named = {self._metadata.name_of(*names) or name: given[name] for name, names in NAMES.items() if given[name]}
        return {**named, **self.device.options, **self.device.secret_options}

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self.device.password, *self.device.secret_options.values())

    def _run(self, action: str, seconds: float, deadline: float | None = None) -> Answer:
        self.check()
        metadata = self._metadata
        options = check_options(metadata, self._options)
        if deadline is not None and "power_timeout" in metadata.options:
            options.setdefault("power_timeout", "%d" % max(seconds, 1))
        with InMemory() as memory:
            password = metadata.name_of(*NAMES["password"])
            if "ipmitool_path" in metadata.options and options.get(password):
                real = options.get("ipmitool_path") or metadata.options["ipmitool_path"].default
                if not os.access(real, os.X_OK):
                    raise self._error("needs ipmitool, which is not at %s" % real, "install the package ipmitool, or correct ipmitool_path")
                options["ipmitool_path"] = memory.ipmitool(real, options.pop(password))
            options[metadata.name_of("action", "option")] = action
            return run_agent(metadata.path, options, seconds, secrets=self._secrets, deadline=deadline)

    def _failed(self, what: str, answer: Answer, seconds: float) -> LibrehaError:
        if answer.code is None:
            return self._error(
                "was to %s and was ended after %.0f s without an answer" % (what, seconds),
                "check the device's network, or raise bmc.timeout",
            )
        return self._error(
            "was to %s and failed (exit code %d); it said: %s" % (what, answer.code, answer.said), "correct bmc, or look at the device"
        )

    def _error(self, text: str, remedy: str) -> LibrehaError:
        return LibrehaError("%s %s" % (self.device.text, text), host=self.device.name, remedy=remedy)
