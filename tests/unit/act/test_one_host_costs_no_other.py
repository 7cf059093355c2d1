"""What goes wrong with one host is that host's outcome; the others' work is done, and written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act import vm_failover
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import undone_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms import transaction
from ansible_collections.libreha.vmware.plugins.module_utils.entry import vm_power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.vsphere import Vsphere
from scripted_host import refused_port

Make = Callable[[str], Any]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "RETRY_INTERVAL", 0.05)


def list_strangely(host: Any) -> None:
    listed = host._listed
    host._listed = lambda guest: (listed(guest)[0], {**listed(guest)[1], "layoutEx.file": "no list of files"})


def test_a_vm_whose_host_cannot_be_opened_fails_and_the_others_start(bench: Any, new_esx: Make) -> None:
    esx1 = new_esx("esx1").with_guest("vm1")
    with refused_port() as closed:
        (undone,) = undone_of(bench.start({"vm1": "esx1", "vm2": "esx2"}, esx1=esx1.port, esx2=closed))
    assert undone.startswith("vm2 -> esx2: esx2 could not be opened")
    assert esx1.guests[0].on
    # Counted by the next look, so that another host gets its turn; nothing was asked of the host.
    assert bench.ends() == {"vm1": "verified", "vm2": "failed"}
    (failed,) = [row for row in bench.database.transactions(closed=True) if row["vm_name"] == "vm2"]
    assert (failed["detail"]["start_asked"], failed["detail"]["reached"]) == (False, False)
    reached = {result.vm: result.reached for result in bench.database.results(Memory())}
    assert reached[failed["vm_id"]] is False and len(reached) == 2 and any(reached.values())


def test_on_a_busy_machine_on_which_every_login_is_late_the_vms_start_all_the_same(
    bench: Any, new_esx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_failover, "OPEN_TIMEOUTS", 0.2)  # 1 s in all, of a timeout of 5 s
    esx1 = new_esx("esx1").with_guest("vm1")
    login = esx1.replies["Login"]

    def late(*_request: Any) -> Any:
        time.sleep(1.5)
        return login

    esx1.replies["Login"] = late
    assert undone_of(bench.start({"vm1": "esx1"}, esx1=esx1.port)) == []
    assert bench.ends() == {"vm1": "verified"}


def test_a_destination_that_is_no_host_of_the_run_fails_its_vms_only(bench: Any, new_esx: Make) -> None:
    esx1 = new_esx("esx1").with_guest("vm1")
    (undone,) = undone_of(bench.start({"vm1": "esx1", "vm2": "esx3"}, esx1=esx1.port))
    assert "esx3 is not among the hosts of this run" in undone
    assert bench.ends() == {"vm1": "verified", "vm2": "failed"}


def test_an_answer_that_nobody_foresaw_fails_that_vm_with_its_class_and_text(bench: Any, new_esx: Make) -> None:
    esx1, esx2 = new_esx("esx1").with_guest("vm1"), new_esx("esx2").with_guest("vm2")
    esx2.replies["PowerOnVM_Task"] = None  # an empty answer where a task is due
    (undone,) = undone_of(bench.start({"vm1": "esx1", "vm2": "esx2"}, esx1=esx1.port, esx2=esx2.port))
    assert "unexpected TypeError: Required field" in undone
    assert bench.ends() == {"vm1": "verified", "vm2": "failed"}
    assert bench.database.open_transactions() == []


def test_a_host_whose_vms_cannot_be_understood_costs_only_its_own(bench: Any, new_esx: Make) -> None:
    esx1, esx2 = new_esx("esx1").with_guest("vm1"), new_esx("esx2").with_guest("vm2")
    list_strangely(esx2)
    (undone,) = undone_of(bench.start({"vm1": "esx1", "vm2": "esx2"}, esx1=esx1.port, esx2=esx2.port))
    assert undone.startswith("vm2 -> esx2: ")
    assert "unexpected AttributeError" in undone
    assert bench.ends() == {"vm1": "verified", "vm2": "failed"}


def test_a_lost_lease_is_no_hosts_outcome(bench: Any, new_esx: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    esx1 = new_esx("esx1").with_guest("vm1")

    def lost(*_arguments: Any, **_more: Any) -> Any:
        raise LeaseLost("the lease of this run has run out")

    monkeypatch.setattr(Vsphere, "power_on", lost)
    with pytest.raises(LeaseLost):
        bench.start({"vm1": "esx1"}, esx1=esx1.port)
    assert len(bench.database.open_transactions()) == 1  # for the run that takes over


def power(bench: Any, state: str, **ports: int) -> dict[str, Any]:
    bounds = {"stop_timeout": 5.0, "guest_timeout": 1.0, "only_without_heartbeat": False, "vms": []}
    return vm_power.run({"state": state, **bounds, **bench.hosts(**ports), **bench.lease()}, False)


def test_a_power_off_is_done_and_written_down_although_one_host_cannot_be_understood(bench: Any, new_esx: Make) -> None:
    esx1, esx2 = new_esx("esx1").with_guest("vm1", on=True), new_esx("esx2").with_guest("vm2", on=True)
    list_strangely(esx2)
    with pytest.raises(LibrehaError, match="esx2: reading its VMs: unexpected AttributeError"):
        power(bench, "powered_off", esx1=esx1.port, esx2=esx2.port)
    assert not esx1.guests[0].on
    assert [(entry["data"]["host"], entry["data"]["phase"]) for entry in bench.database.read_journal(kinds=["power"])] == [
        ("esx1", "before"),
        ("esx1", "after"),
    ]


def test_one_vms_strange_answer_does_not_leave_the_others_of_its_host_unwatched(bench: Any, new_esx: Make) -> None:
    esx1 = new_esx("esx1").with_guest("vm1", on=True).with_guest("vm2", on=True)
    plain = esx1.replies["PowerOffVM_Task"]
    esx1.replies["PowerOffVM_Task"] = lambda: None if ">1<" in esx1.bodies[-1] else plain()
    with pytest.raises(LibrehaError, match="vm1: .*answered without a task") as caught:
        power(bench, "powered_off", esx1=esx1.port)
    assert [vm["name"] for vm in caught.value.details["vms"]] == ["vm2"]
    assert not esx1.guests[1].on


def test_a_task_that_the_host_forgot_is_one_vms_unknown_outcome(bench: Any, new_esx: Make) -> None:
    esx1 = new_esx("esx1").with_guest("vm1", on=True).with_guest("vm2", on=True)
    plain = esx1._task

    def forgets(method: str, name: str, act: Any) -> Any:
        task = plain(method, name, act)
        if name == "vm1":
            esx1.forgotten.add(task._moId)
        return task

    esx1._task = forgets
    with pytest.raises(LibrehaError, match="vm1: .*the host tells nothing of its task") as caught:
        power(bench, "powered_off", esx1=esx1.port)
    assert [vm["name"] for vm in caught.value.details["vms"]] == ["vm2"]


def test_a_memory_that_cannot_be_read_stops_the_failover_before_it_begins(bench: Any, new_esx: Make) -> None:
    esx1 = new_esx("esx1").with_guest("vm1")
    bench.database.save_memory({"version": 99}, bench.token)
    with pytest.raises(LibrehaError, match="the memory in .* cannot be read: memory: its version is 99"):
        bench.start({"vm1": "esx1"}, esx1=esx1.port)
    assert not esx1.guests[0].on
