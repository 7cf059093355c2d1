# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""make bench-health: what a look at many VMs costs, beside a bare pyVmomi read of the same and beside community.vmware.vmware_vm_info.

    tests/bench/bench_health.py [--hosts 1 16] [--vms 500] [--runs 5] [--playbook-runs 3]

Simulated hosts (esxsim) on a real tgtd, all VMs powered on, so that each host has more events than a first look reads. In one run:

* Inside the module: vm_health_info as its `main` calls it, with and without events, and in turn with it the bare read: pyVmomi's own
  connection, one PropertyCollector call for the same properties, one page of 500 events, a thread for each host.
* As a playbook: one task of either module. What Ansible's start and the module's imports take is measured by the same playbook against a
  port that refuses, in turn, and subtracted; what is left is at least what the module takes inside. At several hosts
  community.vmware has a task on each, all forked at once.

Hosts and clients share this machine, so ratios say more than seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration" / "vsphere")]
importlib.import_module("conftest")  # makes the collection importable

from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_health_info import run as vm_health_info  # noqa: E402
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.obstacle_reading import VM_PATHS as NEWER_VM_PATHS  # noqa: E402
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.storage_paths import DATASTORE_PATHS  # noqa: E402
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.vm_reading import VM_PATHS  # noqa: E402
from bench_decide import check, machine  # noqa: E402
from bench_look import show, timed  # noqa: E402
from pyVim.connect import Disconnect, SmartConnect  # noqa: E402
from pyVmomi import vim, vmodl  # noqa: E402
from real_hosts import Authority, Host, StorageServer, missing, until, write_vm  # noqa: E402

EVENTS = 500  # that a first look reads of a host
USER, PASSWORD = "root", "VMware1!"
REFUSED = 1  # a port that nothing listens at
POWERING_ON = 8  # requests at a time
HANG_GUARD = 3600  # s, of one playbook
MODULE_GOAL = 1.3  # times the bare read, with events
PLAYBOOK_GOAL = 20.0  # times faster than community.vmware
GOAL_HOSTS = 1


class Cluster:
    """Hosts of *vms* VMs each, which all run."""

    def __init__(self, folder: Path, hosts: int, vms: int) -> None:
        self.folder, self.vms = folder, vms
        self.ca = folder / "ca.pem"
        authority = Authority()
        authority.write_ca(self.ca)
        self.storage = StorageServer(folder)
        quiet = {"record_interval_ms": 3_600_000, "heartbeat_interval_ms": 5_000, "memory_mib": 1 << 22}
        self.hosts = [Host(self.storage, authority, index, **quiet) for index in range(hosts)]

    def start(self) -> None:
        for host in self.hosts:
            names = ["%s-vm%03d" % (host.name, number) for number in range(self.vms)]
            for name in names:
                write_vm(self.storage.datastore, name)
            host.start(["[shared] %s/%s.vmx" % (name, name) for name in names])
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(self._power_on, self.hosts))

    def end(self) -> None:
        for host in self.hosts:
            host.end()
        self.storage.end()

    def _power_on(self, host: Host) -> None:
        with connected(host, self.ca) as instance:
            center = instance.content.rootFolder.childEntity[0]
            until(lambda: all(store.summary.accessible for store in center.datastore), "the datastores of %s are there" % host.name)
            vms = center.vmFolder.childEntity
            with ThreadPoolExecutor(POWERING_ON) as pool:
                list(pool.map(lambda vm: vm.PowerOn(), vms))
            until(lambda: all(power == "poweredOn" for power in powers(instance)), "the VMs of %s run" % host.name)

    def parameters(self, count: int, events: bool) -> dict[str, Any]:
        """Of vm_health_info, as the module's argument spec hands them over."""
        alone = {"username": None, "password": None, "validate_certs": None, "ca_path": None, "proxy_host": None, "proxy_port": None}
        alone = {**alone, "hostname": "127.0.0.1", "timeout": None}
        return {
            "hosts": [{**alone, "name": host.name, "port": host.port} for host in self.hosts[:count]],
            "username": USER, "password": PASSWORD, "port": 443, "validate_certs": True, "ca_path": str(self.ca),
            "proxy_host": None, "proxy_port": None, "timeout": 120.0, "events": events, "events_after": {},
        }  # fmt: skip


