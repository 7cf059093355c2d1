"""The timeline and the final state, as docs/scenario-format.md has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision, HostVerdict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict

from .engine import Engine

_NUMBERS = re.compile(r"\b\d+([.:]\d+)*\b( samples?)?")


class Report:
    def __init__(self, engine: Engine, hosts: Mapping[str, Any], vms: Mapping[str, Any]) -> None:
        self._engine = engine
        self._hosts = list(hosts)
        self._vm_names = {vm.id: name for name, vm in vms.items()} | {name: name for name in vms}
        self.timeline: list[dict[str, Any]] = []
        self.marks: Counter[str] = Counter()  # how often what is rare has happened
        self.violations: list[dict[str, Any]] = []
        self.states: dict[str, str] = {}
        self._alarms: dict[str, str] = {}
        self._held: dict[tuple[str, str], str] = {}
        self._recorded: dict[str, str] = {}  # VM -> host, as the brain has it

    def emit(self, event: str, **words: Any) -> None:
        self.timeline.append({"t": round(self._engine.now, 3), "event": event, **words})

    def violation(self, kind: str, text: str, **words: Any) -> None:
        self.violations.append({"t": round(self._engine.now, 3), "violation": kind, **words, "text": text})

    def decided(self, decision: Decision) -> None:
        """What the brain says has changed: each host's state, and alarms and holds when they come or mean something new."""
        self._recorded = {vm.name: vm.host for vm in decision.memory.vms}
        self.marks.update("action: %s" % action.kind for action in decision.actions)
        self.marks.update("row %s" % verdict.row for verdict in decision.hosts if verdict.row)
        self.marks.update(["brake"] if decision.memory.brake.held else [])
        self.marks.update("held: %s" % item.what for item in decision.held)
        for verdict in decision.hosts:
            state = host_state(verdict, decision.memory)
            if verdict.host in self._hosts and self.states.get(verdict.host) != state:
                self.states[verdict.host] = state
                self.emit("host_state", host=verdict.host, state=state, reason=verdict.text)
        alarms = {alarm.key: alarm for alarm in decision.alarms}
        for key, alarm in alarms.items():
            if self._alarms.get(key) != _kind(alarm.text):
                self.emit("alarm", key=key, severity=alarm.severity.value, **self._subject(alarm.subject), reason=alarm.text)
        self._alarms = {key: _kind(alarm.text) for key, alarm in alarms.items()}
        held = {(item.what, item.subject): item for item in decision.held}
        for what, item in held.items():
            if self._held.get(what) != _kind(item.reason):
                self.emit("held", what=item.what, **self._subject(item.subject), reason=item.reason)
        self._held = {key: _kind(item.reason) for key, item in held.items()}

    def _subject(self, subject: str) -> dict[str, Optional[str]]:
        if subject in self._hosts:
            return {"host": subject}
        name = self._vm_names.get(subject)
        if name is not None:
            return {"vm": name, "host": self._recorded.get(name)}
        return {"subject": subject}


def host_state(verdict: HostVerdict, memory: Memory) -> str:
    """The brain's verdict; ``suspect`` while a bad one is not confirmed, ``maintenance`` for one that is otherwise well."""
    if verdict.verdict is Verdict.HEALTHY:
        record = memory.host(verdict.host)
        return "maintenance" if record.maintenance or record.wanted_maintenance else "healthy"
    own_count = (Verdict.DEGRADED, Verdict.FENCED, Verdict.FENCING, Verdict.OBSERVER_ISOLATED)
    if verdict.verdict in own_count or verdict.confirmed:
        return verdict.verdict.value
    return "suspect"


def _kind(text: str) -> str:
    """The text without its numbers: seconds that pass are no news."""
    return _NUMBERS.sub("#", text)
