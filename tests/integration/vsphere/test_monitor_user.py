"""The monitor's own user on hosts that enforce privileges: its role is enough for every call, and each privilege of it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power, Question
from ansible_collections.libreha.vmware.plugins.module_utils.entry import esxi_monitor_user
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.host_accounts import HostAccounts
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.host_survey import survey_host
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import (
    FaultKind,
    Hypervisor,
    HypervisorFault,
    PowerOnOutcome,
)
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.privileges import ADDITIONAL, GRANTED, GRANTED_NAMES, NEEDED_NAMES
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.setup import HostSetup
from pyVmomi import VmomiSupport
from real_hosts import Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]
PATH = "[shared] vm01/vm01.vmx"
USER, PASSWORD = "libreha", "A-long-secret-1"


@pytest.fixture
def make(ca_path: Path) -> Callable[..., dict[str, Any]]:
    """``make(host, check_mode, **options)``: the module's result on *host*, logged in as root."""
    defaults = {name: spec.get("default") for name, spec in esxi_monitor_user.argument_spec().items()}

    def run(host: Host, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        given = {**defaults, **host.parameters, "ca_path": str(ca_path), "monitor_user": USER, "monitor_password": PASSWORD, **options}
        return esxi_monitor_user.run(given, check_mode)

    return run


@pytest.fixture
def two(storage: StorageServer, new_host: NewHost, make: Callable[..., dict[str, Any]], ca_path: Path) -> tuple[Host, Host]:
    """vm01 has a disk and ran on a host that is no more; esx1 and esx2 have the monitor's user."""
    write_vm(storage.datastore, "vm01", extent=0)
    hosts = new_host().start([PATH]), new_host().start()
    for host in hosts:
        make(host)
        until(lambda host=host: _has_storage(host, ca_path), "the iSCSI session of %s is up" % host.name)
    return hosts


def _has_storage(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(datastore.accessible for datastore in opened.health().datastores)


def as_monitor(host: Host, ca_path: Path) -> Hypervisor:
    return open_hypervisor(host.connection(ca_path, username=USER, password=PASSWORD))


def set_role(host: Host, ca_path: Path, privileges: set[str]) -> None:
    with HostSetup(host.connection(ca_path)) as setup:
        accounts = HostAccounts(setup)
        role = accounts.read(USER).role
        assert role is not None
        accounts.update_role(role, privileges)


def test_it_is_made_once_and_its_password_is_shown_nowhere(
    storage: StorageServer, new_host: NewHost, make: Callable[..., dict[str, Any]]
) -> None:
    host = new_host().start()
    would = make(host, check_mode=True)
    assert make(host, check_mode=True) == would, "check mode changed something"
    done = make(host)
    assert done == would
    assert [step.split(" with ")[0] for step in done["steps"]] == [
        "create the role libreha_monitor",
        "create the user libreha",
        "give libreha the role libreha_monitor on the root folder",
    ]
    again = make(host)
    assert (again["changed"], again["steps"], again["diff"]["before"]) == (False, [], done["diff"]["after"])
    assert PASSWORD not in str([would, done, again])


def test_it_outlasts_a_restart_of_the_host(new_host: NewHost, make: Callable[..., dict[str, Any]], ca_path: Path) -> None:
    host = new_host().start()
    make(host)
    host.end()
    host.start()
    assert make(host)["changed"] is False
    with as_monitor(host, ca_path) as opened:
        assert opened.virtual_machines() == []


def test_a_role_with_more_or_less_becomes_exactly_the_list(new_host: NewHost, make: Callable[..., dict[str, Any]], ca_path: Path) -> None:
    host = new_host().start()
    make(host)
    set_role(host, ca_path, {*GRANTED_NAMES, "Host.Config.Storage"} - {"Datastore.Browse"})
    done = make(host)
    assert done["steps"] == ["change the role libreha_monitor: +Datastore.Browse, -Host.Config.Storage"]
    assert done["diff"]["after"]["role"] == {"libreha_monitor": sorted(GRANTED_NAMES)}
    assert make(host)["changed"] is False


def test_a_new_password_is_set_only_when_that_is_said(new_host: NewHost, make: Callable[..., dict[str, Any]], ca_path: Path) -> None:
    host = new_host().start()
    make(host)
    assert make(host, monitor_password="Another-secret-2")["changed"] is False
    assert make(host, monitor_password="Another-secret-2", update_password="always")["steps"] == ["set the password of the user libreha"]
    with open_hypervisor(host.connection(ca_path, username=USER, password="Another-secret-2")) as opened:
        assert opened.virtual_machines() == []
    with pytest.raises(LibrehaError, match="InvalidLogin"), as_monitor(host, ca_path):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"monitor_user": "root"}, "one of ESXi's own users"),
        ({"role": "Admin"}, "cannot be changed"),
        ({"monitor_password": None}, "cannot be created without a password"),
        ({"monitor_password": None, "update_password": "always"}, "no monitor_password is given"),
        ({"additional_privileges": ["No.Such"]}, "knows no privilege No.Such"),
    ],
)
def test_what_cannot_be_is_refused(new_host: NewHost, make: Callable[..., dict[str, Any]], options: dict[str, Any], said: str) -> None:
    host = new_host().start()
    with pytest.raises(LibrehaError, match=said):
        make(host, check_mode=True, **options)
    with pytest.raises(LibrehaError, match=said):
        make(host, **options)
    assert make(host, check_mode=True)["diff"]["before"] == {"role": None, "user": None, "permission": None}


