# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How old a look may be, and what is left of a look when what is too old is taken out.

Invariant: an old look says nothing. Not that a host lives or is dead, nor where VMs run, who is fenced, or that a host restarted:
a look from before a failover shows its VMs where they were, and their fenced host as one that nobody fenced.
"""

from __future__ import annotations

from dataclasses import replace

from ...instant import Instant
from ..observations import HostObservation, Observation, StorageObservation
from ..policy import Policy


def is_fresh(taken_at: Instant, now: Instant, policy: Policy, must_compare: bool = False) -> bool:
    """Whether a look is recent enough to conclude from. One from another machine's clock cannot be told to be old."""
    age = now.since(taken_at)
    if age is None:
        return not must_compare
    return -1.0 <= age <= policy.confirm_after


def host_is_fresh(seen: HostObservation, observation: Observation, now: Instant, policy: Policy) -> bool:
    return is_fresh(observation.taken_at, now, policy, must_compare=True) and is_fresh(seen.taken_at, now, policy)


def without_old_looks(observation: Observation, now: Instant, policy: Policy) -> Observation:
    """Old looks at hosts keep nothing but the answers that alarms are about; a storage server whose look is old counts as not asked."""
    old = {seen.name for seen in observation.hosts if not host_is_fresh(seen, observation, now, policy)}
    storage = tuple(server if is_fresh(server.taken_at, now, policy) else _not_asked(server) for server in observation.storage)
    if not old:
        return observation if storage == observation.storage else replace(observation, storage=storage)
    return replace(
        observation,
        storage=storage,
        vms=tuple(vm for vm in observation.vms if vm.host not in old),
        vms_read=tuple(name for name in observation.vms_read if name not in old),
        events=tuple(event for event in observation.events if event.host not in old),
    )


def _not_asked(server: StorageObservation) -> StorageObservation:
    return StorageObservation(server.name, server.taken_at, driver=server.driver, serving=None, reason="the look at it is old")
