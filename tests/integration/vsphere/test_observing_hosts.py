"""Reading real (simulated) hosts: what is there is seen, at a cost that does not grow."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing, Lun, Power
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import HostUnavailable, PowerOnOutcome
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.observe.hosts import observe_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.pools import Pools
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from pyVmomi import vim
from real_hosts import DATASTORE_UUID, LOCAL_UUID, ROOT, TARGET, Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]


def accessible(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(datastore.accessible for datastore in opened.health().datastores)


def test_a_hosts_health_is_seen_with_the_luns_below_its_datastores(new_host: NewHost, ca_path: Path) -> None:
    host = new_host().start()
    until(lambda: accessible(host, ca_path), "the iSCSI session is up")
    with open_hypervisor(host.connection(ca_path)) as opened:
        seen = opened.health()
    assert (seen.name, seen.api_answer, seen.product, seen.version, seen.build) == (
        "esx1",
        ApiAnswer.ANSWERED,
        "VMware ESXi",
        "8.0.3",
        "24022510",
    )
    assert (seen.cpu_cores, seen.cpu_total, seen.memory_total) == (16, 16 * 2400, 65536)
    assert seen.memory_free is not None
    assert 0 < seen.memory_free < 65536
    assert seen.cpu_free is not None
    assert 0 < seen.cpu_free < 16 * 2400
    assert seen.uptime is not None
    assert 0 <= seen.uptime < 3600
    assert seen.boot_time is not None
    assert seen.maintenance is False
    assert seen.initiators == (host.initiator,)
    assert seen.networks == ("VM Network",)
    assert any(
        sensor.name.endswith("Inlet Temp") and sensor.health == "green" and sensor.reading == "23 Degrees C" for sensor in seen.sensors
    )
    local, shared = seen.datastores
    assert (shared.name, shared.uuid, shared.type, shared.local, shared.luns) == (
        "shared",
        DATASTORE_UUID,
        "VMFS",
        False,
        (Lun(TARGET, 1),),
    )
    assert (local.name, local.uuid, local.local, local.luns) == ("local1", LOCAL_UUID, True, ())


def test_a_host_that_loses_its_storage_says_so_and_keeps_the_datastores_identity(
    storage: StorageServer, new_host: NewHost, ca_path: Path
) -> None:
    host = new_host().start()
    until(lambda: accessible(host, ca_path), "the iSCSI session is up")
    storage.fence(host.initiator)
    until(lambda: not accessible(host, ca_path), "the host notices")
    with open_hypervisor(host.connection(ca_path)) as opened:
        shared = next(datastore for datastore in opened.health().datastores if datastore.name == "shared")
    assert (shared.uuid, shared.accessible, shared.local) == (DATASTORE_UUID, False, False)


def test_a_vm_is_seen_with_everything_a_failover_needs(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    write_vm(storage.datastore, "vm01", extent=0, **{"sched.mem.min": "256"})
    host = new_host().start(["[shared] vm01/vm01.vmx"])
    until(lambda: accessible(host, ca_path), "the iSCSI session is up")
    with open_hypervisor(host.connection(ca_path)) as opened:
        (vm,) = opened.virtual_machines()
    assert (vm.id, vm.host, vm.name, vm.path) == (DATASTORE_UUID + ":vm01/vm01.vmx", "esx1", "vm01", "[shared] vm01/vm01.vmx")
    assert (vm.power, vm.accessible, vm.question) == (Power.OFF, True, None)
    assert (vm.memory, vm.cpu, vm.memory_reserved, vm.hardware_version, vm.networks) == (1024, 2, 256, "vmx-19", ("VM Network",))
    assert vm.uuid
    assert Backing("[shared] vm01/vm01.vmx", "vmx", "shared", DATASTORE_UUID) in vm.backings
    assert Backing("[shared] vm01/vm01.vmdk", "disk", "shared", DATASTORE_UUID) in vm.backings
    assert {backing.datastore_uuid for backing in vm.backings} == {DATASTORE_UUID}


def taken(round_trips: list[str]) -> tuple[str, ...]:
    """What was counted since the last time."""
    found = tuple(round_trips)
    round_trips.clear()
    return found


def test_the_number_of_round_trips_does_not_grow_with_the_number_of_vms(
    storage: StorageServer, new_host: NewHost, ca_path: Path, round_trips: list[str]
) -> None:
    for number in range(230):
        write_vm(storage.datastore, "vm%03d" % number)
    paths = ["[shared] vm%03d/vm%03d.vmx" % (number, number) for number in range(230)]
    counted: dict[int, list[tuple[str, ...]]] = {}
    for vms in (5, 230):
        host = new_host().start(paths[:vms])
        until(lambda host=host: accessible(host, ca_path), "the iSCSI session is up")
        round_trips.clear()
        steps: list[tuple[str, ...]] = []

        with open_hypervisor(host.connection(ca_path)) as opened:
            steps.append(taken(round_trips))
            opened.health()
            steps.append(taken(round_trips))
            seen = opened.virtual_machines()
            assert len(seen) == vms
            steps.append(taken(round_trips))
            opened.io_idle(replace(vm, power=Power.ON, heartbeat="red") for vm in seen)
            steps.append(taken(round_trips))
            opened.events()
            steps.append(taken(round_trips))
            assert len(opened.unregistered("shared")) == 230 - vms
            steps.append(tuple(dict.fromkeys(round_trips)))  # the search's task is polled as long as it takes
            round_trips.clear()
        steps.append(taken(round_trips))
        counted[vms] = steps
    assert counted[5] == counted[230]
    assert [len(step) for step in counted[230]] == [2, 2, 1, 3, 4, 2, 1]


def test_wrong_password_certificate_and_silence_are_different_answers(new_host: NewHost, ca_path: Path, tmp_path: Path) -> None:
    host = new_host().start()

    def answer(**changes: Any) -> ApiAnswer:
        with pytest.raises(HostUnavailable) as refused, open_hypervisor(host.connection(changes.pop("ca", ca_path), **changes)):
            pass
        return refused.value.answer

    assert answer(password="wrong") is ApiAnswer.LOGIN_REFUSED
    assert answer(hostname="localhost") is ApiAnswer.CERTIFICATE_REFUSED
    assert host.process is not None
    os.kill(host.process.pid, signal.SIGSTOP)
    assert answer(timeout=0.5) is ApiAnswer.TIMED_OUT
    host.end()
    assert answer() is ApiAnswer.REFUSED


def run_module(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """As a user runs it, through Ansible."""
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "libreha.vmware." + name, "-a", json.dumps(arguments)]
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert "=> {" in done.stdout, done.stdout + done.stderr
    assert "VMware1!" not in done.stdout
    result: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
    return result


def test_the_modules_return_what_decide_reads(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    """A dead host beside a living one; the result goes through Ansible's JSON and into an Observation."""
    write_vm(storage.datastore, "vm01", extent=0)
    living, dead = new_host().start(["[shared] vm01/vm01.vmx"]), new_host()
    until(lambda: accessible(living, ca_path), "the iSCSI session is up")
    shared = {
        "username": "root", "password": "VMware1!", "ca_path": str(ca_path), "timeout": 10,
        "hosts": [{"name": host.name, "hostname": "127.0.0.1", "port": host.port} for host in (living, dead)],
    }  # fmt: skip
    hosts = run_module("host_health_info", {**shared, "isolation_addresses": ["127.0.0.1"]})
    vms = run_module("vm_health_info", shared)
    assert not hosts.get("failed")
    assert not vms.get("failed")
    seen = observations.Observation.from_dict({**hosts, **vms, "taken_at": hosts["taken_at"]})
    assert [(host.name, host.api_answer) for host in seen.hosts] == [("esx1", ApiAnswer.ANSWERED), ("esx2", ApiAnswer.REFUSED)]
    assert [(vm.name, vm.host) for vm in seen.vms] == [("vm01", "esx1")]
    assert seen.vms_read == ("esx1",)
    assert seen.isolation == (observations.IsolationProbe("127.0.0.1", True),)
    assert [(one["host"], one["answer"]) for one in vms["unread"]] == [("esx2", "refused")]
    assert seen.events
    newest = max(event.key for event in seen.events)
    later = run_module("vm_health_info", {**shared, "events_after": {"esx1": newest}})
    assert all(event["key"] > newest for event in later["events"])
    assert run_module("vm_health_info", {**shared, "events": False})["events"] == []