def test_the_user_that_the_task_logs_in_as_is_not_touched(new_host: NewHost, make: Callable[..., dict[str, Any]], ca_path: Path) -> None:
    host = new_host().start()
    make(host)
    with pytest.raises(LibrehaError, match="would lose its rights"):
        make(host, username=USER, password=PASSWORD)


def _starts(opened: Hypervisor, vm: str) -> bool:
    """Its lock is another host's until that is silent for a lease."""
    try:
        return opened.power_on(vm, 30) == (PowerOnOutcome.DONE, None)
    except HypervisorFault as fault:
        assert fault.kind is FaultKind.FILE_LOCKED, fault
        return False


def test_with_exactly_its_role_every_call_of_the_monitor_works(two: tuple[Host, Host], ca_path: Path, round_trips: list[str]) -> None:
    first, second = two
    with open_hypervisor(first.connection(ca_path)) as opened:
        assert opened.power_on("1", 30)[0] is PowerOnOutcome.DONE  # it was placed here once
    first.end()
    round_trips.clear()
    with as_monitor(second, ca_path) as opened:
        health = opened.health()
        assert health.initiators == (second.initiator,) and health.datastores, "the storage is read without a privilege to change it"
        assert opened.unregistered("shared") == [PATH]
        moid = opened.register(PATH, "vm01")
        questions: list[Question] = []
        opened.on_answer = lambda _moid, question: questions.append(question)
        until(lambda: _starts(opened, moid), "it runs")
        (vm,) = opened.virtual_machines()
        assert (vm.power, len(questions)) == (Power.ON, 1)
        assert opened.guests().keys() == {moid} and opened.events().events
        opened.writes([vm])
        opened.io_idle([vm])
        opened.suspend(moid, 30)
        assert [vm.power for vm in opened.virtual_machines()] == [Power.SUSPENDED]
        assert opened.power_on(moid, 30) == (PowerOnOutcome.DONE, None)
        assert opened.reset([moid], 10) == {moid: ""}
        opened.shut_down([moid], 0.1)  # esxsim's guests take the request and do nothing
        assert opened.power_off([moid], 10) == {moid: ""}
        opened.unregister(moid)
        assert opened.virtual_machines() == []
        for enter in (True, False):
            opened.set_maintenance_mode(enter, 10)
            assert opened.health().maintenance is enter
        opened.shut_down_host(10)
    listed = {call.split(".")[1].split("(")[0] for privilege in (*GRANTED, *ADDITIONAL) for call in privilege.calls}
    unlisted = {call for call in round_trips if _needs_more_than_reading(call)} - listed
    assert not unlisted, "calls of the monitor that docs/host-privileges.md does not have"