def powers(instance: Any) -> list[str]:
    found = bulk(instance.content, [vim.VirtualMachine], {vim.VirtualMachine: ["runtime.powerState"]})
    return [item.propSet[0].val for item in found]


@contextlib.contextmanager
def connected(host: Host, ca: Path) -> Iterator[Any]:
    """A ServiceInstance, by pyVmomi's own connection."""
    context = ssl.create_default_context(cafile=str(ca))
    instance = SmartConnect(host="127.0.0.1", port=host.port, user=USER, pwd=PASSWORD, sslContext=context)
    try:
        yield instance
    finally:
        Disconnect(instance)


def bulk(content: Any, kinds: list[Any], paths: Mapping[Any, list[str]]) -> list[Any]:
    """As pyVmomi's samples read in bulk: a view, and one call for everything in it."""
    query = vmodl.query.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, kinds, True)
    step = query.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[query.PropertySpec(type=kind, pathSet=list(names), all=False) for kind, names in paths.items()],
    )
    found = content.propertyCollector.RetrievePropertiesEx([spec], query.RetrieveOptions(maxObjects=10000))
    view.Destroy()
    check(found is not None and not found.token, "a bulk read came in several pages")
    return list(found.objects)


def bare_read(host: Host, ca: Path, events: bool) -> tuple[int, int]:
    """How many VMs and events were read."""
    newer = [path for _since, paths in NEWER_VM_PATHS for path in paths]
    with connected(host, ca) as instance:
        page: list[Any] = []
        if events:
            collector = instance.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
            collector.SetCollectorPageSize(EVENTS)
            page = list(collector.latestPage)
            collector.DestroyCollector()
        kinds = {vim.VirtualMachine: [*VM_PATHS, *newer], vim.Datastore: list(DATASTORE_PATHS[:3])}
        found = bulk(instance.content, list(kinds), kinds)
    return sum(isinstance(item.obj, vim.VirtualMachine) for item in found), len(page)


def bare_reads(cluster: Cluster, count: int, events: bool) -> None:
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda host: bare_read(host, cluster.ca, events), cluster.hosts[:count]))
    check(found == [(cluster.vms, EVENTS if events else 0)] * count, "the bare read saw %s VMs and events" % found)


def look(cluster: Cluster, count: int, events: bool) -> None:
    seen = vm_health_info(cluster.parameters(count, events), False)
    check(len(seen["vms"]) == count * cluster.vms, "the module saw %d VMs: %s" % (len(seen["vms"]), seen["unread"]))
    check(len(seen["events"]) == (count * EVENTS if events else 0), "the module saw %d events" % len(seen["events"]))


def inside(cluster: Cluster, count: int, runs: int) -> dict[str, float]:
    """The least seconds of the wall clock: what else the machine does only adds to them."""
    works: dict[str, Callable[[], None]] = {
        "bare pyVmomi": lambda: bare_reads(cluster, count, False),
        "vm_health_info": lambda: look(cluster, count, False),
        "bare pyVmomi, events": lambda: bare_reads(cluster, count, True),
        "vm_health_info, events": lambda: look(cluster, count, True),
    }
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in works}
    for work in works.values():
        work()  # what is imported or loaded once is no part of a look
    for _run in range(runs):
        for what, work in works.items():
            gc.collect()
            times[what].append(timed(work))
    for what, measured in times.items():
        show(what, measured)
    return {what: min(wall for _cpu, wall in measured) for what, measured in times.items()}


