"""A failover to a host where another VM has the name: it is registered under another one, written down, and started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import undone_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fence_coverage import FenceCoverage
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import Step
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from pyVmomi import vim

Make = Callable[[str], Any]


def refuses(*names: str) -> Callable[[str], Any]:
    return lambda name: vim.fault.DuplicateName(name=name, object=vim.VirtualMachine("1")) if name in names else None


@pytest.fixture
def fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's fence is confirmed; how that is found out is not the matter here."""
    monkeypatch.setattr(
        "ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover._covers",
        lambda transactions, *_rest: {item.vm_id: FenceCoverage() for item in transactions},
    )


@pytest.mark.usefixtures("fenced")
def test_it_is_registered_under_another_name_and_runs(bench: Any, new_esx: Make) -> None:
    esx2 = new_esx("esx2")
    esx2.faults["RegisterVM_Task"] = refuses("app%2f1")
    (work,) = bench.start({"app/1": "esx2"}, source={"app/1": "esx1"}, esx2=esx2.port)
    assert work.transaction.step is Step.VERIFIED
    assert [(guest.name, guest.on) for guest in esx2.guests] == [("app%2f1 (libreha: from esx1)", True)]
    assert bench.ends() == {"app/1": "verified"}
    journal = " ".join(entry["text"] for entry in bench.database.read_journal(kinds=["step"]))
    assert "another VM of that name is registered on esx2; this one is registered as 'app/1 (libreha: from esx1)'" in journal


@pytest.mark.usefixtures("fenced")
def test_where_that_name_is_taken_too_it_fails_there_and_is_planned_anew(bench: Any, new_esx: Make) -> None:
    esx2 = new_esx("esx2")
    esx2.faults["RegisterVM_Task"] = refuses("web1", "web1 (libreha: from esx1)")
    (undone,) = undone_of(bench.start({"web1": "esx2"}, source={"web1": "esx1"}, esx2=esx2.port))
    assert "DuplicateName" in undone
    assert esx2.sent("RegisterVM_Task") == 2
    assert bench.ends() == {"web1": "failed"}


def test_the_policy_goes_on_knowing_it_by_its_own_name(bench: Any, new_esx: Make) -> None:
    esx2 = new_esx("esx2").with_guest("web1 (libreha: from esx1)")
    (access,) = bench.hosts(esx2=esx2.port)["hosts"]
    with open_hypervisor(Connection(**access, validate_certs=True)) as opened:
        assert [vm.name for vm in opened.virtual_machines()] == ["web1"]
