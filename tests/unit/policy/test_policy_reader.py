"""A wrong policy is refused by name and place before anything is changed; a right one means what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import (
    FailoverPolicy,
    HostPolicy,
    IsolationResponse,
    Mode,
    Policy,
    Priority,
    Protection,
    TargetPolicy,
    VmAffinity,
    VmPolicy,
)
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy

ROOT = Path(__file__).resolve().parents[3]
IQN = "iqn.1998-01.com.vmware:%s"


def errors_of(raw: Any) -> list[str]:
    with pytest.raises(LibrehaError) as refused:
        read_policy(raw)
    assert refused.value.remedy
    return list(refused.value.details["errors"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"confirm_after": "abc"}, "libreha_policy.confirm_after: 'abc' is not a number; use seconds, e.g. 15"),
        ({"confirm_after": 0}, "libreha_policy.confirm_after: 0 is not more than 0; use seconds, e.g. 15"),
        ({"confirm_after": True}, "libreha_policy.confirm_after: True is not a number; use seconds, e.g. 15"),
        ({"confirm_aftr": 15}, "libreha_policy.confirm_aftr: unknown option; did you mean confirm_after?"),
        ({"max_dead_fraction": 2}, "libreha_policy.max_dead_fraction: 2 is more than 1; use a fraction between 0 and 1, e.g. 0.5"),
        ({"mode": "atc"}, "libreha_policy.mode: 'atc' is none of observe, ask, act; did you mean act?"),
        ({"failover": {"lock_retry": 5}}, "libreha_policy.failover.lock_retry: 5 is less than 20; use seconds, e.g. 60"),
        ({"failover": {"parallel": 5}}, "libreha_policy.failover.parallel: unknown option; did you mean parallel_per_host?"),
        ({"vms": {"web1": {"priority": "hihg"}}}, "libreha_policy.vms.web1.priority: 'hihg' is none of highest, high, medium"),
        ({"vms": ["web1"]}, "libreha_policy.vms: ['web1'] is not a mapping"),
        ({"hosts": {"esx1": {"initiator": "esx1"}}}, "libreha_policy.hosts.esx1.initiator: 'esx1' is not an iSCSI name, e.g. iqn.1998"),
        ({"isolation_addresses": "192.0.2.1"}, "libreha_policy.isolation_addresses: '192.0.2.1' is not a list"),
        ({"isolation_addresses": ["192.0.2.1", "192.0.2.1"]}, "libreha_policy.isolation_addresses: 192.0.2.1 is listed twice"),
        ({"isolation_addresses": [""]}, "libreha_policy.isolation_addresses[0]: it is empty"),
        ("act", "libreha_policy: 'act' is not a mapping of options"),
        ({"hosts": "esx1"}, "libreha_policy.hosts: 'esx1' is not a mapping"),
        ({"storage_health": {"space_warning": 100}}, "libreha_policy.storage_health.space_warning: 100 is not less than 100; use percent"),
        ({"storage_health": {"space_warning": 92}}, "libreha_policy.storage_health.space_warning: 92 is not below space_critical, 90"),
        ({"storage_health": {"hysteresis": 70}}, "libreha_policy.storage_health.hysteresis: 70 is not below the lowest warning, 70"),
        (
            {"storage_health": {"spce_warning": 70}},
            "libreha_policy.storage_health.spce_warning: unknown option; did you mean space_warning?",
        ),
        ({"storage_health": {"growth_window": 60}}, "libreha_policy.storage_health.growth_window: 60 is less than 600; use seconds"),
        ({"confirm_after": float("nan")}, "libreha_policy.confirm_after: nan is not a number; use seconds, e.g. 15"),
        ({"confirm_after": "inf"}, "libreha_policy.confirm_after: 'inf' is not a number; use seconds, e.g. 15"),
        ({"max_restart": 1.5}, "libreha_policy.max_restart: 1.5 is not a whole number"),
        ({"vm_monitoring": {"io_interval": 301}}, "libreha_policy.vm_monitoring.io_interval: 301 is more than 300; use seconds, e.g. 120"),
        ({"admission_control": {"enforce": "maybe"}}, "libreha_policy.admission_control.enforce: 'maybe' is not true or false"),
        ({"hosts": {"esx1": {"initator": "x"}}}, "libreha_policy.hosts.esx1.initator: unknown option; did you mean initiator?"),
        ({"storage": {"san": {"driver": "lio"}}}, "libreha_policy.storage.san.driver: unknown option; the options there are none"),
        ({"vms": {7: {}}}, "libreha_policy.vms: the name 7 is not a text; write it in quotes"),
        ({"rules": [{"vms": ["web1"]}]}, "libreha_policy.rules[0].type: it is missing; use host_affinity or vm_affinity"),
        ({"rules": [{"type": "affinity"}]}, "libreha_policy.rules[0].type: 'affinity' is none of host_affinity, vm_affinity; did you mean"),
        ({"rules": [{"type": "vm_affinity", "vms": ["web1"]}]}, "libreha_policy.rules[0].together: it is missing, e.g. false"),
        (
            {"rules": [{"type": "vm_affinity", "vms": [], "together": True}]},
            'libreha_policy.rules[0].vms: it is empty, e.g. ["dc1", "dc2"]',
        ),
        (
            {"rules": [{"type": "vm_affinity", "vms": ["web1"], "together": True, "hosts": {"esx1": 1}}]},
            "libreha_policy.rules[0].hosts: unknown option",
        ),
        (
            {"rules": [{"type": "host_affinity", "vms": ["web1"], "hosts": {"esx1": -1}}]},
            "libreha_policy.rules[0].hosts.esx1: -1 is less than 0; use a whole number",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place_and_says_what_to_write(raw: Any, expected: str) -> None:
    (error,) = errors_of(raw)
    assert error.startswith(expected)


def test_all_mistakes_are_reported_at_once() -> None:
    assert len(errors_of({"confirm_after": "abc", "mode": "never", "colour": "red", "failover": {"start_bound": 0}})) == 4


def test_an_unknown_option_that_resembles_none_lists_what_there_is() -> None:
    (error,) = errors_of({"failover": {"zzz": 1}})
    assert "the options there are lock_retry, " in error


@pytest.mark.parametrize("second", [IQN % "same", (IQN % "same").upper().replace("IQN", "iqn")])
def test_two_hosts_with_one_initiator_name_are_refused(second: str) -> None:
    (error,) = errors_of({"hosts": {"esx1": {"initiator": IQN % "same"}, "esx2": {"initiator": second}}})
    assert error.startswith("libreha_policy.hosts: esx1 and esx2 have the same initiator iqn.1998-01.com.vmware:same")


def test_a_host_that_the_cluster_lacks_cannot_be_named() -> None:
    (error,) = errors_of({"allow_unstopped_source": ["esx2"], "hosts": {"esx1": None}})
    assert error == "libreha_policy.allow_unstopped_source[0]: there is no host esx2; did you mean esx1?"
    rule = {"type": "host_affinity", "vms": ["web1"], "hosts": {"esx2": 1}, "name": "one"}
    (error,) = errors_of({"rules": [rule], "hosts": {"esx1": {}}})
    assert error == "libreha_policy.rules: rule one: there is no host esx2; the hosts are esx1"


def test_a_policy_means_what_it_says() -> None:
    policy = read_policy(
        {
            "mode": "act",
            "isolation_response": "failover",
            "hosts": {"esx1": {"initiator": IQN % "esx1", "has_bmc": True}, "esx2": None},
            "storage": {"san": {}},
            "vms": {"db": {"priority": "highest"}, "scratch": {"protection": "unprotected"}, "web": None},
            "rules": [{"type": "vm_affinity", "vms": ["db", "web"], "together": False}],
            "failover": {"parallel_per_host": 2, "lock_retry": None},
            "default_protection": "unprotected",
        },
    )
    assert policy.mode is Mode.ACT and policy.isolation_response is IsolationResponse.FAILOVER
    assert policy.hosts == {"esx1": HostPolicy(IQN % "esx1", True), "esx2": HostPolicy()}
    assert policy.storage == {"san": TargetPolicy()}
    assert policy.rules == (VmAffinity(("db", "web"), False),)
    assert policy.vm("x", "db") == VmPolicy(Protection.UNPROTECTED, Priority.HIGHEST)
    assert policy.vm("x", "anything").protection is Protection.UNPROTECTED
    assert policy.failover == FailoverPolicy(parallel_per_host=2)


def test_what_names_a_vm_without_its_protection_leaves_it_the_clusters() -> None:
    vms = {"db": {"priority": "high"}, "web": {"protection": "protected"}}
    for default in Protection:
        policy = read_policy({"vms": vms, "default_protection": default.value})
        assert [policy.vm("x", name).protection for name in ("db", "web", "other")] == [default, Protection.PROTECTED, default]


def test_numbers_that_templating_turned_into_text_are_numbers() -> None:
    policy = read_policy({"confirm_after": "20", "failover": {"parallel_per_host": "3"}, "hosts": {"esx1": {"has_bmc": "true"}}})
    assert (policy.confirm_after, policy.failover.parallel_per_host, policy.hosts["esx1"].has_bmc) == (20.0, 3, True)


def test_no_policy_at_all_is_the_default_one() -> None:
    assert read_policy(None) == read_policy({}) == Policy()
    assert Policy().mode is Mode.OBSERVE