class Playbooks:
    """One task of a module as a playbook, against hosts that are there or against a port that refuses."""

    def __init__(self, cluster: Cluster, count: int) -> None:
        self.cluster, self.count = cluster, count
        self.folder = cluster.folder / ("playbooks-%d" % count)
        self.folder.mkdir()

    def ours(self, there: bool) -> float:
        given = {key: value for key, value in self.cluster.parameters(self.count, True).items() if value is not None}
        hosts = [{key: value for key, value in host.items() if value is not None} for host in given["hosts"]]
        if not there:
            hosts = [{**hosts[0], "port": REFUSED}]
        seen = self.count * self.cluster.vms if there else 0
        return self._play("ours", {"libreha.vmware.vm_health_info": {**given, "hosts": hosts}}, "vms", seen, {"localhost": {}})

    def community(self, there: bool) -> float:
        given = {"hostname": "127.0.0.1", "username": USER, "password": PASSWORD, "validate_certs": False, "port": "{{ port }}"}
        hosts = {host.name: {"port": host.port if there else REFUSED} for host in self.cluster.hosts[: self.count]}
        seen = self.cluster.vms if there else 0
        return self._play("community", {"community.vmware.vmware_vm_info": given}, "virtual_machines", seen, hosts)

    def _play(self, name: str, task: dict[str, Any], key: str, vms: int, hosts: Mapping[str, dict[str, Any]]) -> float:
        """Seconds of the wall clock. The result of *task* must have so many *vms* under *key* on each of *hosts*."""
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        tasks = [
            {**task, "register": "seen", "ignore_errors": True},
            {"ansible.builtin.assert": {"that": "seen.%s | default([]) | length == %d" % (key, vms), "quiet": True}},
        ]
        inventory, playbook = (self.folder / (name + ending) for ending in (".inventory.json", ".json"))
        inventory.write_text(json.dumps({"all": {"hosts": {host: {**here, **variables} for host, variables in hosts.items()}}}))
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_FORKS": str(len(hosts))}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANG_GUARD, check=False)
        seconds = time.perf_counter() - began
        check(done.returncode == 0, "the playbook failed: %s" % (done.stdout + done.stderr)[-3000:])
        return seconds


def as_playbook(cluster: Cluster, count: int, runs: int, community: bool, inside_ours: float) -> dict[str, float]:
    """The least seconds of the wall clock less Ansible's start and the imports, both in turn. Where the difference is lost in their
    noise, ours is what the module takes *inside* a process at least."""
    playbooks = Playbooks(cluster, count)
    works = {"vm_health_info, events": playbooks.ours, **({"community.vmware": playbooks.community} if community else {})}
    found = {}
    for what, work in works.items():
        ours = work == playbooks.ours
        starts, whole = [], []
        for _run in range(runs if ours or count == GOAL_HOSTS else 1):
            starts.append(work(False))
            whole.append(work(True))
        found[what] = max(min(whole) - min(starts), inside_ours if ours else 0.0)
        shown = (what, min(whole), min(starts), found[what])
        print("playbook, %-25s %9.1f s, of which start and imports %5.1f s: %9.2f s" % shown, flush=True)
    return found


def verdict(what: str, ratio: float, met: bool, goal: str) -> str:
    return "%s: %.2f times, goal %s: %s" % (what, ratio, goal, "met" if met else "MISSED")


def measure(cluster: Cluster, count: int, options: argparse.Namespace) -> None:
    print("\n%d VMs on %d hosts %21s %9s  %9s  %9s  %9s" % (count * cluster.vms, count, "CPU: min ms", "median", "max", "wall med.", ""))
    least = inside(cluster, count, options.runs)
    community = count in options.community
    played = as_playbook(cluster, count, options.playbook_runs, community, least["vm_health_info, events"])
    for events in ("", ", events"):
        ratio = least["vm_health_info" + events] / least["bare pyVmomi" + events]
        print(verdict("inside the module%s, beside the bare read" % events, ratio, ratio <= MODULE_GOAL, "at most %.1f" % MODULE_GOAL))
    if community:
        ratio = played["community.vmware"] / played["vm_health_info, events"]
        print(verdict("as a playbook, faster than community.vmware", ratio, ratio >= PLAYBOOK_GOAL, "at least %.0f" % PLAYBOOK_GOAL))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 16], help="numbers of hosts to look at (default: 1 16)")
    parser.add_argument("--vms", type=int, default=500, help="VMs of each host (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each look inside the module (default: %(default)s)")
    parser.add_argument("--playbook-runs", type=int, default=3, help="of each playbook (default: %(default)s)")
    parser.add_argument("--community", type=int, nargs="*", help="where community.vmware is asked as well (default: everywhere)")
    options = parser.parse_args()
    if options.community is None:
        options.community = options.hosts
    if missing():
        sys.exit(missing())
    print(machine())
    with tempfile.TemporaryDirectory(prefix="bench-health-") as folder:
        cluster = Cluster(Path(folder), max(options.hosts), options.vms)
        try:
            cluster.start()
            for count in options.hosts:
                measure(cluster, count, options)
        finally:
            cluster.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
