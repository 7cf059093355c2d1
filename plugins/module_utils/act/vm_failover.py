# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``vm_failover`` does: check the fences, open the hosts, run the transactions, tell the outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from .. import clock
from ..arguments.hosts import HostAccess, read_hosts
from ..decide.hosts.evidence import gather
from ..decide.hosts.fencing import fence_state
from ..decide.hosts.lies_on import Cover, cover_of
from ..decide.json_form import from_dict
from ..decide.memory import Memory
from ..decide.observations import Observation, StorageObservation, VmObservation, split_path
from ..decide.policy import Policy
from ..decide.vms.failover import Step, Transaction, from_record
from ..errors import LibrehaError, as_outcome
from ..hypervisor.interface import Hypervisor
from ..hypervisor.registry import open_hypervisor
from ..instant import Instant
from ..lease.deadman import Deadman
from ..lease.keeper import LeaseKeeper
from ..parallel import Late, in_parallel
from ..policy.reader import read_policy
from ..record.database import StateDatabase
from .failover import FailoverRun, Work, new_transaction
from .runtime import Runtime, Threads

OPEN_TIMEOUTS = 3  # of a host's timeout: connect, ask for the entry points, log in
SEARCH_SECONDS = 10.0  # for .vmx files that nobody registered; a large datastore that takes longer is not reported on
OBSERVATION_MAX_AGE = 60.0  # s; older evidence of a fence is none
GOOD_ENDS = (Step.VERIFIED, Step.REGISTERED)


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError, with what was done so far in its details."""
    policy = read_policy(params["policy"])
    storage = _read_storage(params["storage"])
    accesses = read_hosts(params)
    planned = [_planned(entry, index) for index, entry in enumerate(params["vms"])]
    with StateDatabase.open(params["state_url"], create=not check_mode) as database:
        if check_mode:
            left_open = [from_record(record) for record in database.open_transactions()]
            return _would_do(planned, left_open, _covers((*planned, *left_open), storage, database.memory(), policy, clock.now()))
        lease = (params["holder"], params["token"], params["lease"])
        work, unregistered = fail_over(planned, accesses, storage, policy, database, lease)
    return _result(work, unregistered)


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
    storage: tuple[StorageObservation, ...],
    policy: Policy,
    database: StateDatabase,
    lease: tuple[str, int, float],
    leave: Collection[str] = (),
    stopping: Callable[[], bool] = lambda: False,
    around: Optional[Around] = None,
) -> tuple[list[Work], list[str]]:
    """Complete *planned*, and whatever an earlier run left open but for the VMs *leave*, on the hosts *accesses*.

    *storage* was read directly before; *lease* is holder, token and seconds. Returns the work, and the .vmx files that nobody
    registered. Raises LeaseLost.
    """
    around = around or REAL
    left_open = [from_record(record) for record in database.open_transactions() if record["vm_id"] not in leave]
    sources = {transaction.source for transaction in (*planned, *left_open) if transaction.way is None}
    covers = _covers((*planned, *left_open), storage, database.memory(), policy, around.clock())
    usable = [access for access in accesses if access.name not in sources or access.name in _restarts(planned)]
    deadman = around.deadman()
    keeper = LeaseKeeper(database, *lease, around.clock, deadman)
    try:
        with around.connect(usable, keeper) as (hosts, unopened):
            run = FailoverRun(database, keeper, hosts, policy.failover, around.clock, covers, unopened, leave, stopping, around.runtime)
            work = run.run(planned)
            deadman.disarm()  # what follows only reads
            return work, [] if stopping() else around.search(hosts, work)
    finally:
        deadman.disarm()


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

    def connect(access: HostAccess) -> Hypervisor:
        return open_hypervisor(access.connection, keeper.guard).__enter__()

    seconds = OPEN_TIMEOUTS * max((access.connection.timeout for access in accesses), default=0.0)
    opened: dict[str, Hypervisor] = {}
    unopened: dict[str, str] = {}
    for name, outcome in in_parallel({access.name: partial(connect, access) for access in accesses}, seconds).items():
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


REAL = Around(_open_all, _unregistered, clock.now, Threads(), Deadman)


def _read_storage(raw: Sequence[Mapping[str, Any]]) -> tuple[StorageObservation, ...]:
    """The observations, refused when one is older than :data:`OBSERVATION_MAX_AGE` on this machine's clock."""
    now = clock.now()
    found = []
    for index, value in enumerate(raw):
        try:
            observation: StorageObservation = from_dict(StorageObservation, value, "storage[%d]" % index)
        except ValueError as error:
            raise LibrehaError(str(error), remedy="pass the 'storage' that iscsi_session_info returned, untouched") from None
        age = now.since(observation.taken_at)
        if age is not None and not 0 <= age <= OBSERVATION_MAX_AGE:
            raise LibrehaError(
                "the observation of storage server %s is %.0f s old" % (observation.name, age),
                remedy="run iscsi_session_info directly before vm_failover: a fence counts only as long as it is seen",
            )
        found.append(observation)
    return tuple(found)


