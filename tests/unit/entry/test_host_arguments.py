"""What a user gives wrongly is named, with the remedy, before any host is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import read_events_after, read_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
SHARED: dict[str, Any] = {
    "hosts": None, "hostname": None, "username": "root", "password": "pw", "port": 443, "validate_certs": True, "ca_path": None,
    "proxy_host": None, "proxy_port": None, "timeout": 5.0,
}  # fmt: skip


def hosts(*listed: dict[str, Any], **shared: Any) -> list[HostAccess]:
    return read_hosts({**SHARED, "hosts": list(listed), **shared})


def test_what_a_host_does_not_say_the_modules_options_say() -> None:
    first, second = hosts(
        {"name": "esx1"}, {"name": "esx2", "hostname": "192.0.2.2", "username": "ha", "port": 8443, "validate_certs": False}
    )
    assert (first.connection.hostname, first.connection.username, first.connection.port, first.connection.validate_certs) == (
        "esx1", "root", 443, True,
    )  # fmt: skip
    assert (second.connection.hostname, second.connection.username, second.connection.password) == ("192.0.2.2", "ha", "pw")
    assert (second.connection.port, second.connection.validate_certs) == (8443, False)


def test_a_single_host_by_hostname() -> None:
    (only,) = read_hosts({**SHARED, "hostname": "esx1.example.com"})
    assert (only.name, only.connection.hostname) == ("esx1.example.com", "esx1.example.com")


BMC = {
    "level": None,
    "kind": "bmc",
    "driver": "redfish",
    "agent": None,
    "options": {},
    "secret_options": {},
    "address": "192.0.2.9",
    "username": "ha",
    "password": "bmc-pw",
    "system": "",
    "validate_certs": True,
    "ca_path": None,
    "timeout": 5.0,
}


def test_a_bmc_is_reached_by_https_and_verified() -> None:
    (only,) = hosts({"name": "esx1", "bmc": [BMC]}, validate_certs=False)
    (bmc,) = only.bmc
    assert (bmc.name, bmc.address, bmc.validate_certs, bmc.timeout) == ("esx1", "https://192.0.2.9", True, 5.0)
    assert "bmc-pw" not in repr(only)
    assert "'pw'" not in repr(only)


@pytest.mark.parametrize(
    ("listed", "shared", "said"),
    [
        ([{"name": "esx1"}, {"name": "ESX1", "hostname": "other"}], {}, "hosts lists name esx1 twice"),
        ([{"name": "a", "hostname": "192.0.2.1"}, {"name": "b", "hostname": "192.0.2.1"}], {}, "hostname and port 192.0.2.1:443 twice"),
        (
            [{"name": "a", "hostname": "[2001:DB8::0:1]"}, {"name": "b", "hostname": "2001:db8::1"}],
            {},
            "hostname and port 2001:db8::1:443 twice",
        ),
        ([{"name": "esx1", "hostname": "192.0.2.1:8443"}], {}, "hostname of host esx1: '192.0.2.1:8443' holds a port"),
        ([{"name": "esx1", "hostname": "https://esx1"}], {}, "hostname of host esx1: a URL is given"),
        ([{"name": "esx1", "proxy_host": "proxy:8080", "proxy_port": 8080}], {}, "proxy_host of host esx1: 'proxy:8080' holds a port"),
        ([{"name": " "}], {}, "hosts[0].name is empty"),
        ([{"name": "esx1"}], {"username": None}, "username is missing for host esx1"),
        ([{"name": "esx1"}], {"password": ""}, "password is missing for host esx1"),
        ([{"name": "esx1", "port": 70000}], {}, "port 70000 of host esx1"),
        ([{"name": "esx1"}], {"timeout": 0.0}, "timeout 0.0 of host esx1"),
        ([{"name": "esx1"}], {"timeout": float("nan")}, "timeout nan of host esx1"),
        ([{"name": "esx1"}], {"proxy_host": "proxy"}, "no proxy_port"),
        ([{"name": "esx1", "ca_path": "/no/such/ca.pem"}], {}, "ca_path of host esx1: /no/such/ca.pem cannot be read"),
        ([{"name": "esx1", "bmc": [{**BMC, "ca_path": "/no/such/bmc.pem"}]}], {}, "esx1: bmc.ca_path /no/such/bmc.pem cannot be read"),
        ([{"name": "esx1", "bmc": [{**BMC, "address": ""}]}], {}, "esx1: bmc.address is empty"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(listed: list[dict[str, Any]], shared: dict[str, Any], said: str) -> None:
    with pytest.raises(LibrehaError) as refused:
        hosts(*listed, **shared)
    assert said in str(refused.value)
    assert refused.value.remedy


def test_who_has_no_certificate_yet_is_told_what_writes_it() -> None:
    with pytest.raises(LibrehaError, match="cannot be read. Remedy: .*, or let the role vmware_server write it"):
        hosts({"name": "esx1", "ca_path": "/no/such/ca.pem"})


@pytest.mark.parametrize("written", ["::1", "[::1]", "[0:0:0::1]"])
def test_an_ipv6_host_is_one_host_however_it_is_written(written: str) -> None:
    (only,) = hosts({"name": "esx1", "hostname": written})
    assert only.connection.hostname == "::1"


def test_without_hosts_and_hostname_no_host_is_named() -> None:
    with pytest.raises(LibrehaError, match="no host is named"):
        read_hosts(SHARED)


def test_an_empty_list_means_no_host() -> None:
    """A playbook passes on the hosts that answer; when none does, VMWARE_HOST must not step in."""
    assert read_hosts({**SHARED, "hosts": [], "hostname": "esx1"}) == []


def test_no_host_at_all_is_refused_but_an_empty_list_is_an_answer() -> None:
    with pytest.raises(LibrehaError, match="no host is named"):
        read_hosts({**SHARED, "hosts": None})
    assert hosts() == []


def test_two_hosts_behind_one_address_and_two_ports_are_two() -> None:
    assert len(hosts({"name": "a", "hostname": "192.0.2.1"}, {"name": "b", "hostname": "192.0.2.1", "port": 444})) == 2


def test_events_after_takes_whole_numbers_and_ignores_hosts_that_left() -> None:
    accesses = hosts({"name": "esx1"})
    assert read_events_after({"esx1": "7", "gone": 3}, accesses) == {"esx1": 7}
    with pytest.raises(LibrehaError, match="events_after of host esx1 is 'last'"):
        read_events_after({"esx1": "last"}, accesses)


def run_module(name: str, arguments: dict[str, Any], **environment: str) -> dict[str, Any]:
    """The module as Ansible runs it, in a process of its own."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    program = (
        "import sys, runpy; sys.path.insert(0, %r); import ansible.module_utils.basic as basic;"
        "basic._ANSIBLE_ARGS = %r; basic._ANSIBLE_PROFILE = 'legacy';"
        "runpy.run_module('ansible_collections.libreha.vmware.plugins.modules.%s', run_name='__main__')" % (str(COLLECTIONS), given, name)
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", ["host_health_info", "vm_health_info"])
def test_an_unknown_suboption_is_named(module: str) -> None:
    result = run_module(module, {"hosts": [{"name": "esx1", "user_name": "x"}], "username": "u", "password": "p"})
    assert result["failed"]
    assert "hosts.user_name" in result["msg"]


@pytest.mark.parametrize("module", ["host_health_info", "vm_health_info"])
def test_a_host_that_is_listed_twice_fails_the_task(module: str) -> None:
    result = run_module(module, {"hosts": [{"name": "esx1"}, {"name": "esx1"}]}, VMWARE_USER="u", VMWARE_PASSWORD="p")
    assert result["failed"]
    assert "twice" in result["msg"]
    assert "Remedy" in result["msg"]


def test_credentials_come_from_the_environment_as_in_vmware_vmware() -> None:
    result = run_module("vm_health_info", {"hosts": [{"name": "esx1"}]}, VMWARE_USER="u", VMWARE_PASSWORD="")
    assert "password is missing for host esx1" in result["msg"]
    assert "VMWARE_PASSWORD" in result["msg"]
