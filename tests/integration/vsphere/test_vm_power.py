"""The module vm_power on real (simulated) hosts, with a real database: what it does to whom, and what it writes down."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act import vm_power as runner
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act, Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.entry import vm_power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from real_hosts import DATASTORE_UUID, Host, StorageServer, until, write_vm

NAMES = ("vm01", "vm02", "vm03")


def vm_id(name: str) -> str:
    return "%s:%s/%s.vmx" % (DATASTORE_UUID, name, name)


@dataclass
class Bench:
    """One host that runs vm01, vm02 (without VMware Tools) and vm03, and a database whose lease is ours."""

    host: Host
    ca_path: Path
    database: StateDatabase
    url: str
    token: int

    def run(self, state: str, *names: str, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        connection = self.host.connection(self.ca_path)
        host = {name: getattr(connection, name) for name in ("name", "hostname", "port", "username", "password", "ca_path", "timeout")}
        shared = {"port": 443, "validate_certs": True, "timeout": 10.0}
        given = {"state": state, "vms": [vm_id(name) for name in names], "hosts": [host], "state_url": self.url, **shared}
        lease = {"holder": "test", "token": self.token, "lease": 60.0}
        bounds = {"stop_timeout": 10.0, "guest_timeout": 1.0, "only_without_heartbeat": False}
        return vm_power.run({**given, **lease, **bounds, **changes}, check_mode)

    def seen(self) -> dict[str, VmObservation]:
        with open_hypervisor(self.host.connection(self.ca_path)) as opened:
            return {vm.name: vm for vm in opened.virtual_machines()}

    def running(self) -> list[str]:
        return [name for name, vm in self.seen().items() if vm.power is Power.ON]

    def hang(self, name: str) -> None:
        (self.host.folder / "state" / "guest-orders").write_text("hang %s\n" % name)
        assert self.host.process is not None
        self.host.process.send_signal(signal.SIGUSR1)
        until(lambda: self.seen()[name].heartbeat == "red", "%s hangs" % name)

    def journal(self) -> list[tuple[str, str, Any]]:
        """(VM, phase, ok) of each entry; which act, they all say."""
        found = [entry["data"] for entry in self.database.read_journal(kinds=["power"])]
        return [(data["vm"].split("/")[1][:4], data["phase"], data.get("ok")) for data in found]


@pytest.fixture
def bench(storage: StorageServer, new_host: Callable[..., Host], ca_path: Path, tmp_path: Path) -> Iterator[Bench]:
    for extent, name in enumerate(NAMES):
        write_vm(storage.datastore, name, extent, **({"libreha.tools": "FALSE"} if name == "vm02" else {}))
    host = new_host().start(["[shared] %s/%s.vmx" % (name, name) for name in NAMES])
    url = "sqlite:///%s/state.db" % tmp_path
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("test", 600).token
        bench = Bench(host, ca_path, database, url, token)
        until(lambda: all(vm.accessible for vm in bench.seen().values()), "the iSCSI session is up")
        with open_hypervisor(host.connection(ca_path)) as opened:
            for vm in opened.virtual_machines():
                opened.power_on(vm.moid, 30)
        yield bench


def test_only_the_named_vm_is_reset_and_it_is_written_down_before_and_after(bench: Bench) -> None:
    bench.hang("vm01")
    bench.hang("vm03")
    would = bench.run("reset", "vm01", check_mode=True)
    assert (would["changed"], would["diff"]) == (True, {"before": {"vm01": "on"}, "after": {"vm01": "reset"}})
    assert (bench.seen()["vm01"].heartbeat, bench.journal()) == ("red", [])
    done = bench.run("reset", "vm01")
    assert (done["changed"], done["diff"], [vm["name"] for vm in done["vms"]]) == (True, would["diff"], ["vm01"])
    until(lambda: bench.seen()["vm01"].heartbeat == "green", "vm01 is back")
    assert bench.seen()["vm03"].heartbeat == "red"
    assert bench.journal() == [("vm01", "before", None), ("vm01", "after", True)]


def test_a_guest_that_came_back_since_the_look_is_left_alone(bench: Bench) -> None:
    result = bench.run("reset", "vm01", only_without_heartbeat=True)
    assert (result["changed"], result["vms"]) == (False, [])
    assert [(vm["name"], vm["reason"]) for vm in result["left_alone"]] == [("vm01", "its guest has a heartbeat")]
    assert bench.journal() == []


def test_guests_shut_down_and_those_that_cannot_are_switched_off(bench: Bench) -> None:
    bench.hang("vm03")
    done = bench.run("stopped", *NAMES)
    assert {vm["name"]: vm["done"] for vm in done["vms"]} == {
        "vm01": "shut down by its guest",
        "vm02": "switched off",  # no VMware Tools
        "vm03": "switched off",  # its guest does not do it in time
    }
    assert bench.running() == []
    again = bench.run("stopped", *NAMES)
    assert (again["changed"], again["vms"]) == (False, [])


def test_a_vm_that_does_not_run_is_stopped_already_and_cannot_be_reset(bench: Bench) -> None:
    bench.run("powered_off", "vm01")
    assert bench.running() == ["vm02", "vm03"]
    assert bench.run("stopped", "vm01")["changed"] is False
    with pytest.raises(LibrehaError, match="vm01.vmx runs on none of the hosts"):
        bench.run("reset", "vm01")


@pytest.mark.parametrize("state", ["reset", "stopped"])
def test_without_names_only_a_power_off_takes_all(bench: Bench, state: str) -> None:
    with pytest.raises(LibrehaError, match="vms is empty"):
        bench.run(state)
    assert bench.running() == list(NAMES)
    assert len(bench.run("powered_off")["vms"]) == 3


def test_a_run_that_lost_its_lease_touches_nothing(bench: Bench) -> None:
    bench.database.release_lease("test", bench.token)
    bench.database.acquire_lease("another", 60)
    with pytest.raises(LeaseLost):
        bench.run("reset", "vm01")
    assert bench.journal() == []


def test_what_failed_is_told_to_the_brain(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host dies between the look and the act."""
    read = runner._read

    def read_and_die(access: Any, world: Any) -> list[VmObservation]:
        vms = read(access, world)
        bench.host.end()
        return vms

    monkeypatch.setattr(runner, "_read", read_and_die)
    with pytest.raises(LibrehaError, match="not reset: esx1: vm01: esx1"):
        bench.run("reset", "vm01", timeout=2.0)
    (result,) = bench.database.results(Memory())
    assert (result.vm, result.host, result.act, result.ok) == (vm_id("vm01"), "esx1", Act.RESET, False)
    assert "refused" in result.reason
