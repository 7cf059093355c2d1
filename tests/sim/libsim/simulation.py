"""One scenario, from its beginning to its end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

from .blocking import wait
from .engine import Engine
from .legality import Legality
from .observe import Observer
from .parts import Parts
from .recovery import Recovery
from .referee import Referee
from .report import Report
from .requests import Hypervisors
from .scenario import Happening, Scenario
from .seed import seed_memory
from .service import Service
from .truth.target import Target
from .truth.world import World

CABLES = {"network": "network", "api": "api", "bmc": "bmc"}
Decider = Callable[..., Any]


class Simulation:
    """*decider* is ``decide``; a test of the referee gives a wrong one."""

    def __init__(self, scenario: Scenario, decider: Optional[Decider] = None, ages: Optional[random.Random] = None) -> None:
        self.scenario = scenario
        self.engine = Engine()
        self.report = Report(self.engine, scenario.hosts, scenario.vms)
        self.world = World(self.engine, scenario, self.report.emit)
        self.observer = Observer(self.world)
        for happening in scenario.timeline:
            self.engine.at(happening.at, self._happens, happening)
        self.parts = self._parts(decider)
        self.parts.ages = ages
        self.service = Service(self.parts)
        legality = Legality(self.world, scenario.policy)
        unstopped = frozenset(scenario.policy.allow_unstopped_source)
        self.referee = Referee(self.engine, self.world, legality, self.report, unstopped, self._can_act)
        desired = {name: spec.desired == "started" for name, spec in scenario.vms.items()}
        self.recovery = Recovery(self.engine, self.world, legality, self.report, scenario.policy, self.service, desired)
        self.recovery.ignored |= {name for name, spec in scenario.vms.items() if spec.desired == "ignored"}
        self.world.watchers += [self.referee, self.recovery]
        self.referee.watch()

    def _parts(self, decider: Optional[Decider]) -> Parts:
        database = StateDatabase.in_memory(self.observer.instant, wait)
        memory = seed_memory(self.scenario, self.world)
        lease = database.acquire_lease("earlier", 1.0)
        database.save_memory(memory.to_dict(), lease.token)
        database.release_lease("earlier", lease.token)
        policy = self.scenario.policy
        requests = Hypervisors(self.engine, self.world, self.observer)
        parts = Parts(self.engine, self.world, self.observer, requests, database, policy, self.report, _told(decider), memory)
        parts.memories.append((self.engine.now, memory))
        return parts

    def run(self) -> dict[str, Any]:
        self.engine.run(self.scenario.until)
        self.referee.check()
        self.parts.check_record()
        return {
            "name": self.scenario.name,
            "timeline": self.report.timeline,
            "final": {
                "vms": {name: vm.executing[-1] if vm.executing else None for name, vm in self.world.vms.items()},
                "hosts": {name: self.report.states.get(name, "unknown") for name in self.world.hosts},
            },
            "violations": self.report.violations,
        }

    def close(self) -> None:
        """End what still runs, and the database with it."""
        self.service.close()
        self.parts.database.close()

    def _can_act(self) -> bool:
        return self.service.works and self.scenario.policy.mode is Mode.ACT and not self.parts.memory.disarmed

    # The timeline of the scenario

    def _happens(self, entry: Happening) -> None:
        getattr(self, "_do_" + entry.do)(entry)

    def _do_power(self, entry: Happening) -> None:
        host = self.world.hosts[entry.host]
        (self.world.power_on if entry.to == "on" else self.world.power_off)(host)

    def _cable(self, entry: Happening) -> None:
        self.world.set(self.world.hosts[entry.host], CABLES[entry.do], entry.to == "on")

    _do_network = _do_api = _do_bmc = _cable

    def _targets(self, entry: Happening) -> list[Target]:
        """That of the server that is named, or all."""
        return [self.world.targets[name] for name in ((entry.server,) if entry.server else self.world.targets)]

    def _do_storage(self, entry: Happening) -> None:
        self.world.plug_storage(self.world.hosts[entry.host], [target.name for target in self._targets(entry)], entry.to == "on")

    def _do_hang(self, entry: Happening) -> None:
        self.world.hang(self.world.hosts[entry.host], entry.to == "on")

    def _do_shutdown(self, entry: Happening) -> None:
        self.world.shut_down(self.world.hosts[entry.host], and_boot=False)

    def _do_reboot(self, entry: Happening) -> None:
        self.world.shut_down(self.world.hosts[entry.host], and_boot=True)

    def _do_sensor(self, entry: Happening) -> None:
        self.world.set(self.world.hosts[entry.host], "red", entry.to == "red")

    def _do_name_service(self, entry: Happening) -> None:
        names = {entry.host} if entry.host else set(self.world.hosts)
        (self.observer.unresolved.difference_update if entry.to == "on" else self.observer.unresolved.update)(names)

    def _do_maintenance(self, entry: Happening) -> None:
        on = entry.to == "on"
        (self.recovery.maintenance.add if on else self.recovery.maintenance.discard)(entry.host)
        self._command(CommandKind.MAINTENANCE_ON if on else CommandKind.MAINTENANCE_OFF, entry.host)

    def _do_maintenance_mode(self, entry: Happening) -> None:
        host = self.world.hosts[entry.host]
        if host.runs and not (entry.to == "on" and self.world.vms_on(host.name)):
            self.world.set_maintenance_mode(host, entry.to == "on")

    def _do_rejoin(self, entry: Happening) -> None:
        self._command(CommandKind.REJOIN, entry.host)

    def _do_vm(self, entry: Happening) -> None:
        recovery = self.recovery
        if entry.command == "ignore":
            recovery.ignored.add(entry.vm)
        elif entry.command == "manage":
            recovery.ignored.discard(entry.vm)
        elif entry.command in ("start", "stop") and entry.vm not in recovery.ignored:
            recovery.desired[entry.vm] = entry.command == "start"
        self._command(CommandKind(entry.command), entry.vm, entry.host)

    def _do_disk(self, entry: Happening) -> None:
        vm = self.world.vms[entry.vm]
        if entry.server not in vm.servers:
            vm.servers += (entry.server,)

    def _do_vm_fault(self, entry: Happening) -> None:
        vm = self.world.vms[entry.vm]
        if entry.fault == "crash":
            self.world.crash(vm)
        elif entry.fault == "guest_hangs":
            if vm.runs and vm.hangs_since is None:
                vm.hangs_since = self.engine.now
        elif entry.fault == "slow_shutdown":
            vm.shutdown_lasts = entry.by
        else:
            vm.start_fails[entry.host] = entry.times

    def _do_target(self, entry: Happening) -> None:
        for target in self._targets(entry):
            {"restart": self.world.restart_target, "off": self.world.stop_target, "on": self.world.start_target}[entry.to](target)

    def _do_fence(self, entry: Happening) -> None:
        for target in self._targets(entry):
            (target.failing.add if entry.to == "fails" else target.failing.discard)(entry.host)

    def _do_ssh(self, entry: Happening) -> None:
        self.world.targets[entry.server].asked = entry.to == "on"

    def _do_looks(self, entry: Happening) -> None:
        self.parts.slow = entry.by

    def _do_worker(self, entry: Happening) -> None:
        self.parts.worker_dies = entry.by
        self.service.worker_dies()

    def _do_connection(self, entry: Happening) -> None:
        self.parts.requests.connection[entry.host] = entry.to

    def _do_monitor(self, entry: Happening) -> None:
        service = self.service
        self.recovery.monitor_restarted()
        {
            "killed": service.kill,
            "isolated": service.isolate,
            "restarted": service.restart,
            "frozen": service.freeze,
            "thawed": service.thaw,
        }[entry.to]()

    def _do_all_power(self, entry: Happening) -> None:
        self.recovery.monitor_restarted()
        if entry.to == "on":
            self.world.arbiter_boots += (self.engine.now,)
            for target in self.world.targets.values():
                self.world.start_target(target)
            self.service.restart()
            return
        self.service.kill()
        for host in self.world.hosts.values():
            self.world.power_off(host)
        for target in self.world.targets.values():
            self.world.stop_target(target)

    def _do_clock(self, entry: Happening) -> None:
        self.observer.wall_offset += entry.by

    def _do_operator(self, entry: Happening) -> None:
        self._command(CommandKind(entry.command), entry.subject, by=entry.who or "operator", reason=entry.reason or "scenario")

    def _do_stale(self, entry: Happening) -> None:
        self.service.stale(entry.by)

    def _do_old_memory(self, entry: Happening) -> None:
        self.recovery.suspended = True
        self.parts.put_back(entry.by)

    def _command(self, kind: CommandKind, subject: str, host: str = "", by: str = "operator", reason: str = "") -> None:
        self.service.command(Command(kind, subject, host, by, reason))


def _told(decider: Optional[Decider]) -> Decider:
    """``decide`` as the judge calls it; a test's brain is told of a host only where a run is about one."""
    if decider is None:
        return decide

    def call(policy: Any, memory: Any, observation: Any, now: Any, run_id: str, able: Any, only_host: str) -> Any:
        return decider(policy, memory, observation, now, run_id, **({"only_host": only_host} if only_host else {}))

    return call


def simulate(
    scenario: Scenario,
    decider: Optional[Decider] = None,
    marks: Optional[Counter[str]] = None,
    ages: Optional[random.Random] = None,
) -> dict[str, Any]:
    """*marks* takes how often what is rare was reached; *ages* draws the ages of what each look is made of (aged.py)."""
    simulation = Simulation(scenario, decider, ages)
    try:
        return simulation.run()
    finally:
        if marks is not None:
            marks.update(simulation.report.marks)
        simulation.close()
