"""Hosts for the runners: the real driver against a scripted host that lists, registers and starts VMs, and a real database."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hypervisor"))

from ansible_collections.libreha.vmware.plugins.module_utils.act.failover_run import Work, new_transaction
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import Around, fail_over
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Way
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import read_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from certificates import Authority
from pyVmomi import vim
from scripted_host import Reply, ScriptedHost, properties, task_info

DATASTORE = "65a1-b2"


@dataclass
class Guest:
    """A VM as the scripted host has it registered."""

    moid: str
    name: str
    path: str
    on: bool = False
    tools: bool = False
    hears: bool = True  # a guest with tools that is asked to shut down does so


class Esx(ScriptedHost):
    """A host with one datastore, ``[shared]``. ``faults`` maps a task's method to the fault that it ends with, or to a function
    of the VM's name that gives one or None."""

    def __init__(self, name: str, certificate: Path) -> None:
        super().__init__(certificate)
        self.name = name
        self.guests: list[Guest] = []
        self.faults: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}
        self.forgotten: set[str] = set()  # tasks of which it tells nothing any more
        self.replies["RetrievePropertiesEx"] = self._read
        self.replies["RegisterVM_Task"] = self._register
        self.replies["ShutdownGuest"] = self._shut_down
        self.replies["UnregisterVM"] = self._unregister
        for method in ("PowerOnVM_Task", "PowerOffVM_Task", "ResetVM_Task"):
            self.replies[method] = self._power(method)

    def with_guest(self, name: str, on: bool = False, tools: bool = False, hears: bool = True) -> Esx:
        self.guests.append(Guest(str(len(self.guests) + 1), name, "[shared] %s/%s.vmx" % (name, name), on, tools, hears))
        return self

    def sent(self, method: str) -> int:
        return self.asked.count(method)

    def _read(self) -> Any:
        body = self.bodies[-1]
        if "<type>Task</type>" in body:
            asked = [key for key in self.tasks if ">%s<" % key in body and key not in self.forgotten]
            return properties(*[(vim.Task(key), {"info": self.tasks[key]}) for key in asked], *self._states())
        if "summary.config" in body:
            summary = vim.Datastore.Summary(
                name="shared", url="ds:///vmfs/volumes/%s/" % DATASTORE, accessible=True, type="VMFS", capacity=1, freeSpace=1
            )
            return properties((vim.Datastore("ds"), {"name": "shared", "summary": summary}), *map(self._listed, self.guests))
        if "resourcePool" in body:
            return properties(
                (vim.Datacenter("dc"), {"vmFolder": vim.Folder("vms")}),
                (vim.ComputeResource("cr"), {"resourcePool": vim.ResourcePool("pool")}),
                (vim.HostSystem("ha-host"), {"name": self.name}),
            )
        return properties(*self._states())

    def _listed(self, guest: Guest) -> Any:
        config = vim.vm.Summary.ConfigSummary(name=guest.name, template=False, vmPathName=guest.path, memorySizeMB=64, numCpu=1)
        return vim.VirtualMachine(guest.moid), {
            "name": guest.name,
            "summary.config": config,
            "runtime.powerState": vim.VirtualMachine.PowerState.poweredOn if guest.on else vim.VirtualMachine.PowerState.poweredOff,
            "runtime.connectionState": vim.VirtualMachine.ConnectionState.connected,
            "guest.toolsRunningStatus": "guestToolsRunning" if guest.on and guest.tools else "guestToolsNotRunning",
        }

    def _states(self) -> list[Any]:
        return [
            (vim.VirtualMachine(guest.moid), {"runtime.powerState": self._listed(guest)[1]["runtime.powerState"]})
            for guest in self.guests
            if ">%s<" % guest.moid in self.bodies[-1]
        ]

    def _fault(self, method: str, name: str) -> Any:
        fault = self.faults.get(method)
        return fault(name) if callable(fault) and not isinstance(fault, Exception) else fault

    def _task(self, method: str, name: str, act: Callable[[], Any]) -> Any:
        fault = self._fault(method, name)
        key = "task-%d" % (len(self.tasks) + 1)
        result = None if fault is not None else act()
        self.tasks[key] = task_info(vim.Task(key), "error" if fault is not None else "success", fault, result)
        return vim.Task(key)

    def _register(self) -> Any:
        body = self.bodies[-1]
        path, name = (re.search("<%s[^>]*>(.*?)</%s>" % (tag, tag), body).group(1) for tag in ("path", "name"))  # type: ignore[union-attr]

        def act() -> Any:
            self.guests.append(Guest(str(len(self.guests) + 1), name, path))
            return vim.VirtualMachine(self.guests[-1].moid)

        return self._task("RegisterVM_Task", name, act)

    def _asked_guest(self) -> Guest:
        moid = re.search(r'type="VirtualMachine"[^>]*>(\w+)<', self.bodies[-1]).group(1)  # type: ignore[union-attr]
        (guest,) = (guest for guest in self.guests if guest.moid == moid)
        return guest

    def _shut_down(self) -> None:
        guest = self._asked_guest()
        guest.on = guest.on and not guest.hears

    def _unregister(self) -> None:
        self.guests.remove(self._asked_guest())

    def _power(self, method: str) -> Reply:
        def reply() -> Any:
            guest = self._asked_guest()

            def act() -> None:
                guest.on = method != "PowerOffVM_Task"

            return self._task(method, guest.name, act)

        return reply


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "test-ca")


