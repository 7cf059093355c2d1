# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The devices of one host in their levels, as Pacemaker's fencing topology has it.

Levels are tried in rising order until one succeeds, and a level succeeds when *all* its devices do: two outlets that feed one
machine belong into one level. What counts as off:

* A BMC speaks for the machine. An outlet speaks for what feeds it: off proves the machine off when all outlets of its level are
  off; on says nothing, since a machine that a BMC switched off still has its feed. Only of a host without any BMC is
  an outlet that is on taken for "on".
* All that speaks must agree. Where it does not, the power is unknown, with both sides named: nobody knows which is right.
* A device that says that it belongs to another machine has no voice, and nothing of the host is switched then.
* A device whose "off" proves nothing (agent_proof) has a voice when it says on. Its off is an act and no proof, so a level with
  such a device proves nothing, and the next level is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import clock
from ..decide.machine import Machine, same_machine, text_of
from ..decide.observations import Power
from ..errors import LibrehaError, as_outcome
from .interface import POLL_INTERVAL, WORD_REMEDY, PowerDevice, PowerFence


@dataclass(frozen=True)
class Reading:
    """What one device said: its power, the machine that it says it belongs to, or the ``error`` that kept it from saying."""

    device: PowerDevice
    power: Power = Power.UNKNOWN
    machine: Machine = Machine()
    error: LibrehaError | None = None

    @property
    def text(self) -> str:
        if self.error is not None:
            return "level %d: %s" % (self.device.level, self.error.message)
        said = "two reads did not agree" if self.power is Power.UNKNOWN else "%s, read twice" % self.power.value
        if self.power is Power.OFF and self.device.doubt:
            said += ", which is no proof: %s; %s" % (self.device.doubt, WORD_REMEDY)
        elif self.power is Power.OFF and self.device.proves_power_off:
            said += ", a proof by the operator's word (proves_power_off)"
        known = "" if self.machine != Machine() else ", identity unproven"
        return "level %d, %s: %s%s" % (self.device.level, self.device.text, said, known)

    @property
    def proved(self) -> Power:
        """The power that this reading proves."""
        return Power.UNKNOWN if self.power is Power.OFF and self.device.doubt else self.power

    def as_dict(self) -> dict[str, Any]:
        """For the result of a task; no secret."""
        return {
            "level": self.device.level,
            "device": self.device.text,
            "power": self.power.value,
            "proves_off": not self.device.doubt,
            "uuid": self.machine.uuid,
            "serial": self.machine.serial,
            "error": str(self.error or ""),
        }


def read_device(fence: PowerFence, *wanted: Power) -> Reading:
    """Two reads of one device, if it can be asked for *wanted* at all. What goes wrong is in the reading, never raised."""
    try:
        fence.check(*wanted)
        return Reading(fence.device, fence.power(), fence.machine())
    except Exception as error:
        return Reading(fence.device, error=_outcome(fence, error))


def combine(readings: Sequence[Reading]) -> tuple[Power, str]:
    """The host's power from all that its devices said, with the reason."""
    said: dict[Power, list[str]] = {}
    bmcs = [reading for reading in readings if not reading.device.outlet]
    for reading in bmcs:
        if reading.proved is not Power.UNKNOWN:
            said.setdefault(reading.proved, []).append(reading.text)
    for level in sorted({reading.device.level for reading in readings if reading.device.outlet}):
        outlets = [reading for reading in readings if reading.device.outlet and reading.device.level == level]
        if all(outlet.proved is Power.OFF for outlet in outlets):
            said.setdefault(Power.OFF, []).extend(outlet.text for outlet in outlets)
        elif not bmcs and any(outlet.power is Power.ON for outlet in outlets):
            said.setdefault(Power.ON, []).extend(outlet.text for outlet in outlets)
    if len(said) == 1:
        power, texts = next(iter(said.items()))
        silent = [reading.text for reading in readings if reading.error is not None or reading.proved is not reading.power]
        return power, "; ".join(texts + silent)
    every = "; ".join(reading.text for reading in readings)
    return Power.UNKNOWN, "its devices contradict each other: %s" % every if said else every


def cannot_prove_off(devices: Sequence[PowerDevice]) -> str:
    """Why none of a host's *devices* can prove that it is off; "" when one BMC, or all outlets of one level, can."""
    if any(not device.doubt for device in devices if not device.outlet):
        return ""
    levels = {device.level for device in devices if device.outlet}
    if any(all(not device.doubt for device in devices if device.outlet and device.level == level) for level in levels):
        return ""
    return "; ".join("%s: %s" % (device.text, device.doubt) for device in devices if device.doubt)


