"""Entering and leaving ESXi's maintenance mode, and shutting a host down: inside the lease, and on what the host says now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run
from ansible_collections.libreha.vmware.plugins.module_utils.act.host_orders import HostOrder, set_maintenance_mode, shut_down_host
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_power import HostWorld
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import MaintenanceAction, ShutdownAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman


@dataclass
class OneHost:
    bench: Any
    maintenance: bool = False
    vms: list[VmObservation] = field(default_factory=list)
    asked: list[bool] = field(default_factory=list)
    shut_down: bool = False

    def set(self, enter: bool, token: int | None = None) -> bool:
        return set_maintenance_mode(self._order(MaintenanceAction("esx1", enter, ("why",)), token), enter)

    def go_down(self, token: int | None = None) -> bool:
        return shut_down_host(self._order(ShutdownAction("esx1", ("why",)), token))

    def _order(self, action: MaintenanceAction | ShutdownAction, token: int | None) -> HostOrder:
        world = HostWorld(self.opened, lambda calls, _seconds: {key: call() for key, call in calls.items()}, clock.now, Deadman)
        access = HostAccess(Connection("esx1", "192.0.2.1", "root", "word"))
        run = Run("test", self.bench.token if token is None else token, 60.0)
        return HostOrder(action, access, self.bench.database, run, world)

    @contextmanager
    def opened(self, access: HostAccess, guard: Callable[[], None] | None) -> Iterator[Any]:
        self.guard = guard
        yield self

    def health(self) -> HostObservation:
        return HostObservation("esx1", clock.now(), ApiAnswer.ANSWERED, maintenance=self.maintenance)

    def virtual_machines(self) -> list[VmObservation]:
        return self.vms

    def set_maintenance_mode(self, enter: bool, timeout: float) -> None:
        assert self.guard is not None
        self.guard()
        self.asked.append(enter)

    def shut_down_host(self, timeout: float) -> None:
        assert self.guard is not None
        self.guard()
        self.shut_down = True


@pytest.fixture
def host(bench: Any) -> OneHost:
    return OneHost(bench)


def test_it_is_entered_and_left_and_journaled(host: OneHost) -> None:
    assert host.set(True)
    host.maintenance = True
    assert not host.set(True), "it is so already"
    assert host.set(False)
    assert host.asked == [True, False]
    texts = [entry["text"] for entry in host.bench.database.read_journal(kinds=["maintenance"])]
    assert texts == ["esx1 entered maintenance mode: why", "esx1 left maintenance mode: why"]


def test_a_host_on_which_a_vm_runs_is_not_asked(host: OneHost) -> None:
    host.vms = [VmObservation("5f3b:vm1/vm1.vmx", "esx1", "vm1", "[shared] vm1/vm1.vmx", clock.now(), Power.ON, "1")]
    with pytest.raises(LibrehaError, match="vm1 runs there"):
        host.set(True)
    with pytest.raises(LibrehaError, match="vm1 runs there"):
        host.go_down()
    assert host.asked == [] and not host.shut_down


def test_a_run_that_lost_its_lease_asks_nothing(host: OneHost) -> None:
    with pytest.raises(LeaseLost):
        host.set(True, token=host.bench.token + 1)
    with pytest.raises(LeaseLost):
        host.go_down(token=host.bench.token + 1)
    assert host.asked == [] and not host.shut_down


def test_an_empty_host_is_shut_down_and_that_is_journaled(host: OneHost) -> None:
    assert host.go_down() and host.shut_down
    assert [entry["text"] for entry in host.bench.database.read_journal(kinds=["shutdown"])] == ["esx1 is shutting down: why"]
