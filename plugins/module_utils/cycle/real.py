# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real world for the monitor's loop: hosts, storage servers and BMCs of the inventory, and acts in child processes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional, Union

from .. import clock
from ..access import HostAccess
from ..act.failover_run import new_transaction
from ..act.fence import Fenced, Run, fence_host
from ..act.host_orders import HostOrder, set_maintenance_mode, shut_down_host
from ..act.rejoin import Rejoining, rejoin_host
from ..act.vm_failover import fail_over, shown_of, undone_of
from ..act.vm_power import PowerRequest, power_vms
from ..act.worker import Child, Died, Failed, ForkServer, wait_for_any
from ..decide.hosts.rejoin import BOOTS, PATIENCE, SETTLES
from ..decide.observations import Observation
from ..decide.policy import Policy
from ..decide.vms.transaction import Transaction
from ..hypervisor.registry import import_drivers
from ..instant import Instant
from ..lease.lock import LeaseLock
from ..observe.cluster import observe_cluster, observe_servers
from ..observe.paced import PacedObserver
from ..observe.pools import Pools
from ..record.database import StateDatabase
from ..storage.server import ServerAccess
from .ports import Ended, Executor, FailoverOrder, FenceOrder, MaintenanceOrder, MoveOrder, Order, PowerOrder, RejoinOrder, ShutdownOrder


@dataclass(frozen=True)
class Site:
    """The cluster as the arbiter reaches it. It holds secrets: it is handed to the children in memory and never written anywhere."""

    policy: Policy
    accesses: Mapping[str, HostAccess]
    servers: Mapping[str, ServerAccess]
    state_url: str
    state_file: str = ""
    chap_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # new ones, by host, for letting it in again