def post_unreadable(opened: Any) -> None:
    """An event as ESXi 6.5 is seen to write one: a permission on something that the library takes for no managed entity."""
    entity = vim.event.ManagedEntityEventArgument(name="e", entity=vim.Folder("no-such-folder"))
    event = vim.event.PermissionAddedEvent(
        key=0, chainId=0, createdTime=datetime.datetime.now(datetime.timezone.utc), userName="root", entity=entity,
        principal="somebody", group=False, propagate=True, role=vim.event.RoleEventArgument(name="r", roleId=-1),
    )  # fmt: skip
    modifiers = opened.session.stub.requestModifierList
    modifiers.append(lambda request: request.replace(b'"Folder">no-such-folder', b'"ManagedObject">no-such-folder'))
    try:
        opened.session.content.eventManager.PostEvent(event)
    finally:
        modifiers.pop()


def test_an_event_that_the_library_cannot_read_costs_that_event_alone(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    write_vm(storage.datastore, "vm01")
    host = new_host().start(["[shared] vm01/vm01.vmx"])
    until(lambda: accessible(host, ca_path), "the iSCSI session is up")
    access = HostAccess(host.connection(ca_path))
    with open_hypervisor(access.connection) as opened:
        known = opened.events().events[-1].key
        (vm,) = opened.virtual_machines()
        assert opened.power_on(vm.moid, 30)[0] is PowerOnOutcome.DONE
        post_unreadable(opened)
        assert opened.power_off([vm.moid], 30) == {vm.moid: ""}
        for _unreadable in range(2):
            post_unreadable(opened)
        for _look in range(40):  # more than a host keeps collectors
            seen = observe_vms([access], {host.name: known}, with_events=True)
            assert seen.vms_read == (host.name,)
            kinds = [event.kind for event in seen.events if event.vm == vm.id]
            assert [kind for kind in kinds if kind != "other"] == ["vm_powered_on", "vm_powered_off"]
            assert seen.event_gaps[0].skipped >= 3


def test_looks_share_one_session_and_open_it_again_when_somebody_ends_it(
    storage: StorageServer, new_host: NewHost, ca_path: Path, round_trips: list[str]
) -> None:
    host = new_host().start()
    access = HostAccess(host.connection(ca_path))
    with open_hypervisor(access.connection) as administrator, Pools() as pools:
        manager = administrator.session.content.sessionManager

        def look() -> int:
            """How many other sessions the host lists after it."""
            (seen,), _isolation = observe_hosts([access], [], clock.now(), pools)
            assert seen.api_answer is ApiAnswer.ANSWERED, seen.api_reason
            assert observe_vms([access], {}, True, pools).vms_read == (host.name,)
            return len(manager.sessionList) - 1

        round_trips.clear()
        assert [look() for _look in range(10)] == [1] * 10
        assert round_trips.count("Login") == 1
        own = manager.currentSession.key
        manager.TerminateSession([session.key for session in manager.sessionList if session.key != own])
        assert [look() for _look in range(3)] == [1] * 3
        assert round_trips.count("Login") == 2
        pools.close()
        assert len(manager.sessionList) == 1
