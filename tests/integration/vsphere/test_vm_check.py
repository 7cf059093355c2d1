"""provision and vm_check by ansible-playbook: VMs are created, tested, and what cannot be tested is not called passed."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Guest, Writes
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vm_check import CHECKS, Look, Result, VmSeen, judge
from real_hosts import Host, StorageServer, until
from user_site import Cluster

P, F, N = Result.PASSED, Result.FAILED, Result.NOT_TESTED
WEB = {"name": "web1", "datastore": "shared", "host": "esx1", "disks": [{"size": 1}], "networks": ["VM Network"]}


def own_address() -> str:
    """One of this machine that is no loopback address; "" where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def results(said: str, vm: str) -> dict[str, str]:
    """Check -> result, as the printed table has them."""
    return dict(re.findall(r"%s +\S* +(%s) +(passed|failed|not tested)" % (vm, "|".join(CHECKS)), said))


@pytest.fixture
def cluster(tmp_path: Path, new_host: Callable[..., Host], storage: StorageServer, ca_path: Path) -> Cluster:
    hosts = [new_host().start() for _host in range(2)]
    for host in hosts:
        until(lambda host=host: _serves(host, ca_path), "the datastore of %s" % host.name)
    return Cluster(tmp_path / "inventory", hosts, storage, ca_path)


def _serves(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(store.accessible for store in opened.health().datastores)


def test_vms_are_provisioned_once_and_pass_their_checks(cluster: Cluster) -> None:
    address = own_address()
    vms = [{**WEB, "options": {"libreha.guest_address": address}}, {**WEB, "name": "mute", "options": {"libreha.tools": "FALSE"}}]
    for expected in (1, 0):
        code, changed, said = cluster.play("provision", libreha_vms=vms)
        assert (code, changed) == (0, expected) and "web1 on esx1" in said, said

    code, changed, said = cluster.play("vm_check", "--check", vm="web1", libreha_vm_check_restart=True, libreha_vm_check_wait=0)
    assert (code, changed, results(said, "web1")["restart"]) == (0, 0, "not tested"), said

    code, _changed, said = cluster.play("vm_check", vm="web1,mute,gone", libreha_vm_check_restart=True)
    assert code != 0 and "power of gone: no host has a VM of this name registered" in said, said
    assert results(said, "web1") == {**dict.fromkeys(CHECKS, "passed"), "address": "passed" if address else "not tested"}, said
    unheard = dict.fromkeys(("tools", "address", "restart"), "not tested")
    assert results(said, "mute") == {**dict.fromkeys(CHECKS, "passed"), **unheard}, said


def vm(**changes: Any) -> VmObservation:
    given = {"id": "u:web/web.vmx", "host": "esx1", "name": "web", "path": "[ds] web/web.vmx", "taken_at": Instant("b", 1.0), "moid": "1"}
    return VmObservation(**{**given, "power": Power.ON, "tools": "guestToolsRunning", "heartbeat": "green", **changes})


WORKS: dict[str, Any] = {"guest": Guest("web", ("192.0.2.9",)), "writes": Writes(5.0, 60.0), "ping": (Evidence.OK, "answers")}
CASE: dict[str, Any] = {"lost": ["esx1"], "plan": [], "held": [], "unprotected": [], "stays_down": [], "unplaced": []}
PLANNED = {"id": "u:web/web.vmx", "power_on": True, "destination": "esx2"}


def table_of(seen: VmSeen | None, drill: dict[str, Any] | None = None, restarted: bool = False, **unread: str) -> dict[str, Result]:
    look = Look({"web": (seen,)} if seen is not None else {}, unread)
    return {row.check: row.result for row in judge(["web"], look, drill, ["web"] if restarted else [])}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (VmSeen(vm(), **WORKS), {"power": P, "disk": P, "tools": P, "address": P}),
        (VmSeen(vm(power=Power.OFF), **WORKS), {"power": F, "disk": N, "tools": N, "address": N}),
        (VmSeen(vm(accessible=False), **WORKS), {"power": P, "disk": F}),
        (VmSeen(vm(), **{**WORKS, "writes": None}), {"disk": N}),
        (VmSeen(vm(), **{**WORKS, "writes": Writes(None, 300.0)}), {"disk": N}),
        (VmSeen(vm(tools="guestToolsNotInstalled"), **WORKS), {"tools": N}),
        (VmSeen(vm(heartbeat="red"), **WORKS), {"tools": F}),
        (VmSeen(vm(), **{**WORKS, "ping": None}), {"address": N}),
        (VmSeen(vm(), **{**WORKS, "ping": (Evidence.UNKNOWN, "no route")}), {"address": N}),
        (VmSeen(vm(), **{**WORKS, "ping": (Evidence.FAILED, "silent")}), {"address": F}),
        (None, {**dict.fromkeys(CHECKS, N), "power": F}),
    ],
)
def test_passed_is_what_was_seen_and_failed_what_was_seen_to_the_contrary(seen: VmSeen | None, expected: dict[str, Result]) -> None:
    found = table_of(seen)
    assert {check: found[check] for check in expected} == expected
    assert (found["restart"], found["failover"]) == (N, N), "nobody asked"


def test_a_vm_that_may_be_on_a_silent_host_has_not_failed() -> None:
    assert set(table_of(None, esx2="esx2 does not answer").values()) == {N}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (VmSeen(vm(), **WORKS), P),
        (VmSeen(vm(heartbeat="gray"), **WORKS), F),
        (VmSeen(vm(tools="guestToolsNotInstalled"), ping=None), N),
        (VmSeen(vm(power=Power.OFF)), N),
    ],
)
def test_a_restart_is_survived_by_a_guest_that_is_heard_of_again(seen: VmSeen, expected: Result) -> None:
    assert table_of(seen, restarted=True)["restart"] is expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"plan": [PLANNED]}, P),
        ({"plan": [PLANNED], "held": [{"reason": "the brake"}]}, F),
        ({"plan": [{**PLANNED, "power_on": False}]}, N),
        ({"unprotected": [{"id": "u:web/web.vmx", "reason": "a disk is local", "chosen": False}]}, F),
        ({"unprotected": [{"id": "u:web/web.vmx", "reason": "the policy", "chosen": True}]}, N),
        ({"unplaced": [{"id": "u:web/web.vmx", "reasons": [{"host": "esx2", "reason": "too little memory"}]}]}, F),
        ({"lost": ["esx2"], "plan": [PLANNED]}, N),
    ],
)
def test_the_failover_is_what_the_drill_says(case: dict[str, Any], expected: Result) -> None:
    drill = {"judged": True, "cases": [{**CASE, **case}]}
    assert table_of(VmSeen(vm(), **WORKS), drill)["failover"] is expected
    assert table_of(VmSeen(vm(), **WORKS), {**drill, "judged": False})["failover"] is N
