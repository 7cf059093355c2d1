"""Requests to hosts, as the vSphere driver makes them: sent, carried out by the host, and answered - or not.

A request that was sent is carried out whatever becomes of the sender; one whose answer is lost leaves the sender not
knowing. Directly before it is sent the sender's permit is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import cpu_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import Outcome

from .engine import Engine, Task, Wait
from .observe import QUICK, TIMEOUT, Observer
from .truth.hosts import Host
from .truth.vms import Vm
from .truth.world import World

TRAVELS = 0.1  # s
REGISTER = 0.4
RESCAN = 2.0
MAINTENANCE_MODE = 1.5
LOCK_CHECK = 1.0  # s after which a power-on fails for a lock
POWER_ON = 3.0
POWER_OFF = 1.0
SUSPEND = 6.0
POLL = 10.0  # s without an answer after which the connection is given up

Answer = tuple[Outcome, str]
Asking = Generator[Wait, None, Answer]
Guard = Callable[[], None]


class Strange(Exception):
    """What nobody foresaw, from a host's answer: the scenario asked for it (``do: connection``)."""


class Hypervisors:
    def __init__(self, engine: Engine, world: World, observer: Observer) -> None:
        self._engine = engine
        self._world = world
        self._observer = observer
        self.connection: dict[str, str] = {}  # host -> how what acts finds its connection: fails, strange, works

    def connects(self, host: str) -> ApiAnswer:
        """As what acts finds it; raises what nobody foresaw where the scenario has it so."""
        how = self.connection.get(host, "works")
        if how == "strange":
            raise Strange("an answer of %s that nobody foresaw" % host)
        return ApiAnswer.TIMED_OUT if how == "fails" else self._observer.api(self._world.hosts[host])

    def answers(self, host: str) -> bool:
        return self._observer.api(self._world.hosts[host]) is ApiAnswer.ANSWERED

    def ask(self, host: str, work: Callable[[Task], None], guard: Guard, bound: float = POLL) -> Asking:
        """Send one request and wait for its answer, at most *bound* seconds."""
        yield TRAVELS
        answer = self.connects(host)
        if answer is not ApiAnswer.ANSWERED:
            yield TIMEOUT if answer is ApiAnswer.TIMED_OUT else QUICK
            return Outcome.LOST, "%s does not answer (%s)" % (host, answer.value)
        guard()
        task = Task()
        work(task)
        ends = self._engine.now + bound
        while not task.done:
            yield task, min(POLL, max(0.0, ends - self._engine.now))
            if task.done:
                break
            if not self.answers(host):
                return Outcome.LOST, "%s does not answer any more" % host
            if self._engine.now >= ends:
                return Outcome.TIMED_OUT, "%s did not do it within %.0f s" % (host, bound)
        if not self.answers(host):
            yield TIMEOUT
            return Outcome.LOST, "the answer of %s was lost" % host
        answered: Answer = task.value
        return answered

    # What a host does when it is asked; it stands still while the host is frozen and ends with its power

    def register(self, vm: Vm, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if vm.name in host.registered:
                task.end((Outcome.ALREADY, ""))
            elif not host.links[vm.servers[0]].accessible:
                task.end((Outcome.NOT_FOUND, "its datastore is not accessible on %s" % host.name))
            else:
                self._world.register(vm, host)
                task.end((Outcome.DONE, ""))

        return self._at_host(host, REGISTER, effect)

    def unregister(self, vm: Vm, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if host.name in vm.executing or vm.starting == host.name:
                task.end((Outcome.OTHER, "%s is powered on" % vm.name))
                return
            if vm.name in host.registered:
                self._world.unregister(vm, host)
            task.end((Outcome.DONE, ""))

        return self._at_host(host, REGISTER, effect)

    def power_on(self, vm: Vm, host: Host) -> Callable[[Task], None]:
        def opens_files(task: Task) -> None:
            if host.name in vm.executing or vm.starting == host.name:
                task.end((Outcome.ALREADY, ""))
            elif host.maintenance:
                task.end((Outcome.OTHER, "%s is in maintenance mode" % host.name))
            elif vm.name not in host.registered:
                task.end((Outcome.NOT_FOUND, "%s is not registered there" % vm.name))
            elif not self._world.can_write(host, *vm.servers):
                task.end((Outcome.INACCESSIBLE, "its files are not accessible on %s" % host.name))
            elif vm.locked_for(host.name, self._engine.now):
                task.end((Outcome.FILE_LOCKED, "its files are locked by %s" % vm.lock))
            else:
                vm.starting, vm.lock, vm.lock_ends = host.name, host.name, None
                self._at_host(host, POWER_ON - LOCK_CHECK, runs)(task)

        def runs(task: Task) -> None:
            if vm.lock != host.name:  # it aged while this host stood still, and somebody else took it
                task.end((Outcome.INACCESSIBLE, "the lock of its files is lost to %s" % (vm.lock or "nobody")))
                return
            vm.starting = ""
            if not self._world.can_write(host, *vm.servers):
                vm.lock_ends = self._engine.now
                task.end((Outcome.INACCESSIBLE, "its files are not accessible on %s" % host.name))
            elif vm.suspended_on and vm.suspended_on != cpu_of(host.capabilities):
                vm.lock, vm.lock_ends = "", None
                self._world.start_failed(vm, host)
                task.end((Outcome.OTHER, "%s was suspended on another CPU than that of %s" % (vm.name, host.name)))
            elif vm.start_fails.get(host.name, 0) > 0:
                vm.start_fails[host.name] -= 1
                vm.lock, vm.lock_ends = "", None
                host.tell("vm_failed", vm.name)
                self._world.start_failed(vm, host)
                task.end((Outcome.OTHER, "%s does not start on %s" % (vm.name, host.name)))
            else:
                self._world.start(vm, host)
                task.end((Outcome.DONE, ""))

        return self._at_host(host, LOCK_CHECK, opens_files)

    def rescan(self, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            self._world.rescan(host)
            task.end((Outcome.DONE, ""))

        return self._at_host(host, RESCAN, effect)

    def maintenance_mode(self, host: Host, enter: bool) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if enter and any(host.name in (vm.starting, *vm.executing) for vm in self._world.vms.values()):
                task.end((Outcome.OTHER, "a VM runs on %s" % host.name))
                return
            self._world.set_maintenance_mode(host, enter)
            task.end((Outcome.DONE, ""))

        return self._at_host(host, MAINTENANCE_MODE, effect)

    def shut_down(self, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            self._world.shut_down(host, and_boot=False, with_everything=True)
            task.end((Outcome.DONE, ""))

        return self._at_host(host, QUICK, effect)

    def stop(self, vm: Vm, host: Host, in_order: bool) -> Callable[[Task], None]:
        def off(task: Task) -> None:
            self._world.switch_off(vm, host)
            task.end((Outcome.DONE, ""))

        if not in_order:
            return self._at_host(host, POWER_OFF, off)
        if vm.goes_down_at is None:  # who asks again does not begin it anew
            vm.goes_down_at = self._engine.now + vm.shutdown_lasts
        due = vm.goes_down_at

        def effect(task: Task) -> None:
            if vm.goes_down_at == due:
                self._world.stop(vm, host)
            task.end((Outcome.DONE, ""))

        return self._at_host(host, due - self._engine.now, effect)

    def suspend(self, vm: Vm, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if host.name not in vm.executing:
                task.end((Outcome.ALREADY, ""))
            elif not self._world.can_write(host, *vm.servers):
                task.end((Outcome.INACCESSIBLE, "its memory cannot be written on %s" % host.name))
            else:
                self._world.suspend(vm, host)
                task.end((Outcome.DONE, ""))

        return self._at_host(host, SUSPEND, effect)

    def reset(self, vm: Vm, host: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if host.name in vm.executing:
                vm.hangs_since = None
            task.end((Outcome.DONE, ""))

        return self._at_host(host, POWER_OFF, effect)

    def migrate(self, vm: Vm, source: Host, destination: Host) -> Callable[[Task], None]:
        def effect(task: Task) -> None:
            if source.name not in vm.executing or vm.moving_to or not destination.answers or destination.maintenance:
                task.end((Outcome.OTHER, "%s cannot be moved from %s to %s now" % (vm.name, source.name, destination.name)))
                return
            moved = self._world.migrate(vm, source, destination)
            moved.when_done(lambda: task.end((Outcome.OTHER, moved.value) if moved.value else (Outcome.DONE, "")))

        return self._at_host(source, QUICK, effect)

    def _at_host(self, host: Host, after: float, effect: Callable[[Task], None]) -> Callable[[Task], None]:
        boot = host.boot

        def later(task: Task) -> None:
            if host.boot != boot or host.state != "up":
                return
            if host.hung:
                self._engine.after(1.0, later, task)
                return
            effect(task)

        return lambda task: self._engine.after(after, later, task)


def ends_well(answer: Any) -> bool:
    return answer[0] in (Outcome.DONE, Outcome.ALREADY)
