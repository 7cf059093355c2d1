"""The cluster as it is. Everything that changes it goes through here, and the referee sees each change.

Invariant: nothing in here knows what anybody observed or decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import cpu_of

from ..engine import Engine, Task
from ..names import NETWORK
from ..scenario import Scenario
from .hosts import BOOT, NOTICES_LOST_STORAGE, SHUTDOWN, VM_SHUTDOWN, Host, Link
from .target import LOGIN, SESSION_LINGERS, FenceLine, Session, Target
from .vms import LOCK_LEASE, Vm

LOST_LOCK_KILLS = 1.0  # s from seeing the storage again until a VM without its lock is killed
MIGRATION = 10.0  # s
TARGET_RESTART = 3.0  # s

Emit = Callable[..., None]


class World:
    """``emit`` takes an event of the timeline; ``watchers`` are called with what has just happened."""

    def __init__(self, engine: Engine, scenario: Scenario, emit: Emit) -> None:
        self.engine = engine
        self.emit = emit
        self.watchers: list[Any] = []
        self.arbiter_boots: tuple[float, ...] = ()  # since the simulation began
        self.targets = {name: Target(name, own=not index) for index, name in enumerate(scenario.servers)}
        self.hosts = {
            name: Host(
                name,
                spec.memory,
                spec.cpu,
                spec.bmc,
                spec.live_migration,
                (NETWORK,) if spec.networks is None else spec.networks,
                spec.capabilities,
                state="up" if spec.up else "off",
                booted_at=-10000.0,
                boot=1 if spec.up else 0,
                links={server: Link(accessible=spec.up) for server in scenario.servers},
            )
            for name, spec in scenario.hosts.items()
        }
        self.vms = {
            name: Vm(
                name,
                spec.host,
                spec.memory,
                spec.cpu,
                (NETWORK,) if spec.networks is None else spec.networks,
                spec.obstacles,
                spec.servers,
            )
            for name, spec in scenario.vms.items()
        }
        for host in self.hosts.values():
            if host.state == "up":
                for server, target in self.targets.items():
                    self._log_in(host, target)
                    target.sessions[host.name].works_since = -10000.0
                    host.links[server].wrote = True
        for vm in self.vms.values():
            self.hosts[vm.host].registered.add(vm.name)
            if scenario.vms[vm.name].desired == "started" and scenario.hosts[vm.host].up:
                vm.executing.append(vm.host)
                vm.lock = vm.host

    # What can be asked of the truth

    @property
    def now(self) -> float:
        return self.engine.now

    @property
    def target(self) -> Target:
        """That of the storage server on which the monitor runs."""
        return next(iter(self.targets.values()))

    def can_write(self, host: Host, *servers: str) -> bool:
        """Whether its writes land: on each of *servers*, without any on all."""
        return all(self._writes(host, self.targets[name]) for name in servers or self.targets)

    def _writes(self, host: Host, target: Target) -> bool:
        session = target.sessions.get(host.name)
        return host.runs and host.links[target.name].path and target.serving and session is not None and session.boot == host.boot

    def reads_some(self, vm: Vm, host: Host) -> bool:
        """Whether *host* reaches files of *vm*, on any server: it goes on renewing their locks."""
        return any(self.can_write(host, server) for server in vm.servers)

    def fenced(self, host: str, *servers: str) -> bool:
        """The truth: none of its writes can land any more on *servers*, without any on no server at all."""
        return all(self.targets[name].fenced(host) for name in servers or self.targets)

    def fence_line(self, host: str) -> Optional[FenceLine]:
        """The newest one of *host* on any fence list."""
        lines = [target.fences[host] for target in self.targets.values() if host in target.fences]
        return max(lines, key=lambda line: line.at, default=None)

    def vms_on(self, host: str) -> list[Vm]:
        return [vm for vm in self.vms.values() if host in vm.executing]

    def places(self) -> dict[str, str]:
        """VM -> where it counts for rules between VMs; "" when it runs nowhere.

        What a fenced host may still execute (it is frozen, or cut off) does no work that lasts, and is brought back elsewhere one VM after
        the other: it counts nowhere, or VMs that belong together could never leave such a host.
        """
        return {name: "" if self.fenced(vm.place, *vm.servers) else vm.place for name, vm in self.vms.items()}

    def used(self, host: str) -> tuple[int, int]:
        """MiB and cores of the VMs that execute, start, or arrive there."""
        there = [vm for vm in self.vms.values() if host in vm.executing or host in (vm.starting, vm.moving_to)]
        return sum(vm.memory for vm in there), sum(vm.cores for vm in there)

    # Hosts

    def power_on(self, host: Host) -> None:
        if host.state != "off":
            return
        host.state, host.booted_at = "booting", self.now
        host.boot += 1
        boot = host.boot
        self._settle()
        self.engine.after(BOOT, self._booted, host, boot)

    def _booted(self, host: Host, boot: int) -> None:
        if host.state != "booting" or host.boot != boot:
            return
        host.state, host.api = "up", True
        self._nothing_accessible(host)
        host.events = []
        self._settle()

    def power_off(self, host: Host) -> None:
        """Without warning: the plug, or its BMC."""
        if host.state == "off":
            return
        host.state, host.hung, host.leaving = "off", False, 0
        self._nothing_accessible(host)
        for vm in self.vms_on(host.name):
            self._expire_lock(vm, host)
            self._lose(vm, host)
        for vm in self.vms.values():
            if vm.starting == host.name:
                self._expire_lock(vm, host)
                vm.starting = ""
        self._settle()

    def _nothing_accessible(self, host: Host) -> None:
        for link in host.links.values():
            link.accessible = False

    def plug_storage(self, host: Host, servers: Iterable[str], value: bool) -> None:
        """The cables to the targets of *servers*."""
        for server in servers:
            host.links[server].path = value
        self._settle()

    def hang(self, host: Host, hangs: bool) -> None:
        if host.state != "up" or host.hung is hangs:
            return
        host.hung = hangs
        self._settle()

    def set(self, host: Host, what: str, value: bool) -> None:
        """A cable, the agent, the BMC, a sensor."""
        if getattr(host, what) is value:
            return
        if what == "api" and host.state != "up":
            return
        setattr(host, what, value)
        self._settle()

    def shut_down(self, host: Host, and_boot: bool, with_everything: bool = False) -> None:
        """In order: it tells so, stops its VMs, logs out, and is off. *with_everything*: the monitor asked for it."""
        if not host.runs or host.leaving:
            return
        if with_everything:
            self.emit("host_shutdown", host=host.name)
            self._tell("shutting_down", None, host)
        host.leaving = host.boot
        host.tell("host_reboot" if and_boot else "host_shutdown")
        leaving = host.leaving
        running = self.vms_on(host.name)
        for index, vm in enumerate(running):
            self.engine.after(VM_SHUTDOWN * (index + 1) / (len(running) + 1), self._stop_while_leaving, vm, host, leaving)
        self.engine.after(SHUTDOWN, self._gone, host, leaving, and_boot)
        self._settle()

    def _stop_while_leaving(self, vm: Vm, host: Host, leaving: int) -> None:
        if host.hung:
            self.engine.after(1.0, self._stop_while_leaving, vm, host, leaving)
        elif host.leaving == leaving:
            self.stop(vm, host)

    def _gone(self, host: Host, leaving: int, and_boot: bool) -> None:
        if host.leaving != leaving:
            return
        if host.hung:
            self.engine.after(1.0, self._gone, host, leaving, and_boot)
            return
        for vm in self.vms_on(host.name):
            self.stop(vm, host)
        for target in self.targets.values():
            target.sessions.pop(host.name, None)
        self.power_off(host)
        if and_boot:
            self.power_on(host)

    def set_maintenance_mode(self, host: Host, on: bool) -> None:
        if host.maintenance is not on:
            host.maintenance = on
            if on:
                self.emit("maintenance_entered", host=host.name)
            else:
                self.emit("maintenance_left", host=host.name)
            self._settle()

    # VMs

    def start(self, vm: Vm, host: Host) -> None:
        """Its process begins on *host*, which has its lock."""
        if host.name in vm.executing:
            return
        came_from = vm.host
        vm.executing.append(host.name)
        vm.starting = vm.suspended_on = ""
        vm.lock, vm.lock_ends, vm.host, vm.hangs_since = host.name, None, host.name, None
        host.registered.add(vm.name)
        host.tell("vm_powered_on", vm.name)
        moved, vm.cold_to = vm.cold_to == host.name, ""
        if moved:
            self.emit("migration_done", vm=vm.name, host=host.name)
        else:
            self.emit("vm_started", vm=vm.name, host=host.name)
        self._tell("started", vm, host, came_from)
        self._settle()

    def start_failed(self, vm: Vm, host: Host) -> None:
        self._tell("start_failed", vm, host)
        self._settle()

    def stop(self, vm: Vm, host: Host) -> None:
        """In order, by somebody."""
        if host.name not in vm.executing:
            return
        self._end(vm, host)
        host.tell("vm_powered_off", vm.name)
        self._lets_go(vm, host)
        if not vm.cold_to:
            self.emit("vm_stopped", vm=vm.name, host=host.name)
        self._settle()

    def suspend(self, vm: Vm, host: Host) -> None:
        if host.name not in vm.executing:
            return
        vm.suspended_on = cpu_of(host.capabilities)
        self._end(vm, host)
        host.tell("vm_suspended", vm.name)
        self._lets_go(vm, host)
        self.emit("vm_suspended", vm=vm.name, host=host.name)
        self._settle()

    def switch_off(self, vm: Vm, host: Host) -> None:
        """Its process is ended through the host's API without asking the guest."""
        if host.name not in vm.executing:
            return
        host.tell("vm_powered_off", vm.name)
        self._lose(vm, host)
        self._lets_go(vm, host)
        self._settle()

    def _lets_go(self, vm: Vm, host: Host) -> None:
        """It was asked to, for a move: from now on its own list says so."""
        vm.let_go = (host.name, self.now) if vm.cold_to else None

    def crash(self, vm: Vm) -> None:
        """Every second time the host says so; the other times nothing tells."""
        for name in list(vm.executing):
            host = self.hosts[name]
            if not host.runs:
                continue
            vm.crashes += 1
            if vm.crashes % 2 == 0:
                host.tell("vm_failed", vm.name)
                host.tell("vm_powered_off", vm.name)
            self._lose(vm, host)
            self._tell("crashed", vm, host)
        self._settle()

    def migrate(self, vm: Vm, source: Host, destination: Host) -> Task:
        """A live migration; the task ends with why it failed, or with an empty text."""
        task = Task()
        vm.moving_to = destination.name
        self.emit("migration_started", vm=vm.name, host=destination.name)
        self._tell("migrating", vm, destination)
        self.engine.after(MIGRATION, self._migrated, vm, source, destination, source.boot, destination.boot, task)
        self._settle()
        return task

    def _migrated(self, vm: Vm, source: Host, destination: Host, *rest: Any) -> None:
        source_boot, destination_boot, task = rest
        vm.moving_to = ""
        ready = (
            source.on_network
            and destination.on_network
            and self.can_write(source, *vm.servers)
            and self.can_write(destination, *vm.servers)
        )
        same = source.boot == source_boot and destination.boot == destination_boot
        if not ready or not same or source.name not in vm.executing:
            self._settle()
            task.end("%s could not hand it over to %s" % (source.name, destination.name))
            return
        vm.executing[vm.executing.index(source.name)] = destination.name
        vm.host, vm.lock, vm.lock_ends = destination.name, destination.name, None
        source.registered.discard(vm.name)
        destination.registered.add(vm.name)
        source.tell("vm_removed", vm.name)
        destination.tell("vm_registered", vm.name)
        self.emit("migration_done", vm=vm.name, host=destination.name)
        self._tell("migrated", vm, destination)
        self._settle()
        task.end("")

    def begin_cold_move(self, vm: Vm, destination: Host) -> None:
        """A running VM is to be stopped, moved and started."""
        vm.cold_to = destination.name
        self.emit("migration_started", vm=vm.name, host=destination.name)
        self._tell("migrating", vm, destination)

    def end_cold_move(self, vm: Vm, source: Host, destination: Host) -> None:
        """Nobody is at work on it any more. One that was started there has ended it already."""
        stopped, vm.cold_to = bool(vm.cold_to), ""
        if stopped and not vm.runs:
            self.emit("vm_stopped", vm=vm.name, host=source.name)
        elif not vm.runs and vm.host == destination.name:
            self.emit("migration_done", vm=vm.name, host=destination.name)

    def register(self, vm: Vm, host: Host) -> None:
        host.registered.add(vm.name)
        host.tell("vm_registered", vm.name)
        self._settle()

    def unregister(self, vm: Vm, host: Host) -> None:
        host.registered.discard(vm.name)
        host.tell("vm_removed", vm.name)
        left = [name for name, other in self.hosts.items() if vm.name in other.registered]
        if vm.host == host.name and not vm.runs and len(left) == 1:
            vm.host = left[0]
        self._settle()

    def _lose(self, vm: Vm, host: Host) -> None:
        self._end(vm, host)
        self.emit("vm_lost", vm=vm.name, host=host.name)

    def _end(self, vm: Vm, host: Host) -> None:
        vm.executing.remove(host.name)
        vm.goes_down_at = None
        if vm.lock == host.name:
            if self.can_write(host, *vm.servers):
                vm.lock, vm.lock_ends = "", None
            else:
                self._expire_lock(vm, host)

    def _expire_lock(self, vm: Vm, host: Host) -> None:
        """Nobody renews its lock any more."""
        if vm.lock == host.name and vm.lock_ends is None:
            vm.lock_ends = self.now + LOCK_LEASE

    # The targets

    def restart_target(self, target: Target) -> None:
        self.stop_target(target)
        self.engine.after(TARGET_RESTART, self.start_target, target)

    def stop_target(self, target: Target) -> None:
        if target.serving:
            target.serving = False
            target.sessions.clear()
            self._settle()

    def start_target(self, target: Target) -> None:
        if not target.serving:
            target.serving, target.started_at = True, self.now
            self._settle()

    def fence(self, host: Host, token: int, reason: str, target: Optional[Target] = None) -> None:
        """The list is durable first, then the right is gone and the session is ended - unless that is made to fail."""
        target = target or self.target
        target.take(token)
        before = target.fences.get(host.name)
        if before is None or host.name in target.sessions:
            target.fences[host.name] = FenceLine(token, self.now, reason)
        if host.name not in target.failing:
            target.sessions.pop(host.name, None)
        self._settle()

    def note_confirmed(self, host: Host, target: Optional[Target] = None) -> bool:
        """Two looks at the target find the fence complete."""
        target = target or self.target
        if target.fence_missing(host.name):
            return False
        line = target.fences[host.name]
        if not line.seen_confirmed:
            line.seen_confirmed = True
            where = {"server": target.name} if len(self.targets) > 1 else {}
            self.emit("fence_confirmed", host=host.name, **where)
        return True

    def unfence(self, host: Host, token: int, target: Optional[Target] = None) -> None:
        """At one storage server; it is let in again when no other lists it any more."""
        target = target or self.target
        target.take(token)
        if host.name in target.fences:
            self._tell("unfencing", None, host)
            del target.fences[host.name]
            if self.fence_line(host.name) is None:
                self.emit("unfenced", host=host.name)
            self._settle()

    def rescan(self, host: Host) -> None:
        """It looks for its storage, where it would have tried again by itself a moment later."""
        self._settle()

    # What follows from a change

    def _settle(self) -> None:
        """Sessions, locks and datastores after whatever has just changed; then the watchers look."""
        for host in self.hosts.values():
            for server, target in self.targets.items():
                self._settle_session(host, target)
                writes, link = self._writes(host, target), host.links[server]
                if writes is not link.wrote:
                    link.wrote = writes
                    self._gains_storage(host, target) if writes else self._loses_storage(host, target)
        self._tell("changed", None, None)

    def _settle_session(self, host: Host, target: Target) -> None:
        session = target.sessions.get(host.name)
        connected = host.links[target.name].path and target.serving
        if host.runs and connected and target.admits(host.name) and not host.leaving and (session is None or session.boot != host.boot):
            self.engine.after(LOGIN, self._try_login, host, host.boot, target)
        if session is None:
            return
        same = connected and session.boot == host.boot
        if host.runs and same:
            session.silent_since = None
            return
        self._stand_still(session)
        # A target drops a peer that is silent for long; a frozen machine's connection stays as it is.
        if host.hung and same:
            session.silent_since = None
        elif session.silent_since is None:
            session.silent_since = self.now
            self.engine.after(SESSION_LINGERS, self._drop_if_silent, host, target, session, self.now)

    def _try_login(self, host: Host, boot: int, target: Target) -> None:
        session = target.sessions.get(host.name)
        if host.boot != boot or not host.runs or not host.links[target.name].path or not target.serving or host.leaving:
            return
        if target.admits(host.name) and (session is None or session.boot != host.boot):
            self._log_in(host, target)
            self._settle()

    def _log_in(self, host: Host, target: Target) -> None:
        target.logins += 1
        target.sessions[host.name] = Session("%s-%d" % (host.name, target.logins), host.boot)

    def _drop_if_silent(self, host: Host, target: Target, session: Session, since: float) -> None:
        if target.sessions.get(host.name) is session and session.silent_since == since:
            del target.sessions[host.name]
            self._settle()

    def _opened_on(self, host: Host, target: Target) -> list[Vm]:
        """The VMs of whose files there it has some open: those that execute there, and those that it is just powering on."""
        found = (vm for vm in self.vms.values() if host.name in vm.executing or vm.starting == host.name)
        return [vm for vm in found if target.name in vm.servers]

    def _stand_still(self, session: Session) -> None:
        if session.works_since is not None:
            session.wrote_at = session.written_at(self.now)
            session.written_for += self.now - session.works_since
            session.works_since = None

    def _loses_storage(self, host: Host, target: Target) -> None:
        session = target.sessions.get(host.name)
        if session is not None:
            self._stand_still(session)
        for vm in self._opened_on(host, target):
            if not self.reads_some(vm, host):
                self._expire_lock(vm, host)
        self.engine.after(NOTICES_LOST_STORAGE, self._notice_lost_storage, host, host.boot, target)

    def _notice_lost_storage(self, host: Host, boot: int, target: Target) -> None:
        if host.boot == boot and host.state == "up" and not self._writes(host, target) and not host.hung:
            host.links[target.name].accessible = False

    def _gains_storage(self, host: Host, target: Target) -> None:
        target.sessions[host.name].works_since = self.now
        link = host.links[target.name]
        link.accessible, link.mounted = True, host.boot
        for vm in self._opened_on(host, target):
            if vm.lock == host.name:
                vm.lock_ends = None
            elif not vm.lock:
                vm.lock, vm.lock_ends = host.name, None
            else:
                self.engine.after(LOST_LOCK_KILLS, self._kill_without_lock, vm, host)

    def _kill_without_lock(self, vm: Vm, host: Host) -> None:
        if host.name in vm.executing and vm.lock != host.name and host.runs:
            host.tell("vm_failed", vm.name)
            self._lose(vm, host)
            self._settle()

    def _tell(self, what: str, vm: Optional[Vm], host: Optional[Host], came_from: str = "") -> None:
        for watcher in self.watchers:
            watcher.hears(what, vm, host, came_from)