class HandedSecrets:
    """New CHAP secrets for hosts that are to be let in again, as people handed them over: in the memory of this process and nowhere else,
    and each for HOLDS seconds. Threads may share it."""

    HOLDS = PATIENCE + BOOTS + SETTLES  # no wish to let a host in lasts longer

    def __init__(self, clock: Callable[[], Instant] = clock.now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._secrets: dict[str, tuple[str, Instant]] = {}

    def put(self, host: str, secret: str) -> None:
        with self._lock:
            self._secrets[host] = (secret, self._clock())

    def current(self) -> dict[str, str]:
        """Those that still hold, by host."""
        now = self._clock()
        with self._lock:
            self._secrets = {host: item for host, item in self._secrets.items() if (now.since(item[1]) or 0.0) < self.HOLDS}
            return {host: secret for host, (secret, _at) in self._secrets.items()}


class RealWorld:
    """The cluster of a site, with the fork server whose children act on it, and what this process looks with. Those two outlive the site,
    which a new configuration replaces."""

    clock = staticmethod(clock.now)

    def __init__(self, site: Site, server: ForkServer, pools: Pools, handed: Optional[HandedSecrets] = None, paced: bool = False) -> None:
        """*handed*: new CHAP secrets that come while it works. *paced*: it looks by samplers that go on between two looks."""
        self.policy = site.policy
        self.state_url = site.state_url
        self.site = site
        self._server = server
        self._pools = pools
        self._handed = handed or HandedSecrets()
        self._paced = paced

    def open_database(self) -> StateDatabase:
        return StateDatabase.open(self.state_url, create=False)

    def observer(self) -> RealObserver:
        return (PacedRealObserver if self._paced else RealObserver)(self.site, self._pools)

    def executor(self, run: Run, lock: Optional[LeaseLock]) -> RealExecutor:
        return RealExecutor(self.site, self._server, run, lock, self._handed)

    def equip(self, executor: Executor) -> None:
        if not isinstance(executor, RealExecutor):
            raise TypeError("an executor of another kind of world: %r" % executor)
        executor.site = self.site


class RealObserver:
    def __init__(self, site: Site, pools: Pools) -> None:
        self._site = site
        self._pools = pools

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        site = self._site
        addresses = site.policy.isolation_addresses
        servers = list(site.servers.values())
        return observe_cluster(list(site.accesses.values()), addresses, servers, events_after, health, disks, site.state_file, self._pools)

    def news(self) -> bool:
        return False

    def highest_token(self) -> int:
        seen = observe_servers(list(self._site.servers.values()), self._pools.workers)
        return max([0, *(server.highest_token for server in seen if server.highest_token is not None)])


class PacedRealObserver(RealObserver):
    """The same things, each asked at its own pace (observe/paced.py)."""

    def __init__(self, site: Site, pools: Pools) -> None:
        super().__init__(site, pools)
        accesses, servers = list(site.accesses.values()), list(site.servers.values())
        policy = site.policy
        self._paced = PacedObserver(accesses, policy.isolation_addresses, servers, pools, policy.confirm_after, site.state_file)

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        return self._paced.look(events_after, health, disks, after)

    def news(self) -> bool:
        return self._paced.news()


class RealExecutor:
    """Each order is a child process of its own, which holds the lock of its run. ``run`` is the run under whose lease they act; ``site`` is
    what the next order acts on."""

    def __init__(self, site: Site, server: ForkServer, run: Run, lock: Optional[LeaseLock], handed: HandedSecrets) -> None:
        self.site = site
        self._handed = handed
        self._server = server
        self._run = run
        self._lock = lock
        self._children: dict[Child, Order] = {}

    def begin(self, order: Order) -> None:
        site = self.site
        if isinstance(order, RejoinOrder):
            site = dataclasses.replace(site, chap_secrets={**site.chap_secrets, **self._handed.current()})
        work = Work(site, order, dataclasses.replace(self._run, lease=site.policy.lease))
        self._children[self._server.start(work, None if self._lock is None else self._lock.descriptor)] = order

    def in_progress(self) -> Sequence[Order]:
        return list(self._children.values())

    def ended(self) -> Sequence[Ended]:
        over = [child for child in self._children if child.poll()]
        found = []
        for child in over:
            order, answer = self._children.pop(child), child.answer
            if isinstance(answer, Failed) and answer.ends_the_run:
                raise answer.error
            found.append(_ended(order, answer))
        return found

    def call_off(self, order: Order) -> None:
        for child, mine in self._children.items():
            if mine is order:
                child.stop()

    def wait(self, seconds: float) -> bool:
        if self._children:
            wait_for_any(list(self._children), seconds)
        else:
            clock.sleep(seconds)
        return any(child.poll() for child in self._children)

    def finish(self, seconds: float) -> bool:
        for child in self._children:
            child.stop()
        until = clock.now().seconds + seconds
        while any(not child.poll() for child in self._children) and clock.now().seconds < until:
            wait_for_any([child for child in self._children if not child.ended], until - clock.now().seconds)
        self._children = {child: order for child, order in self._children.items() if not child.ended}
        for child in self._children:
            child.abandon()
        return not self._children


def _ended(order: Order, answer: Any) -> Ended:
    if isinstance(answer, Died):
        return Ended(order, ("%s: %s" % (order, answer.text),))
    if isinstance(answer, Failed):
        return Ended(order, (str(answer.error),), bool(answer.error.details.get("changed")))
    return dataclasses.replace(answer, order=order)


@dataclass(frozen=True)
class Work:
    """What a child is given: an order, the site that it is about, and the run under whose lease it acts."""

    site: Site
    order: Order
    run: Run


def fork_server() -> ForkServer:
    """What the acts of this process are started by. Make it before any thread is started and anything is opened."""
    return ForkServer(carry_out, import_drivers)


def carry_out(work: Work, stopping: Callable[[], bool]) -> Ended:
    """What a child does with its work."""
    site, order, run = work.site, work.order, work.run
    with StateDatabase.open(site.state_url, create=False) as database:
        if isinstance(order, FenceOrder):
            return _fence(site, order, database, run)
        if isinstance(order, (FailoverOrder, MoveOrder)):
            return _bring_over(site, order, database, run, stopping)
        if isinstance(order, RejoinOrder):
            return _rejoin(site, order, database, run)
        if isinstance(order, (MaintenanceOrder, ShutdownOrder)):
            return _host_order(site, order, database, run)
        return _power(site, order, database, run)


def _fence(site: Site, order: FenceOrder, database: StateDatabase, run: Run) -> Ended:
    fenced: Fenced = fence_host(order.action, site.accesses.get(order.action.host), site.servers, database, run)
    return Ended(order, fenced.failed, fenced.changed)


def _bring_over(
    site: Site, order: Union[FailoverOrder, MoveOrder], database: StateDatabase, run: Run, stopping: Callable[[], bool]
) -> Ended:
    look = partial(observe_servers, list(site.servers.values()))  # the fences are looked at anew, right before
    planned = transactions_of(order)
    live = [site.accesses[name] for name in order.live if name in site.accesses]
    lease = (run.holder, run.token, run.lease)
    work, unregistered = fail_over(planned, live, look, site.policy, database, lease, order.leave, stopping)
    failed = () if stopping() else tuple(undone_of(work))
    moved = tuple(shown_of(item) for item in work)
    return Ended(order, failed, any(item.changed for item in work), moved, tuple(unregistered))


def transactions_of(order: Union[FailoverOrder, MoveOrder]) -> list[Transaction]:
    """What an order begins; transactions that an earlier run left open go on beside them."""
    return [new_transaction(dataclasses.asdict(vm)) for vm in order.planned]


def _rejoin(site: Site, order: RejoinOrder, database: StateDatabase, run: Run) -> Ended:
    access = site.accesses.get(order.action.host)
    if access is None:
        return Ended(order, ("%s is not among the hosts of this run" % order.action.host,))
    secret = site.chap_secrets.get(order.action.host, "")
    rejoined = rejoin_host(Rejoining(order.action, access, site.servers, database, run, secret))
    return Ended(order, rejoined.failed, rejoined.changed)


def _host_order(site: Site, order: Union[MaintenanceOrder, ShutdownOrder], database: StateDatabase, run: Run) -> Ended:
    access = site.accesses.get(order.action.host)
    if access is None:
        return Ended(order, ("%s is not among the hosts of this run" % order.action.host,))
    return Ended(order, changed=carry_out_at_host(order, HostOrder(order.action, access, database, run)))


def carry_out_at_host(order: Union[MaintenanceOrder, ShutdownOrder], host: HostOrder) -> bool:
    """Whether that changed anything."""
    return shut_down_host(host) if isinstance(order, ShutdownOrder) else set_maintenance_mode(host, order.action.enter)


def _power(site: Site, order: PowerOrder, database: StateDatabase, run: Run) -> Ended:
    access = site.accesses.get(order.host)
    if access is None:
        return Ended(order, ("%s is not among the hosts of this run" % order.host,))
    resets = order.kind == "reset"
    # Of a reset: the guest may have come back since the look.
    request = PowerRequest("reset" if resets else "stopped", order.vms, only_without_heartbeat=resets)
    result = power_vms({access.name: access}, request, database, run.holder, run.token, run.lease)
    return Ended(order, changed=bool(result["changed"]))
