"""A BMC that belongs to another machine is found before it is trusted, and is then no BMC at all."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.mapping import wrong_mapping
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine, same_machine
from decide_world import Power, World, three_hosts

ONE = Machine("4c4c4544-0051-3310-8057-b7c04f4a3332", "5Q3W2J2")
ONE_SWAPPED = Machine("44454C4C-5100-1033-8057-B7C04F4A3332")
TWO = Machine("33d3a6ea-6f3c-11ee-b962-0242ac120002", "7XK91P3")


@pytest.mark.parametrize(
    ("host", "bmc", "same"),
    [
        (ONE, ONE, True),
        (ONE, ONE_SWAPPED, True),  # SMBIOS' first three fields in the other byte order
        (ONE, Machine(ONE.uuid.upper().replace("-", "")), True),
        (ONE, TWO, False),
        (ONE, Machine(TWO.uuid, ONE.serial), True),  # firmware with a UUID of its own, but the same serial number
        (ONE, Machine(serial="CNFCP0012345"), None),  # a board's number is not the service tag
        (ONE, Machine(), None),
        (Machine(), TWO, None),
        (Machine("03000200-0400-0500-0006-000700080009"), TWO, None),  # placeholders tell nothing
        (Machine("00000000-0000-0000-0000-000000000000"), TWO, None),
        (Machine(serial="To be filled by O.E.M."), Machine(serial="To Be Filled By O.E.M."), None),
        (Machine("nonsense"), TWO, None),
    ],
)
def test_what_makes_two_the_same_machine(host: Machine, bmc: Machine, same: bool | None) -> None:
    assert same_machine(host, bmc) is same
    assert same_machine(bmc, host) is same


@pytest.mark.parametrize(
    ("told", "behind", "said"),
    [
        ({"esx1": ONE, "esx2": TWO}, [ONE_SWAPPED], ""),
        ({"esx1": ONE, "esx2": TWO}, [TWO], "its BMC is that of esx2 (UUID %s" % TWO.uuid),
        ({"esx1": ONE}, [TWO], "the host itself says UUID %s" % ONE.uuid),
        ({"esx2": TWO}, [TWO], "its BMC is that of esx2"),  # the host itself has never answered
        ({"esx1": ONE}, [ONE, TWO], "its BMC says UUID %s" % TWO.uuid),  # one level right, one wrong
        (
            {"esx1": ONE, "esx2": Machine(TWO.uuid, ONE.serial)},
            [Machine(TWO.uuid, ONE.serial)],
            "that of esx2",
        ),  # one serial for a whole batch
        ({"esx1": Machine(serial="ABCDE1"), "esx2": Machine(serial="ABCDE1")}, [Machine(serial="ABCDE1")], ""),
        ({}, [TWO], ""),
        ({"esx1": ONE}, [], ""),
    ],
)
def test_whose_the_bmc_is(told: dict[str, Machine], behind: list[Machine], said: str) -> None:
    found = wrong_mapping("esx1", told, behind)
    assert (said in found) if said else not found


def swapped_bmcs() -> World:
    """Somebody mixed up the BMCs of esx1 and esx2."""
    world = three_hosts(bmc=True)
    for name, own, bmc in (("esx1", ONE, TWO), ("esx2", TWO, ONE), ("esx3", Machine("aa" * 8 + "bb" * 8), Machine("aa" * 8 + "bb" * 8))):
        world.hosts[name].machine, world.hosts[name].behind_bmc = own, bmc
    return world


def test_a_wrong_bmc_is_an_alarm_that_says_whose_it_is() -> None:
    world = swapped_bmcs()
    world.run(6)
    alarm = world.alarm("wrong_bmc:esx1")
    assert alarm is not None and alarm.severity.value == "critical"
    assert "that of esx2" in alarm.text and "libreha_bmc" in alarm.text and "fence_test" in alarm.text
    assert world.alarm("wrong_bmc:esx3") is None


def test_no_power_off_is_ever_ordered_through_a_wrong_bmc() -> None:
    world = swapped_bmcs()
    world.run(6)
    world.kill("esx1")
    world.run(30)
    assert not world.fences()["esx1"].power
    world.kill("esx3")
    world.fence("esx1")
    world.policy["max_dead_fraction"] = 1.0
    world.run(30)
    assert world.fences()["esx3"].power  # the right one is used
    assert world.fences()["esx3"].machine == world.hosts["esx3"].machine  # and asked once more before it is


def test_the_power_of_a_wrong_bmc_proves_nothing() -> None:
    """esx1 is frozen while esx2, whose BMC esx1 is said to have, is off."""
    world = swapped_bmcs()
    world.run(6)
    world.kill("esx1")
    world.hosts["esx1"].power = Power.OFF
    world.run(3)
    assert world.row("esx1") != 2 and world.verdict("esx1") != "dead"
    host = next(item for item in world.last.hosts if item.host == "esx1")
    assert host.power is Power.UNKNOWN


def test_a_wrong_bmc_is_remembered_when_neither_it_nor_the_host_can_be_asked() -> None:
    world = swapped_bmcs()
    world.run(6)
    world.kill("esx1")
    world.hosts["esx1"].behind_bmc, world.hosts["esx1"].power = None, Power.UNKNOWN
    world.run(30)
    assert world.alarm("wrong_bmc:esx1") is not None
    assert not world.fences()["esx1"].power


def test_a_corrected_bmc_is_used_again() -> None:
    world = swapped_bmcs()
    world.run(6)
    world.hosts["esx1"].behind_bmc = ONE_SWAPPED
    world.run(6)
    assert world.alarm("wrong_bmc:esx1") is None
    world.kill("esx1")
    world.run(30)
    assert world.fences()["esx1"].power
