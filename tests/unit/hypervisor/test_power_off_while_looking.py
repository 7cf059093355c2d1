"""A user switches a VM off, or removes it, while its host is looked at, at any moment: the VM is never seen off, or gone, without the event
that says who did it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from pyVmomi import vim, vmodl
from scripted_host import ScriptedHost, Silence, properties

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


class UserAtWork:
    """The VM goes off, or away (*removes*), right before the request number *moment* of those that read VMs or events."""

    def __init__(self, host: ScriptedHost, moment: int, removes: bool = False) -> None:
        self.moment = moment
        self.removes = removes
        self.requests = 0
        host.replies["CreateCollectorForEvents"] = vmodl.fault.NotSupported()
        host.replies["RetrievePropertiesEx"] = self.vms
        host.replies["QueryEvents"] = self.events

    def has_acted(self) -> bool:
        self.requests += 1
        return self.requests >= self.moment

    def vms(self) -> Any:
        acted = self.has_acted()
        if acted and self.removes:
            return properties((vim.Datastore("1"), {"name": "shared"}))
        power = "poweredOff" if acted else "poweredOn"
        return properties((vim.VirtualMachine("12"), {"name": "vm", "runtime.powerState": power}))

    def events(self) -> Any:
        common: dict[str, Any] = {"chainId": 1, "createdTime": WHEN, "userName": "alice"}
        vm = vim.event.VmEventArgument(name="vm", vm=vim.VirtualMachine("12"))
        found = [vim.event.UserLoginSessionEvent(key=1, ipAddress="192.0.2.1", locale="en", sessionId="s", **common)]
        if self.has_acted():
            kind = vim.event.VmRemovedEvent if self.removes else vim.event.VmPoweredOffEvent
            found.append(kind(key=2, template=False, vm=vm, **common))
        return vim.event.Event.Array(found)


@pytest.mark.parametrize("moment", range(1, 8))
def test_list_and_events_agree(moment: int, host: ScriptedHost, connect: Callable[..., Connection]) -> None:
    UserAtWork(host, moment)
    seen = observe_vms([HostAccess(connect(host.port))], {"esx1": 1}, True)
    (vm,) = seen.vms
    assert seen.event_gaps == ()
    assert [event.kind for event in seen.events] == (["vm_powered_off"] if vm.power is Power.OFF else [])


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_removed_vm_is_named_by_its_event(moment: int, host: ScriptedHost, connect: Callable[..., Connection]) -> None:
    """The host has nothing else of it any more, so the reference in the event leads nowhere."""
    UserAtWork(host, moment, removes=True)
    seen = observe_vms([HostAccess(connect(host.port))], {"esx1": 1}, True)
    assert seen.unread == () == seen.event_gaps
    assert [(event.kind, event.vm, event.vm_name) for event in seen.events] == ([] if seen.vms else [("vm_removed", "", "vm")])


def test_a_list_whose_events_do_not_come_in_time_is_told_to_lack_them(host: ScriptedHost, connect: Callable[..., Connection]) -> None:
    user = UserAtWork(host, 1)
    host.replies["QueryEvents"] = Silence
    seen = observe_vms([HostAccess(connect(host.port, timeout=1.0))], {"esx1": 1}, True)
    assert (user.requests, [vm.power for vm in seen.vms], seen.events) == (1, [Power.OFF], ())
    assert [gap.host for gap in seen.event_gaps] == ["esx1"]
