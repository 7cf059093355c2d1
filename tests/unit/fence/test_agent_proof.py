"""Which agents' "off" is a proof, and what becomes of an off that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_process import PATHS
from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_proof import PROVES_NOTHING, READS_POWER, doubt_of
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.fence.levels import Reading, cannot_prove_off, combine
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import fence_power
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit

ON, OFF, UNKNOWN = Power.ON, Power.OFF, Power.UNKNOWN


def permit() -> Permit:
    return Permit(clock.now().seconds + 300.0)


@pytest.fixture
def dummy(tmp_path: Path):
    """fence_dummy switches nothing but the word in a file."""
    (tmp_path / "power").write_text("on")

    def device(**changes: object) -> PowerDevice:
        given = {"driver": "fence_agent", "agent": "fence_dummy", "timeout": 20.0, "options": {"status_file": str(tmp_path / "power")}}
        return PowerDevice("esx1", "", **{**given, **changes})  # type: ignore[arg-type]

    return device


# the list


def test_every_installed_agent_was_judged_once() -> None:
    installed = {path.name for folder in PATHS for path in Path(folder).glob("fence_*")} - {"fence_virtd", "fence_node"}
    assert len(installed) > 70, "the package fence-agents is missing: tests/tools/setup"
    assert installed == installed & (set(READS_POWER) ^ set(PROVES_NOTHING))
    assert all(READS_POWER.values()) and all(PROVES_NOTHING.values())


@pytest.mark.parametrize(
    ("agent", "options", "why"),
    [
        ("fence_ipmilan", {}, ""),
        ("/usr/sbin/fence_ipmilan", {}, ""),
        ("/opt/site/fence_ipmilan", {}, "not the agent of that name that the system's packages install"),
        ("fence_hpblade", {}, ""),
        ("fence_hpblade", {"missing_as_off": "0"}, ""),
        ("fence_hpblade", {"missing_as_off": "1"}, "missing_as_off"),
        ("fence_crosslink", {}, "it pings"),
        ("fence_sbd", {}, "the message that it wrote itself"),
        ("fence_kdump", {}, "crashed kernel"),
        ("fence_scsi", {}, "reads no power"),
        ("fence_apc_snmp", {}, "No Such Instance"),
        ("fence_made_here", {}, "not in this collection's list"),
    ],
)
def test_what_an_agent_proves_is_in_no_list_of_its_actions(agent: str, options: dict[str, str], why: str) -> None:
    found = doubt_of(agent, options)
    assert why in found and bool(found) == bool(why)


def test_a_persons_word_stands_in_for_the_list() -> None:
    assert PowerDevice("esx1", "", driver="fence_agent", agent="fence_made_here").doubt
    assert not PowerDevice("esx1", "", driver="fence_agent", agent="fence_made_here", proves_power_off=True).doubt
    assert not PowerDevice("esx1", "https://192.0.2.9").doubt


# an off that is none, by a real agent


def test_the_off_of_such_an_agent_is_an_act_and_no_proof(dummy) -> None:
    result = fence_power([dummy()], "off", permit(), timeout=20.0)
    assert (result["changed"], result["power_before"], result["power"], result["confirmed_off"]) == (True, "on", "unknown", False)
    assert Path(dummy().options["status_file"]).read_text() == "off"
    for said in ("fence_dummy: off, read twice, which is no proof", "a status file", "proves_power_off: true"):
        assert said in result["reason"]
    assert (result["devices"][0]["power"], result["devices"][0]["proves_off"]) == ("off", False)
    again = fence_power([dummy()], "off", permit(), timeout=20.0)
    assert (again["changed"], again["power"], again["confirmed_off"]) == (False, "unknown", False)
    assert fence_power([dummy()], "cycled", permit(), timeout=20.0)["confirmed_off"] is False


def test_with_the_operators_word_it_is_a_proof_that_names_the_word(dummy) -> None:
    result = fence_power([dummy(proves_power_off=True)], "off", permit(), timeout=20.0)
    assert (result["power"], result["confirmed_off"]) == ("off", True)
    assert "by the operator's word (proves_power_off)" in result["reason"]


def test_a_level_that_proves_nothing_is_followed_by_one_that_does(dummy, ipmi) -> None:
    result = fence_power([dummy(), ipmi.device(level=2)], "off", permit(), timeout=60.0)
    assert (result["power"], result["confirmed_off"], result["level"]) == ("off", True, 2)
    assert "no proof" in result["level_errors"]["1"]
    assert not ipmi.is_on


def test_where_the_device_that_proves_fails_the_fence_has_failed(dummy, ipmi) -> None:
    ipmi.stick()
    with pytest.raises(LibrehaError, match="no level succeeded") as error:
        fence_power([ipmi.device(options={"power_timeout": "1"}), dummy(level=2)], "off", permit(), timeout=6.0)
    assert "no proof" in error.value.details["level_errors"]["2"]


# what it means beside others


def reading(power: Power, *, level: int = 1, outlet: bool = False, agent: str = "fence_ipmilan") -> Reading:
    return Reading(PowerDevice("esx1", "192.0.2.%d" % level, driver="fence_agent", agent=agent, level=level, outlet=outlet), power)


@pytest.mark.parametrize(
    ("readings", "power"),
    [
        ([reading(OFF, agent="fence_virsh")], UNKNOWN),
        ([reading(ON, agent="fence_virsh")], ON),
        ([reading(ON), reading(OFF, level=2, agent="fence_virsh")], ON),
        ([reading(OFF), reading(ON, level=2, agent="fence_virsh")], UNKNOWN),  # a contradiction
        ([reading(OFF), reading(OFF, level=2, agent="fence_virsh")], OFF),
        ([reading(OFF, agent="fence_apc_snmp", outlet=True), reading(OFF, agent="fence_apc", outlet=True)], UNKNOWN),
        ([reading(OFF, agent="fence_apc", outlet=True), reading(OFF, agent="fence_apc", outlet=True)], OFF),
    ],
)
def test_an_off_that_is_no_proof_has_no_voice(readings: list[Reading], power: Power) -> None:
    assert combine(readings)[0] is power


def test_a_host_has_power_fencing_where_one_level_proves() -> None:
    ipmi, virsh = reading(ON).device, reading(ON, agent="fence_virsh").device
    apc, snmp = (reading(ON, level=2, outlet=True, agent=name).device for name in ("fence_apc", "fence_apc_snmp"))
    assert not cannot_prove_off([]) and not cannot_prove_off([ipmi]) and not cannot_prove_off([virsh, ipmi])
    assert "does not recognize" in cannot_prove_off([virsh])
    assert "No Such Instance" in cannot_prove_off([apc, snmp])
    assert not cannot_prove_off([virsh, apc])
