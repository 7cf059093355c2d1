# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The monitor's loop: observe, judge, commit, act - and again, until nothing is left to do.

Invariants, asserted below:

* Memory and journal of a look are committed before the first act that it orders begins.
* Nothing is carried out that is not in a committed decision of this run.
* Nothing is ordered twice: a look is judged with the acts that were under way when it began.

The memory lives in this process from look to look, and the database has it for the next run. Why no stale one can be acted on:
``record/recorded.py``.

Looks go on while acts are under way, so a second host that dies during a failover is judged and fenced at once. Acts end by
themselves; what they did, the next look sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ..decide.decide import decide
from ..decide.decision import (
    FailoverAction,
    FenceAction,
    MaintenanceAction,
    MoveAction,
    RejoinAction,
    ResetAction,
    RestartAction,
    ShutdownAction,
    StopAction,
)
from ..decide.inputs import Decider
from ..decide.observations import ActInProgress, Observation
from ..decide.policy import Mode, Policy
from ..instant import Instant
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from ..record.lease import Lease
from .judge import Judged, RunContext, events_seen, judge, live_hosts, wait_after
from .ports import (
    Ended,
    Executor,
    FailoverOrder,
    FenceOrder,
    MaintenanceOrder,
    MoveOrder,
    Observer,
    Order,
    PowerOrder,
    RejoinOrder,
    ShutdownOrder,
)

ABLE = (
    "fence",
    "failover",
    "restart",
    "move",
    "stop",
    "reset",
    "rejoin",
    "maintenance",
    "shutdown",
)  # kinds of action that are carried out here
MAX_LOOKS = 60
RENEW_AFTER = 1 / 6  # part of the lease; what is left is long enough for a look at hosts that do not answer
PRUNE_EVERY = 600.0  # s between two times at which this run looks for what the record need not keep


@dataclass
class RunSummary:
    """What happened in a run beside its last look."""

    looks: int = 0
    ended: list[Ended] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """What the last order of each kind about each thing left undone: one that was repeated with success is no failure."""
        last: dict[str, tuple[str, ...]] = {}
        for item in self.ended:
            last[_about(item.order)] = item.failed
        return [text for texts in last.values() for text in texts]


def _about(order: Order) -> str:
    return "start" if isinstance(order, FailoverOrder) else "%s %s" % (type(order).__name__, order.acts[0].host)


