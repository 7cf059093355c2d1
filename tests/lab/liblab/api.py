"""The hosts' own API (pyVmomi), as any client uses it: what the lab knows about VMs, it knows from here."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from .errors import LabError, few
from .plan import Host, Vm

TIMEOUT = 4.0


@dataclass(frozen=True)
class VmSeen:
    """A VM as one host reports it."""

    path: str
    name: str
    power: str  # on, off, suspended
    question: str | None


@contextlib.contextmanager
def session(host: Host, ca_file: str, timeout: float = TIMEOUT) -> Iterator[Any]:
    """A logged-in session with a verified certificate. Raises LabError naming the host."""
    context = ssl.create_default_context(cafile=ca_file)
    try:
        # pyVmomi tries a dead host several times over; one try is enough to know
        with socket.create_connection((host.address, host.port), timeout=timeout) as line:
            context.wrap_socket(line, server_hostname=host.address).close()
        instance = SmartConnect(
            host=host.address, port=host.port, user=host.username, pwd=host.password, sslContext=context, httpConnectionTimeout=timeout
        )
    except vim.fault.InvalidLogin as error:
        raise LabError("%s refused the lab's login at its API: %s" % (host.name, _words(error))) from error
    except (OSError, vmodl.MethodFault) as error:
        raise LabError("The API of %s (%s) does not answer: %s" % (host.name, host.address, _words(error))) from error
    try:
        yield instance
    finally:
        with contextlib.suppress(Exception):  # the host may have died since
            Disconnect(instance)


def _words(error: BaseException) -> str:
    """What a fault or an exception says; vSphere's faults say it in ``msg``."""
    return getattr(error, "msg", None) or str(error)


def _power(value: Any) -> str:
    return {"poweredOn": "on", "poweredOff": "off"}.get(str(value), str(value))


def list_vms(instance: Any) -> list[VmSeen]:
    """All registered VMs in one round trip (plus one for each further page)."""
    content = instance.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    try:
        collector = vmodl.query.PropertyCollector
        spec = collector.FilterSpec(
            objectSet=[
                collector.ObjectSpec(
                    obj=view,
                    skip=True,
                    selectSet=[collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)],
                )
            ],
            propSet=[
                collector.PropertySpec(
                    type=vim.VirtualMachine, pathSet=["name", "config.files.vmPathName", "runtime.powerState", "runtime.question"]
                )
            ],
        )
        page = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
        objects = []
        while page is not None:
            objects += page.objects
            page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    finally:
        with contextlib.suppress(vmodl.MethodFault):
            view.Destroy()
    seen = []
    for entry in objects:
        values = {prop.name: prop.val for prop in entry.propSet or []}
        question = values.get("runtime.question")
        seen.append(
            VmSeen(
                path=values.get("config.files.vmPathName", ""),
                name=values.get("name", ""),
                power=_power(values.get("runtime.powerState")),
                question=question.text if question else None,
            )
        )
    return seen


def poll(hosts: list[Host], ca_file: str, timeout: float = TIMEOUT) -> dict[str, Optional[list[VmSeen]]]:
    """What every host reports, asked at the same time; None for a host that does not answer."""

    def ask(host: Host) -> Optional[list[VmSeen]]:
        try:
            with session(host, ca_file, timeout) as instance:
                return list_vms(instance)
        except (LabError, OSError, vmodl.MethodFault):
            return None

    if not hosts:
        return {}
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        return dict(zip((host.name for host in hosts), pool.map(ask, hosts)))


def _wait_tasks(instance: Any, tasks: dict[str, Any], host: Host, what: str, seconds: float) -> dict[str, Any]:
    """Results by name; those that are still under way are read in one round trip each time. Raises LabError naming host, VM and fault."""
    collector = vmodl.query.PropertyCollector
    waiting = {task._GetMoId(): name for name, task in tasks.items()}
    results: dict[str, Any] = {}
    deadline = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=tasks[name]) for name in waiting.values()],
            propSet=[collector.PropertySpec(type=vim.Task, pathSet=["info.state", "info.result", "info.error"])],
        )
        page = instance.content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
        for entry in page.objects:
            info = {prop.name: prop.val for prop in entry.propSet}
            name = waiting[entry.obj._GetMoId()]
            if info["info.state"] == vim.TaskInfo.State.error:
                fault = info["info.error"]
                raise LabError("%s could not %s %s: %s %s" % (host.name, what, name, type(fault).__name__, fault.msg or ""))
            if info["info.state"] == vim.TaskInfo.State.success:
                results[name] = info.get("info.result")
                del waiting[entry.obj._GetMoId()]
        took = time.monotonic() - begun
        if not waiting:
            return results
        if time.monotonic() > deadline:
            raise LabError("%s did not %s %s within %g s." % (host.name, what, few(sorted(waiting.values())), seconds))
        time.sleep(max(0.1, 3 * took))  # to be asked costs a host time, too


def register_and_power_on(host: Host, ca_file: str, vms: list[Vm], seconds: float) -> None:
    """Register the VMs' files at a host and switch them on, all at once. Waits until the host's storage is there.

    ``seconds``: the longest time for each of these three, and for any one answer. Raises LabError naming the host."""
    if not vms:
        return
    try:
        with session(host, ca_file, seconds) as instance:
            _wait_datastore(instance, host, vms, seconds)
            content = instance.RetrieveContent()
            datacenter = content.rootFolder.childEntity[0]
            compute = datacenter.hostFolder.childEntity[0]
            tasks = {vm.name: datacenter.vmFolder.RegisterVM_Task(path=vm.path, asTemplate=False, pool=compute.resourcePool) for vm in vms}
            machines = _wait_tasks(instance, tasks, host, "register", seconds)
            tasks = {name: machine.PowerOnVM_Task() for name, machine in machines.items()}
            _wait_tasks(instance, tasks, host, "power on", seconds)
    except vmodl.MethodFault as error:
        raise LabError("%s refused: %s %s" % (host.name, type(error).__name__, _words(error))) from error
    except OSError as error:
        raise LabError("%s stopped answering while its VMs were registered and powered on: %s" % (host.name, _words(error))) from error


def _wait_datastore(instance: Any, host: Host, vms: list[Vm], seconds: float) -> None:
    """The API answers before the iSCSI login is done; VMs can be registered when the datastore is accessible."""
    wanted = vms[0].path[1:].partition("]")[0]
    deadline = time.monotonic() + seconds
    while True:
        datacenter = instance.RetrieveContent().rootFolder.childEntity[0]
        for datastore in datacenter.datastore:
            summary = datastore.summary
            if summary.name == wanted and summary.accessible:
                return
        if time.monotonic() > deadline:
            raise LabError(
                "The datastore '%s' is not accessible at %s after %g s: its iSCSI login fails. See its esxsim.log; if a firewall filters "
                "bridged traffic on this machine (net.bridge.bridge-nf-call-iptables, Docker), let the bridges lhm* and lhs* through."
                % (wanted, host.name, seconds)
            )
        time.sleep(0.2)
