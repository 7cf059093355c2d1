# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The vsphere driver: a standalone host's own vSphere API, by pyVmomi."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from .. import clock
from ..decide.answers import ApiAnswer
from ..decide.observations import HostObservation, Power, Question, VmObservation, split_path
from . import event_reading, guest_reading, host_reading, io_reading, obstacle_reading, storage_paths, vm_reading, write_reading
from .bulk_power import BulkPower
from .entity_names import api_name, seen_name
from .interface import Connection, EventsRead, FaultKind, Guest, HostUnavailable, Hypervisor, HypervisorFault, PowerOnOutcome, Writes
from .power_task import TaskRunner
from .properties import PropertyReader
from .pyvmomi import vim, vmodl
from .session import Session

CPU = frozenset(path for _since, paths in obstacle_reading.CPU_PATHS for path in paths)
INVENTORY_SECONDS = 60.0  # for registering a VM and for searching a datastore


class Vsphere(Hypervisor):
    """See Hypervisor. Round trips: login 2, logout 1, health 2 (3 of a host with encryption), virtual_machines 1, guests 1, writes 3,
    io_idle 3 (none when every guest has a heartbeat), events 4 to 5, more only where some cannot be read."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.before_write: Callable[[], None] | None = None
        self.on_answer: Callable[[str, Question], None] | None = None
        self.session = Session(connection)
        self._cpu: dict[str, Any] = {}  # what was read of it; it does not change before the host restarts, which ends the session

    def __enter__(self) -> Vsphere:
        self.session.login()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.logout()

    @property
    def usable(self) -> bool:
        return self.session.usable

    def cut_off(self) -> None:
        self.session.stub.cut_off()

    def health(self) -> HostObservation:
        taken_at = clock.now()
        with self.session.reading("reading the host's health"):
            found = self._reader().inventory(
                {
                    "HostSystem": (*host_reading.HOST_PATHS, *self._known(obstacle_reading.HOST_PATHS), *self._unread_cpu()),
                    "Datastore": storage_paths.DATASTORE_PATHS,
                    "Network": host_reading.NETWORK_PATHS,
                }
            )
            host = self._the_host(found["HostSystem"])
            self._cpu.update({path: value for path, value in found["HostSystem"][0][1].items() if path in CPU})
            found["HostSystem"][0][1].update(self._cpu)
            uptime = self._hardware_uptime(host)
            keys = self._encryption_keys(found["HostSystem"][0][1])
        return host_reading.host_observation(self.connection.name, taken_at, self.session.content.about, found, uptime, keys)

    def virtual_machines(self) -> list[VmObservation]:
        taken_at = clock.now()
        with self.session.reading("reading the VMs"):
            paths = (*vm_reading.VM_PATHS, *self._known(obstacle_reading.VM_PATHS))
            found = self._reader().inventory({"VirtualMachine": paths, "Datastore": storage_paths.DATASTORE_PATHS[:3]})
        uuids = _uuids(found["Datastore"])
        name = self.connection.name
        vms = [vm_reading.vm_observation(vm, properties, name, taken_at, uuids) for vm, properties in found["VirtualMachine"]]
        return sorted((vm for vm in vms if vm is not None), key=lambda vm: vm.name)

    def guests(self) -> dict[str, Guest]:
        with self.session.reading("reading what VMware Tools tell of the guests"):
            found = self._reader().inventory({"VirtualMachine": guest_reading.GUEST_PATHS})
        return {vm._moId: guest_reading.guest_of(properties) for vm, properties in found["VirtualMachine"]}

    def writes(self, vms: Iterable[VmObservation]) -> dict[str, Writes]:
        running = [vm.moid for vm in vms if vm.power is Power.ON]
        manager = self.session.content.perfManager
        if not running or manager is None:
            return {}
        with self.session.reading("reading the VMs' statistics"):
            known = self._reader().objects([(manager, ("perfCounter",))])[manager._moId].get("perfCounter") or ()
            metrics = [vim.PerformanceManager.MetricId(counterId=key, instance="*") for key in write_reading.write_counters(known)]
            now = vim.ServiceInstance("ServiceInstance", self.session.stub).CurrentTime()
            specs = [
                vim.PerformanceManager.QuerySpec(
                    entity=self._vm(moid), metricId=metrics, intervalId=io_reading.INTERVAL, maxSample=io_reading.SAMPLES, format="normal"
                )
                for moid in running
            ]
            answer = io_reading.query(manager, specs) if metrics else ()
        return write_reading.writes_of(answer, now)

    def io_idle(self, vms: Iterable[VmObservation]) -> dict[str, float]:
        silent = {vm.moid: vm for vm in vms if io_reading.is_silent(vm)}
        manager = self.session.content.perfManager
        if not silent or manager is None:
            return {}
        with self.session.reading("reading the VMs' statistics"):
            kinds = io_reading.counters(self._reader().objects([(manager, ("perfCounter",))])[manager._moId].get("perfCounter") or ())
            now = vim.ServiceInstance("ServiceInstance", self.session.stub).CurrentTime()
            metrics = [vim.PerformanceManager.MetricId(counterId=key, instance="*") for key in kinds]
            specs = [
                vim.PerformanceManager.QuerySpec(
                    entity=self._vm(moid), metricId=metrics, intervalId=io_reading.INTERVAL, maxSample=io_reading.SAMPLES, format="csv"
                )
                for moid in silent
            ]
            answer = io_reading.query(manager, specs) if kinds else ()
        return io_reading.idle_times(answer, kinds, {moid: bool(vm.networks) for moid, vm in silent.items()}, now)

    def events(self, after_key: int = 0, limit: int = 500) -> EventsRead:
        with self.session.reading("reading the events"):
            found = event_reading.read_events(self.session.content.eventManager, after_key, limit, self.connection.timeout / 2)
            new = event_reading.events_after(found.events, after_key)
            vm_ids = self._vm_ids() if any(getattr(event, "vm", None) is not None for event in new) else {}
        name = self.connection.name
        return EventsRead([event_reading.event_of(event, name, vm_ids) for event in new], found.skipped, found.complete)

    def register(self, path: str, name: str) -> str:
        tried = "registering %s as %s" % (path, name)
        with self.session.acting(tried):
            found = self._reader().inventory({"Datacenter": ("vmFolder",), "ComputeResource": ("resourcePool",), "HostSystem": ("name",)})
            host = self._the_host(found["HostSystem"])
        folder = found["Datacenter"][0][1]["vmFolder"]
        pool = found["ComputeResource"][0][1]["resourcePool"]
        with self.session.writing(tried, self.before_write):
            task = folder.RegisterVM_Task(path=path, name=api_name(name), asTemplate=False, pool=pool, host=host)
        return str(self._runner().wait(task, tried, INVENTORY_SECONDS)._moId)

    def unregister(self, moid: str) -> None:
        with self.session.writing("unregistering VM %s" % moid, self.before_write):
            self._vm(moid).UnregisterVM()

    def power_on(self, moid: str, timeout: float, answer_moved: bool = True) -> tuple[PowerOnOutcome, Question | None]:
        return self._runner().power_on(self._vm(moid), timeout, answer_moved)

    def power_off(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._bulk().power_off(self._vms(moids), timeout)

    def suspend(self, moid: str, timeout: float) -> None:
        self._runner().suspend(self._vm(moid), timeout)

    def reset(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._bulk().reset(self._vms(moids), timeout)

    def shut_down(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._bulk().shut_down(self._vms(moids), timeout)

    def answer(self, moid: str, question: Question, choice: str) -> None:
        self._runner().answer(self._vm(moid), question, choice)

    def rescan_storage(self, timeout: float) -> None:
        tried = "rescanning the storage adapters"
        with self.session.acting(tried):
            found = self._reader().inventory({"HostSystem": ("configManager.storageSystem",)})["HostSystem"]
            self._the_host(found)
        storage = found[0][1]["configManager.storageSystem"]
        with self.session.patiently(timeout):
            with self.session.writing(tried, self.before_write):
                storage.RescanAllHba()
            with self.session.writing(tried, self.before_write):
                storage.RescanVmfs()

    def set_maintenance_mode(self, enter: bool, timeout: float) -> None:
        tried = "%s maintenance mode" % ("entering" if enter else "leaving")
        with self.session.acting(tried):
            host = self._the_host(self._reader().inventory({"HostSystem": ("name",)})["HostSystem"])
        with self.session.writing(tried, self.before_write):
            if enter:
                task = host.EnterMaintenanceMode_Task(timeout=max(1, int(timeout)), evacuatePoweredOffVms=False)
            else:
                task = host.ExitMaintenanceMode_Task(timeout=max(1, int(timeout)))
        self._runner().wait(task, tried, timeout + 2)

    def shut_down_host(self, timeout: float) -> None:
        tried = "shutting the host down"
        with self.session.acting(tried):
            host = self._the_host(self._reader().inventory({"HostSystem": ("name",)})["HostSystem"])
        with self.session.writing(tried, self.before_write):
            # Without force it would have to be in maintenance mode, and would still be in it when power returns.
            task = host.ShutdownHost_Task(force=True)
        try:
            self._runner().wait(task, tried, timeout)
        except HypervisorFault as fault:
            if fault.kind not in (FaultKind.LOST, FaultKind.TIMED_OUT, FaultKind.NOT_FOUND):  # of a host that goes down
                raise

    def unregistered(self, datastore: str) -> list[str]:
        tried = "searching datastore %s for VMs" % datastore
        with self.session.acting(tried):
            found = self._reader().inventory(
                {
                    "VirtualMachine": ("summary.config.vmPathName",),
                    "Datastore": (*storage_paths.DATASTORE_PATHS[:3], "browser"),
                }
            )
            browsers = [properties["browser"] for _reference, properties in found["Datastore"] if properties.get("name") == datastore]
            if not browsers:
                raise HypervisorFault(
                    "%s: this host has no such datastore" % tried,
                    kind=FaultKind.INACCESSIBLE,
                    host=self.connection.name,
                    remedy="check the datastore's name and the host's iSCSI sessions",
                )
            spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.vmx"])
            task = browsers[0].SearchDatastoreSubFolders_Task("[%s]" % datastore, spec)
        folders = self._runner().wait(task, tried, INVENTORY_SECONDS) or ()
        uuids = _uuids(found["Datastore"])
        registered = {
            vm_reading.identity(str(properties.get("summary.config.vmPathName") or ""), uuids)
            for _reference, properties in found["VirtualMachine"]
        }
        paths = sorted(_joined(folder.folderPath, file.path) for folder in folders for file in folder.file or ())
        return [path for path in paths if vm_reading.identity(path, uuids) not in registered]

    def _reader(self) -> PropertyReader:
        return PropertyReader(self.session.content)

    def _runner(self) -> TaskRunner:
        return TaskRunner(self.session, self._reader(), self.before_write, self.on_answer)

    def _bulk(self) -> BulkPower:
        return BulkPower(self.session, self._reader(), self.before_write, self.on_answer)

    def _vms(self, moids: Iterable[str]) -> dict[str, Any]:
        return {moid: self._vm(moid) for moid in moids}

    def _vm(self, moid: str) -> Any:
        return vim.VirtualMachine(moid, self.session.stub)

    def _the_host(self, hosts: list[tuple[Any, dict[str, Any]]]) -> Any:
        if len(hosts) == 1:
            return hosts[0][0]
        if not hosts:
            raise HostUnavailable(
                "the user %s may log in but not see the host" % self.connection.username,
                answer=ApiAnswer.LOGIN_REFUSED,
                host=self.connection.name,
                remedy="give the user a role on the host that may read",
            )
        raise HostUnavailable(
            "%s shows %d hosts, this is not a standalone host" % (self.connection.hostname, len(hosts)),
            answer=ApiAnswer.BROKEN,
            host=self.connection.name,
            remedy="give the address of the host itself, not of a vCenter",
        )

    def _hardware_uptime(self, host: Any) -> float | None:
        """The uptime that no change of the host's clock touches. None where the host does not tell it."""
        try:
            return float(host.RetrieveHardwareUptime())
        except vmodl.MethodFault:
            return None

    def _known(self, paths: obstacle_reading.Since) -> tuple[str, ...]:
        return obstacle_reading.known_paths(paths, str(self.session.content.about.apiVersion or ""))

    def _unread_cpu(self) -> tuple[str, ...]:
        return tuple(path for path in self._known(obstacle_reading.CPU_PATHS) if path not in self._cpu)

    def _encryption_keys(self, host: dict[str, Any]) -> list[str]:
        """Ids of the keys that the host holds; none where it may not be asked: then nothing says that it can start an encrypted VM."""
        manager = self.session.content.cryptoManager
        if manager is None or str(host.get("runtime.cryptoState")) != obstacle_reading.READY_FOR_KEYS:
            return []
        try:
            return [str(key.keyId) for key in manager.ListKeys() or ()]
        except vmodl.MethodFault:
            return []

    def _vm_ids(self) -> dict[str, str]:
        found = self._reader().inventory({"VirtualMachine": ("summary.config.vmPathName",), "Datastore": storage_paths.DATASTORE_PATHS[:3]})
        uuids = _uuids(found["Datastore"])
        return {
            vm._moId: vm_reading.identity(str(properties.get("summary.config.vmPathName") or ""), uuids)
            for vm, properties in found["VirtualMachine"]
        }


def _uuids(found: list[tuple[Any, dict[str, Any]]]) -> dict[str, str]:
    """Datastore name -> UUID; the name as the API writes it and as people see it, since a path may have either."""
    uuids = {str(properties["name"]): storage_paths.datastore_uuid(properties) for _reference, properties in found if "name" in properties}
    return {**{seen_name(name): uuid for name, uuid in uuids.items()}, **uuids}


def _joined(folder: str, file: str) -> str:
    """The search gives "[shared] vm01/" or "[shared] vm01" and the file's name."""
    datastore, inside = split_path(folder)
    return "[%s] %s" % (datastore, "/".join(part for part in (inside.strip("/"), file) if part))
