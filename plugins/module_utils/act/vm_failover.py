# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing VMs over: check the fences, open the hosts, run the transactions, tell the outcome.

The fences are read while the hosts are being opened: logging in changes nothing, and no transaction begins before both are done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from .. import clock
from ..access import HostAccess
from ..decide.hosts.evidence import gather
from ..decide.hosts.fence_coverage import FenceCoverage, coverage_of
from ..decide.hosts.fencing import fence_state
from ..decide.memory import Memory
from ..decide.observations import Observation, StorageObservation, VmObservation, split_path
from ..decide.policy import Policy
from ..decide.vms.transaction import Step, Transaction, from_record
from ..errors import as_outcome
from ..hypervisor.interface import Hypervisor
from ..hypervisor.registry import open_hypervisor
from ..instant import Instant
from ..lease.deadman import Deadman
from ..lease.keeper import LeaseKeeper
from ..parallel import Late, Outcome, in_parallel
from ..record.database import StateDatabase
from .failover_run import FailoverRun, Work
from .runtime import Runtime, Threads

OPEN_TIMEOUTS = 3  # of a host's timeout: connect, ask for the entry points, log in
OPEN_LONGEST = 30.0  # s for one round of them
SEARCH_SECONDS = 10.0  # for .vmx files that nobody registered; a large datastore that takes longer is not reported on
GOOD_ENDS = (Step.VERIFIED, Step.REGISTERED)


Opened = tuple[Mapping[str, Hypervisor], Mapping[str, str]]
"""The hosts with a connection, and why each of the others has none."""


@dataclass(frozen=True)
class Around:
    """What the runner works in: real hosts, time and threads, or simulated ones."""

    connect: Callable[[Sequence[HostAccess], LeaseKeeper], AbstractContextManager[Opened]]
    search: Callable[[Mapping[str, Hypervisor], Sequence[Work]], list[str]]  # .vmx files that nobody registered
    clock: Callable[[], Instant]
    runtime: Runtime
    deadman: Callable[[], Deadman]


def fail_over(
    planned: Sequence[Transaction],
    accesses: Sequence[HostAccess],
    look: Callable[[], tuple[StorageObservation, ...]],
    policy: Policy,
    database: StateDatabase,
    lease: tuple[str, int, float],
    leave: Collection[str] = (),
    stopping: Callable[[], bool] = lambda: False,
    around: Optional[Around] = None,
) -> tuple[list[Work], list[str]]:
    """Complete *planned*, and whatever an earlier run left open but for the VMs *leave*, on the hosts *accesses*.

    *look* reads the storage servers, and is called once; *lease* is holder, token and seconds. Returns the work, and the .vmx files that
    nobody registered. Raises LeaseLost.
    """
    around = around or REAL
    left_open = [from_record(record) for record in database.open_transactions() if record["vm_id"] not in leave]
    sources = {transaction.source for transaction in (*planned, *left_open) if transaction.way is None}
    memory = database.memory({transaction.vm_id for transaction in (*planned, *left_open)})
    usable = [access for access in accesses if access.name not in sources or access.name in _restarts(planned)]
    with contextlib.ExitStack() as held:
        workers = held.enter_context(around.runtime.workers(1))
        looked = workers.submit(look)
        keeper = held.enter_context(LeaseKeeper(database, *lease, around.clock, around.deadman()))
        hosts, unopened = held.enter_context(around.connect(usable, keeper))
        while not workers.wait({looked}, 1.0):
            keeper.keep()
        covers = _covers((*planned, *left_open), looked.result(), memory, policy, around.clock())
        run = FailoverRun(database, keeper, hosts, policy.failover, around.clock, covers, unopened, leave, stopping, around.runtime)
        work = run.run(planned)
        keeper.end()  # what follows only reads
        return work, [] if stopping() else around.search(hosts, work)


