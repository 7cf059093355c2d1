"""What a failover does, on real (simulated) hosts: two of them, one LUN, real locks, the real question."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import (
    FaultKind,
    Hypervisor,
    HypervisorFault,
    PowerOnOutcome,
)
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]
PATH = "[shared] vm01/vm01.vmx"


@pytest.fixture
def two(storage: StorageServer, new_host: NewHost, ca_path: Path) -> tuple[Host, Host]:
    """vm01 registered on esx1, nothing on esx2; the storage of both is up."""
    write_vm(storage.datastore, "vm01", extent=0)
    hosts = new_host().start([PATH]), new_host().start()
    for host in hosts:
        until(lambda host=host: _has_storage(host, ca_path), "the iSCSI session of %s is up" % host.name)
    return hosts


def _has_storage(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        return all(datastore.accessible for datastore in opened.health().datastores)


def fault_of(act: Callable[[], object]) -> FaultKind:
    with pytest.raises(HypervisorFault) as fault:
        act()
    return fault.value.kind


def power(opened: Hypervisor) -> Power:
    return next(vm.power for vm in opened.virtual_machines() if vm.path == PATH)


def test_a_vm_moves_from_a_dead_host_to_another(storage: StorageServer, two: tuple[Host, Host], ca_path: Path) -> None:
    first, second = two
    with open_hypervisor(first.connection(ca_path)) as opened:
        (vm,) = opened.virtual_machines()
        assert opened.power_on(vm.moid, 30) == (PowerOnOutcome.DONE, None)
        assert power(opened) is Power.ON
        bios = vm.uuid
    asked_for_leave: list[int] = []
    with open_hypervisor(second.connection(ca_path), before_write=lambda: asked_for_leave.append(1)) as opened:
        moid = opened.register(PATH, "vm01")
        assert asked_for_leave
        assert fault_of(lambda: opened.register(PATH, "vm01")) is FaultKind.ALREADY
        assert fault_of(lambda: opened.power_on(moid, 30)) is FaultKind.FILE_LOCKED  # the first host lives
        assert first.process is not None
        os.kill(first.process.pid, signal.SIGKILL)
        storage.fence(first.initiator)
        until(lambda: _powered_on(opened, moid), "the dead host's lock has aged")
        (vm,) = opened.virtual_machines()
        assert (vm.power, vm.question, vm.uuid) == (Power.ON, None, bios)  # "moved": a copy would have a new UUID
        assert fault_of(lambda: opened.power_on(moid, 30)) is FaultKind.ALREADY
        kinds = [event.kind for event in opened.events().events if event.vm == vm.id]
        assert kinds.index("vm_registered") < kinds.index("vm_powered_on")


def _powered_on(opened: Hypervisor, moid: str) -> bool:
    try:
        return opened.power_on(moid, 30) == (PowerOnOutcome.DONE, None)
    except HypervisorFault as fault:
        assert fault.kind is FaultKind.FILE_LOCKED
        return False


@pytest.fixture
def moved(two: tuple[Host, Host], ca_path: Path) -> Host:
    """esx2 with vm01 registered, which last ran at esx1: powering it on asks whether it was moved or copied."""
    first, second = two
    with open_hypervisor(first.connection(ca_path)) as opened:
        (vm,) = opened.virtual_machines()
        opened.power_on(vm.moid, 30)
        assert opened.power_off([vm.moid], 30) == {vm.moid: ""}
        opened.unregister(vm.moid)
        assert opened.virtual_machines() == []
        assert opened.unregistered("shared") == [PATH]
    return second


def test_maintenance_mode_is_entered_by_an_empty_host_alone_and_outlasts_its_restart(two: tuple[Host, Host], ca_path: Path) -> None:
    host = two[0]
    with open_hypervisor(host.connection(ca_path)) as opened:
        (vm,) = opened.virtual_machines()
        assert opened.power_on(vm.moid, 30)[0] is PowerOnOutcome.DONE
        with pytest.raises(HypervisorFault, match="maintenance mode"):
            opened.set_maintenance_mode(True, 1)
        assert power(opened) is Power.ON and opened.health().maintenance is False
        assert opened.power_off([vm.moid], 10) == {vm.moid: ""}
        opened.set_maintenance_mode(True, 10)
        with pytest.raises(HypervisorFault):
            opened.power_on(vm.moid, 10)
    host.end()
    host.start()
    until(lambda: _has_storage(host, ca_path), "its iSCSI session is up again")
    with open_hypervisor(host.connection(ca_path)) as opened:
        assert opened.health().maintenance is True
        opened.set_maintenance_mode(False, 10)
        assert opened.power_on(vm.moid, 60)[0] is PowerOnOutcome.DONE


def test_a_question_that_is_not_to_be_answered_waits_and_is_taken_up_later(moved: Host, ca_path: Path) -> None:
    with open_hypervisor(moved.connection(ca_path)) as opened:
        moid = opened.register(PATH, "vm01")
        outcome, question = opened.power_on(moid, 30, answer_moved=False)
        assert outcome is PowerOnOutcome.QUESTION
        assert question is not None
        assert question.message_id == "msg.uuid.altered"
        (vm,) = opened.virtual_machines()
        assert vm.question == question
    with open_hypervisor(moved.connection(ca_path)) as opened:  # another run, as after a crash of the first
        assert opened.power_on(moid, 30)[0] is PowerOnOutcome.DONE
        assert power(opened) is Power.ON


def test_a_person_may_answer_the_question(moved: Host, ca_path: Path) -> None:
    with open_hypervisor(moved.connection(ca_path)) as opened:
        moid = opened.register(PATH, "vm01")
        _outcome, question = opened.power_on(moid, 30, answer_moved=False)
        assert question is not None
        key = next(choice.key for choice in question.choices if choice.label == "I Moved It")
        opened.answer(moid, question, key)
        until(lambda: power(opened) is Power.ON, "the VM runs")


def test_a_run_that_lost_its_lease_changes_nothing(two: tuple[Host, Host], ca_path: Path) -> None:
    def lost() -> None:
        raise LeaseLost("the lease ran out")

    first, second = two
    with open_hypervisor(first.connection(ca_path), before_write=lost) as opened:
        (vm,) = opened.virtual_machines()
        for act in (lambda: opened.power_on(vm.moid, 5), lambda: opened.unregister(vm.moid), lambda: opened.power_off([vm.moid], 5)):
            with pytest.raises(LeaseLost):
                act()
        (after,) = opened.virtual_machines()
        assert after.power is Power.OFF
    with open_hypervisor(second.connection(ca_path), before_write=lost) as opened:
        with pytest.raises(LeaseLost):
            opened.register(PATH, "vm01")
        assert opened.virtual_machines() == []


def test_what_is_not_there_is_said_so(two: tuple[Host, Host], ca_path: Path) -> None:
    with open_hypervisor(two[0].connection(ca_path)) as opened:
        assert fault_of(lambda: opened.register("[shared] none/none.vmx", "none")) is FaultKind.NOT_FOUND
        assert fault_of(lambda: opened.register("[elsewhere] vm01/vm01.vmx", "vm01")) is FaultKind.INACCESSIBLE
        assert fault_of(lambda: opened.unregister("4711")) is FaultKind.NOT_FOUND
        assert fault_of(lambda: opened.power_on("4711", 5)) is FaultKind.NOT_FOUND
        assert fault_of(lambda: opened.unregistered("elsewhere")) is FaultKind.INACCESSIBLE


def test_a_vm_that_needs_more_memory_than_the_host_has_left(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    write_vm(storage.datastore, "vm01", extent=0, **{"sched.mem.min": "4096"})
    host = new_host(memory_mib=2048).start([PATH])
    until(lambda: _has_storage(host, ca_path), "the iSCSI session is up")
    with open_hypervisor(host.connection(ca_path)) as opened:
        assert fault_of(lambda: opened.power_on("1", 30)) is FaultKind.NO_RESOURCES


def test_many_vms_are_powered_off_together_and_those_off_already_are_done(storage: StorageServer, new_host: NewHost, ca_path: Path) -> None:
    names = ["vm%02d" % number for number in range(12)]
    for name in names:
        write_vm(storage.datastore, name)
    host = new_host().start(["[shared] %s/%s.vmx" % (name, name) for name in names])
    until(lambda: _has_storage(host, ca_path), "the iSCSI session is up")
    with open_hypervisor(host.connection(ca_path)) as opened:
        moids = [vm.moid for vm in opened.virtual_machines()]
        for moid in moids[:10]:
            opened.power_on(moid, 30)
        outcome = opened.power_off([*moids, "4711"], 30)
        assert {moid: reason for moid, reason in outcome.items() if reason} == {"4711": outcome["4711"]}
        assert "4711" in outcome["4711"]
        assert {vm.power for vm in opened.virtual_machines()} == {Power.OFF}


def test_a_host_without_its_storage_can_still_stop_its_vms(storage: StorageServer, two: tuple[Host, Host], ca_path: Path) -> None:
    first, _second = two
    with open_hypervisor(first.connection(ca_path)) as opened:
        (vm,) = opened.virtual_machines()
        opened.power_on(vm.moid, 30)
        storage.fence(first.initiator)
        until(lambda: not _has_storage(first, ca_path), "the host notices")
        assert opened.power_off([vm.moid], 10) == {vm.moid: ""}
        assert power(opened) is Power.OFF
        assert fault_of(lambda: opened.power_on(vm.moid, 10)) is FaultKind.INACCESSIBLE


def test_a_vm_whose_lock_was_taken_meanwhile_is_ended_by_the_answer_to_its_hosts_question(
    storage: StorageServer, new_host: NewHost, ca_path: Path
) -> None:
    """Its host loses the storage, another one starts it, and the first gets its storage back."""
    write_vm(storage.datastore, "vm01", extent=0)
    first, second = new_host(question_on_lost_lock=True).start([PATH]), new_host().start([PATH])
    until(lambda: all(_has_storage(host, ca_path) for host in (first, second)), "the iSCSI sessions are up")
    with open_hypervisor(first.connection(ca_path)) as old, open_hypervisor(second.connection(ca_path)) as new:
        (vm,) = old.virtual_machines()
        assert old.power_on(vm.moid, 30)[0] is PowerOnOutcome.DONE
        (other,) = new.virtual_machines()
        with pytest.raises(HypervisorFault, match="locked by a consumer on host esx1"):
            new.power_on(other.moid, 30)
        storage.fence(first.initiator)
        until(lambda: _powered_on(new, other.moid), "the fenced host's lock has aged")
        storage.admit(first.initiator)
        until(lambda: old.virtual_machines()[0].question is not None, "the host asks about the lost lock")
        (vm,) = old.virtual_machines()
        assert vm.question is not None
        assert (vm.power, vm.question.message_id) == (Power.ON, "msg.hbacommon.locklost")
        told: list[str] = []
        old.on_answer = lambda _moid, question: told.append(question.message_id)
        assert old.power_off([vm.moid], 30) == {vm.moid: ""}
        assert told == ["msg.hbacommon.locklost"]
        assert (power(old), power(new)) == (Power.OFF, Power.ON)
