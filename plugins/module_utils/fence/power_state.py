# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a host's power, or bring it into a wanted state and prove it, inside the time in which the run may act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..decide.machine import Machine
from ..decide.observations import Power
from ..errors import LibrehaError
from ..lease.deadman import Permit
from .interface import PowerDevice
from .levels import Reading, SwitchedOff, by_level, combine, read_device, switch_off, switch_on, wrong_device
from .registry import open_power_fence

STATES = ("on", "off", "cycled")
NEEDED = {"on": (Power.ON,), "off": (Power.OFF,), "cycled": (Power.OFF, Power.ON)}  # what a device must be able to do


def read_power(devices: Sequence[PowerDevice], machine: Machine | None = None) -> dict[str, Any]:
    """The result of ``host_power_info``: power, ``confirmed_off``, the reason, the devices. Raises LibrehaError when none can be asked.

    Args:
        devices: The host's power devices, at least one.
        machine: The host's own machine, where that is known; with a device that belongs to another one the power is unknown.
    """
    readings = [read_device(open_power_fence(device)) for device in devices]
    _need_one(devices[0].name, readings)
    power, reason = _judged(readings, machine)
    return {
        "changed": False,
        "power": power.value,
        "confirmed_off": power is Power.OFF,
        "reason": reason,
        "devices": [reading.as_dict() for reading in readings],
    }


def fence_power(
    devices: Sequence[PowerDevice],
    state: str,
    permit: Permit,
    *,
    timeout: float,
    machine: Machine | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """The result of ``host_fence``: power before and after, ``confirmed_off``, the levels, changed, diff. Raises LibrehaError.

    A host whose devices are switched off, but cannot prove it (agent_proof), is a success without ``confirmed_off``; its power is
    unknown, and the reason says what would make it a proof.

    Args:
        devices: The host's power devices, at least one.
        state: One of STATES.
        permit: Until when something may be changed.
        timeout: Seconds that each level is given.
        machine: The host's own machine as the host told it, where that is known; a device that belongs to another one is refused.
        check_mode: Only read.
    """
    fences = [open_power_fence(device) for device in devices]
    readings = [read_device(fence, *NEEDED[state]) for fence in fences]
    host = devices[0].name
    _need_one(host, readings)
    wrong = wrong_device(readings, machine or Machine())
    before, reason = _judged(readings, machine)
    changed = state == "cycled" or (before.value != state and (bool(wrong) or not _all_say(readings, state)))
    result: dict[str, Any] = {"power_before": before.value, "reason": reason, "level_errors": {}}
    if changed and wrong:
        remedy = "correct libreha_bmc of this host (address, system, plug); nothing was changed"
        raise LibrehaError(wrong, host=host, remedy=remedy, details=_told(result, before, readings))
    after, confirmed_off = before, before is Power.OFF
    if changed and check_mode:
        after = Power.OFF if state == "off" else Power.ON
    elif changed:
        levels = by_level(fences)
        for fence in fences:
            fence.permit = permit
        off = SwitchedOff(0, False, {})
        if state != "on":
            said = {fence: reading.power for fence, reading in zip(fences, readings) if reading.error is None}
            off = switch_off(levels, timeout, said)
            result["level"], result["level_errors"] = off.level, off.errors
        if state != "off":
            switch_on(levels, timeout)
        readings = [read_device(fence) if reading.error is None else reading for fence, reading in zip(fences, readings)]
        after, result["reason"] = combine(readings)
        confirmed_off = off.proved and (state == "cycled" or after is Power.OFF)
        if state == "off" and after is not Power.OFF and (off.proved or not _all_say(readings, "off")):
            raise _on_again(host, after, _told(result, after, readings))
    return {
        **_told(result, after, readings),
        "changed": changed,
        "confirmed_off": confirmed_off,
        "diff": {"before": {"power": before.value}, "after": {"power": after.value}},
    }


def _on_again(host: str, after: Power, result: dict[str, Any]) -> LibrehaError:
    return LibrehaError(
        "it was off, and %s is read now (%s)" % (after.value, result["reason"]),
        host=host,
        remedy="something switches it on again (power policy, a person), or a device is another machine's: look at the BMC",
        details={**result, "changed": True},
    )


def _judged(readings: Sequence[Reading], machine: Machine | None) -> tuple[Power, str]:
    """The host's power from all readings, and why: unknown where a device is another machine's."""
    wrong = wrong_device(readings, machine or Machine())
    return (Power.UNKNOWN, wrong) if wrong else combine(readings)


def _all_say(readings: Sequence[Reading], power: str) -> bool:
    """Whether every device says *power*, be it a proof or not."""
    return all(reading.error is None and reading.power.value == power for reading in readings)


def _told(result: dict[str, Any], power: Power, readings: Sequence[Reading]) -> dict[str, Any]:
    errors = {str(level): error for level, error in result["level_errors"].items()}
    devices = [reading.as_dict() for reading in readings]
    return {**result, "level_errors": errors, "power": power.value, "devices": devices, "confirmed_off": False}


def _need_one(host: str, readings: Sequence[Reading]) -> None:
    """A host none of whose devices can be asked is an error, and not a power that is unknown."""
    errors = [reading.error for reading in readings if reading.error is not None]
    if len(errors) < len(readings):
        return
    raise LibrehaError(
        errors[0].message if len(errors) == 1 else "; ".join(reading.text for reading in readings),
        host=host,
        remedy=errors[0].remedy,
        details={"devices": [reading.as_dict() for reading in readings]},
    )
