# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fence can mean at all, checked at every look and not only when it is needed.

Revoking an initiator ends a host's writes only if the host has that name for itself alone, the target admits nobody by
another way, and all that the VM writes lies there. A host or a VM for which this does not hold is never failed
over; the operator hears it from the first look on, not on the day of the failure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..memory import DatastoreRecord, HostRecord, StorageRecord, VmRecord
from ..observations import same_initiator
from ..policy import Policy, Priority, Protection, VmPolicy
from ..state import Unprotected


@dataclass(frozen=True)
class Initiators:
    """Who has, and who is let in with, each initiator name; by the name in lower case, as iSCSI names are compared (RFC 3722)."""

    in_policy: Mapping[str, Sequence[str]]  # hosts to which the policy gives it, in order
    told_by: Mapping[str, Sequence[str]]  # hosts that say it is theirs, in order
    admitted: frozenset[str]  # by any storage server


def index_initiators(policy: Policy, records: Mapping[str, HostRecord], storage: Collection[StorageRecord]) -> Initiators:
    in_policy: dict[str, list[str]] = {}
    for name, entry in sorted(policy.hosts.items()):
        in_policy.setdefault(entry.initiator.lower(), []).append(name)
    told_by: dict[str, list[str]] = {}
    for name, record in sorted(records.items()):
        for initiator in sorted({initiator.lower() for initiator in record.initiators}):
            told_by.setdefault(initiator, []).append(name)
    return Initiators(in_policy, told_by, frozenset(name.lower() for server in storage for name in server.admits))


def unfenceable(
    host: str,
    policy: Policy,
    records: Mapping[str, HostRecord],
    storage: Collection[StorageRecord],
    servers: Collection[str],
    initiators: Initiators,
) -> str:
    """Why a fence of *host* would prove nothing; empty when it would. *initiators* is the index of the same values."""
    initiator = policy.host(host).initiator
    if not initiator:
        return "the policy names no initiator for it"
    if not servers:
        return "there is no storage server to fence it at"
    shared = [other for other in initiators.in_policy.get(initiator.lower(), ()) if other != host]
    shared += [other for other in initiators.told_by.get(initiator.lower(), ()) if other != host and other not in shared]
    if shared:
        return "it shares its initiator %s with %s; give each host its own" % (initiator, ", ".join(shared))
    for server in sorted(storage, key=lambda item: item.name):
        if server.anybody:
            return "a fence at %s proves nothing: %s" % (server.name, server.anybody)
    reports = records[host].initiators if host in records else ()
    if not reports:
        return "it has not told its initiator yet, so the policy's %s is unproved" % initiator
    if not any(same_initiator(name, initiator) for name in reports):
        return "it says that its initiator is %s, the policy says %s" % (", ".join(reports), initiator)
    second = [name for name in reports if not same_initiator(name, initiator) and name.lower() in initiators.admitted]
    if second:
        return "it has another admitted initiator, %s, that the policy does not name" % ", ".join(second)
    return ""


@dataclass(frozen=True)
class Datastores:
    """The datastores, and which of them lie wholly on targets that we fence."""

    known: Mapping[str, DatastoreRecord]
    ours: frozenset[str]  # targets
    safe: frozenset[str]  # UUIDs


def sort_datastores(datastores: Mapping[str, DatastoreRecord], storage: Collection[StorageRecord]) -> Datastores:
    ours = frozenset(target for server in storage for target in server.targets)
    safe = frozenset(uuid for uuid, store in datastores.items() if not store.local and store.targets and ours.issuperset(store.targets))
    return Datastores(datastores, ours, safe)


def unprotected_by_policy(wish: VmPolicy) -> Unprotected | None:
    if wish.protection is Protection.UNPROTECTED:
        return Unprotected("the policy leaves it unprotected", True)
    if wish.priority is Priority.DISABLED:
        return Unprotected("its restart priority is disabled", True)
    return None


def unprotected(vm: VmRecord, policy: Policy, datastores: Datastores) -> Unprotected | None:
    """None when the VM can be failed over as far as its files go."""
    chosen = unprotected_by_policy(policy.vm(vm.id, vm.name))
    if chosen is not None:
        return chosen
    if not vm.files:
        return Unprotected("its files are not known", False)
    for item in vm.files:
        if item.datastore_uuid in datastores.safe:
            continue
        store = datastores.known.get(item.datastore_uuid)
        if store is None:
            return Unprotected("%s %s lies on datastore %s, which no host has described" % (item.kind, item.path, item.datastore), False)
        if store.local or not store.targets:
            return Unprotected("%s %s lies on datastore %s, which is not on iSCSI" % (item.kind, item.path, store.name), False)
        foreign = sorted(set(store.targets) - datastores.ours)
        text = "%s %s lies on datastore %s at target %s, which is not fenced by us"
        return Unprotected(text % (item.kind, item.path, store.name, ", ".join(foreign)), False)
    return None
