# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs of several standalone hosts as one list: each once, with what its host and VMware Tools tell, and whether it is protected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..access import HostAccess
from ..decide.hosts.precondition import Datastores, unprotected
from ..decide.memory import DatastoreRecord, VmRecord
from ..decide.observations import Datastore, Power, VmObservation
from ..decide.policy import Policy
from ..decide.vms.inventory import needed_files
from ..hypervisor.interface import Connection, Guest
from ..hypervisor.registry import open_hypervisor
from ..parallel import in_parallel
from .hosts import unavailable, whole_look

#: Where one VM is registered on several hosts, it is listed where it runs, else where it stopped least.
NEAREST = (Power.ON, Power.SUSPENDED, Power.OFF, Power.UNKNOWN)


@dataclass(frozen=True)
class VmsOfHost:
    """Of one host: its VMs, what is known from inside them (by VM reference), and its datastores."""

    vms: tuple[VmObservation, ...] = ()
    guests: Mapping[str, Guest] = field(default_factory=dict)
    datastores: tuple[Datastore, ...] = ()


def read_vms(accesses: Sequence[HostAccess]) -> tuple[dict[str, VmsOfHost], dict[str, str]]:
    """All hosts at the same time: what those told that answered, and why the others did not, both by the host's name."""
    looks: dict[str, Callable[[], VmsOfHost]] = {access.name: partial(_read_one, access.connection) for access in accesses}
    outcomes: dict[str, Any] = in_parallel(looks, whole_look(accesses))
    failed = {name: unavailable(outcome, name) for name, outcome in outcomes.items()}
    problems = {name: failure[1] for name, failure in failed.items() if failure is not None}
    return {name: outcome for name, outcome in outcomes.items() if name not in problems}, problems


def inventory_vms(hosts: Mapping[str, VmsOfHost], policy: Policy, targets: Collection[str]) -> dict[str, dict[str, Any]]:
    """Each VM once: a name that is its own -> what is known of it, JSON-able.

    A VM is one by its files (``vm_id``), so one that is registered on several hosts is listed where it runs. Where several VMs have one
    name, each of them is called NAME@HOST, and with its reference there if that is not enough.

    Args:
        targets: The iSCSI targets that are fenced; empty means that all are.
    """
    registered: dict[str, list[VmObservation]] = {}
    for read in hosts.values():
        for vm in read.vms:
            registered.setdefault(vm.id, []).append(vm)
    listed = [min(same, key=lambda vm: (NEAREST.index(vm.power), not vm.accessible, vm.host)) for same in registered.values()]
    stores = _datastores(hosts, frozenset(target.lower() for target in targets))
    names = _own_names(listed)
    described = {}
    for vm in sorted(listed, key=lambda vm: names[vm.id]):
        others = sorted(other.host for other in registered[vm.id] if other.host != vm.host)
        guest = hosts[vm.host].guests.get(vm.moid, Guest())
        described[names[vm.id]] = {**_plain(vm, guest), **_protection(vm, policy, stores), "also_registered_on": others}
    return described


def _read_one(connection: Connection) -> VmsOfHost:
    with open_hypervisor(connection) as host:
        return VmsOfHost(tuple(host.virtual_machines()), host.guests(), host.health().datastores)


def _own_names(vms: Sequence[VmObservation]) -> dict[str, str]:
    """VM id -> a name that no other of *vms* has."""
    plain = Counter(vm.name for vm in vms)
    with_host = Counter((vm.name, vm.host) for vm in vms)
    names = {}
    for vm in vms:
        name = vm.name if plain[vm.name] == 1 else "%s@%s" % (vm.name, vm.host)
        names[vm.id] = name if with_host[vm.name, vm.host] == 1 else "%s@%s:%s" % (vm.name, vm.host, vm.moid)
    return names


def _datastores(hosts: Mapping[str, VmsOfHost], targets: frozenset[str]) -> Datastores:
    """As ``sort_datastores`` does of what is on record; what a host that lost a datastore no longer knows, another one tells."""
    known: dict[str, DatastoreRecord] = {}
    for read in hosts.values():
        for store in read.datastores:
            before = known.get(store.uuid)
            luns = {lun.target for lun in store.luns} | set(before.targets if before is not None else ())
            local = store.local or (before is not None and before.local)
            known[store.uuid] = DatastoreRecord(store.uuid, store.name, local, tuple(sorted(luns)))
    ours = frozenset(target for store in known.values() for target in store.targets if not targets or target.lower() in targets)
    safe = frozenset(uuid for uuid, store in known.items() if not store.local and store.targets and ours.issuperset(store.targets))
    return Datastores(known, ours, safe)


def _protection(vm: VmObservation, policy: Policy, stores: Datastores) -> dict[str, Any]:
    why_not = unprotected(VmRecord(vm.id, vm.name, vm.path, vm.host, files=needed_files(vm)), policy, stores)
    return {"protected": why_not is None, "unprotected_because": why_not.reason if why_not is not None else ""}


def _plain(vm: VmObservation, guest: Guest) -> dict[str, Any]:
    return {
        "id": vm.id,
        "name": vm.name,
        "host": vm.host,
        "power": vm.power.value,
        "accessible": vm.accessible,
        "path": vm.path,
        "datastores": sorted({backing.datastore for backing in vm.backings}),
        "moid": vm.moid,
        "uuid": vm.uuid,
        "instance_uuid": vm.instance_uuid,
        "cpu": vm.cpu,
        "memory": vm.memory,
        "hardware_version": vm.hardware_version,
        "guest": vm.guest,
        "guest_hostname": guest.hostname,
        "addresses": list(guest.addresses),
        "heartbeat": vm.heartbeat,
        "tools": vm.tools,
        "networks": list(vm.networks),
        "question": vm.question.text if vm.question is not None else "",
    }