@pytest.fixture
def new_esx(authority: Authority) -> Iterator[Callable[[str], Esx]]:
    made: list[Esx] = []

    def make(name: str) -> Esx:
        made.append(Esx(name, authority.issue("127.0.0.1").path))
        return made[-1]

    yield make
    for host in made:
        host.close()


@dataclass
class Bench:
    """A state database whose lease is ours, and the modules' options."""

    url: str
    ca_path: str
    database: StateDatabase
    token: int

    def lease(self) -> dict[str, Any]:
        return {"holder": "test", "token": self.token, "lease": 60.0, "state_url": self.url}

    def hosts(self, **ports: int) -> dict[str, Any]:
        listed = [
            {"name": name, "hostname": "127.0.0.1", "port": port, "username": "root", "password": "secret-word", "ca_path": self.ca_path}
            for name, port in ports.items()
        ]
        return {"hosts": listed, "validate_certs": True, "timeout": 5.0, "port": 443}

    def start(
        self,
        where: dict[str, str],
        *,
        source: dict[str, str] | None = None,
        policy: Policy | None = None,
        around: Around | None = None,
        way: Way | None = None,
        **ports: int,
    ) -> list[Work]:
        """The runner: *where* maps a VM's name to its destination; without a *source* it is started where it was."""
        vms = [planned_vm(name, (source or where)[name], destination) for name, destination in where.items()]
        planned = [new_transaction({**vm, "way": way}) for vm in vms]
        lease = ("test", self.token, 60.0)
        return fail_over(planned, read_hosts(self.hosts(**ports)), lambda: (), policy or Policy(), self.database, lease, around=around)[0]

    def ends(self) -> dict[str, str]:
        """VM name -> the outcome of its newest transaction."""
        return {row["vm_name"]: row["outcome"] for row in reversed(self.database.transactions(closed=True))}


def planned_vm(name: str, source: str, destination: str) -> dict[str, Any]:
    path = "%s/%s.vmx" % (name, name)
    return {
        "id": "%s:%s" % (DATASTORE, path), "name": name, "path": path, "datastore_uuid": DATASTORE, "datastore": "shared",
        "vmx": "[shared] " + path, "source": source, "destination": destination, "power_on": True,
    }  # fmt: skip


@pytest.fixture
def bench(authority: Authority, tmp_path: Path) -> Iterator[Bench]:
    url = "sqlite:///%s/state.db" % tmp_path
    with StateDatabase.open(url) as database:
        yield Bench(url, str(authority.ca_path), database, database.acquire_lease("test", 600).token)
