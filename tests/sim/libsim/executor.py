"""Carries orders out as the production hands do (cycle/real.py): each in an operating system process of its own, which ends with its lease.

Fences, stops, resets, starts and cold moves run the production runners (act/fence.py, act/vm_power.py, act/vm_failover.py with its lease
keeper) on simulated storage servers, BMCs and hosts, and so do rejoins (act/rejoin.py). Live moves have no production actor yet: what is
here of them is a sketch of what is to come.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Optional, Union

from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import FenceWorld, Run, fence_host
from ansible_collections.libreha.vmware.plugins.module_utils.act.host_orders import HostOrder
from ansible_collections.libreha.vmware.plugins.module_utils.act.rejoin import Rejoining, RejoinWorld, rejoin_host
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import Around, Opened, fail_over, undone_of
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_power import JOURNAL_KIND, HostWorld, PowerRequest, power_vms
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import (
    Ended,
    FailoverOrder,
    FenceOrder,
    MaintenanceOrder,
    MoveOrder,
    Order,
    PowerOrder,
    RejoinOrder,
    ShutdownOrder,
)
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.real import carry_out_at_host, transactions_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import PlannedMove
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act, StorageObservation
from ansible_collections.libreha.vmware.plugins.module_utils.errors import ENDS_THE_RUN, LibrehaError, as_outcome
from ansible_collections.libreha.vmware.plugins.module_utils.errors import StaleToken as Refused
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable, Hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.lease.keeper import LeaseKeeper
from ansible_collections.libreha.vmware.plugins.module_utils.parallel import Raised, failure_of
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import EndedAct
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import FenceRequest, ServerAccess, Ssh, UnfenceRequest
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart

from .blocking import Blocking, Simulated, drive, wait
from .driver import SimulatedHost
from .engine import Group, Task
from .names import initiator, instant, name_of
from .observe import QUICK, TIMEOUT
from .parts import Parts, SimulatedDeadman
from .requests import Strange, ends_well
from .truth.hosts import Host
from .truth.target import StaleToken

BMC = 1.0  # s that a BMC takes to switch
MOVE_BOUND = 120.0  # s


class Process:
    """One order under way."""

    def __init__(self, order: Order, group: Group) -> None:
        self.order = order
        self.group = group
        self.stopping = False
        self.ended: Optional[Ended] = None
        self.lost: Optional[LibrehaError] = None


class SimulatedExecutor:
    """The hands of one run."""

    def __init__(self, parts: Parts, run: Run) -> None:
        self._parts = parts
        self._run = run
        self._processes: list[Process] = []
        self._news = Task()

    # cycle/ports.py: Executor

    def begin(self, order: Order) -> None:
        if isinstance(order, FailoverOrder) and order.resumed:
            self._parts.reach("resumed")
        process = Process(order, Group(self._parts.engine))
        process.group.when_ended = lambda: self._died(process)
        self._processes.append(process)
        process.group.start(Blocking(partial(self._live, process)))  # type: ignore[arg-type]
        self.worker_dies(process)

    def in_progress(self) -> Sequence[Order]:
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
            if process.order is order and not process.stopping:
                process.stopping = True
                self._parts.reach("called off")

    def wait(self, seconds: float) -> None:
        if not any(process.ended is not None for process in self._processes):
            if self._news.done:
                self._news = Task()
            wait((self._news, max(seconds, 0.1)))

    # What happens to the arbiter

    def worker_dies(self, process: Optional[Process] = None) -> None:
        """The scenario has one process die that acts: *process*, or the newest one under way."""
        parts = self._parts
        dying = process or (self._processes[-1] if self._processes else None)
        if parts.worker_dies is None or dying is None:
            return
        parts.engine.after(parts.worker_dies, self._kill_one, dying)
        parts.worker_dies = None

    def _kill_one(self, process: Process) -> None:
        if process.ended is None and not process.group.killed:
            process.group.kill()
            self._died(process)

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
        except (LibrehaError, Strange) as failure:
            error = pickle.loads(pickle.dumps(failure))  # as it comes from a process of its own (act/worker.py)
            process.ended = Ended(process.order, (str(as_outcome(error, str(process.order))),))
        for text in process.ended.failed:
            if "unexpected " in text and "unexpected Strange" not in text:
                raise AssertionError("a fault of the simulator, or of what it runs: %s" % text)
        self._news.end()

    def _died(self, process: Process) -> None:
        self._parts.reach("ended by its deadman, or died")
        process.ended = Ended(process.order, ("%s: it ended without an answer" % process.order,))
        self._news.end()

    def _carry_out(self, process: Process) -> Ended:
        order = process.order
        if isinstance(order, FenceOrder):
            return self._fence(process, order)
        if isinstance(order, FailoverOrder):
            return self._bring_over(process, order)
        if isinstance(order, MoveOrder):
            return self._move(process, order)
        if isinstance(order, PowerOrder):
            return self._stop_or_reset(process, order)
        if isinstance(order, (MaintenanceOrder, ShutdownOrder)):
            access = self._access(order.action.host)
            asked = HostOrder(order.action, access, self._parts.database, self._run, self._hosts(process))
            return Ended(order, changed=carry_out_at_host(order, asked))
        return self._rejoin(process, order)

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
        accesses = [HostAccess(Connection(name, name, "", "")) for name in order.live]
        around = Around(
            connect=partial(self._connect, process),
            search=lambda hosts, work: [],
            clock=parts.clock,
            runtime=Simulated(process.group),
            deadman=lambda: SimulatedDeadman(parts.engine, process.group),
        )
        planned = transactions_of(order)
        lease = (self._run.holder, self._run.token, self._run.lease)
        work, _files = fail_over(
            planned, accesses, self._look_at_servers, parts.policy, parts.database, lease, order.leave, lambda: process.stopping, around
        )
        failed = () if process.stopping else tuple(undone_of(work))
        return Ended(order, failed, any(item.changed for item in work))

    def _look_at_servers(self) -> tuple[StorageObservation, ...]:
        wait(QUICK)
        return self._parts.observer.storage()

    @contextmanager
    def _connect(self, process: Process, accesses: Sequence[HostAccess], keeper: LeaseKeeper) -> Iterator[Opened]:
        opened: dict[str, Hypervisor] = {}
        unopened: dict[str, str] = {}
        doors = {access.name: partial(self._enter, process, access, keeper.guard) for access in accesses}
        for name, outcome in self._at_once(process, doors, 0.0).items():
            if isinstance(outcome, Hypervisor):
                opened[name] = outcome
            else:
                unopened[name] = str(failure_of(outcome, "opening it", name))
        yield opened, unopened

    def _enter(self, process: Process, access: HostAccess, guard: Optional[Callable[[], None]]) -> Hypervisor:
        """Log in. Raises HostUnavailable."""
        parts = self._parts
        answer = parts.requests.connects(access.name)
        wait(TIMEOUT if answer is ApiAnswer.TIMED_OUT else QUICK)
        if answer is not ApiAnswer.ANSWERED:
            raise HostUnavailable("it does not answer (%s)" % answer.value, answer=answer, host=access.name)
        runtime = Simulated(process.group)
        return SimulatedHost(access.name, parts.world, parts.observer, parts.requests, guard or (lambda: None), runtime)

    # Fence

    def _fence(self, process: Process, order: FenceOrder) -> Ended:
        parts, action = self._parts, order.action
        if parts.world.fence_line(action.host) is None:
            parts.report.emit("fence_requested", host=action.host)
        world = FenceWorld(self._fence_at_server, self._switch_off, self._hosts(process), Simulated(process.group))
        fenced = fence_host(action, self._access(action.host), self._servers(), parts.database, self._run, world)
        return Ended(order, fenced.failed, fenced.changed)

    def _servers(self) -> dict[str, ServerAccess]:
        return {name: ServerAccess(name, ssh=None if target.own else Ssh(name)) for name, target in self._parts.world.targets.items()}

    def _access(self, host: str) -> HostAccess:
        devices = (PowerDevice(host, host),) if self._parts.world.hosts[host].has_bmc else ()
        return HostAccess(Connection(host, host, "", ""), devices)

    def _reach_server(self, server: ServerAccess) -> None:
        if not self._parts.observer.reaches_server(self._parts.world.targets[server.name]):
            wait(TIMEOUT)
            raise LibrehaError("could not be asked over ssh", host=server.name)
        wait(QUICK)

    def _reach_bmc(self, host: Host) -> None:
        wait(BMC)
        if not self._parts.observer.reaches_bmc(host):
            wait(TIMEOUT)
            raise LibrehaError("the BMC does not answer", host=host.name)

    def _fence_at_server(
        self, server: ServerAccess, request: FenceRequest, permit: Permit, durable: Callable[[], None]
    ) -> Mapping[str, Any]:
        """storage/fencing.py, here or over ssh: revoke, drop the sessions, verify."""
        parts, host, target = self._parts, self._parts.world.hosts[request.host], self._parts.world.targets[server.name]
        self._reach_server(server)
        with permit if target.own else nullcontext():
            permit.check("fence %s" % host.name)
            if initiator(host.name) in request.initiators:
                try:
                    parts.world.fence(host, request.token, request.reason, target)
                except StaleToken as error:
                    parts.reach("stale token refused: fence")
                    raise Refused("another run has acted since: %s" % error) from None
        if target.own:  # ssh tells nothing before the end
            durable()
        wait(0.6)
        return {"changed": True, "confirmed": parts.world.note_confirmed(host, target)}

    def _switch_off(self, devices: Sequence[PowerDevice], permit: Permit, _machine: Machine) -> Mapping[str, Any]:
        host = self._parts.world.hosts[devices[0].name]
        self._reach_bmc(host)
        with permit:
            permit.check("switch it off")
            self._parts.world.power_off(host)
        wait(BMC)
        return {"confirmed_off": True, "changed": True}

    # VMs

    def _hosts(self, process: Process) -> HostWorld:
        parts = self._parts

        @contextmanager
        def opened(access: HostAccess, guard: Optional[Callable[[], None]]) -> Iterator[Hypervisor]:
            yield self._enter(process, access, guard)

        return HostWorld(opened, partial(self._at_once, process), parts.clock, lambda: SimulatedDeadman(parts.engine, process.group))

    def _at_once(self, process: Process, calls: Mapping[str, Callable[[], Any]], _seconds: float) -> Mapping[str, Any]:
        """parallel.py: an outcome for each. A simulated call always comes to its end, so none is ever left behind."""
        asked: dict[str, Future[Any]] = {}
        with Simulated(process.group).workers(max(1, len(calls))) as workers:
            for key, call in calls.items():
                asked[key] = workers.submit(call)
        outcomes: dict[str, Any] = {}
        for key, future in asked.items():
            error = future.exception()
            if isinstance(error, ENDS_THE_RUN):
                raise error
            outcomes[key] = Raised(error) if isinstance(error, Exception) else future.result()
        return outcomes

    def _stop_or_reset(self, process: Process, order: PowerOrder) -> Ended:
        resets = order.kind == "reset"
        request = PowerRequest("reset" if resets else "stopped", order.vms, only_without_heartbeat=resets)
        run, access = self._run, self._access(order.host)
        world = self._hosts(process)
        result = power_vms({access.name: access}, request, self._parts.database, run.holder, run.token, run.lease, world)
        return Ended(order, changed=bool(result["changed"]))

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
                calls = {move.id: partial(self._move_live, move, check) for move in live}
                for outcome in self._at_once(process, calls, MOVE_BOUND).values():
                    if isinstance(outcome, Raised):
                        raise outcome.error
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

    # Rejoin

    def _rejoin(self, process: Process, order: RejoinOrder) -> Ended:
        parts, run = self._parts, self._run
        parts.reach("rejoin: %s" % order.action.step)
        no_chap = lambda _access, _secret, _guard: False  # noqa: E731
        world = RejoinWorld(self._let_in, self._switch, no_chap, self._hosts(process), Simulated(process.group))
        access = self._access(order.action.host)
        rejoined = rejoin_host(Rejoining(order.action, access, self._servers(), parts.database, run, world=world))
        return Ended(order, rejoined.failed, rejoined.changed)

    def _let_in(self, server: ServerAccess, request: UnfenceRequest, permit: Permit) -> Mapping[str, Any]:
        """storage/unfencing.py, here or over ssh, with its own proof of a fresh start."""
        parts, host, target = self._parts, self._parts.world.hosts[request.host], self._parts.world.targets[server.name]
        self._reach_server(server)
        line = target.fences.get(host.name)
        if line is None:
            return {"changed": False, "chap_renewed": False}
        read_at = Instant(parts.clock().boot_id, request.read_at)
        proof = FreshStart(request.uptime, parts.clock().since(read_at), force=host.name if request.word else "", reason=request.word)
        entry = Entry(host.name, initiator(host.name), line.token, instant(line.at, 0.0, parts.world.arbiter_boots), line.reason)
        lacking = self._lacking(proof, entry, parts.clock())
        if lacking:
            parts.reach("rejoin: refused by the storage server")
            raise LibrehaError("not unfenced: %s" % lacking, host=host.name)
        with permit if target.own else nullcontext():
            permit.check("admit %s" % host.name)
            try:
                parts.world.unfence(host, request.token, target)
            except StaleToken as error:
                parts.reach("stale token refused: unfence")
                raise Refused("another run has acted since: %s" % error) from None
        return {"changed": True, "chap_renewed": False}

    def _lacking(self, proof: FreshStart, entry: Entry, now: Instant) -> str:
        return proof.lacking(entry, now)

    def _switch(self, devices: Sequence[PowerDevice], state: str, permit: Permit, machine: Machine) -> Mapping[str, Any]:
        if state == "cycled":
            self._switch_off(devices, permit, machine)
        host = self._parts.world.hosts[devices[0].name]
        self._reach_bmc(host)
        with permit:
            permit.check("switch it on")
            self._parts.world.power_on(host)
        wait(BMC)
        return {"changed": True}
