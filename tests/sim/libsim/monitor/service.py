"""The monitor as the operator sees it: a service whose runs look, decide and act, and which can be killed, cut off, frozen."""

from __future__ import annotations

import json
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind, CommandRefused, apply_command
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation

from ..engine import Group, Steps
from ..observe import QUICK
from .acts import Acts
from .parts import Parts, Permit

SCHEDULED = 10.0  # s between two looks of the scheduler at whether a run is at work
PATIENCE = 600.0  # s that the operator's rejoin playbook waits
THROUGH_JSON = 20  # every so many looks the memory goes through its JSON form, as it does between two tasks


class Run:
    """One process: one holder of the lease."""

    def __init__(self, parts: Parts, number: int, only_host: str = "") -> None:
        self.parts = parts
        self.group = Group(parts.engine)
        self.permit = Permit(parts, self.group, "run-%d" % number)
        self.only_host = only_host
        self.decision: Optional[Decision] = None
        self.ended = False
        self._looks = 0
        self._stale: Optional[float] = None
        self._acts = Acts(parts, self.permit, self.group)
        self.group.when_ended = self._end
        self.group.start(self._live())

    def _end(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.ended = True
        self.group.kill()

    def show_stale(self, seconds: float) -> None:
        self._stale = seconds

    def _live(self) -> Steps:
        parts, database = self.parts, self.parts.database
        began = parts.engine.now
        while True:
            above = None if parts.observer.cut_off else parts.world.target.highest_token
            if above is not None and self.permit.take(above):
                break
            yield 5.0
        database.memory = Memory.from_dict(json.loads(json.dumps(database.memory.to_dict())))
        while True:
            observation = yield from self._look()
            self.permit.renew()
            decision = self._decide(observation)
            acted = parts.engine.now
            fenced = {host.host for host in decision.hosts if host.verdict in (Verdict.FENCED, Verdict.FENCING)}
            live = [host.name for host in observation.hosts if host.api_answer is ApiAnswer.ANSWERED and host.name not in fenced]
            yield from self._acts.carry_out(decision.actions, live, self.only_host)
            if self.only_host:
                over = parts.engine.now - began > PATIENCE
                if over or database.memory.host(self.only_host).rejoin is None:
                    database.release(self.permit.holder)
                    self.ended = True
                    return
            if parts.engine.now > acted:
                yield 0.5  # a look follows the acts at once
            else:
                took = decision.taken_at.since(observation.taken_at) or 0.0
                yield max(0.1, decision.next_sample_in - took)

    def _look(self) -> Steps:
        parts, observer = self.parts, self.parts.observer
        at = observer.instant()
        hosts = observer.hosts()
        isolation = observer.isolation(parts.policy.isolation_addresses)
        yield observer.takes()
        after = {}
        if self.decision is not None:
            after = {host.name: host.last_event for host in self.decision.memory.hosts if host.last_event is not None}
        answered = tuple(host.name for host in hosts if host.api_answer is ApiAnswer.ANSWERED)
        vms, read, events = observer.vms(answered, after)
        yield QUICK
        storage = observer.storage()
        observation = Observation(at, hosts, vms, read, events, (storage,), isolation=isolation, results=tuple(parts.database.results))
        parts.database.looks.append((parts.engine.now, observation))
        return self._late(observation)

    def _late(self, observation: Observation) -> Observation:
        """A message that was under way for long: an older look in place of this one."""
        if self._stale is None:
            return observation
        before = self.parts.engine.now - self._stale
        self._stale = None
        old = [look for at, look in self.parts.database.looks if at <= before]
        return old[-1] if old else observation

    def _decide(self, observation: Observation) -> Decision:
        parts, database = self.parts, self.parts.database
        memory = database.memory
        self._looks += 1
        if self._looks % THROUGH_JSON == 0:
            memory = Memory.from_dict(json.loads(json.dumps(memory.to_dict())))
        now = parts.observer.instant()
        commands, database.commands = database.commands, []
        for command in commands:
            if command.kind is CommandKind.REJOIN and self.only_host not in ("", command.subject):
                database.commands.append(command)
                continue
            try:
                memory, said = apply_command(parts.policy, memory, command, now)
            except CommandRefused as error:
                parts.report.emit("refused", command=command.kind.value, reason=str(error))
            else:
                if said:
                    parts.report.emit("command", command=command.kind.value, subject=command.subject, reason=said)
        about = {"only_host": self.only_host} if self.only_host else {}
        decision: Decision = parts.decide(parts.policy, memory, observation, now, self.permit.holder, **about)  # type: ignore[assignment]
        database.save(decision.memory)
        self.decision = decision
        parts.report.decided(decision)
        return decision


class Service:
    """Starts runs as a scheduler would: one at a time, and another one when it ended or its lease did."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.wanted = True  # not killed
        self.runs: list[Run] = []
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
        for record in self.parts.database.memory.hosts:
            if record.rejoin is not None:
                self._rejoin_without_monitor(record.name)

    def isolate(self) -> None:
        self.parts.observer.cut_off = True

    def restart(self) -> None:
        """Ends both: a killed one is started, a cut off one reaches the others again. A new run either way."""
        self.parts.observer.cut_off = False
        for run in self.runs:
            run.kill()
            if not run.group.frozen:
                self.parts.database.release(run.permit.holder)
        self.runs = []
        self.wanted = True
        self._start()

    def freeze(self) -> None:
        for run in self.runs:
            run.group.freeze()

    def thaw(self) -> None:
        for run in self.runs:
            if run.group.frozen:
                run.group.thaw()

    def stale(self, seconds: float) -> None:
        for run in self.runs:
            run.show_stale(seconds)

    def command(self, command: Command) -> None:
        """What the operator asks for; it waits in the database for the next look."""
        self.parts.database.commands.append(command)
        if command.kind is CommandKind.REJOIN and not self.wanted:
            self._rejoin_without_monitor(command.subject)

    def _rejoin_without_monitor(self, host: str) -> None:
        under_way = self._operators.get(host)
        if under_way is None or under_way.ended:
            self._operators[host] = self._new_run(host)

    def _start(self) -> None:
        self.runs.append(self._new_run())

    def _new_run(self, only_host: str = "") -> Run:
        self._numbers += 1
        return Run(self.parts, self._numbers, only_host)

    def _scheduled(self) -> None:
        """A frozen run keeps its place until its lease is over."""
        self.runs = [run for run in self.runs if not run.ended]
        if self.wanted:
            database = self.parts.database
            in_its_time = [
                run
                for run in self.runs
                if not run.group.frozen or (database.holder == run.permit.holder and self.parts.engine.now < database.lease_ends)
            ]
            if not in_its_time:
                self._start()
        self.parts.engine.after(SCHEDULED, self._scheduled)
