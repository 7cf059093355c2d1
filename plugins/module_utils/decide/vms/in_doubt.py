# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a VM may leave a host without a fence, as far as its writes are concerned.

Writes that a host could not get rid of may reach the disk when its path returns, whether or not the VM still runs: only the fence keeps
them out. So a VM leaves a host that works only while that host works with all of the VM's storage, by its own word and by that of the
target. Else it waits, for the path or for the fence.

Both are the words of a while ago: the target's is that the host got something through within ``io_stale``, by a reading that may be half of
that old. So a VM that has just crashed, or failed to start, leaves only when they are of after that.
"""

from __future__ import annotations

from ..answers import Evidence
from ..memory import VmRecord
from ..state import Cluster, HostState

_NEXT = "so what was written last may still be on its way; it may leave when that host works with its storage again, or is fenced"
AFTER = 2.0  # times io_stale after which the words about a host's storage are all of after a failure


def writes_in_doubt(vm: VmRecord, host: HostState) -> str:
    """Why writes of *vm* may still be on their way from *host*; empty where it works with all of the VM's storage."""
    stores = {store.uuid: store for store in host.seen.datastores} if host.seen is not None else {}
    targets: set[str] = set()
    for item in vm.files:
        store = stores.get(item.datastore_uuid)
        if store is None or not store.accessible:
            return "%s does not reach datastore %s, %s" % (host.name, item.datastore, _NEXT)
        targets.update(lun.target for lun in store.luns)
    for target in host.evidence.targets:
        if target.target in targets and target.state is not Evidence.OK:
            return "its storage on %s is %s (%s), %s" % (target.server, target.state.value, target.reason, _NEXT)
    return ""


def failed_just_now(vm: VmRecord, cluster: Cluster) -> str:
    """Why it is too early to say that; empty when the words about its host are of after its failure there."""
    age = cluster.now.since(vm.tries.failed_at)
    if age is None or age >= AFTER * cluster.policy.io_stale:
        return ""
    left = AFTER * cluster.policy.io_stale - age
    return "it failed there %.0f s ago, and in %.0f s it is seen whether that host has reached its storage since" % (age, left)