def _planned(entry: Mapping[str, Any], index: int) -> Transaction:
    try:
        return new_transaction(entry)
    except KeyError as error:
        raise LibrehaError("vms[%d] has no %s" % (index, error), remedy="pass the 'plan' that ha_decide returned, untouched") from None


def _covers(
    transactions: Sequence[Transaction], storage: tuple[StorageObservation, ...], memory: Memory, policy: Policy, now: Instant
) -> dict[str, Cover]:
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
        transaction.vm_id: cover_of(fences[transaction.source], memory.vm(transaction.vm_id), datastores, memory.storage)
        for transaction in transactions
    }


def _restarts(planned: Sequence[Transaction]) -> set[str]:
    """Hosts whose VMs start where they were: no fence of theirs is needed, and they are open to us."""
    return {transaction.source for transaction in planned if transaction.source == transaction.destination}


def _would_do(planned: Sequence[Transaction], left_open: Sequence[Transaction], covers: Mapping[str, Cover]) -> dict[str, Any]:
    todo = {transaction.vm_id: transaction for transaction in (*left_open, *planned)}
    vms = [_shown(item, [], "would be started on %s" % item.destination) for item in todo.values()]
    held = [item for item in todo.values() if item.source != item.destination and covers[item.vm_id].missing]
    return {"changed": len(todo) > len(held), "vms": vms, "failed_vms": [], "unregistered": [], "diff": _diff(todo.values())}


def _result(work: Sequence[Work], unregistered: Sequence[str]) -> dict[str, Any]:
    vms = [shown_of(item) for item in work]
    failed = undone_of(work)
    changed = [item for item in work if item.changed]
    result = {
        "changed": bool(changed),
        "vms": vms,
        "failed_vms": failed,
        "unregistered": list(unregistered),
        "diff": _diff(item.transaction for item in changed if item.transaction.step in GOOD_ENDS),
    }
    if failed:
        raise LibrehaError(
            "%d of %d VMs did not come up: %s" % (len(failed), len(work), "; ".join(failed)),
            remedy="the others are done; the causes are named for each VM, and the next run plans these anew",
            details=result,
        )
    return result


def undone_of(work: Sequence[Work]) -> list[str]:
    """The VMs that did not come up, each with its reason."""
    return [
        "%s -> %s: %s" % (item.transaction.name, item.transaction.destination, item.transaction.reason or item.transaction.step.value)
        for item in work
        if not item.transaction.closed or item.transaction.step not in GOOD_ENDS
    ]


def shown_of(work: Work) -> dict[str, Any]:
    """One VM in a task's result."""
    return _shown(work.transaction, work.history, work.transaction.reason)


def _shown(transaction: Transaction, history: Sequence[str], reason: str) -> dict[str, Any]:
    return {
        "id": transaction.vm_id,
        "name": transaction.name,
        "source": transaction.source,
        "destination": transaction.destination,
        "step": transaction.step.value,
        "reason": reason,
        "history": list(history),
    }


def _diff(moved: Any) -> dict[str, dict[str, str]]:
    moved = list(moved)
    return {
        "before": {item.name: item.source for item in moved},
        "after": {item.name: item.destination for item in moved},
    }
