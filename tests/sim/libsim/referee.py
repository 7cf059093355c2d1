"""Watches the truth and says what must never have happened. It knows nothing of what the brain believes.

What counts as a violation is in docs/scenario-format.md, and docs/safety.md where that is sharper: an unfence without a fresh start since
the fence (queued writes would land), and a network duplicate that is left running although its host can be
reached again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from .engine import Engine
from .legality import Legality
from .report import Report
from .truth.hosts import Host
from .truth.vms import Vm
from .truth.world import World

EVERY = 5.0  # s
UNDER_WAY = 90.0  # s from the look that planned a start until it is done: lock_retry, and the start itself
WAS_OFF = 6.0  # s from the last moment in which a VM was off on a host that works until its start elsewhere, ordered by then, is done
DUPLICATE_BOUND = 60.0  # s for which a duplicate may go on after its host can be reached again


class Referee:
    def __init__(
        self, engine: Engine, world: World, legality: Legality, report: Report, unstopped: frozenset[str], can_act: Callable[[], bool]
    ) -> None:
        """*unstopped*: hosts whose VMs the policy allows to be moved while they execute; *can_act*: a monitor is at work."""
        self._engine = engine
        self._world = world
        self._legality = legality
        self._report = report
        self._unstopped = unstopped
        self._can_act = can_act
        self._standing: set[tuple[str, ...]] = set()  # violations that are reported already and still last
        self._tolerated: dict[tuple[str, str], float] = {}  # (VM, host) -> s for which its host could be reached since
        self._answering: dict[str, float] = {}  # host -> since when its API answers
        self._seen_at = 0.0
        self._off: dict[str, str] = {}  # VM -> the host that works on which it is off
        self._was_off: dict[str, tuple[str, float]] = {}  # VM -> the host that works on which it was off, and when last
        self._moving: dict[str, str] = {}  # VM -> the host that it leaves in this instant

    def hears(self, what: str, vm: Optional[Vm], host: Optional[Host], came_from: str) -> None:
        if what == "changed":
            self.check()
        elif what == "started" and vm is not None and host is not None:
            self._started(vm, host, came_from)
        elif what == "migrating" and vm is not None:
            self._migrating(vm)
        elif what == "unfencing" and host is not None:
            self._unfencing(host)
        elif what == "shutting_down" and host is not None:
            self._shutting_down(host)

    def watch(self) -> None:
        """Also when nothing changes: some conditions are about how long."""
        self.check()
        self._engine.after(EVERY, self.watch)

    # Standing conditions

    def check(self) -> None:
        now = self._engine.now
        passed, self._seen_at = now - self._seen_at, now
        for host in self._world.hosts.values():
            if not host.answers:
                self._answering.pop(host.name, None)
            else:
                self._answering.setdefault(host.name, now)
        lasting: set[tuple[str, ...]] = set()
        for vm in self._world.vms.values():
            if len(vm.executing) > 1:
                self._check_duplicate(vm, passed, lasting)
            self._note_off(vm)
        self._standing = lasting
        executing = {(vm.name, host) for vm in self._world.vms.values() for host in vm.executing}
        self._tolerated = {key: value for key, value in self._tolerated.items() if key in executing}

    def _check_duplicate(self, vm: Vm, passed: float, lasting: set[tuple[str, ...]]) -> None:
        hosts = [self._world.hosts[name] for name in vm.executing]
        for server in vm.servers:
            writers = [host.name for host in hosts if self._world.can_write(host, server)]
            if len(writers) > 1:
                text = "%s can be written by %s on %s" % (vm.name, " and ".join(writers), server)
                self._once(lasting, "two_writers", text, vm.name, writers)
        for host in hosts[:-1]:
            why = self._forbidden(vm, host, passed)
            if why:
                text = "%s executes on %s: %s" % (vm.name, " and ".join(vm.executing), why)
                self._once(lasting, "two_executions", text, vm.name, [host.name])

    def _forbidden(self, vm: Vm, host: Host, passed: float) -> str:
        """Why the older execution on *host* is not the one exception of docs/safety.md, guarantee 2."""
        if self._world.reads_some(vm, host):
            return "%s has not lost its storage" % host.name
        if host.has_bmc and host.name not in self._unstopped:
            return "%s has a BMC to stop it" % host.name
        key = (vm.name, host.name)
        if key not in self._tolerated:
            self._tolerated[key] = 0.0
            # A host that came back while the start was under way could not be known of.
            since = self._answering.get(host.name)
            if since is not None and self._engine.now - since > UNDER_WAY:
                return "%s can be reached" % host.name
        elif host.answers and self._can_act():
            self._tolerated[key] += passed
        if self._tolerated[key] > DUPLICATE_BOUND:
            return "%s could be reached for %.0f s and was not told to stop it" % (host.name, self._tolerated[key])
        return ""

    def _once(self, lasting: set[tuple[str, ...]], kind: str, text: str, vm: str, hosts: list[str]) -> None:
        key = (kind, vm, *hosts)
        lasting.add(key)
        if key not in self._standing:
            self._report.violation(kind, text, vm=vm, hosts=hosts)

    def _note_off(self, vm: Vm) -> None:
        """Called at every change: what held until this one held until now."""
        was = self._off.pop(vm.name, None)
        if vm.executing:
            return
        if was == vm.host:
            self._was_off[vm.name] = vm.host, self._engine.now
        if self._works(self._world.hosts[vm.host], vm):
            self._off[vm.name] = vm.host

    # Single acts

    def _started(self, vm: Vm, host: Host, came_from: str) -> None:
        source = self._world.hosts[came_from]
        works = self._works(source, vm)
        off = self._was_off.get(vm.name)
        if off is not None and off[0] == came_from:  # and so with what it wrote there
            works = works or self._engine.now - off[1] <= WAS_OFF
        if vm.let_go is not None and vm.let_go[0] == came_from:
            # Its own list said that it runs there no more; that it fell silent since could not be known of.
            works = works or self._engine.now - vm.let_go[1] <= UNDER_WAY
        if came_from != host.name and not works and not self._world.fenced(came_from, *vm.servers):
            text = "%s was started on %s, but the fence of %s, where it was, is not confirmed" % (vm.name, host.name, came_from)
            self._report.violation("started_before_fence", text, vm=vm.name, host=host.name)
        lacks = self._legality.cannot_run(vm, host.name) if came_from != host.name else ""
        if lacks:
            self._report.violation("cannot_run", "start on %s: %s" % (host.name, lacks), vm=vm.name, host=host.name)
        places = self._world.places()
        broken = [self._legality.broken_host_rule(vm, host.name), *self._legality.conflicts(vm, host.name, places).values()]
        for text in filter(None, broken):
            self._report.violation("rule_broken", "start on %s: %s" % (host.name, text), vm=vm.name, host=host.name)
        self._capacity(vm, host.name)

    def _works(self, host: Host, vm: Vm) -> bool:
        return host.answers and self._world.can_write(host, *vm.servers)

    def _migrating(self, vm: Vm) -> None:
        if not self._moving:
            self._engine.at(self._engine.now, self._judge_moves, last=True)
        self._moving[vm.name] = vm.executing[-1] if vm.executing else vm.host

    def _judge_moves(self) -> None:
        """All moves that began in one instant, together: where everybody was before, and where everybody counts now."""
        moving, self._moving = self._moving, {}
        after = self._world.places()
        before = {**after, **moving}
        for name, source in moving.items():
            vm, host = self._world.vms[name], after[name]
            if not host:  # it has come to nothing in the same instant
                continue
            old = self._legality.conflicts(vm, source, before)
            broken = [text for other, text in self._legality.conflicts(vm, host, after).items() if other not in old]
            for text in filter(None, [self._legality.broken_host_rule(vm, host), *broken]):
                self._report.violation("rule_broken", "move to %s: %s" % (host, text), vm=name, host=host)
            lacks = self._legality.cannot_run(vm, host)
            if lacks:
                self._report.violation("cannot_run", "move to %s: %s" % (host, lacks), vm=name, host=host)
            self._capacity(vm, host)

    def _capacity(self, vm: Vm, host: str) -> None:
        exceeded = self._legality.exceeded(host, taker=vm)
        if exceeded:
            self._report.violation("capacity_exceeded", "%s with %s: %s" % (host, vm.name, exceeded), vm=vm.name, host=host)

    def _shutting_down(self, host: Host) -> None:
        running = [vm.name for vm in self._world.vms_on(host.name)]
        if running:
            self._report.violation("shut_down_while_running", "%s is shut down and runs %s" % (host.name, running), host=host.name)

    def _unfencing(self, host: Host) -> None:
        line = self._world.fence_line(host.name)
        if line is None:
            return
        if host.booted_at <= line.at or host.state != "up":
            text = "%s is let in again without a fresh start since its fence: writes that it queued would land" % host.name
            self._report.violation("unfenced_without_fresh_start", text, host=host.name)
        running = [vm.name for vm in self._world.vms_on(host.name)]
        if running:
            self._report.violation("unfenced_while_running", "%s is let in again and runs %s" % (host.name, running), host=host.name)
