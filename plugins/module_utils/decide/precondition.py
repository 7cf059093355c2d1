# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fence can mean at all, checked at every look and not only when it is needed.

Revoking an initiator ends a host's writes only if the host has that name for itself alone, the target admits nobody by
another way, and all that the VM writes lies there. A host or a VM for which this does not hold is never failed
over; the operator hears it from the first look on, not on the day of the failure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .evidence import same_initiator
from .memory import DatastoreRecord, HostRecord, StorageRecord, VmRecord
from .policy import Policy, Priority, Protection


def unfenceable(
    host: str, policy: Policy, records: Mapping[str, HostRecord], storage: Collection[StorageRecord], servers: Collection[str]
) -> str:
    """Why a fence of *host* would prove nothing; empty when it would."""
    initiator = policy.host(host).initiator
    if not initiator:
        return "the policy names no initiator for it"
    if not servers:
        return "there is no storage server to fence it at"
    shared = [other for other, entry in sorted(policy.hosts.items()) if other != host and same_initiator(entry.initiator, initiator)]
    shared += [
        other
        for other, record in sorted(records.items())
        if other != host and other not in shared and any(same_initiator(name, initiator) for name in record.initiators)
    ]
    if shared:
        return "it shares its initiator %s with %s; give each host its own" % (initiator, ", ".join(shared))
    for server in sorted(storage, key=lambda item: item.name):
        if server.anybody:
            return "%s admits anybody (%s); let it admit named initiators only" % (server.name, server.anybody)
    told = records[host].initiators if host in records else ()
    if not told:
        return "it has not told its initiator yet, so the policy's %s is unproved" % initiator
    if not any(same_initiator(name, initiator) for name in told):
        return "it says that its initiator is %s, the policy says %s" % (", ".join(told), initiator)
    admitted = {name.lower() for server in storage for name in server.admits}
    second = [name for name in told if not same_initiator(name, initiator) and name.lower() in admitted]
    if second:
        return "it has another admitted initiator, %s, that the policy does not name" % ", ".join(second)
    return ""


@dataclass(frozen=True)
class Unprotected:
    """Why a VM is not failed over. ``chosen``: the policy says so, which is no cause for an alarm."""

    reason: str
    chosen: bool


def unprotected(
    vm: VmRecord, policy: Policy, datastores: Mapping[str, DatastoreRecord], storage: Collection[StorageRecord]
) -> Unprotected | None:
    """None when the VM can be failed over as far as its files go."""
    wish = policy.vm(vm.id, vm.name)
    if wish.protection is Protection.UNPROTECTED:
        return Unprotected("the policy leaves it unprotected", True)
    if wish.priority is Priority.DISABLED:
        return Unprotected("its restart priority is disabled", True)
    if not vm.files:
        return Unprotected("its files are not known", False)
    ours = {target for server in storage for target in server.targets}
    for item in vm.files:
        store = datastores.get(item.datastore_uuid)
        if store is None:
            return Unprotected("%s %s lies on datastore %s, which no host has described" % (item.kind, item.path, item.datastore), False)
        if store.local or not store.targets:
            return Unprotected("%s %s lies on datastore %s, which is not on iSCSI" % (item.kind, item.path, store.name), False)
        foreign = sorted(set(store.targets) - ours)
        if foreign:
            text = "%s %s lies on datastore %s at target %s, which is not fenced by us"
            return Unprotected(text % (item.kind, item.path, store.name, ", ".join(foreign)), False)
    return None
