# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carrying out failovers and moves: the I/O around the state machine in ``decide/vms/transaction.py``.

One thread (the caller's) owns the state machine, the database and the lease. Worker threads do one request to one host
each and hand back its outcome; a VM that waits for a lock to age holds no worker. Hosts are read in bulk: one look
serves all VMs that wait for it. Whatever a request to a host raises is the outcome of that request and of no other
(``errors.as_outcome``): what a host did and nobody foresaw leaves it unknown whether the host obeyed, so a look follows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

from ..decide.decision import DEAF, Way
from ..decide.hosts.fence_coverage import FenceCoverage
from ..decide.observations import Power, Question, VmObservation
from ..decide.policy import FailoverPolicy
from ..decide.vms import transaction as steps
from ..decide.vms.inventory import needed_files
from ..decide.vms.transaction import Do, Facts, Move, Outcome, Step, Transaction
from ..errors import as_outcome
from ..hypervisor.interface import FaultKind, Hypervisor, HypervisorFault, PowerOnOutcome
from ..instant import Instant
from ..lease.keeper import LeaseKeeper
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from .runtime import Runtime, Threads, Workers
from .stopping import GUEST_TIMEOUT, STOP_TIMEOUT, SUSPEND_TIMEOUT

TICK = 0.5  # s; the longest that the loop sleeps without looking at the lease
AT_REST = (Power.OFF, Power.SUSPENDED)  # in which a host lets a VM be unregistered


@dataclass
class Work:
    """One VM under way. ``changed`` says that a host was really changed for it in this run."""

    transaction: Transaction
    facts: Facts
    began: Instant
    busy: bool = False
    recorded: bool = False  # the transaction is in the database
    changed: bool = False
    history: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What a worker brought back."""

    outcome: Outcome
    reason: str = ""
    moid: Optional[str] = None
    seen: Optional[list[VmObservation]] = None  # of a look
    answered: bool = False  # the moved-or-copied question was asked and answered


class FailoverRun:
    """Brings transactions to their end on ``hosts``, the open connections to unfenced hosts by name.

    ``unopened`` are the hosts to which there is none, with the reason: nothing starts there in this run.
    """

    def __init__(
        self,
        database: StateDatabase,
        keeper: LeaseKeeper,
        hosts: Mapping[str, Hypervisor],
        bounds: FailoverPolicy,
        clock: Callable[[], Instant],
        covers: Mapping[str, FenceCoverage],
        unopened: Mapping[str, str],
        leave: Collection[str] = (),
        stopping: Callable[[], bool] = lambda: False,
        runtime: Optional[Runtime] = None,
    ) -> None:
        """*covers*: VM id -> how far the fence of its source host covers it. *leave* are ids of VMs whose
        open transactions are another's work. *stopping*: whether to begin nothing more; what is open then, a later run completes.
        *runtime*: waiting and workers; by default real time and threads."""
        self._database = database
        self._keeper = keeper
        self._hosts = hosts
        self._bounds = bounds
        self._clock = clock
        self._covers = covers
        self._unopened = unopened
        self._leave = frozenset(leave)
        self._stopping = stopping
        self._runtime: Runtime = runtime or Threads()
        self._views: dict[str, list[VmObservation]] = {}
        self._in_vain: dict[str, set[str]] = {}
        self._answered: set[tuple[str, str]] = set()  # (host, VM reference) whose moved-or-copied question was answered
        for name, hypervisor in hosts.items():
            hypervisor.on_answer = partial(self._note_answer, name)
        self._running: dict[Future[Result], tuple[list[Work], str, Optional[Move]]] = {}

    def run(self, planned: Sequence[Transaction]) -> list[Work]:
        """Complete *planned* and whatever an earlier run left open; the VMs in the order given, then the rest."""
        self._views = self._read_hosts()
        left_open = [record for record in self._database.open_transactions() if record["vm_id"] not in self._leave]
        self._in_vain = self._registered_in_vain({transaction.vm_id for transaction in planned} | {row["vm_id"] for row in left_open})
        work = self._adopt(planned, left_open)
        with self._runtime.workers(max(1, self._bounds.parallel_per_host * len(self._hosts))) as pool:
            while True:
                self._keeper.keep()
                ends = self._stopping()
                if not ends:
                    self._dispatch(work, pool)
                if not self._running:
                    if ends:
                        return work
                    waiting = [item for item in work if not item.transaction.closed and not self._held(item)]
                    if not waiting:
                        return work
                    self._runtime.sleep(self._until_due(waiting))
                for future in pool.wait(self._running, TICK):
                    self._collect(future)

    # What there is to do

    def _adopt(self, planned: Sequence[Transaction], left_open: Iterable[Mapping[str, Any]]) -> list[Work]:
        """Open transactions go on where they were; the plan adds to them. One VM, one transaction."""
        open_ones = {record["vm_id"]: steps.from_record(record) for record in left_open}
        work = []
        for new in planned:
            old = open_ones.pop(new.vm_id, None)
            goes_on = (
                old is not None
                and old.source == new.source
                and (old.destination == new.destination or old.destination in self._hosts and self._registered(old))
            )
            if old is not None and goes_on:
                work.append(self._work(replace(old, vmx=old.vmx or new.vmx), recorded=True))
                continue
            if old is not None:
                self._abandon(old, "planned anew on %s" % new.destination)
            work.append(self._work(new, recorded=False))
        for old in open_ones.values():
            if old.destination in self._hosts:
                work.append(self._work(old, recorded=True))
            else:
                self._abandon(old, self._no_connection(old.destination))
        return work

    def _no_connection(self, host: str) -> str:
        reason = self._unopened.get(host)
        return "%s is not among the hosts of this run" % host if reason is None else "%s could not be opened: %s" % (host, reason)

    def _work(self, transaction: Transaction, recorded: bool) -> Work:
        return Work(transaction, self._facts(transaction), self._clock(), recorded=recorded)

    def _registered(self, transaction: Transaction) -> bool:
        return any(vm.id == transaction.vm_id for vm in self._views.get(transaction.destination, ()))

    def _facts(self, transaction: Transaction) -> Facts:
        """What the last look at the hosts says about one VM."""
        cover = self._covers.get(transaction.vm_id, FenceCoverage("it is not on the fence list"))
        # A host's own VMs that are started where they were need no fence: nobody else may write them.
        if transaction.source == transaction.destination:
            cover = FenceCoverage()
        here = [vm for vm in self._views.get(transaction.destination, ()) if vm.id == transaction.vm_id]
        missing = cover.missing or (_uncovered(here[0], cover, transaction) if here else "")
        others = [vm for host, seen in self._views.items() if host != transaction.destination for vm in seen if vm.id == transaction.vm_id]
        running = [vm.host for vm in others if vm.power is Power.ON]
        in_vain = self._in_vain.get(transaction.vm_id, set())
        question = here[0].question if here else None
        at_source = [vm for vm in others if vm.host == transaction.source and transaction.way is not None]
        return Facts(
            fence_confirmed=not missing,
            fence_reason=missing,
            destination_reads=transaction.destination in self._views,
            moid=here[0].moid if here else None,
            power=here[0].power if here else Power.UNKNOWN,
            question=question.text if question is not None and not question.message_id.startswith("msg.uuid") else "",
            running_on=running[0] if running else None,
            ours_elsewhere=tuple((vm.host, vm.moid) for vm in others if vm.host in in_vain and vm.power in AT_REST and vm not in at_source),
            source_reads=transaction.way is not None and transaction.source in self._views,
            at_source=at_source[0] if at_source else None,
            files_seen=cover.datastores is None or bool(here),
        )

    def _registered_in_vain(self, vms: Iterable[str]) -> dict[str, set[str]]:
        """VM id -> hosts on which an earlier transaction of ours registered it and failed."""
        found: dict[str, set[str]] = {}
        for row in self._database.closed_transactions_of(vms):
            if steps.registered_in_vain(row):
                found.setdefault(row["vm_id"], set()).add(row["destination"])
        return found

    def _held(self, work: Work) -> bool:
        return not work.transaction.closed and steps.next_move(work.transaction, work.facts).do is Do.HOLD

    # The loop

    def _dispatch(self, work: Iterable[Work], pool: Workers) -> None:
        """Begin every move that may begin now, in order, within the limit of each host."""
        active: dict[str, int] = {}
        for _items, host, move in self._running.values():
            active[host] = active.get(host, 0) + (move is not None)
        looks: dict[str, list[Work]] = {}
        for item in work:
            if item.busy or item.transaction.closed:
                continue
            waited = self._clock().since(item.began) or 0.0
            move = steps.next_move(item.transaction, item.facts)
            if move.do not in (Do.CLOSE, Do.HOLD) and item.transaction.destination not in self._hosts:
                move = Move(Do.CLOSE, self._no_connection(item.transaction.destination), Step.FAILED)
            way = item.transaction.way
            bound = self._bounds.start_bound + (_LEAVING.get(way, 0.0) if way is not None else 0.0)
            if move.do not in (Do.CLOSE, Do.HOLD) and waited > bound:
                move = Move(Do.CLOSE, "not up within %.0f s: %s" % (bound, item.transaction.reason), Step.FAILED)
            if move.do is Do.HOLD:
                item.transaction = replace(item.transaction, reason=move.reason)
            elif move.do is Do.CLOSE:
                self._close(item, move)
            elif not self._due(item):
                continue
            elif move.do is Do.LOOK:
                looks.setdefault(move.host, []).append(item)
            elif active.get(move.host, 0) < self._bounds.parallel_per_host:
                active[move.host] = active.get(move.host, 0) + 1
                self._begin(item, move, pool)
        for host, items in looks.items():
            for item in items:
                item.busy = True
            self._running[pool.submit(self._look, host)] = (items, host, None)

    def _due(self, item: Work) -> bool:
        left = item.transaction.not_before.since(self._clock()) if item.transaction.not_before else None
        return left is None or left <= 0

    def _until_due(self, waiting: Iterable[Work]) -> float:
        """Seconds until the first of *waiting* may go on, at most TICK: the lock of a dead host ends at a moment of its own."""
        now = self._clock()
        left = [item.transaction.not_before.since(now) for item in waiting if item.transaction.not_before is not None]
        return min([TICK, *(max(seconds, 0.01) for seconds in left if seconds is not None)])

    def _begin(self, item: Work, move: Move, pool: Workers) -> None:
        begun = steps.begun(item.transaction, move)
        if begun != item.transaction:
            item.transaction = begun
            self._record(item, "%s on %s begins" % (_WORDS[move.do], move.host), phase="before")
        item.busy = True
        item.changed = True
        self._running[pool.submit(self._carry_out, move, item.transaction, item.facts)] = ([item], move.host, move)

    def _collect(self, future: Future[Result]) -> None:
        items, host, move = self._running.pop(future)
        result = future.result()
        if result.seen is not None:
            self._views[host] = result.seen
        for item in items:
            item.busy = False
            if move is None:
                self._after_look(item, host, result)
                continue
            if result.answered and item.transaction.step in (Step.FENCED, Step.REGISTERED):
                item.transaction = replace(item.transaction, step=Step.ANSWERED)
                self._record(item, "the question on %s was answered: moved" % host, phase="after")
            before = item.transaction
            item.transaction, item.facts = steps.ended(
                item.transaction, item.facts, move, result.outcome, result.reason, self._clock(), self._bounds, result.moid
            )
            if replace(item.transaction, not_before=None) != replace(before, not_before=None):
                self._record(item, "%s on %s: %s" % (_WORDS[move.do], host, item.transaction.reason or "done"), phase="after")

    def _after_look(self, item: Work, host: str, result: Result) -> None:
        if result.seen is not None:
            # One host was read: of the other end of a move we know what we knew.
            read, before = self._facts(item.transaction), item.facts
            source = host == item.transaction.source and item.transaction.way is not None
            fresh, source_fresh = (before.fresh, True) if source else (True, before.source_fresh)
            item.facts = replace(read, fresh=fresh, source_fresh=source_fresh)
            return
        look = Move(Do.LOOK, "", host=host)
        item.transaction, item.facts = steps.ended(
            item.transaction, item.facts, look, result.outcome, result.reason, self._clock(), self._bounds
        )
        item.history.append("look at %s: %s" % (host, result.reason))

    # What is recorded

    def _close(self, item: Work, move: Move) -> None:
        item.transaction = self._closed(item.transaction, move)
        # A VM that runs already needs no transaction. One that did not come up is counted by the next look (vms/tries.py).
        if item.recorded or item.changed or item.transaction.step in (Step.FAILED, Step.BLOCKED):
            self._record(item, "%s: %s" % (item.transaction.step.value, move.reason), phase="end")

    def _abandon(self, transaction: Transaction, why: str) -> None:
        move = Move(Do.CLOSE, why, Step.FAILED)
        self._record(Work(self._closed(transaction, move), Facts(False), self._clock(), recorded=True), "abandoned: %s" % why, phase="end")

    def _closed(self, transaction: Transaction, move: Move) -> Transaction:
        return replace(steps.closed(transaction, move), reached=transaction.destination in self._hosts)

    def _record(self, item: Work, text: str, phase: str) -> None:
        transaction = item.transaction
        item.history.append(text)
        item.recorded = True
        entry = JournalEntry(
            kind="step",
            subject=transaction.vm_id,
            text="%s: %s" % (transaction.name, text),
            data={
                "vm": transaction.name,
                "phase": phase,
                "step": transaction.step.value,
                "doing": transaction.doing.value if transaction.doing else "",
                "source": transaction.source,
                "destination": transaction.destination,
                "transaction": transaction.id,
            },
        )
        self._database.save_transaction(steps.to_record(transaction), self._keeper.token, entry)

    # What workers do; they touch nothing of this object but the hosts

    def _look(self, host: str) -> Result:
        try:
            return Result(Outcome.DONE, seen=self._hosts[host].virtual_machines())
        except Exception as error:
            return Result(Outcome.LOST, str(as_outcome(error, "reading the VMs", host)))

    def _carry_out(self, move: Move, transaction: Transaction, facts: Facts) -> Result:
        do, host = move.do, move.host
        hypervisor = self._hosts[host]
        try:
            if do is Do.UNREGISTER:
                hypervisor.unregister(move.moid)
                return Result(Outcome.DONE)
            if do is Do.SHUT_DOWN:
                return _shut_down(hypervisor, facts)
            if do is Do.POWER_OFF:
                still_on = hypervisor.power_off([move.moid], STOP_TIMEOUT).get(move.moid, "")
                return Result(Outcome.OTHER, still_on) if still_on else Result(Outcome.DONE, "switched off")
            if do is Do.SUSPEND:
                hypervisor.suspend(move.moid, timeout=SUSPEND_TIMEOUT)
                return Result(Outcome.DONE, "its memory is on its datastore")
            if do is Do.REGISTER:
                return Result(Outcome.DONE, moid=hypervisor.register(transaction.vmx, transaction.registered_as or transaction.name))
            outcome, question = hypervisor.power_on(move.moid, timeout=self._bounds.power_on_timeout)
            answered = (host, move.moid) in self._answered
            if outcome is PowerOnOutcome.QUESTION:
                return Result(Outcome.QUESTION, question.text if question else "", answered=answered)
            return Result(Outcome.DONE, answered=answered)
        except Exception as error:
            failed = as_outcome(error, "%s %s" % (_WORDS[do], transaction.name), host)
            ended = _OUTCOMES[failed.kind] if isinstance(failed, HypervisorFault) else Outcome.LOST
            return Result(ended, str(failed), answered=(host, move.moid) in self._answered)

    def _note_answer(self, host: str, moid: str, question: Question) -> None:
        self._answered.add((host, moid))

    def _read_hosts(self) -> dict[str, list[VmObservation]]:
        with self._runtime.workers(max(1, len(self._hosts))) as pool:
            looks = {host: pool.submit(self._look, host) for host in self._hosts}
        return {host: seen for host, look in looks.items() if (seen := look.result().seen) is not None}


def _uncovered(vm: VmObservation, cover: FenceCoverage, transaction: Transaction) -> str:
    """Where *vm*, as its destination lists it, has files that are not known to lie behind the fence."""
    if cover.datastores is None:
        return ""
    files = needed_files(vm)
    outside = sorted({item.datastore or item.datastore_uuid for item in files if item.datastore_uuid not in cover.datastores})
    if outside:
        return "it has files on %s, where nothing says that %s can write no more" % (", ".join(outside), transaction.source)
    return "" if files else "%s does not tell where its files lie" % transaction.destination


def _shut_down(hypervisor: Hypervisor, facts: Facts) -> Result:
    """It is not switched off instead: who waits for its guest has not said that what it did not save yet may be lost."""
    vm = facts.at_source
    if vm is None or not vm.guest_listens:
        return Result(Outcome.NOT_DOWN, DEAF)
    failed = hypervisor.shut_down([vm.moid], GUEST_TIMEOUT).get(vm.moid, "")
    if failed:
        return Result(Outcome.NOT_DOWN, "not shut down on %s: %s; way: power_off switches it off" % (vm.host, failed))
    return Result(Outcome.DONE, "shut down by its guest")


_LEAVING = {Way.COLD: GUEST_TIMEOUT, Way.SUSPEND: SUSPEND_TIMEOUT}  # s that leaving a host may take
_WORDS = {
    Do.SHUT_DOWN: "shutdown of its guest",
    Do.POWER_OFF: "power-off",
    Do.SUSPEND: "suspend",
    Do.UNREGISTER: "unregistering",
    Do.REGISTER: "registering",
    Do.POWER_ON: "power-on",
}
_OUTCOMES = {kind: Outcome(kind.value) for kind in FaultKind}


def new_transaction(planned: Mapping[str, Any]) -> Transaction:
    """A transaction from one entry of a decision's failover or restart action (``decision.PlannedVm``), or of a move (``PlannedMove``)."""
    return Transaction(
        id=str(uuid.uuid4()),
        vm_id=planned["id"],
        name=planned["name"],
        datastore_uuid=planned["datastore_uuid"],
        path=planned["path"],
        vmx=planned["vmx"],
        source=planned["source"],
        destination=planned["destination"],
        power_on=planned["power_on"],
        way=planned.get("way"),
    )
