# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On which storage servers a VM lies, and therefore where its host must be fenced before it may start elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..memory import DatastoreRecord, StorageRecord, VmRecord
from .fencing import FenceState


def servers_of(vm: VmRecord, datastores: Mapping[str, DatastoreRecord], storage: Iterable[StorageRecord]) -> frozenset[str]:
    """Names of the storage servers that hold the VM's files; empty when that is not known of all of them."""
    exports = [(server.name, frozenset(server.targets)) for server in storage]
    found: set[str] = set()
    for item in vm.files:
        store = datastores.get(item.datastore_uuid)
        targets = frozenset(store.targets) if store is not None else frozenset()
        names = {name for name, exported in exports if exported & targets}
        if not names:
            return frozenset()
        found |= names
    return frozenset(found)


def fence_gap(fence: FenceState, servers: frozenset[str]) -> str:
    """What the fence of its host still lacks for a VM that lies on *servers* (empty: not known); empty when nothing.

    A fence that is meant to be whole must be confirmed on every storage server. A host that is fenced at some of them, and
    works at the others, is enough for a VM all of whose files are known to lie on those.
    """
    if fence.whole or not fence.listed:
        complete = fence.confirmed and not fence.admitted
        return "" if complete else fence.missing or "it is on no fence list"
    if servers and servers <= set(fence.confirmed_at):
        return ""
    if servers - set(fence.servers):
        return "it is not fenced at %s, where the VM lies too" % ", ".join(sorted(servers - set(fence.servers)))
    return fence.missing or "it is fenced at %s only" % ", ".join(fence.servers)