def _needs_more_than_reading(call: str) -> bool:
    for name in VmomiSupport._managedDefMap:
        methods = VmomiSupport.GetVmodlType(name).__dict__.get("_methodInfo", {}) if name.startswith("vim.") else {}
        for info in methods.values():
            needs = [info.privId, *(parameter.privId for parameter in info.params)]
            if info.wsdlName == call and any(need and not need.startswith("System.") for need in needs):
                return True
    return False


#: What is tried with one privilege less: on esx1, where vm01 is registered, or on esx2, where it is not.
ATTEMPTS: dict[str, tuple[int, Callable[[Hypervisor], object]]] = {
    "Host.Config.Maintenance": (1, lambda opened: opened.set_maintenance_mode(True, 5)),
    "Datastore.Browse": (1, lambda opened: opened.unregistered("shared")),
    "Resource.AssignVMToPool": (1, lambda opened: opened.register(PATH, "vm01")),
    "VirtualMachine.Inventory.Register": (1, lambda opened: opened.register(PATH, "vm01")),
    "VirtualMachine.Inventory.Unregister": (0, lambda opened: opened.unregister("1")),
    "VirtualMachine.Interact.PowerOn": (0, lambda opened: opened.power_on("1", 10)),
    "VirtualMachine.Interact.PowerOff": (0, lambda opened: opened.power_off(["1"], 5)["1"]),
    "VirtualMachine.Interact.Suspend": (0, lambda opened: opened.suspend("1", 10)),
    "VirtualMachine.Interact.Reset": (0, lambda opened: opened.reset(["1"], 5)["1"]),
    "VirtualMachine.Interact.AnswerQuestion": (
        0,
        lambda opened: opened.answer("1", Question("1", "msg.uuid.altered", "moved or copied?", ()), "1"),
    ),
}


def test_each_privilege_has_an_attempt_without_it() -> None:
    assert sorted(ATTEMPTS) == sorted(GRANTED_NAMES)


def test_without_any_one_privilege_its_call_is_refused(two: tuple[Host, Host], ca_path: Path) -> None:
    for privilege, (where, attempt) in ATTEMPTS.items():
        set_role(two[where], ca_path, set(GRANTED_NAMES) - {privilege})
        with as_monitor(two[where], ca_path) as opened:
            try:
                said = str(attempt(opened))
            except LibrehaError as error:
                said = str(error)
        assert "missing privilege %s" % privilege in said, "%s: %s" % (privilege, said)
        set_role(two[where], ca_path, set(GRANTED_NAMES))


def test_it_can_change_nothing_of_the_host_and_see_no_sessions(two: tuple[Host, Host], ca_path: Path) -> None:
    connection = two[0].connection(ca_path, username=USER, password=PASSWORD)
    with HostSetup(connection) as setup, pytest.raises(LibrehaError, match="missing privilege Host.Local.ManageUserGroups"):
        HostAccounts(setup).create_user("another", "A-long-secret-1", "")
    seen = survey_host(connection)
    assert seen.sessions is None
    assert seen.privileges is not None and set(NEEDED_NAMES) <= seen.privileges and "Host.Config.Storage" not in seen.privileges


def test_additional_privileges_are_granted_by_name(two: tuple[Host, Host], make: Callable[..., dict[str, Any]], ca_path: Path) -> None:
    make(two[0], additional_privileges=["Sessions.TerminateSession"])
    seen = survey_host(two[0].connection(ca_path, username=USER, password=PASSWORD))
    assert seen.sessions is not None
