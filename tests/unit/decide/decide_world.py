"""A small cluster in simulated time, from which looks are taken and handed to decide.

It holds what is true; a test changes that (``world.kill("esx1")``), lets time pass (``world.run(30)``) and reads the
last decision. Acts are only done when a test says so (``world.fence("esx1")``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind, apply_command
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import (
    KINDS,
    Alarm,
    Decision,
    FailoverAction,
    FenceAction,
    MoveAction,
    RestartAction,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import Obstacle
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_options

ApiAnswer, Evidence, Power = seen.ApiAnswer, seen.Evidence, seen.Power
TARGET = "iqn.2026-01.lab:san"
SHARED = "ds-shared"
# Every so many looks decide is asked again, and must say the same.
ASKED_TWICE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "prove" else 4


def initiator(host: str) -> str:
    return "iqn.1998-01.com.vmware:%s" % host


@dataclass
class Vm:
    name: str
    host: str
    power: Power = Power.ON
    memory: int = 1024
    cpu: int = 1
    datastores: tuple[str, ...] = (SHARED,)  # the first holds the .vmx
    networks: tuple[str, ...] = ("VM Network",)
    heartbeat: str = ""
    tools: str = seen.TOOLS_RUN
    io_idle: float | None = None
    obstacles: tuple[Obstacle, ...] = ()
    attached_disks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return "%s:%s/%s.vmx" % (self.datastores[0], self.name, self.name)


@dataclass
class Host:
    name: str
    api: ApiAnswer = ApiAnswer.ANSWERED
    ping: Evidence = Evidence.OK
    bmc: bool = False
    machine: seen.Machine = seen.Machine()
    behind_bmc: seen.Machine | None = None  # None: its BMC does not say whose it is
    proves_no_off: str = ""  # why its BMC cannot prove that it is off
    power: Power = Power.ON
    writes: bool = True  # its session makes progress
    session: str | None = "s1"
    counter: int = 100
    booted: float = -10000.0
    memory: int = 16384
    maintenance: bool = False
    accessible: bool = True
    told: tuple[str, ...] | None = None
    sensors: tuple[seen.Sensor, ...] = ()
    looked_at: bool = True
    networks: tuple[str, ...] = ("VM Network",)
    live_migration: bool = False
    capabilities: tuple[str, ...] = ()


@dataclass
class World:
    hosts: dict[str, Host]
    vms: dict[str, Vm]
    policy: dict[str, Any] = field(default_factory=dict)
    now: float = 1000.0
    boot: str = "boot-1"
    run_id: str = "run-1"
    memory: Memory = Memory()
    serving: bool | None = True
    target_started: float = -100000.0
    readable: bool = True
    anybody: str = ""
    driver: str = "tgt"
    unfenceable: str = ""  # what the target is
    fenced: dict[str, bool] = field(default_factory=dict)  # host -> confirmed
    fenced_at: dict[str, float] = field(default_factory=dict)
    admitted_again: set[str] = field(default_factory=set)
    isolation: dict[str, bool] = field(default_factory=dict)
    events: list[seen.Event] = field(default_factory=list)
    servers: tuple[str, ...] = ("san",)
    unasked: set[str] = field(default_factory=set)  # storage servers that cannot be asked
    decisions: list[Decision] = field(default_factory=list)
    results: list[seen.ActResult] = field(default_factory=list)
    acts: tuple[seen.ActInProgress, ...] = ()
    able: tuple[str, ...] = KINDS
    only_host: str = ""
    commands: list[Command] = field(default_factory=list)  # that the next look takes up
    change: Callable[[seen.Observation], seen.Observation] = lambda look: look

    # what happens

    def kill(self, name: str) -> None:
        """A dead machine answers nothing; its session stays listed at the target without progress."""
        host = self.hosts[name]
        host.api, host.ping, host.writes = ApiAnswer.TIMED_OUT, Evidence.FAILED, False
        for vm in self.vms_on(name):
            vm.power = Power.OFF

    def power_off(self, name: str) -> None:
        self.kill(name)
        self.hosts[name].power = Power.OFF

    def partition(self, name: str) -> None:
        self.hosts[name].api, self.hosts[name].ping = ApiAnswer.TIMED_OUT, Evidence.FAILED

    def cut_storage(self, name: str) -> None:
        host = self.hosts[name]
        host.writes, host.session, host.accessible = False, None, False

    def heal(self, name: str) -> None:
        host = self.hosts[name]
        host.api, host.ping, host.writes, host.accessible = ApiAnswer.ANSWERED, Evidence.OK, True, True
        host.session = host.session or "s-%d" % self.now

    def reboot(self, name: str) -> None:
        self.heal(name)
        self.hosts[name].booted = self.now
        for vm in self.vms_on(name):
            vm.power = Power.OFF

    def fence(self, name: str, confirmed: bool = True) -> None:
        self.fenced_at.setdefault(name, self.now)
        self.fenced[name] = confirmed
        if confirmed:
            self.hosts[name].session = None
            self.hosts[name].writes = False

    def start(self, vm: str, host: str) -> None:
        self.vms[vm].host, self.vms[vm].power = host, Power.ON

    def command(self, kind: str, subject: str = "", host: str = "", by: str = "", reason: str = "") -> str:
        """What an operator asks for; the next step acts on it."""
        asked = Command(CommandKind(kind), subject, host, by, reason)
        self.memory, text = apply_command(self.read_policy(), self.memory, asked, self.at())
        return text

    def crash(self, vm: str) -> None:
        self.vms[vm].power = Power.OFF

    def fails(self, vm: str, host: str, reason: str = "no such luck", reached: bool = True) -> None:
        """A start that failed there, or was not even tried since the host was not *reached*."""
        key = "%06d" % len(self.results)
        self.results.append(seen.ActResult(key, self.vms[vm].id, host, seen.Act.START, False, self.at(), reason, reached=reached))

    def event(self, host: str, kind: str, vm: str = "") -> None:
        """A host tells the id of those VMs only that it still has."""
        identity = self.vms[vm].id if vm in self.vms else ""
        self.events.append(seen.Event(host, len(self.events) + 1, kind, "", identity, vm_name=vm))

    def vms_on(self, host: str) -> list[Vm]:
        return [vm for vm in self.vms.values() if vm.host == host]

    # looking

    def at(self) -> Instant:
        whole = int(self.now)
        return Instant(self.boot, self.now, "2026-01-01T%02d:%02d:%02d.000+00:00" % (whole // 3600 % 24, whole // 60 % 60, whole % 60))

    def look(self) -> seen.Observation:
        at = self.at()
        read = [host for host in self.hosts.values() if host.api is ApiAnswer.ANSWERED and host.looked_at]
        look = seen.Observation(
            taken_at=at,
            hosts=tuple(self._see(host) for host in self.hosts.values() if host.looked_at),
            vms=tuple(self._see_vm(vm) for vm in self.vms.values() if vm.host in {host.name for host in read}),
            vms_read=tuple(host.name for host in read),
            events=tuple(
                event for event in self.events if event.host in {host.name for host in read} and event.key > self._seen(event.host)
            ),
            storage=tuple(self._see_storage(name) for name in self.servers),
            results=tuple(self.results),
            isolation=tuple(seen.IsolationProbe(address, answers) for address, answers in self.isolation.items()),
            in_progress=self.acts,
        )
        return self.change(look)

    def step(self, after: float = 0.0, look: seen.Observation | None = None) -> Decision:
        """Let time pass, look, decide; memory and observation go through JSON as they do in a playbook."""
        self.now += after
        for host in self.hosts.values():
            if host.writes and host.session:
                host.counter += 1 if after else 0
        policy = self.read_policy()
        look = seen.Observation.from_dict(json.loads(json.dumps(to_dict(look or self.look()))))
        memory = Memory.from_dict(json.loads(json.dumps(self.memory.to_dict())))
        for command in self.commands:
            memory, _said = apply_command(policy, memory, command, self.at(), self.able)
        self.commands = []
        decision = decide(policy, memory, look, self.at(), self.run_id, self.able, self.only_host)
        if len(self.decisions) % ASKED_TWICE == 0:
            assert decide(policy, memory, look, self.at(), self.run_id, self.able, self.only_host) == decision
        self.memory = decision.memory
        self.decisions.append(decision)
        return decision

    def run(self, seconds: float, every: float = 3.0) -> Decision:
        end = self.now + seconds
        while self.now < end:
            self.step(every)
        return self.last

    def read_policy(self) -> Policy:
        """Contradictions are let through: decide holds what the reader would have refused, too."""
        policy: Policy = read_options(Policy, self.full_policy(), "")
        return policy

    def full_policy(self) -> dict[str, Any]:
        return {
            "mode": "act",
            "hosts": {name: {"initiator": initiator(name), "has_bmc": host.bmc} for name, host in self.hosts.items()},
            "storage": {name: {} for name in self.servers},
            **self.policy,
        }

    def _see(self, host: Host) -> seen.HostObservation:
        common: dict[str, Any] = {
            "name": host.name,
            "taken_at": self.at(),
            "api_answer": host.api,
            "ping": host.ping,
            "has_bmc": host.bmc,
            "proves_no_off": host.proves_no_off,
            "behind_bmc": (host.behind_bmc,) if host.bmc and host.behind_bmc is not None else (),
            "power": host.power if host.bmc else Power.UNKNOWN,
        }
        if host.api is not ApiAnswer.ANSWERED:
            return seen.HostObservation(**common)
        used = sum(vm.memory for vm in self.vms_on(host.name) if vm.power is Power.ON)
        shared = seen.Datastore("shared", SHARED, accessible=host.accessible, luns=(seen.Lun(TARGET, 1),))
        local = seen.Datastore("local-%s" % host.name, "ds-local-%s" % host.name, local=True)
        return seen.HostObservation(
            **common,
            machine=host.machine,
            uptime=self.now - host.booted,
            maintenance=host.maintenance,
            cpu_cores=8,
            cpu_total=16000,
            cpu_free=15000,
            memory_total=host.memory,
            memory_free=host.memory - used,
            sensors=host.sensors,
            datastores=(shared, local),
            networks=host.networks,
            capabilities=host.capabilities,
            live_migration=host.live_migration,
            initiators=(initiator(host.name),) if host.told is None else host.told,
        )

    def _see_vm(self, vm: Vm) -> seen.VmObservation:
        backings = tuple(
            seen.Backing("[%s] %s/%s" % (store, vm.name, kind), kind, store, store)
            for store, kind in zip(vm.datastores, ("vmx", "disk", "swap"), strict=False)
        )
        return seen.VmObservation(
            id=vm.id,
            host=vm.host,
            name=vm.name,
            path="[shared] %s/%s.vmx" % (vm.name, vm.name),
            taken_at=self.at(),
            power=vm.power,
            memory=vm.memory,
            cpu=vm.cpu,
            backings=backings,
            networks=vm.networks,
            obstacles=vm.obstacles,
            attached_disks=vm.attached_disks,
            heartbeat=vm.heartbeat,
            tools=vm.tools,
            io_idle=vm.io_idle,
        )

    def _see_storage(self, name: str) -> seen.StorageObservation:
        if self.serving is None or name in self.unasked:
            return seen.StorageObservation(name, self.at(), serving=None, reason="ssh timed out")
        admitted = [host for host in self.hosts if host not in self.fenced or host in self.admitted_again]
        sessions = tuple(
            seen.Session(initiator(host.name), TARGET, host.session, commands_done=host.counter, bytes_done=host.counter * 512)
            for host in self.hosts.values()
            if host.session
        )
        return seen.StorageObservation(
            name,
            self.at(),
            driver=self.driver,
            serving=self.serving,
            up_for=self.now - self.target_started,
            sessions=sessions if self.readable and self.serving else None,
            access=(
                seen.TargetAccess(
                    TARGET, tuple(initiator(host) for host in admitted), bool(self.anybody), self.anybody, (1,), self.unfenceable
                ),
            ),
            fences=tuple(
                seen.Fence(
                    host,
                    initiator(host),
                    7,
                    Instant(self.boot, self.fenced_at.get(host, self.now)),
                    confirmed=confirmed and host not in self.admitted_again,
                    admitted=host in self.admitted_again,
                    why_not="" if confirmed else "a session is still there",
                )
                for host, confirmed in self.fenced.items()
            ),
        )

    def _seen(self, host: str) -> int:
        """As the playbook does, only events after the last one that was dealt with are asked for."""
        return self.memory.host(host).last_event or 0

    # reading the last decision

    @property
    def last(self) -> Decision:
        return self.decisions[-1]

    def verdict(self, host: str) -> str:
        return next(item.verdict.value for item in self.last.hosts if item.host == host)

    def row(self, host: str) -> int:
        return next(item.row for item in self.last.hosts if item.host == host)

    def fences(self) -> dict[str, FenceAction]:
        return {action.host: action for action in self.last.actions if isinstance(action, FenceAction)}

    def failovers(self) -> dict[str, FailoverAction]:
        return {action.host: action for action in self.last.actions if isinstance(action, FailoverAction)}

    def restarts(self) -> dict[str, RestartAction]:
        return {action.host: action for action in self.last.actions if isinstance(action, RestartAction)}

    def moves(self) -> dict[str, tuple[str, str]]:
        """VM name -> (destination, cause)."""
        actions = [action for action in self.last.actions if isinstance(action, MoveAction)]
        return {vm.name: (vm.destination, vm.cause.value) for action in actions for vm in action.vms}

    def move(self) -> None:
        """Carry the moves out."""
        for name, (destination, _cause) in self.moves().items():
            self.vms[name].host = destination

    def of(self, kind: type[Any]) -> list[Any]:
        return [action for action in self.last.actions if isinstance(action, kind)]

    def plan(self) -> dict[str, str]:
        return {vm.name: vm.destination for action in self.failovers().values() for vm in action.vms}

    def alarm(self, key: str) -> Alarm | None:
        return next((alarm for alarm in self.last.alarms if alarm.key.startswith(key)), None)

    def held(self, subject: str) -> str:
        """Of a host, or of a VM by its name."""
        identity = self.vms[subject].id if subject in self.vms else subject
        return "; ".join(item.reason for item in self.last.held if item.subject == identity)

    def record(self, vm: str) -> VmRecord:
        return next(record for record in self.memory.vms if record.name == vm)

    def all_actions(self) -> list[Any]:
        return [action for decision in self.decisions for action in decision.actions]


def three_hosts(bmc: bool = False, **options: Any) -> World:
    """esx1 runs vm1 and vm2, esx2 runs vm3, esx3 runs vm4; all on one iSCSI datastore. Two looks have been taken."""
    world = World(
        hosts={name: Host(name, bmc=bmc) for name in ("esx1", "esx2", "esx3")},
        vms={name: Vm(name, host) for name, host in (("vm1", "esx1"), ("vm2", "esx1"), ("vm3", "esx2"), ("vm4", "esx3"))},
        policy=options,
    )
    world.run(9)
    return world
