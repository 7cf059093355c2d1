"""Carrying out a decision's actions with time passing, in the order of the playbooks: fence, fail over, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import (
    Action,
    FailoverAction,
    FenceAction,
    MoveAction,
    PlannedMove,
    RejoinAction,
    ResetAction,
    RestartAction,
    StopAction,
    VmTarget,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fresh_start import started_since
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Act
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.failover import Outcome

from ..engine import Group, RunEnds, Steps
from ..names import initiator, name_of
from ..observe import QUICK, TIMEOUT
from ..truth.hosts import Host
from ..truth.target import StaleToken
from .failover_run import FailoverRun
from .hypervisors import Answer, ends_well
from .parts import Parts, Permit

BMC = 1.0  # s that a BMC takes to switch
MOVE_BOUND = 120.0  # s


class Acts:
    def __init__(self, parts: Parts, permit: Permit, group: Group) -> None:
        self._parts = parts
        self._permit = permit
        self._group = group

    def carry_out(self, actions: Iterable[Action], live: Iterable[str], only_host: str) -> Steps:
        actions = list(actions)
        for fence in (action for action in actions if isinstance(action, FenceAction)):
            yield from self._fence(fence)
        starts = [vm for action in actions if isinstance(action, (FailoverAction, RestartAction)) for vm in action.vms]
        if starts or (self._parts.database.transactions and not only_host):
            yield from FailoverRun(self._parts, self._permit, self._group, live).run(starts)
        moves = [vm for action in actions if isinstance(action, MoveAction) for vm in action.vms]
        moves += [move for identity, move in self._parts.database.moves.items() if not only_host and all(vm.id != identity for vm in moves)]
        stops = [(action, vm) for action in actions if isinstance(action, (StopAction, ResetAction)) for vm in action.vms]
        threads = [self._group.start(self._stop_or_reset(action, vm)) for action, vm in stops]
        threads += [self._group.start(self._move(vm)) for vm in moves]
        if threads:
            yield threads
        for rejoin in (action for action in actions if isinstance(action, RejoinAction)):
            yield from self._rejoin(rejoin)

    # Fence

    def _fence(self, action: FenceAction) -> Steps:
        """act/fence.py: on the storage server, then its power, then, where it answers, its VMs."""
        parts, host = self._parts, self._parts.world.hosts[action.host]
        self._permit.renew(60.0 if action.power else 0.0)
        if host.name not in parts.world.target.fences:
            parts.report.emit("fence_requested", host=host.name)
        if parts.observer.cut_off:
            yield TIMEOUT
        else:
            yield QUICK
            self._permit.check()
            if initiator(host.name) in action.initiators:
                self._at_target(lambda: parts.world.fence(host, self._permit.token, "; ".join(action.reasons)))
            yield 0.6
            parts.world.note_confirmed(host)
        switched_off = False
        if action.power:
            switched_off = yield from self._switch_off(host)
        if action.stop and not switched_off:
            yield from self._stop_all(action, host)

    def _at_target(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StaleToken:
            raise RunEnds("another run has acted since") from None

    def _switch_off(self, host: Host) -> Steps:
        yield BMC
        if not self._parts.observer.reaches_bmc(host):
            yield TIMEOUT
            return False
        self._permit.check()
        self._parts.world.power_off(host)
        yield BMC
        return True

    def _stop_all(self, action: FenceAction, host: Host) -> Steps:
        world = self._parts.world
        wanted = {name_of(identity) for identity in action.vms}
        running = [vm for vm in world.vms_on(host.name) if vm.name in wanted or not wanted]
        asks = self._parts.hypervisors
        threads = [self._group.start(asks.ask(host.name, asks.stop(vm, host, in_order=False), self._permit.check)) for vm in running]
        if threads:
            yield threads

    # VMs

    def _stop_or_reset(self, action: StopAction | ResetAction, target: VmTarget) -> Steps:
        world, asks = self._parts.world, self._parts.hypervisors
        vm, host = world.vms[name_of(target.id)], world.hosts[action.host]
        stops = isinstance(action, StopAction)
        work = asks.stop(vm, host, in_order=True) if stops else asks.reset(vm, host)
        self._permit.renew()
        outcome, reason = yield from asks.ask(host.name, work, self._permit.check)
        self._parts.database.add_result(
            Act.STOP if stops else Act.RESET, target.id, host.name, outcome in (Outcome.DONE, Outcome.ALREADY), reason
        )

    def _move(self, move: PlannedMove) -> Steps:
        self._permit.renew()
        if move.live and move.running:
            world, asks = self._parts.world, self._parts.hypervisors
            vm = world.vms[name_of(move.id)]
            work = asks.migrate(vm, world.hosts[move.source], world.hosts[move.destination])
            answer = yield from asks.ask(move.source, work, self._permit.check, MOVE_BOUND)
        else:
            answer = yield from self._move_cold(move)
        self._parts.database.add_result(Act.MOVE, move.id, move.destination, ends_well(answer), answer[1])

    def _move_cold(self, move: PlannedMove) -> Steps:
        """Stop, register there, unregister here, start. It is journaled before the stop, so that another run completes it.

        It is registered there first: in no moment does no host know it.
        """
        database, world, asks, check = self._parts.database, self._parts.world, self._parts.hypervisors, self._permit.check
        vm, source, destination = world.vms[name_of(move.id)], world.hosts[move.source], world.hosts[move.destination]
        if vm.runs and source.name not in vm.executing:
            database.moves.pop(move.id, None)
            return Outcome.ALREADY, ""
        if move.id not in database.moves and move.running:
            world.begin_cold_move(vm, destination)
        database.moves[move.id] = move
        if source.name in vm.executing:
            answer = yield from asks.ask(source.name, asks.stop(vm, source, in_order=True), check)
            if not ends_well(answer):
                return self._give_up(move, answer)
        for host, work in ((destination, asks.register(vm, destination)), (source, asks.unregister(vm, source))):
            answer = yield from asks.ask(host.name, work, check)
            if not ends_well(answer):
                return self._give_up(move, answer)
        world.brought(vm, destination)
        if move.power_on:
            answer = yield from self._start_there(move)
            if not ends_well(answer):
                return self._give_up(move, answer)
        database.moves.pop(move.id, None)
        if move.running or not move.power_on:
            world.end_cold_move(vm, source, destination, done=True)
        return Outcome.DONE, ""

    def _start_there(self, move: PlannedMove) -> Steps:
        world, asks = self._parts.world, self._parts.hypervisors
        vm, destination = world.vms[name_of(move.id)], world.hosts[move.destination]
        bounds = self._parts.policy.failover
        began = self._parts.engine.now
        while True:
            answer = yield from asks.ask(destination.name, asks.power_on(vm, destination), self._permit.check, bounds.power_on_timeout)
            if answer[0] is not Outcome.FILE_LOCKED or self._parts.engine.now - began > bounds.lock_retry:
                return answer
            yield bounds.lock_retry_interval
            self._permit.renew()

    def _give_up(self, move: PlannedMove, answer: Answer) -> Answer:
        self._parts.database.moves.pop(move.id, None)
        world = self._parts.world
        world.end_cold_move(world.vms[name_of(move.id)], world.hosts[move.source], world.hosts[move.destination], done=False)
        return answer

    # Rejoin

    def _rejoin(self, action: RejoinAction) -> Steps:
        host, parts = self._parts.world.hosts[action.host], self._parts
        self._permit.renew(60.0)
        if action.step == "unfence":
            yield from self._unfence(host)
            return
        if action.step == "power_cycle":
            off = yield from self._switch_off(host)
            if not off:
                return
            yield BMC
        yield BMC
        if not parts.observer.reaches_bmc(host):
            yield TIMEOUT
            return
        self._permit.check()
        parts.world.power_on(host)

    def _unfence(self, host: Host) -> Steps:
        """storage/unfencing.py: the target itself asks for the proof of a fresh start, with the uptime as just read."""
        parts = self._parts
        yield QUICK
        line = parts.world.target.fences.get(host.name)
        if line is None or not parts.hypervisors.answers(host.name):
            return
        uptime = parts.world.now - host.booted_at
        running = parts.world.vms_on(host.name)
        yield QUICK
        if parts.observer.cut_off or running or not started_since(uptime, parts.world.now - line.at):
            return
        self._permit.check()
        self._at_target(lambda: parts.world.unfence(host, self._permit.token))
