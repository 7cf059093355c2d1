"""Levels of power devices: which are tried when, and what all that is read together means."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice, PowerFence
from ansible_collections.libreha.vmware.plugins.module_utils.fence.levels import Reading, combine, switch_off
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import fence_power, read_power
from ansible_collections.libreha.vmware.plugins.module_utils.fence.redfish import RedfishPower
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from redfish_emulator import ONE, TWO

ON, OFF, UNKNOWN = Power.ON, Power.OFF, Power.UNKNOWN
SILENT = LibrehaError("it does not answer")


def permit(seconds: float = 300.0) -> Permit:
    return Permit(clock.now().seconds + seconds)


def dead(level: int = 1) -> PowerDevice:
    """A BMC whose port refuses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return PowerDevice("esx1", "https://127.0.0.1:%d" % port, "ha", "secret", level=level, timeout=2.0)


def same_machine(*bmcs) -> None:
    """They are all wired to the machine of the first."""
    for other in bmcs[1:]:
        (other.folder / "power").unlink()
        os.symlink(bmcs[0].folder / "power", other.folder / "power")


# what readings mean together


def bmc(power: Power, level: int = 1, error: LibrehaError | None = None) -> Reading:
    return Reading(PowerDevice("esx1", "bmc%d" % level, level=level), power, error=error)


def outlet(power: Power, level: int = 2, error: LibrehaError | None = None) -> Reading:
    return Reading(PowerDevice("esx1", "pdu%d" % level, level=level, outlet=True), power, error=error)


@pytest.mark.parametrize(
    ("readings", "power"),
    [
        ([bmc(ON)], ON),
        ([bmc(OFF)], OFF),
        ([bmc(UNKNOWN)], UNKNOWN),
        ([bmc(OFF), bmc(OFF, 2)], OFF),
        ([bmc(ON), bmc(OFF, 2)], UNKNOWN),  # a contradiction
        ([bmc(UNKNOWN, error=SILENT), bmc(OFF, 2)], OFF),  # what can be read agrees
        ([bmc(UNKNOWN, error=SILENT), bmc(UNKNOWN, 2, SILENT)], UNKNOWN),
        ([bmc(OFF), outlet(ON), outlet(ON)], OFF),  # a machine that is off still has its feed
        ([bmc(ON), outlet(ON), outlet(ON)], ON),
        ([bmc(ON), outlet(OFF), outlet(ON)], ON),  # one of two power supplies
        ([bmc(ON), outlet(OFF), outlet(OFF)], UNKNOWN),  # a machine that is on without a feed: somebody's outlets are meant
        ([bmc(UNKNOWN, error=SILENT), outlet(OFF), outlet(OFF)], OFF),  # the BMC lost its feed too
        ([bmc(UNKNOWN, error=SILENT), outlet(OFF), outlet(ON)], UNKNOWN),
        ([bmc(UNKNOWN, error=SILENT), outlet(OFF), outlet(UNKNOWN, error=SILENT)], UNKNOWN),
        ([bmc(UNKNOWN, error=SILENT), outlet(ON), outlet(ON)], UNKNOWN),  # it may be off with its feed on
        ([outlet(ON, 1), outlet(ON, 1)], ON),  # nothing else speaks of it
        ([outlet(OFF, 1), outlet(ON, 1)], ON),
        ([outlet(OFF, 1), outlet(OFF, 1)], OFF),
        ([outlet(OFF, 1), outlet(ON, 2)], UNKNOWN),
    ],
)
def test_what_readings_mean_together(readings, power):
    found, reason = combine(readings)
    assert found is power
    assert all(reading.device.address in reason or reading.error is SILENT for reading in readings if not reading.device.outlet)


def test_a_contradiction_names_both_sides():
    assert (
        "contradict each other: level 1, redfish bmc1: on, read twice, identity unproven; level 2, redfish bmc2: off"
        in combine([bmc(ON), bmc(OFF, 2)])[1]
    )


# off and on by levels, at real devices


def test_where_the_first_level_is_dead_the_second_switches_off(ipmi):
    result = fence_power([dead(), ipmi.device(level=2)], "off", permit(), timeout=60.0)
    assert (result["power"], result["confirmed_off"], result["level"]) == ("off", True, 2)
    assert "refused the TCP connection" in result["level_errors"]["1"]
    assert [(device["level"], device["power"], bool(device["error"])) for device in result["devices"]] == [
        (1, "unknown", True),
        (2, "off", False),
    ]
    assert not ipmi.is_on


def test_where_the_first_level_does_not_confirm_the_second_switches_off(start_ipmi):
    """The first BMC takes the order and nothing happens."""
    first, second = start_ipmi(), start_ipmi()
    same_machine(first, second)
    first.stick()
    result = fence_power([first.device(options={"power_timeout": "1"}), second.device(level=2)], "off", permit(), timeout=8.0)
    assert (result["power"], result["confirmed_off"], result["level"]) == ("off", True, 2)
    assert first.asked and first.asked[0] == "0"
    assert list(result["level_errors"]) == ["1"]


