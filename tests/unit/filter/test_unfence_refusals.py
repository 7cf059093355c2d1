"""What stands against letting a fenced host in again; the values are of the form in which the modules return them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.filter.unfence_refusals import unfence_refusals

BOOT = {"boot_id": "boot-1", "seconds": 1000.0, "wall": "2026-01-01T00:16:40.000+00:00"}
FENCED = {"boot_id": "boot-1", "seconds": 400.0, "wall": "2026-01-01T00:06:40.000+00:00"}
WEB1 = "5f3b:web1/web1.vmx"


MOVED = {"vm_id": WEB1, "vm_name": "web1", "source": "esx1", "destination": "esx2", "closed": True, "token": 7}


def vm(**changes: Any) -> dict[str, Any]:
    form = {"id": WEB1, "host": "esx1", "name": "web1", "path": "[shared] web1/web1.vmx", "taken_at": BOOT, "power": "off", "moid": "12"}
    return {**form, **changes}


def refused(**changes: Any) -> list[str]:
    """A host that was fenced, started afresh and emptied: nothing stands against it, but for *changes*."""
    fence = {"host": "esx1", "initiator": "iqn.1998-01.com.vmware:esx1", "token": 7, "at": FENCED, "confirmed": True}
    given: dict[str, Any] = {
        "storage": [{"name": "san1", "taken_at": BOOT, "serving": True, "fences": [{**fence, **changes.get("fence", {})}]}],
        "servers": ["san1"],
        "health": {"hosts": [{"name": "esx1", "taken_at": BOOT, "api_answer": "answered", "uptime": 60.0}]},
        "vms": {"vms_read": ["esx1"], "vms": []},
        "vms_recorded": [{"vm_id": WEB1, "name": "web1", "host": "esx2", "power": "on"}],
        "transactions": [MOVED],
        "forced": False,
    }
    given.update({key: value for key, value in changes.items() if key != "fence"})
    record = {"vms": given["vms_recorded"], "transactions": given["transactions"]}
    return unfence_refusals(given["storage"], "esx1", given["servers"], given["health"], given["vms"], record, given["forced"])


def only(found: list[str]) -> str:
    (reason,) = found
    return reason


def test_an_empty_host_that_answers_is_let_in() -> None:
    assert refused() == []


def test_a_host_that_runs_a_vm_is_not() -> None:
    listed = {"vms_read": ["esx1"], "vms": [vm(id="5f3b:own/own.vmx", name="own", power="on")]}
    assert only(refused(vms=listed)) == "esx1 runs own: stop them there, and switch its autostart off"


def test_a_host_that_cannot_tell_what_it_runs_is_not() -> None:
    silent = {"hosts": [{"name": "esx1", "taken_at": BOOT, "api_answer": "timed_out", "api_reason": "no answer within 5 s"}]}
    assert "esx1 does not answer (no answer within 5 s)" in only(refused(health=silent, vms={"vms_read": [], "vms": []}))
    assert "the VMs of esx1 could not be read" in only(refused(vms={"vms_read": [], "vms": []}))


def test_a_failover_that_is_not_finished_comes_first() -> None:
    rows = [{**MOVED, "closed": False}, {**MOVED, "vm_name": "other", "source": "esx3", "closed": False}]
    assert only(refused(transactions=rows)) == "the failover of web1 is not finished: run the playbook monitor first"


@pytest.mark.parametrize(
    "listed",
    [
        vm(),
        vm(id=":web1/web1.vmx", accessible=False),
        # as a host names a VM whose files it cannot read
        vm(id=":x", name="/vmfs/volumes/5f3b-9a/web1/web1.vmx", path="[] /vmfs/volumes/5f3b-9a/web1/web1.vmx", accessible=False),
    ],
    ids=["by its id", "without its datastore's id", "by its volume"],
)
def test_what_is_recorded_on_another_host_must_not_be_registered_here(listed: dict[str, Any]) -> None:
    reason = only(refused(vms={"vms_read": ["esx1"], "vms": [listed]}))
    assert "esx1 still has web1 registered" in reason
    assert "for id in 12; do vim-cmd vmsvc/unregister $id; done" in reason


def test_a_vm_that_nobody_took_over_may_stay_registered() -> None:
    """It is bound to this host, and starts when the host is back."""
    mine = [{"vm_id": WEB1, "name": "web1", "host": "esx1", "power": "on"}]
    assert refused(vms={"vms_read": ["esx1"], "vms": [vm()]}, vms_recorded=mine, transactions=[]) == []


def test_every_storage_server_is_asked_first() -> None:
    assert "storage server san2 could not be asked" in only(refused(servers=["san1", "san2"]))
    unasked = [{"name": "san1", "taken_at": BOOT, "serving": None}]
    assert "storage server san1 could not be asked" in only(refused(storage=unasked))


def test_a_persons_word_replaces_no_proof_that_could_be_had_while_vms_run_elsewhere() -> None:
    assert "web1 run elsewhere since the fence" in only(refused(forced=True))
    assert refused(forced=True, fence={"at": {**FENCED, "boot_id": "boot-0"}}) == [], (
        "the storage server was restarted: no uptime proves it"
    )
    assert refused(forced=True, transactions=[{**MOVED, "token": 6}]) == [], "it left before the fence"
    assert refused(forced=True, transactions=[]) == []


def test_every_reason_is_named_at_once() -> None:
    listed = {"vms_read": ["esx1"], "vms": [vm(power="on")]}
    rows = [{**MOVED, "closed": False}]
    assert len(refused(vms=listed, transactions=rows, servers=["san1", "san2"], forced=True)) == 5
