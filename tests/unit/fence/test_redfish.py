"""Power fencing against a real Redfish service."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import fence_power, read_power
from ansible_collections.libreha.vmware.plugins.module_utils.fence.redfish import RedfishPower
from ansible_collections.libreha.vmware.plugins.module_utils.fence.registry import open_power_fence
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from redfish_emulator import ONE, PASSWORD, TWO

WAIT = 60.0  # the emulator's machines need a second or two to change, real ones more


def permit(seconds: float = 300.0) -> Permit:
    return Permit(clock.now().seconds + seconds)


def test_a_host_is_switched_off_and_proved_off_and_on_again(emulator):
    result = fence_power([emulator.bmc()], "off", permit(), timeout=WAIT)
    assert (result["changed"], result["power_before"], result["power"], result["confirmed_off"]) == (True, "on", "off", True)
    again = fence_power([emulator.bmc()], "off", permit(), timeout=WAIT)
    assert (again["changed"], again["confirmed_off"]) == (False, True)
    result = fence_power([emulator.bmc()], "on", permit(), timeout=WAIT)
    assert (result["changed"], result["power"], result["confirmed_off"]) == (True, "on", False)


def test_cycling_proves_off_in_between(emulator):
    result = fence_power([emulator.bmc()], "cycled", permit(), timeout=WAIT)
    assert (result["changed"], result["power"], result["confirmed_off"]) == (True, "on", True)


def test_the_bmc_tells_which_machine_it_belongs_to(two):
    assert [RedfishPower(two.bmc(system=system)).machine().uuid for system in (ONE, TWO)] == [ONE, TWO]


def test_the_bmc_of_another_machine_is_never_switched(emulator):
    with pytest.raises(LibrehaError, match="belongs to another machine: it says UUID %s, the host is UUID %s" % (ONE, TWO)) as error:
        fence_power([emulator.bmc()], "off", permit(), timeout=WAIT, machine=Machine(TWO))
    assert error.value.details["power"] == "unknown" and not error.value.details["confirmed_off"]
    assert RedfishPower(emulator.bmc()).power() is Power.ON
    read = read_power([emulator.bmc()], Machine(TWO))
    assert (read["power"], read["changed"], read["confirmed_off"]) == ("unknown", False, False)


def test_check_mode_only_reads(emulator):
    result = fence_power([emulator.bmc()], "off", permit(), timeout=WAIT, check_mode=True)
    assert result["changed"] and result["diff"] == {"before": {"power": "on"}, "after": {"power": "off"}}
    assert not result["confirmed_off"]
    assert RedfishPower(emulator.bmc()).power() is Power.ON


def test_a_host_that_is_not_off_in_time_does_not_count_as_off(start_emulator):
    slow = start_emulator(ONE)
    with pytest.raises(LibrehaError, match="does not count as off"):
        RedfishPower(slow.bmc()).bring(Power.OFF, 0.0)


def test_no_reset_without_time_left(emulator):
    with pytest.raises(LeaseLost):
        fence_power([emulator.bmc()], "off", permit(-1.0), timeout=WAIT)
    assert RedfishPower(emulator.bmc()).power() is Power.ON


def test_waiting_for_the_power_to_go_may_outlast_the_lease(start_emulator):
    other = start_emulator(ONE)
    fence = open_power_fence(other.bmc())
    fence.permit = permit(3.0)
    real = fence.switch

    def late(wanted, seconds):
        real(wanted, seconds)
        clock.sleep(fence.permit.remaining() + 0.3)

    fence.switch = late
    fence.bring(Power.OFF, WAIT)
    assert fence.power() is Power.OFF


def test_two_reads_that_differ_are_unknown(emulator, monkeypatch):
    reads = iter([Power.OFF, Power.ON])
    monkeypatch.setattr(RedfishPower, "read", lambda self: next(reads))
    assert RedfishPower(emulator.bmc()).power() is Power.UNKNOWN


@pytest.mark.parametrize("system", [ONE, "/redfish/v1/Systems/" + ONE, "/redfish/v1/Systems/%s/" % ONE])
def test_the_system_is_named_by_id_or_path(two, system):
    assert RedfishPower(two.bmc(system=system)).power() is Power.ON


def test_several_systems_without_a_choice_are_an_error_that_lists_them(two):
    with pytest.raises(LibrehaError, match="2 systems, not one") as error:
        RedfishPower(two.bmc()).power()
    assert ONE in str(error.value) and TWO in str(error.value) and "bmc.system" in error.value.remedy


def test_a_system_that_is_not_there_is_an_error_that_lists_the_others(two):
    with pytest.raises(LibrehaError, match="no system esx9; it has: .*%s" % ONE):
        RedfishPower(two.bmc(system="esx9")).power()


def said(bmc) -> str:
    with pytest.raises(LibrehaError) as error:
        RedfishPower(bmc).power()
    text = str(error.value)
    assert error.value.host == "esx1" and error.value.remedy and bmc.password not in text
    return text


def test_a_wrong_password_is_told_from_a_dead_bmc_and_never_shown(emulator):
    assert "refused the login as ha" in said(emulator.bmc(password="wrong horse"))


def test_a_certificate_of_an_unknown_authority_is_refused(emulator):
    assert "certificate was not accepted" in said(emulator.bmc(ca_path=None))


def test_a_certificate_for_another_name_is_refused(emulator):
    assert "certificate was not accepted" in said(emulator.bmc(address=emulator.address.replace("127.0.0.1", "localhost")))


def test_certificates_can_be_left_unverified(emulator):
    assert RedfishPower(emulator.bmc(ca_path=None, validate_certs=False)).power() is Power.ON


def test_a_refused_connection_says_so():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "refused the TCP connection" in said(PowerDevice("esx1", "https://127.0.0.1:%d" % port, "ha", PASSWORD))


def test_a_bmc_that_does_not_answer_is_given_up_after_its_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        address = "https://127.0.0.1:%d" % silent.getsockname()[1]
        assert "no answer in 1 s" in said(PowerDevice("esx1", address, "ha", PASSWORD, timeout=1.0))


def test_an_unknown_driver_is_refused_by_name():
    with pytest.raises(LibrehaError, match="no power fence driver 'ipmi'"):
        open_power_fence(PowerDevice("esx1", "https://127.0.0.1", "ha", PASSWORD, driver="ipmi"))


def test_without_sushy_the_error_names_the_library():
    script = (
        "import sys; sys.modules['sushy'] = None; sys.path.insert(0, '.cache/collections')\n"
        "from ansible_collections.libreha.vmware.plugins.module_utils.fence.registry import open_power_fence\n"
        "from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice\n"
        "open_power_fence(PowerDevice('esx1', 'https://127.0.0.1', 'ha', 'secret')).power()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "needs the Python library sushy" in run.stderr and "secret" not in run.stderr.splitlines()[-1]
