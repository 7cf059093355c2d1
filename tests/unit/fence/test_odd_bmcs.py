"""BMCs with faults: connections that they forget, orders that they refuse or whose answer is lost, answers of another shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.bmc import read_bmc_variable
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence import interface
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import fence_power, read_power
from ansible_collections.libreha.vmware.plugins.module_utils.fence.redfish import RedfishPower
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from odd_bmc import ONE, PASSWORD, RESET, ROOT, SYSTEMS, USER, OddBmc

READ, ORDER = "GET " + ONE, "POST " + RESET


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "AFTER_FAILURE", 1.0)


def fence(*bmcs: OddBmc, state: str = "off", timeout: float = 8.0) -> dict[str, Any]:
    return fence_power(devices_of(*bmcs), state, Permit(clock.now().seconds + 300.0), timeout=timeout)


def devices_of(*bmcs: OddBmc) -> list[PowerDevice]:
    return [bmc.bmc(level=number) for number, bmc in enumerate(bmcs, start=1)]


def error_of(*bmcs: OddBmc, state: str = "") -> str:
    """A sentence with host and remedy, whatever the BMC does; no secret, and no Python in it that nobody asked for."""
    with pytest.raises(LibrehaError) as error:
        fence(*bmcs, state=state, timeout=2.0) if state else read_power(devices_of(*bmcs))
    assert error.value.host == "esx1" and error.value.remedy
    assert PASSWORD not in str(error.value) and "Traceback" not in str(error.value)
    return str(error.value)


# connections


def test_a_bmc_that_forgets_connections_is_read_and_switched(odd: OddBmc) -> None:
    odd.forgets_connections = True
    result = fence(odd)
    assert (result["power_before"], result["power"], result["confirmed_off"]) == ("on", "off", True)
    assert odd.asked == ["ForceOff"]


def test_a_reading_whose_connection_breaks_is_made_again(odd: OddBmc) -> None:
    odd.cuts[READ] = 1
    assert RedfishPower(odd.bmc()).power() is Power.ON


def test_a_bmc_that_always_hangs_up_is_given_up_with_a_sentence(odd: OddBmc) -> None:
    odd.cuts[READ] = 99
    assert "tried to log in at the BMC %s: it cannot be reached" % odd.address in error_of(odd)
    assert odd.requests.count(READ) == 2


# orders


def test_an_order_whose_answer_is_lost_is_followed_by_readings_and_not_repeated(odd: OddBmc) -> None:
    odd.cuts[ORDER] = 1
    result = fence(odd)
    assert (result["power"], result["confirmed_off"], result["level"], result["level_errors"]) == ("off", True, 1, {})
    assert odd.asked == ["ForceOff"]
    assert odd.requests.index(READ, odd.requests.index(ORDER)) > 0


def test_an_order_that_was_lost_is_given_again_only_after_readings_say_so(odd: OddBmc) -> None:
    odd.cuts[ORDER], odd.loses_orders = 1, True
    assert fence(odd)["confirmed_off"]
    first, second = (number for number, asked in enumerate(odd.requests) if asked == ORDER)
    assert odd.requests[first:second].count(READ) >= 2


@pytest.mark.parametrize("status", [400, 409])
def test_a_bmc_that_refuses_since_the_machine_is_off_already_has_proved_it_off(start_odd, status: int) -> None:
    """It still says on when it is read before, and level 2 is left alone."""
    first, second = start_odd(), start_odd()
    first.power = second.power = "Off"
    first.stale = second.stale = "On"
    first.reset_answer = (status, {"error": {"message": "not in this state"}})
    devices = [first.bmc(), second.bmc(level=2, outlet=True)]
    result = fence_power(devices, "off", Permit(clock.now().seconds + 300.0), timeout=8.0)
    assert (result["power"], result["confirmed_off"], result["level"], result["level_errors"]) == ("off", True, 1, {})
    assert (first.asked, second.asked) == (["ForceOff"], [])


def test_an_order_that_is_refused_while_the_machine_is_on_is_an_error_that_says_both(odd: OddBmc) -> None:
    odd.reset_answer = (409, {"error": {"message": "somebody else resets it"}})
    text = error_of(odd, state="off")
    assert "it answered HTTP 409: somebody else resets it" in text and "afterwards it says on" in text
    assert odd.asked == ["ForceOff"]


def test_a_refused_order_is_not_repeated_by_the_library(odd: OddBmc) -> None:
    said = [
        {"MessageId": "iLO.2.14.InvalidOperationForSystemState", "Message": "iLO InvalidOperationForSystemState", "Severity": "Warning"}
    ]
    odd.reset_answer = (400, {"error": {"code": "iLO.0.10.ExtendedInfo", "message": "x", "@Message.ExtendedInfo": said}})
    error_of(odd, state="off")
    assert odd.asked == ["ForceOff"]


def test_where_the_first_level_refuses_the_second_switches_off(start_odd) -> None:
    first, second = start_odd(), start_odd()
    first.reset_answer = (500, {"error": {"message": "internal"}})
    with pytest.raises(LibrehaError, match="contradict each other"):  # first still says on: nobody knows which is right
        fence(first, second, timeout=3.0)
    assert second.asked == ["ForceOff"]


def test_readings_that_fail_while_the_power_changes_do_not_end_the_level(odd: OddBmc) -> None:
    odd.cuts_after_order = 5
    assert fence(odd)["confirmed_off"]


def test_a_machine_that_is_off_needs_no_reset_that_its_bmc_does_not_offer(odd: OddBmc) -> None:
    odd.power, odd.allowed = "Off", ["On"]
    result = fence(odd)
    assert (result["changed"], result["confirmed_off"], odd.asked) == (False, True, [])
    odd.power = "On"
    assert "does not offer the reset ForceOff, only On" in error_of(odd, state="off")


# answers of another shape

SHAPES = [[], 5, "text", None, True, {}, b"<html>503</html>", b"", b"[" * 100_000, [{"@odata.id": 1}]]


@pytest.mark.parametrize("path", [ROOT, SYSTEMS, ONE])
@pytest.mark.parametrize("body", SHAPES, ids=[str(shape)[:12] for shape in SHAPES])
def test_an_answer_of_another_shape_is_a_sentence(odd: OddBmc, path: str, body: Any) -> None:
    odd.bodies = {path: body}
    try:
        assert read_power(devices_of(odd))["power"] == "unknown"
    except LibrehaError as error:
        assert error.host == "esx1" and error.remedy and PASSWORD not in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"PowerState": ["On"]},
        {"PowerState": 5},
        {"PowerState": {"On": "On"}},
        {"PowerState": None},
        {"Actions": []},
        {"Actions": {"#ComputerSystem.Reset": 5}},
        {"Actions": {"#ComputerSystem.Reset": {"target": 5, "ResetType@Redfish.AllowableValues": 7}}},
    ],
    ids=json.dumps,
)
def test_a_property_of_another_type_proves_nothing_and_is_a_sentence(odd: OddBmc, change: dict[str, Any]) -> None:
    odd.bodies = {ONE: {**odd.system(), **change}}
    try:
        assert read_power(devices_of(odd))["power"] == ("unknown" if "PowerState" in change else "on")
    except LibrehaError as error:
        assert error.host == "esx1" and error.remedy
    assert error_of(odd, state="cycled")


def test_a_uuid_that_is_no_text_tells_nothing(odd: OddBmc) -> None:
    odd.bodies = {ONE: {**odd.system(), "UUID": 5, "SerialNumber": ["x"]}}
    assert RedfishPower(odd.bmc()).machine() == Machine()


@pytest.mark.parametrize("body", [[], 5, "no", {"error": []}, {"error": {"@Message.ExtendedInfo": [5]}}, b"no"], ids=str)
def test_an_error_of_another_shape_keeps_its_meaning(odd: OddBmc, body: Any) -> None:
    odd.bodies, odd.status = {SYSTEMS: body}, {SYSTEMS: 401}
    assert "it refused the login as %s (HTTP 401)" % USER in error_of(odd)
    odd.status = {SYSTEMS: 500}
    assert "HTTP 500" in error_of(odd)


# IPv6


@pytest.mark.parametrize("written", ["[::1]:%d", "https://[::1]:%d", "https://[0:0::0:1]:%d/"])
def test_a_bmc_is_reached_by_ipv6(start_odd, written: str) -> None:
    bmc = start_odd("::1")
    given = {"address": written % bmc.port, "username": USER, "password": PASSWORD, "validate_certs": False}
    (device,) = read_bmc_variable("esx1", given)
    assert RedfishPower(device).power() is Power.ON


@pytest.mark.parametrize("written", ["::1", "[::1]"])
def test_an_agent_that_makes_a_url_gets_the_brackets_that_it_needs(start_odd, written: str) -> None:
    bmc = start_odd("::1")
    options = {"ipport": bmc.port, "systems_uri": ONE, "ssl_insecure": True}
    given = {"driver": "fence_agent", "agent": "fence_redfish", "address": written, "username": USER, "password": PASSWORD, "timeout": 20}
    devices = read_bmc_variable("esx1", {**given, "options": options})
    assert fence_power(devices, "off", Permit(clock.now().seconds + 300.0), timeout=30.0)["confirmed_off"]
    assert bmc.asked == ["ForceOff"]
