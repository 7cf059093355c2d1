"""The filters that turn an inventory into connections and policy."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.libreha.vmware.plugins.filter.cluster_policy import cluster_policy
from ansible_collections.libreha.vmware.plugins.filter.host_connections import host_connections
from ansible_collections.libreha.vmware.plugins.filter.storage_servers import storage_servers
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy

HOSTVARS = {
    "esx1": {
        "ansible_host": "192.0.2.11",
        "libreha_username": "ha",
        "libreha_password": "word",
        "libreha_initiator": "iqn.1998-01.com.vmware:esx1",
        "libreha_bmc": {"address": "https://192.0.2.111", "username": "ha", "password": "bmc-word"},
        "libreha_port": 8443,
    },
    "esx2": {"libreha_initiator": "iqn.1998-01.com.vmware:esx2"},
    "san1": {"libreha_storage": {"driver": "tgt"}},
}


def test_a_host_gives_its_own_options_and_leaves_the_rest_to_module_defaults() -> None:
    first, second = host_connections(["esx1", "esx2"], HOSTVARS)
    assert (first["name"], first["hostname"], first["port"], first["bmc"][0]["address"]) == (
        "esx1",
        "192.0.2.11",
        8443,
        "https://192.0.2.111",
    )
    assert second == {"name": "esx2", "hostname": "esx2"}


def test_the_policy_names_every_host_and_storage_server_and_holds_no_secret() -> None:
    policy = cluster_policy({"mode": "act"}, HOSTVARS, ["esx1", "esx2"], ["san1"])
    read = read_policy(policy)
    assert (read.host("esx1").has_bmc, read.host("esx2").has_bmc) == (True, False)
    assert read.host("esx2").initiator == "iqn.1998-01.com.vmware:esx2"
    assert list(read.storage) == ["san1"]
    assert "word" not in repr(policy)


def test_an_option_of_a_host_in_the_policy_leaves_what_the_inventory_says_of_it() -> None:
    own = {"esx1": {"ignored_sensors": ["Chassis intrusion"]}}
    host = read_policy(cluster_policy({"hosts": own}, HOSTVARS, ["esx1"], ["san1"])).host("esx1")
    assert (host.ignored_sensors, host.has_bmc) == (("Chassis intrusion",), True)
    assert host.initiator == "iqn.1998-01.com.vmware:esx1"


def test_what_the_policy_says_of_a_host_itself_wins() -> None:
    own = {"esx1": {"initiator": "iqn.2026-01.org.example:one"}}
    assert read_policy(cluster_policy({"hosts": own}, HOSTVARS, ["esx1"], ["san1"])).host("esx1").initiator == "iqn.2026-01.org.example:one"


def test_every_mistake_in_the_policy_is_named_by_its_place() -> None:
    wrong = {"confirm_aftr": 15, "io_stale": "soon", "hosts": {"esx1": {"ignored_sensors": "all"}}}
    with pytest.raises(AnsibleFilterError) as refused:
        cluster_policy(wrong, HOSTVARS, ["esx1", "esx2"], ["san1"])
    for place in ("libreha_policy.confirm_aftr", "libreha_policy.io_stale: 'soon'", "libreha_policy.hosts.esx1.ignored_sensors", "Remedy"):
        assert place in str(refused.value)


def test_the_arbiter_itself_is_asked_on_the_spot_and_every_other_storage_server_over_ssh() -> None:
    hostvars = {
        "san1": {"ansible_host": "192.0.2.10", "libreha_storage": {"driver": "lio", "control_port": 3, "unknown": 1}},
        "san2": {"ansible_host": "192.0.2.20", "ansible_user": "ha", "ansible_become": True, "libreha_storage": {"ssh": {"port": 2222}}},
        "san3": {"ansible_connection": "local", "ansible_python_interpreter": "auto"},
        "san4": {},
    }
    assert storage_servers(["san1", "san2", "san3"], hostvars, "san1") == [
        {"name": "san1", "driver": "lio", "control_port": 3},
        {"name": "san2", "ssh": {"host": "192.0.2.20", "user": "ha", "port": 2222}},
        {"name": "san3"},
    ]
    assert storage_servers(["san4"], hostvars, "san1") == [{"name": "san4", "ssh": {"host": "san4"}}]
    assert [server.get("ssh", {}).get("host") for server in storage_servers(["san1", "san2"], hostvars, "localhost")] == [
        "192.0.2.10",
        "192.0.2.20",
    ]