def test_the_second_level_is_left_alone_where_the_first_succeeds(start_ipmi):
    first, second = start_ipmi(), start_ipmi()
    same_machine(first, second)
    result = fence_power([first.device(), second.device(level=2)], "off", permit(), timeout=60.0)
    assert (result["level"], result["level_errors"], second.asked) == (1, {}, [])


def test_a_level_of_two_outlets_of_which_one_fails_has_not_succeeded(start_ipmi):
    good, stuck = start_ipmi(), start_ipmi()
    stuck.stick()
    devices = [good.device(outlet=True), stuck.device(outlet=True, options={"power_timeout": "1"})]
    with pytest.raises(LibrehaError):
        fence_power(devices, "off", permit(), timeout=6.0)
    assert not good.is_on and stuck.is_on
    assert not read_power(devices)["confirmed_off"]


def test_two_outlets_are_both_switched_off_and_on_again(start_ipmi):
    outlets = start_ipmi(), start_ipmi()
    devices = [bmc.device(outlet=True) for bmc in outlets]
    off = fence_power(devices, "off", permit(), timeout=60.0)
    assert off["confirmed_off"] and not any(bmc.is_on for bmc in outlets)
    assert fence_power(devices, "on", permit(), timeout=60.0)["power"] == "on"
    assert all(bmc.is_on for bmc in outlets)


def test_what_feeds_a_machine_comes_on_before_the_machine(start_ipmi):
    machine, feed = start_ipmi(), start_ipmi()
    machine.set_power("0")
    feed.set_power("0")
    assert fence_power([machine.device(), feed.device(level=2, outlet=True)], "on", permit(), timeout=60.0)["power"] == "on"
    assert feed.is_on and machine.is_on


def test_when_no_level_succeeds_each_says_why(ipmi):
    ipmi.stick()
    with pytest.raises(LibrehaError, match="no level succeeded: level 1: .*; level 2: ") as error:
        fence_power([dead(), ipmi.device(level=2, options={"power_timeout": "1"})], "off", permit(), timeout=6.0)
    assert sorted(error.value.details["level_errors"]) == ["1", "2"]
    assert not error.value.details.get("confirmed_off")


def test_an_answer_that_nobody_foresaw_fails_its_level_and_the_next_is_tried(ipmi, monkeypatch):
    monkeypatch.setattr(RedfishPower, "read", lambda self: {}["PowerState"])
    monkeypatch.setattr(RedfishPower, "check", lambda self, *wanted: None)
    result = fence_power([dead(), ipmi.device(level=2)], "off", permit(), timeout=60.0)
    assert (result["power"], result["confirmed_off"], result["level"]) == ("off", True, 2)
    assert "unexpected KeyError: 'PowerState'" in result["level_errors"]["1"]
    assert not ipmi.is_on


def test_the_next_level_is_not_tried_after_the_lease(ipmi):
    with pytest.raises(LeaseLost):
        fence_power([dead(), ipmi.device(level=2)], "off", permit(-1.0), timeout=60.0)
    assert ipmi.asked == []


def test_one_device_of_another_machine_forbids_all(start_emulator, ipmi):
    """Level 1 tells nothing of itself, level 2 is another machine's: nobody knows which of the two is right."""
    wrong = start_emulator(TWO).bmc(level=2)
    with pytest.raises(LibrehaError, match="belongs to another machine"):
        fence_power([ipmi.device(), wrong], "off", permit(), timeout=60.0, machine=Machine(ONE))
    assert ipmi.asked == []


def test_devices_that_contradict_each_other_after_the_switch_prove_nothing(start_ipmi):
    mine, another = start_ipmi(), start_ipmi()
    with pytest.raises(LibrehaError, match="contradict each other") as error:
        fence_power([mine.device(), another.device(level=2)], "off", permit(), timeout=60.0)
    assert error.value.details["power"] == "unknown" and not error.value.details["confirmed_off"]


class Scripted(PowerFence):
    """A device that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(PowerDevice("esx1", "https://bmc"))
        self.asked: list[str] = []
        self.state = Power.ON

    def check(self, *wanted: Power) -> None:
        pass

    def read(self) -> Power:
        self.asked.append("read")
        return self.state

    def switch(self, wanted: Power, seconds: float) -> None:
        self.asked.append("switch")
        self.state = wanted


@pytest.mark.parametrize("seen", [True, False])
def test_what_was_read_a_moment_ago_is_not_read_again_before_the_order(seen: bool) -> None:
    device = Scripted()
    assert switch_off({1: [device]}, 5.0, {device: Power.ON} if seen else {}).proved
    assert device.asked == ([] if seen else ["read", "read"]) + ["switch", "read", "read"]
