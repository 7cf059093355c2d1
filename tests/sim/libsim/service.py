"""The monitor as the operator sees it: a service whose runs look, decide and act, and which can be killed, cut off, frozen.

Each run is the production loop (cycle/monitor.py) with the production judge and database; this says when runs begin and end.
"""

from __future__ import annotations

from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run as Lease
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext, wait_after
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import Monitor
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import KINDS, Decision
from ansible_collections.libreha.vmware.plugins.module_utils.errors import ENDS_THE_RUN
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import REFUSED, WAITING
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import LeaseHeld

from .aged import AgedObserver
from .blocking import Blocking, wait
from .engine import Group
from .executor import SimulatedExecutor
from .looking import SimulatedObserver
from .parts import Parts

SCHEDULED = 10.0  # s between two looks of the scheduler at whether a run is at work
PATIENCE = 600.0  # s that the operator's rejoin playbook waits
HOLDS = 86400.0  # s that a command waits for a look: the operator knows when the monitor is down
TRIED_AGAIN = 5.0  # s until a run that got no lease tries again


class Run:
    """One process: one holder of the lease."""

    def __init__(self, parts: Parts, commands: list[int], number: int, only_host: str = "") -> None:
        self.parts = parts
        self.group = Group(parts.engine)
        self.only_host = only_host
        self.decision: Optional[Decision] = None
        self.ended = False
        self.holder = "run-%d" % number
        self.token = 0
        self.observer = SimulatedObserver(parts) if parts.ages is None else AgedObserver(parts, parts.ages)
        self.executor: Optional[SimulatedExecutor] = None
        self._commands = commands
        self.group.when_ended = self._end
        self.group.start(Blocking(self._live))  # type: ignore[arg-type]

    def _end(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.ended = True
        self.group.kill()
        if self.executor is not None:
            self.executor.kill()

    def freeze(self) -> None:
        self.group.freeze()
        if self.executor is not None:
            self.executor.freeze()

    def thaw(self) -> None:
        self.group.thaw()
        if self.executor is not None:
            self.executor.thaw()

    def _live(self) -> None:
        try:
            self._work()
        except ENDS_THE_RUN as error:
            self.parts.reach("run ended: %s" % type(error).__name__)
        self.ended = True
        if self.executor is not None:
            self.executor.kill()

    def _work(self) -> None:
        parts = self.parts
        began = parts.engine.now
        self._take_lease()
        self.executor = SimulatedExecutor(parts, Lease(self.holder, self.token, parts.policy.lease))
        context = RunContext(self.holder, self.token, KINDS, parts.clock, self.only_host)
        monitor = Monitor(parts.policy, self.observer, self.executor, parts.database, context, parts.decider)
        while True:
            judged = monitor.run_once()
            self.decision = judged.decision
            parts.note(judged.decision.memory)
            self._report_commands()
            parts.report.decided(judged.decision)
            if self.only_host:
                over = parts.engine.now - began > PATIENCE
                if over or parts.memory.host(self.only_host).rejoin is None:
                    while self.executor.in_progress():
                        self.executor.wait(1.0)
                        self.executor.ended()
                    parts.database.release_lease(self.holder, self.token)
                    return
            self.executor.wait(max(0.1, wait_after(judged)))

    def _take_lease(self) -> None:
        parts = self.parts
        while True:
            if not parts.observer.cut_off:
                try:
                    lease = parts.database.acquire_lease(self.holder, parts.policy.lease, self.observer.highest_token())
                except LeaseHeld:
                    pass
                else:
                    self.token = lease.token
                    return
            wait(TRIED_AGAIN)

    def _report_commands(self) -> None:
        """What became of the operators' commands."""
        if not self._commands:
            return
        for row in self.parts.database.commands(self._commands):
            if row["state"] == WAITING:
                continue
            self._commands.remove(row["number"])
            if row["state"] == REFUSED:
                self.parts.report.emit("refused", command=row["kind"], reason=row["outcome"])
            else:
                self.parts.report.emit("command", command=row["kind"], subject=row["subject"], reason=row["outcome"])


class Service:
    """Starts runs as a scheduler would: one at a time, and another one when it ended or its lease did."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.wanted = True  # not killed
        self.runs: list[Run] = []
        self.commands: list[int] = []  # of which nobody has told yet what became of them
        self._numbers = 0
        self._operators: dict[str, Run] = {}  # rejoin playbooks under way
        self._start()
        parts.engine.after(SCHEDULED, self._scheduled)

    # What the referee may know

    @property
    def works(self) -> bool:
        """A run is alive, not frozen, and reaches the others."""
        return self.wanted and not self.parts.observer.cut_off and any(not run.ended and not run.group.frozen for run in self.runs)

    @property
    def decision(self) -> Optional[Decision]:
        alive = [run for run in self.runs if not run.ended and run.decision is not None]
        return alive[-1].decision if alive else None

    # What happens to it

    def kill(self) -> None:
        self.wanted = False
        for run in self.runs:
            run.kill()
        self.runs = []
        for record in self.parts.memory.hosts:
            if record.rejoin is not None:
                self._rejoin_without_monitor(record.name)

    def close(self) -> None:
        """The scenario is over."""
        for run in (*self.runs, *self._operators.values()):
            run.kill()

    def isolate(self) -> None:
        self.parts.observer.cut_off = True

    def restart(self) -> None:
        """Ends both: a killed one is started, a cut off one reaches the others again. A new run either way."""
        self.parts.observer.cut_off = False
        for run in self.runs:
            run.kill()
            if not run.group.frozen:
                self.parts.database.release_lease(run.holder, run.token)
        self.runs = []
        self.wanted = True
        self._start()

    def freeze(self) -> None:
        for run in self.runs:
            run.freeze()

    def thaw(self) -> None:
        for run in self.runs:
            if run.group.frozen:
                run.thaw()

    def worker_dies(self) -> None:
        """Of what acts now; where nothing does, the next one to begin (``Parts.worker_dies``)."""
        for run in self.runs:
            if run.executor is not None:
                run.executor.worker_dies()

    def stale(self, seconds: float) -> None:
        for run in self.runs:
            run.observer.show_stale(seconds)

    def command(self, command: Command) -> None:
        """What the operator asks for; it waits for the next look."""
        self.commands += self.parts.database.give_commands([command], HOLDS)
        if command.kind is CommandKind.REJOIN and not self.wanted:
            self._rejoin_without_monitor(command.subject)

    def _rejoin_without_monitor(self, host: str) -> None:
        in_progress = self._operators.get(host)
        if in_progress is None or in_progress.ended:
            self._operators[host] = self._new_run(host)

    def _start(self) -> None:
        self.runs.append(self._new_run())

    def _new_run(self, only_host: str = "") -> Run:
        self._numbers += 1
        return Run(self.parts, self.commands, self._numbers, only_host)

    def _scheduled(self) -> None:
        """A frozen run keeps its place until its lease is over."""
        self.runs = [run for run in self.runs if not run.ended]
        if self.wanted and not [run for run in self.runs if not run.group.frozen or self._has_lease(run)]:
            self._start()
        self.parts.engine.after(SCHEDULED, self._scheduled)

    def _has_lease(self, run: Run) -> bool:
        lease = self.parts.database.lease()
        return bool(lease["alive"]) and lease["holder"] == run.holder