def _unregistered(hosts: Mapping[str, Hypervisor], work: Sequence[Work]) -> list[str]:
    """The .vmx files, on the datastores of the VMs that were moved, which none of *hosts* has registered.

    They may be VMs of the lost host that no look ever saw there: a person decides. Only told, so a host that cannot
    search a datastore is passed over.
    """
    datastores = {split_path(item.transaction.vmx)[0]: item.transaction.destination for item in work if item.changed}
    if not datastores:
        return []
    looks: dict[str, Callable[[], Any]] = {"vms of %s" % name: hypervisor.virtual_machines for name, hypervisor in hosts.items()}
    looks.update({"files on %s" % name: partial(hosts[host].unregistered, name) for name, host in datastores.items()})
    found = {key: seen for key, seen in in_parallel(looks, SEARCH_SECONDS).items() if isinstance(seen, list)}
    registered = {split_path(item.path)[1] for seen in found.values() for item in seen if isinstance(item, VmObservation)}
    paths = sorted(item for seen in found.values() for item in seen if isinstance(item, str))
    return [path for path in paths if split_path(path)[1] not in registered]


@contextlib.contextmanager
def _open_all(accesses: Sequence[HostAccess], keeper: LeaseKeeper) -> Iterator[tuple[dict[str, Hypervisor], dict[str, str]]]:
    """Connections to all hosts that can be opened, and why each of the others cannot."""
    seconds = OPEN_TIMEOUTS * max((access.connection.timeout for access in accesses), default=0.0)
    opened: dict[str, Hypervisor] = {}
    unopened: dict[str, str] = {}
    for name, outcome in _connect_all(accesses, keeper, seconds).items():
        if isinstance(outcome, Hypervisor):
            opened[name] = outcome
        elif isinstance(outcome, Late):
            unopened[name] = "no answer within %.0f s" % outcome.after
        else:
            unopened[name] = str(as_outcome(outcome.error, "opening it", name))
    try:
        yield opened, unopened
    finally:
        in_parallel({name: partial(hypervisor.__exit__, None, None, None) for name, hypervisor in opened.items()}, seconds)


def _connect_all(accesses: Sequence[HostAccess], keeper: LeaseKeeper, seconds: float) -> dict[str, Outcome[Hypervisor]]:
    """Connect to all of them, within *seconds*. While none is there and some were only late, try again for twice as long: on a machine that
    is busy every login is late, which must cost seconds and not the failover, and as nothing can start, the wait delays nothing."""

    def connect(access: HostAccess) -> Hypervisor:
        return open_hypervisor(access.connection, keeper.guard).__enter__()

    while True:
        outcomes = in_parallel({access.name: partial(connect, access) for access in accesses}, seconds)
        found = list(outcomes.values())
        late = any(isinstance(outcome, Late) for outcome in found) and not any(isinstance(outcome, Hypervisor) for outcome in found)
        seconds *= 2
        if not late or seconds > OPEN_LONGEST:
            return outcomes
        keeper.keep()


REAL = Around(_open_all, _unregistered, clock.now, Threads(), Deadman)


def _covers(
    transactions: Sequence[Transaction], storage: tuple[StorageObservation, ...], memory: Memory, policy: Policy, now: Instant
) -> dict[str, FenceCoverage]:
    """VM id -> how far the fence of its source host covers it.

    The same rule as the brain's (``decide.fencing.fence_state``), applied to what was seen since it decided.
    """
    observation = Observation(taken_at=now, storage=storage)
    fences = {}
    for source in sorted({transaction.source for transaction in transactions}):
        evidence = gather(source, observation, memory, policy, observation.taken_at)
        fences[source] = fence_state(source, observation, memory.host(source), evidence, policy)
    datastores = {record.uuid: record for record in memory.datastores}
    return {
        transaction.vm_id: coverage_of(fences[transaction.source], memory.vm(transaction.vm_id), datastores, memory.storage)
        for transaction in transactions
    }


def _restarts(planned: Sequence[Transaction]) -> set[str]:
    """Hosts whose VMs start where they were: no fence of theirs is needed, and they are open to us."""
    return {transaction.source for transaction in planned if transaction.source == transaction.destination}


def undone_of(work: Sequence[Work]) -> list[str]:
    """The VMs that did not come up, each with its reason."""
    return [
        "%s -> %s: %s" % (item.transaction.name, item.transaction.destination, item.transaction.reason or item.transaction.step.value)
        for item in work
        if not item.transaction.closed or item.transaction.step not in GOOD_ENDS
    ]


def shown_of(work: Work) -> dict[str, Any]:
    """One VM in a task's result."""
    transaction = work.transaction
    return {
        "id": transaction.vm_id,
        "name": transaction.name,
        "source": transaction.source,
        "destination": transaction.destination,
        "step": transaction.step.value,
        "reason": transaction.reason,
        "history": list(work.history),
    }
