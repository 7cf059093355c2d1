"""What preflight reads of real (simulated) hosts, on the LUN of a real tgtd, by the module's own code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import preflight_info as preflight
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.host_survey import survey_host
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.preflight.certificates import read_bmc_certificate, read_certificate
from real_hosts import Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]


def run(hosts: list[Host], storage: StorageServer, ca_path: Path, tmp_path: Path, **given: Any) -> dict[str, list[dict[str, str]]]:
    """The findings by check."""
    saved = tmp_path / "targets.conf"
    saved.write_text("")
    defaults = {name: spec.get("default") for name, spec in preflight.argument_spec().items()}
    server = {
        "name": "san1", "driver": "tgt", "control_port": int(storage.control), "saved_config": str(saved), "timeout": 5.0,
        "fence_list": str(tmp_path / "fences.json"), "ssh": None,
    }  # fmt: skip
    policy = {"hosts": {host.name: {"initiator": host.initiator} for host in hosts}, "storage": {"san1": {}}, **given.pop("policy", {})}
    connections = [{**host.parameters, "ca_path": str(ca_path)} for host in hosts]
    state = "sqlite:///%s" % (tmp_path / "state.db")
    result = preflight.run({**defaults, "policy": policy, "hosts": connections, "storage": [server], "state_url": state, **given}, True)
    found: dict[str, list[dict[str, str]]] = {}
    for one in result["findings"]:
        found.setdefault(one["check"], []).append(one)
    assert len(result["table"]) == len(result["findings"])
    return found


def levels(found: dict[str, list[dict[str, str]]], check: str) -> dict[str, str]:
    return {one["subject"]: one["level"] for one in found[check]}


@pytest.fixture
def cluster(storage: StorageServer, new_host: NewHost, ca_path: Path) -> list[Host]:
    write_vm(storage.datastore, "vm01", extent=0)
    first = new_host().start(["[shared] vm01/vm01.vmx"])
    second = new_host(networks=["VM Network", "DMZ"]).start([])
    for host in (first, second):
        until(lambda host=host: _mounted(host, ca_path), "the iSCSI session is up")
    return [first, second]


def _mounted(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(datastore.accessible for datastore in opened.health().datastores)


def test_a_cluster_is_read_and_each_check_says_something(
    cluster: list[Host], storage: StorageServer, ca_path: Path, tmp_path: Path
) -> None:
    found = run(cluster, storage, ca_path, tmp_path, services={"mail relay": "192.0.2.25", "awx": [], "ups client": []})
    assert levels(found, "api") == {"esx1": "ok", "esx2": "ok"}
    assert levels(found, "certificate") == {"esx1": "ok", "esx2": "ok"}
    assert levels(found, "storage") == {"cluster": "ok"}
    assert levels(found, "autostart") == {"esx1": "ok", "esx2": "ok"}
    assert levels(found, "scratch") == {"esx1": "ok", "esx2": "ok"}
    assert levels(found, "port_groups") == {"esx1": "warning", "esx2": "ok"}
    assert levels(found, "power_fencing") == {"esx1": "warning", "esx2": "warning"}
    assert levels(found, "policy_names") == {"cluster": "ok"}
    assert levels(found, "state_backup") == {"cluster": "warning"}
    assert set(levels(found, "libraries").values()) == {"ok"}
    assert {"licence", "privileges", "clock", "cpu_features", "other_hands", "circles", "initiators", "fencing", "protection"} <= set(found)
    assert all(one["remedy"] for items in found.values() for one in items if one["level"] != "ok"), found


def test_a_host_that_does_not_answer_is_not_known_and_never_ok(
    cluster: list[Host], storage: StorageServer, ca_path: Path, tmp_path: Path
) -> None:
    cluster[1].end()
    found = run(cluster, storage, ca_path, tmp_path)
    assert levels(found, "api") == {"esx1": "ok", "esx2": "critical"}
    for check in ("licence", "privileges", "autostart", "clock", "scratch", "cpu_features", "other_hands", "certificate", "port_groups"):
        assert levels(found, check)["esx2"] == "unknown", check
    for check in ("fencing", "protection", "policy_names", "obstacles"):
        assert any(one["level"] == "unknown" for one in found[check]) and not any(one["level"] == "ok" for one in found[check]), check


def test_a_policy_that_names_nothing_and_two_hosts_with_each_others_initiator_are_found(
    cluster: list[Host], storage: StorageServer, ca_path: Path, tmp_path: Path
) -> None:
    policy = {
        "vms": {"vm0l": {"priority": "high"}},
        "hosts": {"esx1": {"initiator": cluster[1].initiator}, "esx2": {"initiator": cluster[0].initiator}},
    }
    found = run(cluster, storage, ca_path, tmp_path, policy=policy)
    assert any("vm0l" in one["text"] for one in found["policy_names"])
    assert levels(found, "fencing")["esx1"] == "warning"


def test_the_survey_costs_the_same_whatever_the_number_of_vms(
    storage: StorageServer, new_host: NewHost, ca_path: Path, round_trips: list[str]
) -> None:
    for number in range(3):
        write_vm(storage.datastore, "vm%d" % number)
    host = new_host().start(["[shared] vm%d/vm%d.vmx" % (number, number) for number in range(3)])
    seen = survey_host(host.connection(ca_path))
    assert [vm.name for vm in seen.vms] == ["vm0", "vm1", "vm2"]
    assert seen.clock_ahead is not None and abs(seen.clock_ahead) < 2
    assert seen.autostart is False
    assert seen.scratch == "/vmfs/volumes/local/.locker"
    reads = ["RetrievePropertiesEx", "RetrievePropertiesEx", "CurrentTime", "QueryOptions"]
    assert round_trips == ["RetrieveServiceContent", "Login", *reads, "Logout"]


def test_a_certificate_is_read_whether_it_is_trusted_or_not(new_host: NewHost, ca_path: Path, tmp_path: Path) -> None:
    host = new_host().start()
    trusted = read_certificate(host.connection(ca_path))
    assert trusted.verified and not trusted.problem and trusted.days_left is not None and trusted.days_left > 0
    strange = read_certificate(dataclasses.replace(host.connection(ca_path), ca_path=None))
    assert "not trusted" in strange.problem and strange.days_left is not None
    assert abs(strange.days_left - trusted.days_left) < 0.1
    unverified = read_certificate(dataclasses.replace(host.connection(ca_path), validate_certs=False))
    assert not unverified.verified and unverified.days_left is not None


def test_the_certificate_of_a_bmc_is_read_as_the_library_that_asks_it_would_trust_it(new_host: NewHost, ca_path: Path) -> None:
    host = new_host().start().connection(ca_path)  # any TLS service will do
    device = PowerDevice("esx1", "https://%s:%d" % (host.hostname, host.port), ca_path=str(ca_path))
    trusted = read_bmc_certificate(device)
    assert trusted is not None and trusted.problem == "" and trusted.days_left and trusted.days_left > 0
    strange = read_bmc_certificate(dataclasses.replace(device, ca_path=None))
    assert strange is not None and "not trusted" in strange.problem
    assert read_bmc_certificate(dataclasses.replace(device, address="http://192.0.2.9")) is None
