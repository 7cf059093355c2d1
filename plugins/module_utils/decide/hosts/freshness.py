# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How old a look may be, and what is left of a look when what is too old is taken out.

Invariant: an old look says nothing. Not that a host lives or is dead, nor where VMs run, who is fenced, or that a host restarted:
a look from before a failover shows its VMs where they were, and their fenced host as one that nobody fenced.

Observers may keep a pace of their own: then one look has samples of different ages, and each path to a host is judged by the age of its own
sample. Why that is safe:

* Silence is counted in probes, each dated when it was begun, and life when its answer arrived (``silence.py``). A sample that serves
  several looks is the same probe in all of them: it neither adds to a silence nor puts life off.
* A sample older than ``confirm_after`` says nothing, as a look of that age does; a probe that does not come back adds nothing meanwhile.
* The host's own word about its datastores (row 6) is taken only while it is new: at most half of ``io_stale`` old, since a storage server
  that failed a moment ago must not meet a word from before. It lasts by three readings of their own.
* Power that is off and was read within ``confirm_after`` is proof for this long: a host that was switched on meanwhile runs none of its VMs
  yet, and its storage fence is applied first, whatever its power.
* The VMs and the fences are never older than the last act that may have changed them (``cycle/ports.py``).
"""

from __future__ import annotations

from dataclasses import replace

from ...instant import Instant
from ..answers import ApiAnswer, Evidence
from ..observations import HostObservation, Observation, Power, StorageObservation
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
    old |= {seen.name for seen in observation.hosts if _list_is_old(seen, observation, now, policy)}
    hosts = tuple(_without_old_samples(seen, now, policy) for seen in observation.hosts)
    if hosts != observation.hosts:
        observation = replace(observation, hosts=hosts)
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


def word_is_new(seen: HostObservation, now: Instant, policy: Policy) -> bool:
    """Whether what the host says about its datastores may be held against it."""
    if seen.sampled is None:
        return True
    age = now.since(seen.sampled.api)
    return age is not None and age <= policy.io_stale / 2


def _list_is_old(seen: HostObservation, observation: Observation, now: Instant, policy: Policy) -> bool:
    """Whether its list of VMs, read at a pace of its own, is older than a look may be; all of it was read at once."""
    listed = observation.listed_on(seen.name) if seen.sampled is not None else ()
    return bool(listed) and not is_fresh(listed[0].taken_at, now, policy, must_compare=True)


def _without_old_samples(seen: HostObservation, now: Instant, policy: Policy) -> HostObservation:
    times = seen.sampled
    if times is None:
        return seen
    if not is_fresh(times.api, now, policy, must_compare=True):
        seen = _without_api(seen)
    if not is_fresh(times.ping, now, policy, must_compare=True):
        seen = replace(seen, ping=Evidence.UNKNOWN, ping_reason="the last probe that came back is old")
    if not is_fresh(times.power, now, policy, must_compare=True):
        seen = replace(seen, power=Power.UNKNOWN, power_reason="the last answer is old")
    return seen


def _without_api(seen: HostObservation) -> HostObservation:
    """What of *seen* did not come from the host itself."""
    return HostObservation(
        seen.name,
        seen.taken_at,
        ApiAnswer.NOT_ASKED,
        "the last answer is old",
        ping=seen.ping,
        ping_reason=seen.ping_reason,
        power=seen.power,
        power_reason=seen.power_reason,
        has_bmc=seen.has_bmc,
        proves_no_off=seen.proves_no_off,
        behind_bmc=seen.behind_bmc,
        sampled=seen.sampled,
    )


def _not_asked(server: StorageObservation) -> StorageObservation:
    return StorageObservation(server.name, server.taken_at, driver=server.driver, serving=None, reason="the look at it is old")
