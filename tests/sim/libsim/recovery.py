"""Guarantee 3: whoever can run legally somewhere runs again within ``recovery_bound``.

The clock of a VM counts only time in which nothing stood in the way: it is desired and down, a healthy host that is
legal for it and has room is there, a monitor is at work with nothing held as a whole, and the host that had it is in a
state that can be told and answered (the rows of docs/safety.md). It is set back when there is no such host, and when the VM runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.cold_start import AHEAD
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode, Policy, Priority, Protection, ReadyCondition
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict

from .engine import Engine
from .legality import Legality
from .observe import TIMEOUT
from .report import Report
from .service import Service
from .truth.hosts import Host
from .truth.vms import Vm
from .truth.world import World

EVERY = 5.0  # s between two looks at the clocks
DOUBLINGS = 4  # of retry_interval, decide/tries.py


class Recovery:
    def __init__(
        self,
        engine: Engine,
        world: World,
        legality: Legality,
        report: Report,
        policy: Policy,
        service: Service,
        desired: Mapping[str, bool],
    ) -> None:
        self._engine = engine
        self._world = world
        self._legality = legality
        self._report = report
        self._policy = policy
        self._service = service
        self.desired = dict(desired)
        self.ignored: set[str] = set()
        self.maintenance: set[str] = set()  # hosts that an operator wants empty
        self.suspended = False  # the monitor's memory was taken from it
        self._restarted = False
        self._shut_down: set[str] = set()  # hosts that are off with everything
        self._started_again: Optional[float] = None  # when the first one was up again
        self._clocks: dict[str, float] = {}
        self._reported: set[str] = set()
        self._failures: dict[str, list[float]] = {}
        self._up_since: dict[str, float] = {}
        engine.after(EVERY, self._tick)

    def hears(self, what: str, vm: Optional[Vm], host: Optional[Host], came_from: str) -> None:
        if vm is not None and what in ("crashed", "start_failed"):
            self._failures.setdefault(vm.name, []).append(self._engine.now)
        if host is not None and what == "shutting_down":
            self._shut_down.add(host.name)

    def monitor_restarted(self) -> None:
        self._restarted = True

    def _tick(self) -> None:
        self._engine.after(EVERY, self._tick)
        self._note_shutdown()
        down = []
        for vm in self._world.vms.values():
            if any(self._world.hosts[host].runs for host in vm.executing):
                self._clocks.pop(vm.name, None)
                self._reported.discard(vm.name)
                since = self._up_since.setdefault(vm.name, self._engine.now)
                if self._engine.now - since > self._policy.stable_after:
                    self._failures.pop(vm.name, None)
                continue
            self._up_since.pop(vm.name, None)
            if self._wanted(vm):
                down.append(vm)
        if not down or self._held():
            return
        for vm in down:
            self._count(vm, down)

    def _count(self, vm: Vm, down: list[Vm]) -> None:
        legal = any(self._healthy(host) and self._legality.could_start(vm, host.name, down) for host in self._world.hosts.values())
        if not legal:
            self._clocks[vm.name] = 0.0
            return
        if not self._can_be_answered(vm):
            return
        self._clocks[vm.name] = self._clocks.get(vm.name, 0.0) + EVERY
        if self._clocks[vm.name] > self._bound(vm) and vm.name not in self._reported:
            self._reported.add(vm.name)
            text = "%s has been down for %.0f s although a legal host with room was there" % (vm.name, self._clocks[vm.name])
            self._report.violation("not_recovered", text, vm=vm.name)

    def _wanted(self, vm: Vm) -> bool:
        wish = self._policy.vm(vm.id, vm.name)
        protected = wish.protection is Protection.PROTECTED and wish.priority is not Priority.DISABLED
        return protected and self.desired[vm.name] and vm.name not in self.ignored

    def _held(self) -> bool:
        """Everything stands still by what the operator wants, by the brake, or because nobody is there to act."""
        decision = self._service.decision
        if self.suspended or not self._service.works or decision is None or self._policy.mode is not Mode.ACT:
            return True
        if decision.memory.brake.held or decision.memory.disarmed or decision.memory.goes_down:
            return True
        # docs/safety.md, "Timers": API and ping are not silent across a gap over confirm_after, so looks that rare confirm nothing.
        if self._service.parts.slow + 2 * TIMEOUT > self._policy.confirm_after:
            return True
        return any(host.verdict is Verdict.OBSERVER_ISOLATED for host in decision.hosts)

    def _healthy(self, host: Host) -> bool:
        return (
            host.answers
            and not self._unasked(host)
            and self._connects(host)
            and self._world.can_write(host)
            and not host.leaving
            and not host.red
            and self._world.fence_line(host.name) is None
            and host.name not in self.maintenance
            and not host.maintenance
        )

    def _unasked(self, host: Host) -> bool:
        """The monitor cannot ask it anything."""
        return host.name in self._service.parts.observer.unresolved

    def _connects(self, host: Host) -> bool:
        """To what acts for the monitor."""
        return self._service.parts.requests.connection.get(host.name, "works") == "works"

    def _can_be_answered(self, vm: Vm) -> bool:
        host = self._world.hosts[vm.host]
        if any(vm.start_fails.values()) or self._engine.now < self._pause_ends(vm):
            return False
        if self._healthy(host):
            return True
        if self._unasked(host):
            return False
        for target in (self._world.targets[name] for name in vm.servers):
            if not target.asked or (host.name in target.failing and not target.fenced(host.name)):
                return False
            if not target.serving or self._engine.now - target.started_at < self._policy.storage_grace:
                return False
        if self._late_at_a_cold_start(host) or self._late_after_a_shutdown(host):
            return False
        if self._restarted and self._may_be_elsewhere(host):
            return False
        if self._world.reads_some(vm, host) and not host.answers:  # isolated, or its agent is dead: its VMs are left alone
            return False
        # What cannot be proved stopped is held: a host with a BMC that cannot be asked.
        return not host.has_bmc or host.bmc or host.answers

    def _late_at_a_cold_start(self, host: Host) -> bool:
        """All power was away, and it has not booted since: the policy lets it be late."""
        boots = self._world.arbiter_boots
        if not boots or self._engine.now - boots[-1] >= self._policy.cold_start_grace:
            return False
        kept_running = any(other.state == "up" and other.booted_at < boots[-1] - AHEAD for other in self._world.hosts.values())
        return not kept_running and not (host.booted_at > boots[-1] - AHEAD and host.state == "up")

    def _note_shutdown(self) -> None:
        """Which hosts went off while everything was shut down, and when the first host was up again after that."""
        decision = self._service.decision
        if decision is not None and decision.memory.goes_down:
            self._started_again = None
            self._shut_down |= {host.name for host in self._world.hosts.values() if host.leaving or host.state == "off"}
            return
        self._shut_down -= {name for name in self._shut_down if self._world.hosts[name].runs and not self._world.hosts[name].leaving}
        if self._started_again is None and self._service.works and any(host.answers for host in self._world.hosts.values()):
            self._started_again = self._engine.now

    def _late_after_a_shutdown(self, host: Host) -> bool:
        """It went off with everything, and has not booted since: the policy lets it be late."""
        over = self._started_again is not None and self._engine.now - self._started_again > self._policy.cold_start_grace + 2 * EVERY
        return host.name in self._shut_down and not over

    def _may_be_elsewhere(self, source: Host) -> bool:
        """A monitor that was away cannot tell where the VM went while another host is silent."""
        for host in self._world.hosts.values():
            known_off = host.state == "off" and host.has_bmc and host.bmc
            if (
                host is not source
                and (not host.answers or self._unasked(host))
                and not known_off
                and self._world.fence_line(host.name) is None
            ):
                return True
        return False

    def _pause_ends(self, vm: Vm) -> float:
        """The growing pauses after starts that failed and crashes are the policy's."""
        failures = self._failures.get(vm.name, [])
        if len(failures) < 2:
            return 0.0
        return failures[-1] + self._policy.retry_interval * (1 << min(len(failures) - 1, DOUBLINGS))

    def _bound(self, vm: Vm) -> float:
        """Those that wait for others may wait as long as the policy says."""
        bound = self._policy.recovery_bound
        wish = self._policy.vm(vm.id, vm.name)
        if wish.start_after or self._policy.start_order.condition is not ReadyCondition.RESOURCES_ALLOCATED:
            bound += max(self._policy.start_order.timeout, wish.start_order.timeout if wish.start_order else 0.0)
        return bound
