"""Failover transactions: the real state machine (``decide/vms/failover.py``) driven against simulated hosts.

It is to ``act/failover.py`` what that file's threads are to these processes: the same order of looking, recording, doing and
recording again, the same bounds, one process for each VM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import PlannedVm
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.evidence import gather
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fencing import fence_state
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act, Observation, Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms import failover as steps
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.failover import Do, Facts, Move, Outcome, Step, Transaction

from ..engine import Group, Steps
from ..names import name_of
from ..observe import QUICK, TIMEOUT
from .parts import Parts, Permit

SHORTEST = 0.01  # s; what is left of a wait after rounding must still let time pass

View = dict[str, bool]  # VM name -> it is on


@dataclass
class Work:
    transaction: Transaction
    facts: Facts
    began: float
    changed: bool = False


class FailoverRun:
    """Completes *planned* and whatever an earlier run left open, on the *live* hosts."""

    def __init__(self, parts: Parts, permit: Permit, group: Group, live: Iterable[str]) -> None:
        self._parts = parts
        self._permit = permit
        self._group = group
        self._live = list(live)
        self._bounds = parts.policy.failover
        self._views: dict[str, View] = {}
        self._fences: dict[str, str] = {}
        self._active: dict[str, int] = {}

    def run(self, planned: Sequence[PlannedVm]) -> Steps:
        yield QUICK
        self._read_fences({vm.source for vm in planned} | {item.source for item in self._parts.database.transactions.values()})
        yield self._parts.observer.takes()
        for host in self._live:
            self._read(host)
        processes = [self._group.start(self._bring_up(work)) for work in self._adopt(planned)]
        if processes:
            yield processes

    def _read_fences(self, sources: set[str]) -> None:
        """As ``act/vm_failover.py``: the brain's own rule, applied to what is seen now."""
        parts = self._parts
        now = parts.observer.instant()
        observation = Observation(taken_at=now, storage=(parts.observer.storage(),))
        for source in sorted(sources):
            record = parts.database.memory.host(source)
            evidence = gather(source, observation, parts.database.memory, parts.policy, now)
            state = fence_state(source, observation, record, evidence, parts.policy)
            self._fences[source] = "" if state.confirmed and not state.admitted else (state.missing or "it is on no fence list")

    def _read(self, host: str) -> bool:
        if not self._parts.hypervisors.answers(host):
            self._views.pop(host, None)
            return False
        truth = self._parts.world.hosts[host]
        self._views[host] = {name: host in self._parts.world.vms[name].executing for name in truth.registered}
        return True

    def _adopt(self, planned: Sequence[PlannedVm]) -> list[Work]:
        """Open transactions go on where they were. One VM, one transaction."""
        database = self._parts.database
        open_ones = dict(database.transactions)
        work = []
        for vm in planned:
            new = _transaction(vm, "t%d" % database.number())
            old = open_ones.pop(vm.id, None)
            if old is not None and (old.destination == new.destination or name_of(vm.id) in self._views.get(old.destination, {})):
                work.append(self._work(steps.from_record(steps.to_record(old))))
                continue
            if old is not None:
                self._abandon(old)
            work.append(self._work(new))
        for old in open_ones.values():
            if old.destination in self._live:
                work.append(self._work(steps.from_record(steps.to_record(old))))
            else:
                self._abandon(old)
        return work

    def _work(self, transaction: Transaction) -> Work:
        return Work(transaction, self._facts(transaction), self._parts.engine.now)

    def _abandon(self, transaction: Transaction) -> None:
        self._save(steps.closed(transaction, Move(Do.CLOSE, "planned anew", Step.FAILED)))

    def _facts(self, transaction: Transaction) -> Facts:
        missing = self._fences.get(transaction.source, "it is not on the fence list")
        if transaction.source == transaction.destination:
            missing = ""
        name = name_of(transaction.vm_id)
        here = self._views.get(transaction.destination, {})
        others = {host: view[name] for host, view in self._views.items() if host != transaction.destination and name in view}
        running = [host for host, on in others.items() if on]
        in_vain = self._parts.database.in_vain
        return Facts(
            fence_confirmed=not missing,
            fence_reason=missing,
            destination_reads=transaction.destination in self._views,
            moid=name if name in here else None,
            power=(Power.ON if here[name] else Power.OFF) if name in here else Power.UNKNOWN,
            running_on=running[0] if running else None,
            ours_elsewhere=tuple((host, name) for host, on in others.items() if not on and (transaction.vm_id, host) in in_vain),
        )

    def _bring_up(self, work: Work) -> Steps:
        """One VM, to the end of its transaction or until it must be left for the next look."""
        engine = self._parts.engine
        while True:
            move = steps.next_move(work.transaction, work.facts)
            if move.do not in (Do.CLOSE, Do.HOLD) and engine.now - work.began > self._bounds.start_bound:
                move = Move(Do.CLOSE, "not up in time: %s" % work.transaction.reason, Step.FAILED)
            if move.do is Do.HOLD:
                return
            if move.do is Do.CLOSE:
                self._close(work, move)
                return
            due = work.transaction.not_before
            left = due.since(self._parts.observer.instant()) if due is not None else None
            if left is not None and left > 0:
                yield max(left, SHORTEST)
                continue
            if move.do is Do.LOOK:
                yield from self._look_again(work)
            else:
                yield from self._do(work, move)

    def _look_again(self, work: Work) -> Steps:
        host = work.transaction.destination
        yield QUICK if self._parts.hypervisors.answers(host) else TIMEOUT
        if self._read(host):
            work.facts = self._facts(work.transaction)
            return
        self._ended(work, Do.LOOK, Outcome.LOST, "%s does not answer" % host, None)

    def _do(self, work: Work, move: Move) -> Steps:
        host = work.facts.ours_elsewhere[0][0] if move.do is Do.UNREGISTER else work.transaction.destination
        while self._active.get(host, 0) >= self._bounds.parallel_per_host:
            yield 0.5
        begun = steps.begun(work.transaction, move)
        self._permit.renew()
        if begun != work.transaction:
            work.transaction = begun
            self._save(begun)
        work.changed = True
        self._active[host] = self._active.get(host, 0) + 1
        world, asks = self._parts.world, self._parts.hypervisors
        vm, truth = world.vms[name_of(work.transaction.vm_id)], world.hosts[host]
        request = {Do.UNREGISTER: asks.unregister, Do.REGISTER: asks.register, Do.POWER_ON: asks.power_on}[move.do](vm, truth)
        bound = self._bounds.power_on_timeout if move.do is Do.POWER_ON else 10.0
        outcome, reason = yield from asks.ask(host, request, self._permit.check, bound)
        self._active[host] -= 1
        self._ended(work, move.do, outcome, reason, vm.name if move.do is Do.REGISTER and outcome is Outcome.DONE else None)

    def _ended(self, work: Work, do: Do, outcome: Outcome, reason: str, moid: str | None) -> None:
        before = work.transaction
        work.transaction, work.facts = steps.ended(
            work.transaction, work.facts, do, outcome, reason, self._parts.observer.instant(), self._bounds, moid
        )
        if do is not Do.LOOK and replace(work.transaction, not_before=None) != replace(before, not_before=None):
            self._save(work.transaction)

    def _close(self, work: Work, move: Move) -> None:
        done = steps.closed(work.transaction, move)
        if work.changed or done.vm_id in self._parts.database.transactions:
            self._save(done)
        if done.power_on and (work.changed or done.step is not Step.VERIFIED):
            self._parts.database.add_result(
                Act.START, done.vm_id, done.destination, done.step is Step.VERIFIED, done.reason, done.start_asked
            )

    def _save(self, transaction: Transaction) -> None:
        database = self._parts.database
        self._permit.renew()
        if not transaction.closed:
            database.transactions[transaction.vm_id] = transaction
            return
        database.transactions.pop(transaction.vm_id, None)
        if transaction.step is Step.FAILED:
            database.in_vain.add((transaction.vm_id, transaction.destination))


def _transaction(vm: PlannedVm, identity: str) -> Transaction:
    return Transaction(
        id=identity,
        vm_id=vm.id,
        name=vm.name,
        datastore_uuid=vm.datastore_uuid,
        path=vm.path,
        vmx=vm.vmx,
        source=vm.source,
        destination=vm.destination,
        power_on=vm.power_on,
    )
