"""Carries orders out as the production hands do (cycle/real.py): each in an operating system process of its own, which ends with its lease.

Starts and moves run the production runner (act/vm_failover.py) with its lease keeper on simulated hosts. What a fence, a stop or a reset
does to hosts and target is told here, in the order and with the times of act/fence.py and act/vm_power.py. Live moves and rejoins have no
production actor yet: what is told of them here is a sketch of what is to come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Optional, Union

from ansible_collections.libreha.vmware.plugins.module_utils.act.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run
from ansible_collections.libreha.vmware.plugins.module_utils.act.keeper import LeaseKeeper
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import Around, Opened, fail_over, undone_of
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_power import JOURNAL_KIND
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.hosts import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import (
    Ended,
    FailoverOrder,
    FenceOrder,
    MoveOrder,
    Order,
    PowerOrder,
    RejoinOrder,
)
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.real import transactions_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction, PlannedMove, RejoinAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fresh_start import started_since
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act
from ansible_collections.libreha.vmware.plugins.module_utils.errors import ENDS_THE_RUN, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.errors import StaleToken as Refused
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, Hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import EndedAct
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry

from .blocking import Blocking, Simulated, drive, wait
from .driver import SimulatedHost
from .engine import Group, Task
from .names import initiator, name_of
from .observe import QUICK, TIMEOUT
from .parts import Parts, SimulatedDeadman
from .requests import Answer, ends_well
from .truth.hosts import Host
from .truth.target import StaleToken

BMC = 1.0  # s that a BMC takes to switch
MOVE_BOUND = 120.0  # s
PER_LEVEL = 60.0  # s, act/fence.py


class Process:
    """One order under way."""

    def __init__(self, order: Order, group: Group) -> None:
        self.order = order
        self.group = group
        self.stopping = False
        self.ended: Optional[Ended] = None
        self.lost: Optional[LibrehaError] = None


class SimulatedHands:
    """The hands of one run."""

    def __init__(self, parts: Parts, run: Run) -> None:
        self._parts = parts
        self._run = run
        self._processes: list[Process] = []
        self._news = Task()

    # cycle/ports.py: Hands

    def begin(self, order: Order) -> None:
        process = Process(order, Group(self._parts.engine))
        process.group.when_ended = lambda: self._died(process)
        self._processes.append(process)
        process.group.start(Blocking(partial(self._live, process)))  # type: ignore[arg-type]

    def under_way(self) -> Sequence[Order]:
        return [process.order for process in self._processes]

    def ended(self) -> Sequence[Ended]:
        over = [process for process in self._processes if process.ended is not None]
        self._processes = [process for process in self._processes if process.ended is None]
        for process in over:
            if process.lost is not None:
                raise process.lost
        return [process.ended for process in over if process.ended is not None]

    def call_off(self, order: Order) -> None:
        for process in self._processes:
            process.stopping = process.stopping or process.order is order

    def wait(self, seconds: float) -> None:
        if not any(process.ended is not None for process in self._processes):
            if self._news.done:
                self._news = Task()
            wait((self._news, max(seconds, 0.1)))

    # What happens to the arbiter

    def kill(self) -> None:
        for process in self._processes:
            process.group.kill()

    def freeze(self) -> None:
        for process in self._processes:
            process.group.freeze()

    def thaw(self) -> None:
        for process in self._processes:
            process.group.thaw()

    # One process

    def _live(self, process: Process) -> None:
        try:
            process.ended = self._carry_out(process)
        except ENDS_THE_RUN as error:
            process.ended, process.lost = Ended(process.order), error
        except LibrehaError as error:
            process.ended = Ended(process.order, (str(error),))
        self._news.end()

    def _died(self, process: Process) -> None:
        process.ended = Ended(process.order, ("%s: it ended without an answer" % process.order,))
        self._news.end()

    def _carry_out(self, process: Process) -> Ended:
        order = process.order
        if isinstance(order, FailoverOrder):
            return self._bring_over(process, order)
        if isinstance(order, MoveOrder):
            return self._move(process, order)
        levels = 1 if isinstance(order, RejoinOrder) or (isinstance(order, FenceOrder) and order.action.power) else 0
        with self._lease(process, PER_LEVEL * levels) as check:
            if isinstance(order, FenceOrder):
                self._fence(process, order.action, check)
            elif isinstance(order, RejoinOrder):
                self._rejoin(order.action, check)
            else:
                self._stop_or_reset(process, order, check)
        return Ended(order, changed=True)

    @contextmanager
    def _lease(self, process: Process, more: float) -> Iterator[Callable[[], None]]:
        """The right to act; what comes with it is called directly before each act."""
        parts = self._parts
        lease = parts.database.renew_lease(self._run.holder, self._run.token, self._run.lease + more)
        deadman = SimulatedDeadman(parts.engine, process.group)
        deadman.arm(lease.expires.seconds - parts.clock().seconds)
        permit = Permit(lease.expires.seconds, now=parts.clock)
        try:
            yield partial(permit.check, str(process.order))
        finally:
            deadman.disarm()

    # Starts

    def _bring_over(self, process: Process, order: Union[FailoverOrder, MoveOrder]) -> Ended:
        parts = self._parts
        wait(QUICK)
        storage = (parts.observer.storage(),)
        accesses = [HostAccess(Connection(name, name, "", "")) for name in order.live]
        around = Around(
            connect=self._connect,
            search=lambda hosts, work: [],
            clock=parts.clock,
            runtime=Simulated(process.group),
            deadman=lambda: SimulatedDeadman(parts.engine, process.group),
        )
        planned = transactions_of(order)
        lease = (self._run.holder, self._run.token, self._run.lease)
        work, _files = fail_over(
            planned, accesses, storage, parts.policy, parts.database, lease, order.leave, lambda: process.stopping, around
        )
        failed = () if process.stopping else tuple(undone_of(work))
        return Ended(order, failed, any(item.changed for item in work))

    @contextmanager
    def _connect(self, accesses: Sequence[HostAccess], keeper: LeaseKeeper) -> Iterator[Opened]:
        parts = self._parts
        answers = {access.name: parts.observer.api(parts.world.hosts[access.name]) for access in accesses}
        wait(TIMEOUT if ApiAnswer.TIMED_OUT in answers.values() else QUICK)
        opened: dict[str, Hypervisor] = {}
        unopened: dict[str, str] = {}
        for name, answer in answers.items():
            if answer is ApiAnswer.ANSWERED:
                opened[name] = SimulatedHost(name, parts.world, parts.observer, parts.requests, keeper.guard)
            else:
                unopened[name] = "it does not answer (%s)" % answer.value
        yield opened, unopened

    # Fence

    def _fence(self, process: Process, action: FenceAction, check: Callable[[], None]) -> None:
        """act/fence.py: on the storage server, then its power, then, where it answers, its VMs."""
        parts, host = self._parts, self._parts.world.hosts[action.host]
        if host.name not in parts.world.target.fences:
            parts.report.emit("fence_requested", host=host.name)
        if parts.observer.cut_off:
            wait(TIMEOUT)
        else:
            wait(QUICK)
            check()
            if initiator(host.name) in action.initiators:
                self._at_target(lambda: parts.world.fence(host, self._run.token, "; ".join(action.reasons)))
            wait(0.6)
            parts.world.note_confirmed(host)
        switched_off = action.power and self._switch_off(host, check)
        if action.stop and not switched_off:
            self._stop_all(process, action, host, check)

    def _at_target(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StaleToken as error:
            raise Refused("another run has acted since: %s" % error) from None

    def _switch_off(self, host: Host, check: Callable[[], None]) -> bool:
        wait(BMC)
        if not self._parts.observer.reaches_bmc(host):
            wait(TIMEOUT)
            return False
        check()
        self._parts.world.power_off(host)
        wait(BMC)
        return True

    def _stop_all(self, process: Process, action: FenceAction, host: Host, check: Callable[[], None]) -> None:
        world, requests = self._parts.world, self._parts.requests
        wanted = {name_of(identity) for identity in action.vms}
        running = [vm for vm in world.vms_on(host.name) if vm.name in wanted or not wanted]
        self._at_once(process, [partial(drive, requests.ask(host.name, requests.stop(vm, host, in_order=False), check)) for vm in running])

    def _at_once(self, process: Process, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """All *calls* beside each other; their answers. Raises what one of them raised."""
        if not calls:
            return []
        with Simulated(process.group).workers(len(calls)) as workers:
            futures = [workers.submit(call) for call in calls]
        return [future.result() for future in futures]

    # VMs

    def _stop_or_reset(self, process: Process, order: PowerOrder, check: Callable[[], None]) -> None:
        world, requests = self._parts.world, self._parts.requests
        host, stops = world.hosts[order.host], order.kind == "stop"

        def act(identity: str) -> Answer:
            vm = world.vms[name_of(identity)]
            return drive(requests.ask(host.name, requests.stop(vm, host, in_order=True) if stops else requests.reset(vm, host), check))

        for identity, answer in zip(order.vms, self._at_once(process, [partial(act, identity) for identity in order.vms])):
            self._tell(Act.STOP if stops else Act.RESET, identity, host.name, ends_well(answer), answer[1])

    def _tell(self, act: Act, vm: str, host: str, ok: bool, reason: str) -> None:
        """As act/vm_power.py journals how an act on a VM ended."""
        entry = JournalEntry(JOURNAL_KIND, "%s of %s: %s" % (act.value, vm, reason or "done"), subject=vm)
        with self._parts.database.change(self._run.token) as change:
            change.journal([entry])
            change.results([EndedAct(vm, host, act, ok, reason)])

    # Moves

    def _move(self, process: Process, order: MoveOrder) -> Ended:
        """Those that need no stop as vCenter would do it; the others stop, and the timeline is told where they went."""
        live = [move for move in order.planned if move.live and move.running]
        cold = [move for move in order.planned if move not in live]
        world = self._parts.world
        for move in cold:
            if move.running:
                world.begin_cold_move(world.vms[name_of(move.id)], world.hosts[move.destination])
        if live:
            with self._lease(process, MOVE_BOUND) as check:
                self._at_once(process, [partial(self._move_live, move, check) for move in live])
        if not cold:
            return Ended(order, changed=True)
        ended = self._bring_over(process, dataclasses.replace(order, planned=tuple(cold)))
        for move in cold:
            world.end_cold_move(world.vms[name_of(move.id)], world.hosts[move.source], world.hosts[move.destination])
        return dataclasses.replace(ended, order=order)

    def _move_live(self, move: PlannedMove, check: Callable[[], None]) -> None:
        world, requests = self._parts.world, self._parts.requests
        work = requests.migrate(world.vms[name_of(move.id)], world.hosts[move.source], world.hosts[move.destination])
        answer = drive(requests.ask(move.source, work, check, MOVE_BOUND))
        self._tell(Act.MOVE, move.id, move.destination, ends_well(answer), answer[1])

    # Not shipped yet: rejoins

    def _rejoin(self, action: RejoinAction, check: Callable[[], None]) -> None:
        host, parts = self._parts.world.hosts[action.host], self._parts
        if action.step == "unfence":
            self._unfence(host, check)
            return
        if action.step == "power_cycle":
            if not self._switch_off(host, check):
                return
            wait(BMC)
        wait(BMC)
        if not parts.observer.reaches_bmc(host):
            wait(TIMEOUT)
            return
        check()
        parts.world.power_on(host)

    def _unfence(self, host: Host, check: Callable[[], None]) -> None:
        """storage/unfencing.py: the target itself asks for the proof of a fresh start, with the uptime as just read."""
        parts = self._parts
        wait(QUICK)
        line = parts.world.target.fences.get(host.name)
        if line is None or not parts.requests.answers(host.name):
            return
        uptime = parts.world.now - host.booted_at
        running = parts.world.vms_on(host.name)
        wait(QUICK)
        if parts.observer.cut_off or running or not started_since(uptime, parts.world.now - line.at):
            return
        check()
        self._at_target(lambda: parts.world.unfence(host, self._run.token))
