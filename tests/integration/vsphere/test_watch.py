"""Being told by a host that something changed, on real (simulated) hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import PowerOnOutcome
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.observe import paced
from ansible_collections.libreha.vmware.plugins.module_utils.observe.paced import PacedObserver
from ansible_collections.libreha.vmware.plugins.module_utils.observe.pools import Pools
from real_hosts import Host, StorageServer, until, write_vm

NewHost = Callable[..., Host]
NAMES = ("vm1", "vm2")


@pytest.fixture
def esx1(storage: StorageServer, new_host: NewHost, ca_path: Path) -> Host:
    for number, name in enumerate(NAMES):
        write_vm(storage.datastore, name, extent=number)
    host = new_host().start(["[shared] %s/%s.vmx" % (name, name) for name in NAMES])
    until(lambda: powered_on(host, ca_path), "vm1 and vm2 run")
    return host


def powered_on(host: Host, ca_path: Path) -> bool:
    with open_hypervisor(host.connection(ca_path)) as opened:
        if not all(datastore.accessible for datastore in opened.health().datastores):
            return False
        done = [opened.power_on(vm.moid, 10)[0] for vm in opened.virtual_machines() if vm.power is not Power.ON]
        return all(outcome is PowerOnOutcome.DONE for outcome in done)


def test_what_changes_is_told_while_it_is_waited_for_and_nothing_is_told_while_nothing_changes(esx1: Host, ca_path: Path) -> None:
    with open_hypervisor(esx1.connection(ca_path)) as opened, open_hypervisor(esx1.connection(ca_path)) as other:
        watch = opened.watch()
        assert watch is not None and watch.changed(5), "the first time it is what there is"
        vms = {vm.name: vm.moid for vm in other.virtual_machines()}
        while watch.changed(1):  # what powering on left behind
            pass
        assert not watch.changed(1)
        threading.Timer(0.5, lambda: other.power_off([vms["vm1"]], 10)).start()
        assert watch.changed(30)
        # The same session answers other questions meanwhile, within their own time.
        waiting = threading.Thread(target=watch.changed, args=(8,))
        waiting.start()
        began = time.monotonic()
        assert {vm.name: vm.power for vm in opened.virtual_machines()} == {"vm1": Power.OFF, "vm2": Power.ON}
        assert opened.health().name == "esx1"
        assert time.monotonic() - began < 8
        waiting.join()


def test_a_vm_that_is_switched_off_by_somebody_is_read_at_once(esx1: Host, ca_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "VMS", 3600.0)
    monkeypatch.setattr(paced, "VMS_SLOWEST", 3600.0)
    access = HostAccess(esx1.connection(ca_path))
    with Pools() as pools, open_hypervisor(esx1.connection(ca_path)) as other:
        observer = PacedObserver([access], [], [], pools, confirm_after=36000.0)
        began = clock.now()

        def seen() -> dict[str, Power]:
            return {vm.name: vm.power for vm in observer.look({}, (), (), began).vms}

        until(lambda: seen() == {"vm1": Power.ON, "vm2": Power.ON}, "both are seen running")
        until(lambda: pools.samplers.newest(("watch", "esx1")) is not None, "the watch is set")
        moid = {vm.name: vm.moid for vm in other.virtual_machines()}["vm1"]
        other.power_off([moid], 10)
        until(lambda: seen() == {"vm1": Power.OFF, "vm2": Power.ON}, "it is seen off")
