"""What is wrong with the power devices of a host is named before anything is asked or changed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.libreha.vmware.plugins.filter.cluster_policy import cluster_policy
from ansible_collections.libreha.vmware.plugins.filter.host_connections import host_connections
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.bmc import read_bmc_variable, shared_devices
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
    ],
)
def test_two_hosts_with_one_device_are_found(one: dict[str, Any], other: dict[str, Any], shared: bool) -> None:
    found = shared_devices({"esx1": read_bmc_variable("esx1", one), "esx2": read_bmc_variable("esx2", other)})
    assert bool(found) == shared
    assert not shared or "hosts esx1 and esx2 have the same power device" in found


def test_one_host_may_reach_its_bmc_in_two_ways() -> None:
    assert not shared_devices({"esx1": read_bmc_variable("esx1", [{**REDFISH, "level": 1}, {**IPMI, "level": 2}])})


def test_the_inventory_is_refused_before_anything_is_asked() -> None:
    hostvars = {"esx1": {"libreha_bmc": REDFISH}, "esx2": {"libreha_bmc": [IPMI]}}
    with pytest.raises(AnsibleFilterError, match="hosts esx1 and esx2 have the same power device.*Remedy"):
        cluster_policy({}, hostvars, ["esx1", "esx2"], [])
    with pytest.raises(AnsibleFilterError, match=r"esx1: bmc.level is 0"):
        cluster_policy({}, {"esx1": {"libreha_bmc": {**REDFISH, "level": 0}}}, ["esx1"], [])
    assert cluster_policy({}, hostvars, ["esx1"], [])["hosts"]["esx1"]["has_bmc"] is True


def test_modules_get_a_list_also_where_the_inventory_has_a_single_device() -> None:
    assert [
        host["bmc"] for host in host_connections(["a", "b"], {"a": {"libreha_bmc": REDFISH}, "b": {"libreha_bmc": [REDFISH, IPMI]}})
    ] == [
        [REDFISH],
        [REDFISH, IPMI],
    ]