class Monitor:
    """One run, under one lease."""

    def __init__(
        self,
        policy: Policy,
        observer: Observer,
        executor: Executor,
        database: StateDatabase,
        context: RunContext,
        decider: Decider = decide,
    ) -> None:
        self._policy = policy
        self._observer = observer
        self._executor = executor
        self._database = database
        self._context = context
        self._decider = decider
        self.summary = RunSummary()
        self.judged: Optional[Judged] = None
        self._lease: Optional[Lease] = None  # as it was prolonged last
        self._pruned_at: Optional[Instant] = None
        self._not_done: dict[str, tuple[str, ...]] = {}  # an order's words -> what it left undone when it ended last
        self._acted_at: Optional[Instant] = None  # when an act of this run last began or ended

    def reconfigure(self, policy: Policy, observer: Observer) -> None:
        """Look with *observer* and decide by *policy* from the next look on."""
        self._policy, self._observer = policy, observer

    def news(self) -> bool:
        """Whether what was seen has changed since the last look."""
        return self._observer.news()

    def run_once(self) -> Judged:
        """One look, and the beginning of what it orders. Raises LeaseLost when this run may act no more."""
        self._keep_lease()
        if self._take_in() or self._acted_at is None:
            self._acted_at = self._context.clock()
        acting = tuple(act for order in self._executor.in_progress() for act in order.acts)
        observation = replace(self._look(self._acted_at), in_progress=acting)
        self._keep_lease()
        recorded = self.judged.recorded if self.judged is not None else None
        judged = judge(self._database, self._policy, observation, self._context, commit=True, decider=self._decider, recorded=recorded)
        self.summary.looks += 1
        self.judged, self._lease = judged, judged.lease
        self._call_off_moves_in_doubt(judged)
        self._call_off_starts_before_a_shutdown(judged)
        for order in self._orders(judged):
            self._begin(order, judged, acting)
            self._acted_at = self._context.clock()
        self._keep_house(judged)
        return judged

    def until_settled(self, max_looks: int = MAX_LOOKS) -> Judged:
        """Looks until a decision is settled and no act is under way, or *max_looks* were made in which no VM was being started or moved: a
        fence that cannot be completed is repeated at each look, and this run need not be the one that does it."""
        looks = 0
        health_tried = False
        while True:
            judged = self.run_once()
            decision = judged.decision
            health_tried = health_tried or bool(judged.observation.storage_health)
            looks += not any(isinstance(order, (FailoverOrder, MoveOrder)) for order in self._executor.in_progress())
            if looks >= max_looks:
                return self._until_nothing_is_under_way(judged)
            if not self._executor.in_progress():
                # A run that was busy with its hosts until now makes one look more for the storage servers' own health.
                tries_health = not health_tried and any(server.due for server in decision.storage)
                health_tried = health_tried or tries_health
                if decision.settled and not tries_health:
                    self._take_in()
                    return judged
                if tries_health and decision.settled:
                    continue
            self._executor.wait(wait_after(judged))

    def _until_nothing_is_under_way(self, judged: Judged) -> Judged:
        while self._executor.in_progress():
            self._keep_lease()
            self._executor.wait(wait_after(judged))
            self._take_in()
        self._take_in()
        return judged

    # One look

    def _look(self, after: Instant) -> Observation:
        decision = self.judged.decision if self.judged is not None else None
        if decision is None:
            return self._observer.look({}, (), (), after)
        due = [server.name for server in decision.storage if server.due]
        disks = [server.name for server in decision.storage if server.disks_due]
        return self._observer.look(events_seen(decision.memory), due, disks, after)

    def _keep_lease(self) -> None:
        """Renew it when a part of it is over; each look that is committed prolongs it anyway. Raises LeaseLost when it is not ours any
        more: whether that is noticed here or by the commit, nothing is carried out."""
        left = self._lease.expires.since(self._context.clock()) if self._lease is not None else None
        if left is None or left < self._policy.lease * (1 - RENEW_AFTER):
            self._lease = self._database.renew_lease(self._context.holder, self._context.token, self._policy.lease)

    def _take_in(self) -> bool:
        """Whether an act has ended. What it left undone goes into the journal: nothing half done stays unnoticed."""
        entries = []
        over = self._executor.ended()
        for ended in over:
            self.summary.ended.append(ended)
            said = self._not_done.pop(str(ended.order), ())
            if ended.failed:
                self._not_done[str(ended.order)] = ended.failed
            for text in ended.failed:
                if text in said:  # it was tried again, and nothing is new
                    continue
                entries.append(JournalEntry("act", "not done: %s" % text, subject=ended.order.acts[0].host, data={"ok": False}))
        if entries:
            self._database.journal(entries, self._context.token)
        return bool(over)

    def _keep_house(self, judged: Judged) -> None:
        """What the policy no longer keeps of the record is removed, now and then, while no host is suspect and nothing is to be done:
        never in the way of a failover."""
        decision = judged.decision
        if not decision.settled or decision.actions or judged.open_transactions or self._executor.in_progress():
            return
        since = decision.taken_at.since(self._pruned_at)
        if since is not None and since < PRUNE_EVERY:
            return
        with self._database.change(self._context.token) as change:
            pruned = change.prune(self._policy.retention, decision.memory)
        self._pruned_at = None if pruned.more else decision.taken_at

    # Acting

    def _orders(self, judged: Judged) -> list[Order]:
        """What a decision orders, and what earlier ones left open."""
        decision = judged.decision
        orders: list[Order] = [FenceOrder(action) for action in decision.actions if isinstance(action, FenceAction)]
        starts = tuple(vm for action in decision.actions if isinstance(action, (FailoverAction, RestartAction)) for vm in action.vms)
        moving = {vm.id for action in decision.actions if isinstance(action, MoveAction) for vm in action.vms}
        resumed = self._left_open(judged, {vm.id for vm in starts} | moving)
        if starts or resumed:
            leave = frozenset(act.vm for order in self._executor.in_progress() for act in order.acts if act.vm) | moving
            orders.append(FailoverOrder(starts, resumed, tuple(live_hosts(judged)), leave))
        for action in decision.actions:
            if isinstance(action, (StopAction, ResetAction)) and action.vms:
                orders.append(PowerOrder(action.kind, action.host, tuple(vm.id for vm in action.vms)))
            elif isinstance(action, MoveAction) and action.vms:
                ids = {vm.id for vm in action.vms}
                others = frozenset(row["vm_id"] for row in judged.open_transactions if row["vm_id"] not in ids)
                orders.append(MoveOrder(action.vms, tuple(live_hosts(judged)), others))
            elif isinstance(action, RejoinAction):
                orders.append(RejoinOrder(action))
            elif isinstance(action, MaintenanceAction):
                orders.append(MaintenanceOrder(action))
            elif isinstance(action, ShutdownAction):
                orders.append(ShutdownOrder(action))
        return orders

    def _left_open(self, judged: Judged, planned: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """VM id and destination of open transactions on which nobody is at work; none for a run that is about one host."""
        memory = judged.decision.memory
        if judged.decision.mode is Mode.OBSERVE or memory.disarmed or memory.goes_down or self._context.only_host:
            return ()
        busy = {act.vm for order in self._executor.in_progress() for act in order.acts} | set(planned)
        return tuple((row["vm_id"], row["destination"]) for row in judged.open_transactions if row["vm_id"] not in busy)

    def _begin(self, order: Order, judged: Judged, acting: Sequence[ActInProgress]) -> None:
        if not judged.committed:
            raise AssertionError("an act that is not in the record: %s" % order)
        if set(order.acts) & set(acting):
            raise AssertionError("ordered twice: %s" % order)
        if isinstance(order, FenceOrder):
            self._call_off_work_with(order.action.host)
        self._executor.begin(order)

    def _call_off_moves_in_doubt(self, judged: Judged) -> None:
        """A VM starts elsewhere without a fence only while its source works. One that may have lost its storage may have writes on their
        way; its VMs are planned anew, behind the fence if it comes to that."""
        working = {host.host for host in judged.decision.hosts if host.verdict.works}
        for order in self._executor.in_progress():
            if isinstance(order, MoveOrder) and not {move.source for move in order.planned} <= working:
                self._executor.call_off(order)

    def _call_off_starts_before_a_shutdown(self, judged: Judged) -> None:
        """Nothing is started or moved while everything is shut down; what was begun is planned anew when that is over."""
        for order in self._executor.in_progress() if judged.decision.memory.goes_down else ():
            if isinstance(order, (FailoverOrder, MoveOrder)):
                self._executor.call_off(order)

    def _call_off_work_with(self, host: str) -> None:
        """A host that is to be fenced starts nothing: what was ordered with it is planned anew. Moves off it were called off before, when
        it ceased to work."""
        for order in self._executor.in_progress():
            if isinstance(order, (FailoverOrder, MoveOrder)) and any(act.host == host for act in order.acts):
                self._executor.call_off(order)


def moved_in(summary: RunSummary) -> list[Mapping[str, Any]]:
    """VM by VM how the run's starts ended, the last word on each."""
    last: dict[Any, Mapping[str, Any]] = {}
    for ended in summary.ended:
        for vm in ended.moved:
            last[vm["id"]] = vm
    return list(last.values())