def wrong_device(readings: Sequence[Reading], machine: Machine) -> str:
    """The device that says that it belongs to another machine than *machine*, or than another device of the host, in words; empty
    for none."""
    for reading in readings:
        if same_machine(machine, reading.machine) is False:
            return "%s belongs to another machine: it says %s, the host is %s" % (
                reading.device.text,
                text_of(reading.machine),
                text_of(machine),
            )
    known = [reading for reading in readings if reading.machine != Machine()]
    for one, other in itertools.combinations(known, 2):
        if same_machine(one.machine, other.machine) is False:
            return "%s belongs to another machine than %s: they say %s and %s" % (
                one.device.text,
                other.device.text,
                text_of(one.machine),
                text_of(other.machine),
            )
    return ""


def by_level(fences: Sequence[PowerFence]) -> dict[int, list[PowerFence]]:
    """Rising levels, the devices of each in their order."""
    levels: dict[int, list[PowerFence]] = {}
    for fence in sorted(fences, key=lambda item: item.device.level):
        levels.setdefault(fence.device.level, []).append(fence)
    return levels


@dataclass(frozen=True)
class SwitchedOff:
    """``level`` says off, and ``errors`` what kept each other level that was tried from proving it. Not ``proved``: no level can."""

    level: int
    proved: bool
    errors: Mapping[int, str]


def switch_off(levels: Mapping[int, Sequence[PowerFence]], timeout: float, seen: Mapping[PowerFence, Power]) -> SwitchedOff:
    """Off by the first level that proves it, each within *timeout* seconds. Where none can prove it, by the first that says off.
    *seen* is what two reads of a device said a moment ago; one that is not in it, or that comes later than the first level, is read.

    Raises:
        LibrehaError: None succeeded, or those that could prove it did not; ``details`` holds ``level_errors``. LeaseLost is passed
            on: the time to act is over. Whatever else a level raises is why that level failed, and the next is tried.
    """
    failed: dict[int, LibrehaError] = {}
    acted = 0
    for number, fences in levels.items():
        try:
            _bring_all_off(fences, timeout, {} if failed else seen)
        except Exception as error:
            failed[number] = as_outcome(error, " and ".join(fence.device.text for fence in fences), fences[0].device.name)
            continue
        doubted = [fence.device for fence in fences if fence.device.doubt]
        if not doubted:
            return SwitchedOff(number, True, {level: str(error) for level, error in failed.items()})
        acted = acted or number
        text = "%s says off, which is no proof: %s" % (doubted[0].text, doubted[0].doubt)
        failed[number] = LibrehaError(text, host=doubted[0].name, remedy=WORD_REMEDY)
    if acted and cannot_prove_off([fence.device for fences in levels.values() for fence in fences]):
        return SwitchedOff(acted, False, {level: str(error) for level, error in failed.items()})
    raise _all_failed(failed)


def _bring_all_off(fences: Sequence[PowerFence], timeout: float, seen: Mapping[PowerFence, Power]) -> None:
    for fence in fences:
        fence.check(Power.OFF)  # of all of them, before the first is switched
    for fence in fences:
        fence.bring(Power.OFF, timeout, seen.get(fence))
    _still_off(fences)


def switch_on(levels: Mapping[int, Sequence[PowerFence]], timeout: float) -> None:
    """On: what feeds the machine first, then the machine by the first BMC that does it, all within *timeout* seconds.

    A BMC that had no power itself is given until then to start.
    """
    until = clock.now().seconds + timeout
    fences = [fence for level in levels.values() for fence in level]
    starved = False
    for outlet in fences:
        if outlet.device.outlet and outlet.power() is not Power.ON:
            outlet.bring(Power.ON, timeout)
            starved = True
    bmcs = [fence for fence in fences if not fence.device.outlet]
    while bmcs:
        failed: dict[int, LibrehaError] = {}
        for fence in bmcs:
            try:
                fence.bring(Power.ON, max(1.0, until - clock.now().seconds))
                return
            except Exception as error:
                failed[fence.device.level] = _outcome(fence, error)
        if not starved or clock.now().seconds >= until:
            raise _all_failed(failed)
        clock.sleep(POLL_INTERVAL)


def _outcome(fence: PowerFence, error: Exception) -> LibrehaError:
    return as_outcome(error, fence.device.text, fence.device.name)


def _still_off(fences: Sequence[PowerFence]) -> None:
    """All at the same time: an outlet that came on again while the other was switched off feeds the machine."""
    if len(fences) > 1:
        for fence in fences:
            if fence.power() is not Power.OFF:
                raise LibrehaError(
                    "%s was off and is not off any more" % fence.device.text,
                    host=fence.device.name,
                    remedy="something switches it on again: look at the device",
                )


def _all_failed(failed: Mapping[int, LibrehaError]) -> LibrehaError:
    first = next(iter(failed.values()))
    if len(failed) == 1:
        return first
    return LibrehaError(
        "no level succeeded: %s" % "; ".join("level %d: %s" % (level, error.message) for level, error in failed.items()),
        host=first.host,
        remedy="level %d: %s" % (next(iter(failed)), first.remedy),
        details={"level_errors": {str(level): str(error) for level, error in failed.items()}},
    )
