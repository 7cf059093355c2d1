"""What is wrong with the power devices of a host is named before anything is asked or changed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.libreha.vmware.plugins.filter.cluster_policy import cluster_policy
from ansible_collections.libreha.vmware.plugins.filter.host_connections import host_connections
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.bmc import read_bmc_variable, shared_devices
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError

REDFISH = {"address": "192.0.2.9", "username": "ha", "password": "s3cr3t"}
IPMI = {"driver": "fence_agent", "agent": "fence_ipmilan", "address": "192.0.2.9", "username": "ha", "password": "s3cr3t"}
PDU = {"driver": "fence_agent", "agent": "fence_apc", "kind": "outlet", "address": "192.0.2.20", "username": "ha", "password": "s3cr3t"}


def test_one_device_needs_no_list_and_no_level() -> None:
    (device,) = read_bmc_variable("esx1", REDFISH)
    assert (device.name, device.address, device.level, device.driver, device.outlet) == ("esx1", "https://192.0.2.9", 1, "redfish", False)
    assert "s3cr3t" not in repr(device)


def test_levels_are_sorted_and_values_become_what_agents_read() -> None:
    given = [{**PDU, "level": 2, "options": {"plug": 3, "ssh": True}, "secret_options": {"passwd": "pw"}}, {**REDFISH, "level": 1}]
    first, second = read_bmc_variable("esx1", given)
    assert (first.driver, second.level, second.outlet, second.options) == ("redfish", 2, True, {"plug": "3", "ssh": "1"})
    assert "pw'" not in repr(second)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([REDFISH, IPMI], "bmc lists 2 devices, and not each says its level"),
        ([{**REDFISH, "level": 0}], "bmc.level is 0"),
        ([{**REDFISH, "level": 1}, {**IPMI, "level": 10}], "bmc[1].level is 10"),
        ([{**REDFISH, "agent": "fence_ipmilan"}], "bmc.agent means nothing to the driver redfish"),
        ([{**IPMI, "system": "1"}], "bmc.system means nothing to the driver fence_agent"),
        ([{**IPMI, "options": {"password": "s3cr3t"}}], "bmc.options.password is a secret"),
        ([{**IPMI, "options": {"snmp_priv_passwd": "s3cr3t"}}], "bmc.options.snmp_priv_passwd is a secret"),
        ([{**IPMI, "timeout": 0}], "bmc.timeout is 0"),
        ([{**REDFISH, "proves_power_off": True}], "bmc.proves_power_off means nothing to the driver redfish"),
        ([{**PDU, "options": {"plug": [1, 2]}}], "bmc.options.plug is neither text nor a number"),
        ([{**REDFISH, "address": "bmc1:https"}], "bmc.address: its port is no number from 1 to 65535"),
        ([{**REDFISH, "address": "https://192.0.2.9:70000"}], "bmc.address: its port is no number from 1 to 65535"),
        ([{**REDFISH, "level": 1}, {**REDFISH, "level": 2, "address": "https://2001:db8::9"}], "bmc[1].address: an IPv6 address stands in"),
        ([{**REDFISH, "address": "https://ha:s3cr3t@192.0.2.9"}], "bmc.address: it holds a user or a password"),
        ([{**REDFISH, "address": "ftp://192.0.2.9"}], "bmc.address: it is no address of an HTTP service"),
        ([{**IPMI, "address": "192.0.2.9:623"}], "bmc.address: '192.0.2.9:623' holds a port; the port has an option of its own"),
        ([{**IPMI, "address": "2001:db8::9::1"}], "bmc.address: '2001:db8::9::1' is neither a name nor an address"),
        ({"driver": "fence_agent"}, "missing: agent"),
        ({"address": "192.0.2.9"}, "missing: username, password"),
        ({**REDFISH, "adress": "x"}, "adress"),
        ({**REDFISH, "driver": "ipmi"}, "redfish, fence_agent"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given: Any, said: str) -> None:
    with pytest.raises(LibrehaError) as refused:
        read_bmc_variable("esx1", given)
    assert said in str(refused.value)
    assert refused.value.host == "esx1" and refused.value.remedy
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (REDFISH, REDFISH, True),
        (REDFISH, {**REDFISH, "address": "https://192.0.2.9:443/"}, True),
        (REDFISH, IPMI, True),  # one BMC, whatever it is asked by
        (REDFISH, {**IPMI, "options": {"ipport": 623}}, True),
        (IPMI, {**IPMI, "options": {"ipport": 6230}}, False),
        (REDFISH, {**REDFISH, "address": "192.0.2.10"}, False),
        ({**REDFISH, "system": "1"}, {**REDFISH, "system": "/redfish/v1/Systems/1/"}, True),
        ({**REDFISH, "system": "1"}, {**REDFISH, "system": "2"}, False),
        ({**PDU, "options": {"plug": 3}}, {**PDU, "options": {"plug": "3"}}, True),
        ({**PDU, "options": {"plug": 3}}, {**PDU, "options": {"plug": 4}}, False),
        ({**PDU, "options": {"plug": "1,2"}}, {**PDU, "options": {"plug": "2,3"}}, True),
        ({**PDU, "options": {"plug": "1, 2"}}, {**PDU, "options": {"plug": " 2 "}}, True),
        ({**PDU, "options": {"plug": "1,2"}}, {**PDU, "options": {"port": "2"}}, True),  # its older name
        ({**PDU, "options": {"plug": "1,2"}}, {**PDU, "options": {"plug": "3,12"}}, False),
        ({**PDU, "options": {"plug": "1;2", "plug_separator": ";"}}, {**PDU, "options": {"plug": "2,3"}}, True),
        ({**PDU, "options": {"plug": "1:3"}}, {**PDU, "options": {"plug": 3, "switch": 1}}, True),  # stacked switches
        ({**PDU, "options": {"plug": "2:3"}}, {**PDU, "options": {"plug": 3, "switch": 1}}, False),
        ({**PDU, "options": {"plug": "A"}}, {**PDU, "options": {"plug": "a"}}, True),
        ({**PDU, "options": {"plug": 3}}, {**PDU, "agent": "fence_apc_snmp", "options": {"plug": 3, "ipport": 161}}, True),
        ({**REDFISH, "system": "1"}, REDFISH, True),  # the only one is one of them
        ({**REDFISH, "system": "1"}, IPMI, True),
        ({**IPMI, "options": {"target": "0x82"}}, IPMI, False),  # bridged to another controller
        ({**IPMI, "address": "2001:db8::1"}, {**IPMI, "address": "2001:db8::2"}, False),
        ({**IPMI, "address": "2001:db8::1"}, {**IPMI, "address": "[2001:DB8:0:0::1]"}, True),
        ({**REDFISH, "address": "2001:db8::1"}, {**IPMI, "address": "2001:db8::1"}, True),
        ({**REDFISH, "address": "https://[2001:db8::1]:443"}, {**REDFISH, "address": "2001:db8::0:1"}, True),
        ({**REDFISH, "address": "::ffff:192.0.2.9"}, REDFISH, True),
        ({**REDFISH, "address": "BMC1.example.com"}, {**REDFISH, "address": "https://bmc1.example.com/"}, True),
    ],
)
def test_two_hosts_with_one_device_are_found(one: dict[str, Any], other: dict[str, Any], shared: bool) -> None:
    found = shared_devices({"esx1": read_bmc_variable("esx1", one), "esx2": read_bmc_variable("esx2", other)})
    assert bool(found) == shared
    assert not shared or "hosts esx1 and esx2 have the same power device" in found


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({**REDFISH, "address": "2001:db8::9"}, "https://[2001:db8::9]"),
        ({**REDFISH, "address": "[2001:db8::9]"}, "https://[2001:db8::9]"),
        ({**REDFISH, "address": "[2001:db8::9]:8443"}, "https://[2001:db8::9]:8443"),
        ({**REDFISH, "address": "bmc1:8443"}, "https://bmc1:8443"),
        ({**IPMI, "address": "[2001:db8::9]"}, "2001:db8::9"),
        ({**IPMI, "agent": "fence_redfish", "address": "2001:db8::9"}, "[2001:db8::9]"),  # puts it before a port
        ({**IPMI, "address": "fe80::9%eth1"}, "fe80::9%eth1"),
        ({**IPMI, "agent": "fence_made_here", "address": "/dev/ttyS0"}, "/dev/ttyS0"),
    ],
)
def test_an_address_is_written_as_the_driver_takes_it(given: dict[str, Any], address: str) -> None:
    assert read_bmc_variable("esx1", given)[0].address == address


def test_plugs_reach_the_agent_without_blanks() -> None:
    """fencing.py splits the list and leaves the blanks in, so that no plug is found."""
    assert read_bmc_variable("esx1", {**PDU, "options": {"plug": " 1, 2,"}})[0].options["plug"] == "1,2"


def test_the_operators_word_is_an_option_of_the_device() -> None:
    assert not read_bmc_variable("esx1", IPMI)[0].proves_power_off
    assert read_bmc_variable("esx1", {**IPMI, "agent": "fence_virsh", "proves_power_off": "yes"})[0].proves_power_off


def test_one_host_may_reach_its_bmc_in_two_ways() -> None:
    assert not shared_devices({"esx1": read_bmc_variable("esx1", [{**REDFISH, "level": 1}, {**IPMI, "level": 2}])})


def test_the_inventory_is_refused_before_anything_is_asked() -> None:
    names = {name: "iqn.1998-01.com.vmware:%s" % name for name in ("esx1", "esx2")}
    hostvars = {
        "esx1": {"libreha_bmc": REDFISH, "libreha_initiator": names["esx1"]},
        "esx2": {"libreha_bmc": [IPMI], "libreha_initiator": names["esx2"]},
    }
    with pytest.raises(AnsibleFilterError, match="hosts esx1 and esx2 have the same power device.*Remedy"):
        cluster_policy({}, hostvars, ["esx1", "esx2"], [])
    with pytest.raises(AnsibleFilterError, match=r"esx1: bmc.level is 0"):
        cluster_policy({}, {"esx1": {"libreha_bmc": {**REDFISH, "level": 0}}}, ["esx1"], [])
    named = {"libreha_bmc": REDFISH, "libreha_initiator": "iqn.1998-01.com.vmware:esx1"}
    assert cluster_policy({}, {"esx1": named}, ["esx1"], [])["hosts"]["esx1"]["has_bmc"] is True


def test_modules_get_a_list_also_where_the_inventory_has_a_single_device() -> None:
    assert [
        host["bmc"] for host in host_connections(["a", "b"], {"a": {"libreha_bmc": REDFISH}, "b": {"libreha_bmc": [REDFISH, IPMI]}})
    ] == [
        [REDFISH],
        [REDFISH, IPMI],
    ]
