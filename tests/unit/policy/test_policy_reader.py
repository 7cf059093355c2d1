"""A wrong policy is refused by name and place before anything is changed; a right one means what it says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.options import AdmissionControl, Rebalance, StartOrder, VmMonitoring
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import (
    FailoverPolicy,
    HostPolicy,
    IsolationResponse,
    Mode,
    Policy,
    Priority,
    Protection,
    TargetPolicy,
    VmPolicy,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.storage_health.options import StorageHealthOptions
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy import reader
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.policy.schema import (
    ADMISSION_CONTROL,
    FAILOVER,
    HOST,
    POLICY_SCHEMA,
    REBALANCE,
    START_ORDER,
    STORAGE_HEALTH,
    TARGET,
    VM,
    VM_MONITORING,
)

ROOT = Path(__file__).resolve().parents[3]
IQN = "iqn.1998-01.com.vmware:%s"


def errors_of(raw: Any, hosts: Any = (), storage: Any = ()) -> list[str]:
    with pytest.raises(LibrehaError) as refused:
        read_policy(raw, hosts, storage)
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
    ],
)
def test_a_mistake_is_named_by_its_place_and_says_what_to_write(raw: Any, expected: str) -> None:
    (error,) = errors_of(raw)
    assert error.startswith(expected)


def test_all_mistakes_are_reported_at_once() -> None:
    assert len(errors_of({"confirm_after": "abc", "mode": "never", "colour": "red"}, [{"name": "esx1"}, {"name": "esx1"}])) == 4


def test_an_unknown_option_that_resembles_none_lists_what_there_is() -> None:
    (error,) = errors_of({"failover": {"zzz": 1}})
    assert "the options there are lock_retry, " in error


def test_a_host_listed_twice_is_refused() -> None:
    hosts = [{"name": "esx1", "initiator": IQN % "esx1"}, {"name": "esx1", "initiator": IQN % "other"}]
    assert errors_of({}, hosts) == ["hosts: esx1 is listed 2 times; list it once"]


def test_a_storage_server_listed_twice_is_refused() -> None:
    assert errors_of({}, (), [{"name": "san"}, {"name": "san"}]) == ["storage: san is listed 2 times; list it once"]


@pytest.mark.parametrize("second", [IQN % "same", (IQN % "same").upper().replace("IQN", "iqn")])
def test_two_hosts_with_one_initiator_name_are_refused(second: str) -> None:
    (error,) = errors_of({}, [{"name": "esx1", "initiator": IQN % "same"}, {"name": "esx2", "initiator": second}])
    assert error.startswith("libreha_policy.hosts: esx1 and esx2 have the same initiator iqn.1998-01.com.vmware:same")


def test_an_unknown_option_of_an_inventory_host_is_refused() -> None:
    (error,) = errors_of({}, [{"name": "esx1", "initator": IQN % "esx1"}])
    assert error == "libreha_policy.hosts.esx1.initator: unknown option; did you mean initiator?"


def test_a_host_without_a_name_is_refused() -> None:
    assert errors_of({}, [{"initiator": IQN % "esx1"}]) == ["hosts[0]: name is missing"]


def test_policy_and_inventory_must_not_contradict_each_other() -> None:
    (error,) = errors_of({"hosts": {"esx1": {"has_bmc": True}}}, [{"name": "esx1", "has_bmc": False}])
    assert error == "libreha_policy.hosts.esx1.has_bmc: True, but the inventory says False"


def test_the_policy_cannot_name_a_host_that_the_inventory_lacks() -> None:
    (error,) = errors_of({"hosts": {"esx2": {"has_bmc": True}}}, [{"name": "esx1"}])
    assert error.startswith("libreha_policy.hosts.esx2: the inventory has no such name")
    (error,) = errors_of({"allow_unstopped_source": ["esx2"]}, [{"name": "esx1"}])
    assert error == "libreha_policy.allow_unstopped_source[0]: there is no host esx2; did you mean esx1?"


def test_policy_and_inventory_come_together() -> None:
    policy = read_policy(
        {
            "mode": "act",
            "isolation_response": "failover",
            "hosts": {"esx1": {"has_bmc": True}},
            "vms": {"db": {"priority": "highest"}, "scratch": {"protection": "unprotected"}},
            "failover": {"parallel_per_host": 2, "lock_retry": None},
            "default_protection": "unprotected",
        },
        [{"name": "esx1", "initiator": IQN % "esx1"}, {"name": "esx2"}],
        [{"name": "san"}],
    )
    assert policy.mode is Mode.ACT and policy.isolation_response is IsolationResponse.FAILOVER
    assert policy.hosts == {"esx1": HostPolicy("esx1", IQN % "esx1", True), "esx2": HostPolicy("esx2")}
    assert policy.storage == {"san": TargetPolicy("san")}
    assert policy.vm("x", "db") == VmPolicy(Protection.UNPROTECTED, Priority.HIGHEST)
    assert policy.vm("x", "anything").protection is Protection.UNPROTECTED
    assert policy.failover == FailoverPolicy(parallel_per_host=2)


def test_numbers_that_templating_turned_into_text_are_numbers() -> None:
    policy = read_policy({"confirm_after": "20", "failover": {"parallel_per_host": "3"}, "hosts": {"esx1": {"has_bmc": "true"}}})
    assert (policy.confirm_after, policy.failover.parallel_per_host, policy.hosts["esx1"].has_bmc) == (20.0, 3, True)


def test_no_policy_at_all_is_the_default_one() -> None:
    assert read_policy(None) == read_policy({}) == Policy()
    assert Policy().mode is Mode.OBSERVE


def test_a_missing_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "HAS_JSONSCHEMA", False)
    with pytest.raises(LibrehaError, match="needs the Python library jsonschema"):
        read_policy({})


def test_the_schema_is_itself_valid() -> None:
    reader.jsonschema.Draft202012Validator.check_schema(POLICY_SCHEMA)


BLOCKS = [(StartOrder, START_ORDER), (AdmissionControl, ADMISSION_CONTROL), (VmMonitoring, VM_MONITORING), (Rebalance, REBALANCE)]
BLOCKS += [(StorageHealthOptions, STORAGE_HEALTH)]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [(Policy, POLICY_SCHEMA), (FailoverPolicy, FAILOVER), (HostPolicy, HOST), (TargetPolicy, TARGET), (VmPolicy, VM), *BLOCKS],
)
def test_schema_and_values_have_the_same_options_and_defaults(kind: Any, schema: dict[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name != "name"}
    assert set(fields) == set(schema["properties"])
    for name, field in fields.items():
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default  # type: ignore[misc]
        if dataclasses.is_dataclass(default):
            default = {}
        default = "" if default is None else default
        default = list(default) if isinstance(default, tuple) else getattr(default, "value", default)
        assert schema["properties"][name].get("default", "") == default, name


def test_every_option_is_described() -> None:
    def undescribed(schema: dict[str, Any], place: str) -> list[str]:
        found = [] if schema.get("description") else [place]
        for name, entry in schema.get("properties", {}).items():
            found += undescribed(entry, "%s.%s" % (place, name))
        return found

    assert undescribed(POLICY_SCHEMA, "libreha_policy") == []


def test_the_published_schema_is_the_one_that_is_used() -> None:
    published = json.loads((ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8"))
    assert published == POLICY_SCHEMA, "write it anew: python tests/unit/policy/write_schema.py"
