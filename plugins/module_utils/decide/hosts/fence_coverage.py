# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On which storage servers a VM lies, and therefore where its host must be fenced before it may start elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..memory import DatastoreRecord, StorageRecord, VmRecord, servers_of
from ..state import FenceState


@dataclass(frozen=True)
class FenceCoverage:
    """How far the fence of its host covers a VM: what it lacks (``missing``), and the UUIDs of the ``datastores`` behind it, None for all.

    With some only, the VM is registered and then asked for its files before it is started: its .vmx lies behind the fence, so what the
    destination reads there is final, and a disk that it was given elsewhere since the last look is seen.
    """

    missing: str = ""
    datastores: Optional[frozenset[str]] = None


def coverage_of(
    fence: FenceState, vm: Optional[VmRecord], datastores: Mapping[str, DatastoreRecord], storage: Iterable[StorageRecord]
) -> FenceCoverage:
    """*vm* is None where nothing is recorded of it: then only a fence at every storage server covers it."""
    storage = tuple(storage)
    missing = fence_gap(fence, servers_of(vm, datastores, storage) if vm is not None else frozenset())
    if missing or (fence.whole and fence.confirmed and not fence.admitted) or not fence.listed:
        return FenceCoverage(missing)
    open_targets = {target for server in storage if server.name not in fence.confirmed_at for target in server.targets}
    known = {target for server in storage for target in server.targets}
    behind = (uuid for uuid, store in datastores.items() if store.targets and set(store.targets) <= known - open_targets)
    return FenceCoverage("", frozenset(behind))


def fence_gap(fence: FenceState, servers: frozenset[str]) -> str:
    """What the fence of its host still lacks for a VM that lies on *servers* (empty: not known); empty when nothing.

    The fence counts server by server: it is enough for a VM all of whose files are known to lie where the host can write no more.
    What was known of its files may be older than the fence, so the destination's own list of them has the last word
    (:class:`FenceCoverage`).
    """
    if servers and fence.listed and servers <= set(fence.confirmed_at):
        return ""
    if fence.whole or not fence.listed:
        complete = fence.confirmed and not fence.admitted
        return "" if complete else fence.missing or "it is on no fence list"
    if servers - set(fence.servers):
        return "it is not fenced at %s, where the VM lies too" % ", ".join(sorted(servers - set(fence.servers)))
    return fence.missing or "it is fenced at %s only" % ", ".join(fence.servers)
