# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the storage servers, or at the whole cluster, from the arbiter: everybody is asked at the same time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Optional

from .. import clock
from ..access import HostAccess
from ..decide.answers import ApiAnswer
from ..decide.json_form import from_dict
from ..decide.observations import Observation, StorageObservation
from ..decide.storage_health.sensors import StorageHealth
from ..errors import LibrehaError
from ..instant import Instant
from ..parallel import Late, Outcome, Raised, Workers, failure_of
from ..storage.remote import health_remote, observe_remote
from ..storage.server import ServerAccess, observe_here, unasked
from .hosts import observe_hosts
from .pools import Pools
from .served import read_health
from .vms import observe_vms

SERVER_SECONDS = 30.0  # in which a storage server is given up: its own limits, and ssh's, are shorter


def observe_servers(servers: Sequence[ServerAccess], workers: Optional[Workers] = None) -> tuple[StorageObservation, ...]:
    """Every storage server's observation, in the order given; of one that could not be asked, that and why."""
    asked = (workers or Workers()).ask({("storage", server.name): look_at(server) for server in servers}, SERVER_SECONDS)
    return tuple(seen_of(name, outcome) for (_storage, name), outcome in asked.items())


def observe_cluster(
    accesses: Sequence[HostAccess],
    isolation_addresses: Sequence[str],
    servers: Sequence[ServerAccess],
    events_after: Mapping[str, int],
    health: Collection[str] = (),
    disks: Collection[str] = (),
    state_file: str = "",
    pools: Optional[Pools] = None,
) -> Observation:
    """One look at everything.

    Args:
        events_after: Host -> the key of the newest of its events that is known.
        health: Names of the storage servers whose own health is read too, of *disks* also their disks. One of which it cannot be
            read is left out; decide says when that has lasted for long.
        state_file: The state database's file, whose file system must not fill up.
        pools: What stays open from look to look. Sessions with hosts that are not among *accesses* are ended. None: all is ended with
            this look.
    """
    if pools is None:
        with Pools() as own:
            return observe_cluster(accesses, isolation_addresses, servers, events_after, health, disks, state_file, own)
    pools.sessions.keep_only([access.connection for access in accesses])
    taken_at = clock.now()
    looks: dict[tuple[str, str], Callable[[], Any]] = {
        ("look", "storage"): partial(observe_servers, servers, pools.workers),
        ("look", "hosts"): partial(_hosts_and_vms, accesses, isolation_addresses, events_after, taken_at, pools),
    }
    due = [server for server in servers if server.name in health]
    looks.update({("health", server.name): partial(read_health_of, server, server.name in disks, state_file) for server in due})
    outcomes = pools.workers.ask(looks, SERVER_SECONDS + 60.0)
    hosts = _or_raise(outcomes["look", "hosts"])
    seen = [outcomes["health", server.name] for server in due]
    return Observation(
        taken_at=taken_at,
        storage=_or_raise(outcomes["look", "storage"]),
        storage_health=tuple(item for item in seen if isinstance(item, StorageHealth)),
        **hosts,
    )


def _hosts_and_vms(
    accesses: Sequence[HostAccess],
    isolation_addresses: Sequence[str],
    events_after: Mapping[str, int],
    taken_at: Instant,
    pools: Pools,
) -> dict[str, Any]:
    """The VMs of those hosts whose API answered a moment ago."""
    hosts, isolation = observe_hosts(accesses, isolation_addresses, taken_at, pools)
    answered = {host.name for host in hosts if host.api_answer is ApiAnswer.ANSWERED}
    vms = observe_vms([access for access in accesses if access.name in answered], events_after, True, pools)
    return {
        "hosts": tuple(hosts),
        "isolation": tuple(isolation),
        "vms": vms.vms,
        "vms_read": vms.vms_read,
        "events": vms.events,
        "event_gaps": vms.event_gaps,
    }


def look_at(server: ServerAccess) -> Callable[[], StorageObservation]:
    return partial(observe_here if server.ssh is None else observe_remote, server)


def seen_of(name: str, outcome: Outcome[StorageObservation]) -> StorageObservation:
    if isinstance(outcome, (Late, Raised)):
        return unasked(name, failure_of(outcome, "looking at its target", name))
    return outcome


def read_health_of(server: ServerAccess, smart: bool, state_file: str) -> StorageHealth:
    form = read_health(server, smart, state_file) if server.ssh is None else health_remote(server, smart)
    health: StorageHealth = from_dict(StorageHealth, form, "storage_health")
    return health


def _or_raise(outcome: Outcome[Any]) -> Any:
    if isinstance(outcome, Late):
        raise LibrehaError("a look was not over after %.0f s" % outcome.after, remedy="this machine is overloaded: see what keeps it busy")
    if isinstance(outcome, Raised):
        raise outcome.error
    return outcome
