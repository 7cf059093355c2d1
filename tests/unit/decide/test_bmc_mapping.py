"""A BMC that belongs to another machine is found before it is trusted, and is then no BMC at all."""

from __future__ import annotations

from uuid import UUID

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.mapping import wrong_mapping
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine, same_machine
from decide_world import Power, World, three_hosts
from hypothesis import given, strategies

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
        (ONE, Machine(TWO.uuid, ONE.serial), False),  # a multi-node chassis: all nodes tell the chassis' serial number
        (ONE, Machine(ONE_SWAPPED.uuid, TWO.serial), True),
        (Machine(serial=ONE.serial), Machine(TWO.uuid, ONE.serial), True),  # the UUIDs tell nothing
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


PLACEHOLDERS = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "12121212-1212-1212-1212-121212121212",  # one byte repeated
    "aabbaabb-aabb-aabb-aabb-aabbaabbaabb",
    "deadbeef-dead-beef-dead-beefdeadbeef",
    "00010203-0405-0607-0809-0a0b0c0d0e0f",  # counting bytes
    "03020100-0504-0706-0809-0a0b0c0d0e0f",  # the same in the other byte order
    "01020304-0506-0708-090a-0b0c0d0e0f10",
    "00112233-4455-6677-8899-aabbccddeeff",
    "fedcba98-7654-3210-fedc-ba9876543210",
    "12345678-1234-1234-1234-123456789012",
    "12345678-1234-5678-90ab-cddeefaabbcc",  # Gigabyte's
    "03000200-0400-0500-0006-000700080009",  # AMI's, in both byte orders
    "00020003-0004-0005-0006-000700080009",
    "00000000-0000-0000-0000-000000000001",  # nearly all zeros
    "00000000-0000-4000-8000-000000000000",
    "ffffffff-ffff-ffff-ffff-fffffffffffe",
]
REAL = [
    "4c4c4544-0051-3310-8057-b7c04f4a3332",  # Dell: the service tag in ASCII
    "30373237-3132-4d32-3232-313830314a51",  # HPE: product and serial number in ASCII
    "00000000-0000-0000-0000-ac1f6b2d4e10",  # Supermicro: the MAC address
    "00000000-0000-0000-0000-002590e1a2b3",
    "11111111-1111-4111-8111-111111111111",
    "564d3bb6-0e2c-1dc6-9b6c-5f6d6a9a4c1b",
]


@pytest.mark.parametrize("uuid", PLACEHOLDERS)
def test_a_placeholder_is_neither_proof_nor_contradiction(uuid: str) -> None:
    assert same_machine(Machine(uuid), Machine(uuid.upper())) is None
    assert same_machine(Machine(uuid), TWO) is None
    assert same_machine(Machine(uuid, "5Q3W2J2"), Machine(TWO.uuid, "5Q3W2J2")) is True


@pytest.mark.parametrize("uuid", REAL)
def test_what_vendors_make_of_serial_numbers_and_mac_addresses_is_a_uuid(uuid: str) -> None:
    assert same_machine(Machine(uuid), Machine(uuid)) is True
    assert same_machine(Machine(uuid), TWO) is False


@given(strategies.uuids(version=4), strategies.uuids(version=4))
def test_random_uuids_are_never_taken_for_placeholders(one: UUID, other: UUID) -> None:
    assert same_machine(Machine(str(one)), Machine(str(UUID(bytes=one.bytes_le)))) is True
    assert same_machine(Machine(str(one)), Machine(str(other))) is (one in (other, UUID(bytes=other.bytes_le)))


VENDORS = Machine("c0ffee00-1234-4abc-9def-0123456789ff")  # no pattern, but all boards of the vendor have it


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
        ({"esx1": Machine(ONE.uuid, "CHASSIS7"), "esx2": Machine(TWO.uuid, "CHASSIS7")}, [Machine(TWO.uuid, "CHASSIS7")], "that of esx2"),
        ({"esx1": Machine(ONE.uuid, "CHASSIS7")}, [Machine(TWO.uuid, "CHASSIS7")], "the host itself says UUID %s" % ONE.uuid),
        ({"esx1": VENDORS, "esx2": VENDORS}, [VENDORS], ""),  # told by two hosts: neither proof
        ({"esx1": VENDORS, "esx2": VENDORS}, [TWO], ""),  # nor contradiction
        ({"esx1": VENDORS, "esx2": Machine(str(UUID(bytes_le=UUID(VENDORS.uuid).bytes)))}, [TWO], ""),  # in the other byte order
        ({"esx1": VENDORS, "esx2": TWO}, [TWO], "that of esx2"),  # told by one host only: it is a UUID
        ({"esx1": ONE, "esx2": VENDORS, "esx3": VENDORS}, [VENDORS], ""),
        ({}, [ONE, TWO], "those of two machines"),
        ({}, [ONE, ONE_SWAPPED], ""),
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


def test_a_uuid_that_two_hosts_tell_neither_forbids_nor_proves_the_power_off() -> None:
    world = three_hosts(bmc=True)
    for name, own in (("esx1", VENDORS), ("esx2", VENDORS), ("esx3", ONE)):
        world.hosts[name].machine, world.hosts[name].behind_bmc = own, TWO if name == "esx1" else own
    world.run(6)
    assert world.alarm("wrong_bmc:esx1") is None
    world.kill("esx1")
    world.run(30)
    action = world.fences()["esx1"]
    assert action.power and action.machine == Machine()  # host_fence compares what it is given


# devices whose off is no proof (fence/agent_proof.py)


def doubted() -> World:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].proves_no_off = "fence_crosslink 192.0.2.1: it pings"
    world.run(6)
    return world


def test_a_device_that_proves_nothing_is_an_alarm() -> None:
    alarm = doubted().alarm("proves_no_off:esx1")
    assert alarm is not None and "it pings" in alarm.text and "proves_power_off" in alarm.text


def test_an_off_that_is_no_proof_makes_no_host_dead() -> None:
    world = doubted()
    world.power_off("esx1")
    world.run(12)
    assert world.row("esx1") == 9
    assert next(item for item in world.last.hosts if item.host == "esx1").power is Power.UNKNOWN


def test_it_is_switched_off_all_the_same_and_counts_as_a_host_without_power_fencing() -> None:
    world = doubted()
    world.kill("esx1")
    world.run(30)
    assert world.fences()["esx1"].power
    world.fence("esx1")
    world.run(6)
    assert world.failovers()
    assert any("network duplicate possible" in alarm.text for decision in world.decisions for alarm in decision.alarms)


def test_a_device_that_proves_again_is_trusted_again() -> None:
    world = doubted()
    world.hosts["esx1"].proves_no_off = ""
    world.run(6)
    assert world.alarm("proves_no_off:esx1") is None
    world.power_off("esx1")
    world.run(12)
    assert world.row("esx1") == 2


def test_a_host_that_was_renamed_is_not_two_hosts_with_one_uuid() -> None:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].machine = world.hosts["esx1"].behind_bmc = ONE
    world.run(6)
    renamed = world.hosts.pop("esx1")
    renamed.name, renamed.behind_bmc = "esx9", TWO
    world.hosts["esx9"] = renamed
    world.vms = {name: vm for name, vm in world.vms.items() if vm.host != "esx1"}
    world.run(6)
    assert world.alarm("wrong_bmc:esx9") is not None
