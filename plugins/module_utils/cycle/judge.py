# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge one look, and commit: memory, journal and alarms are recorded in one transaction, before anything is carried out.

The decision is made by ``decide``; here the memory is read and written around it, and verdicts, alarms, holds and actions
become journal entries. Whoever reads the journal finds each of them with its reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..decide.answers import ApiAnswer
from ..decide.authorization import is_empty
from ..decide.commands import Command, CommandRefused, apply_command
from ..decide.decide import decide
from ..decide.decision import Action, Alarm, Decision, FailoverAction, HostVerdict, PlannedVm, RestartAction, Severity
from ..decide.inputs import Decider, DecisionInputs
from ..decide.json_form import to_dict
from ..decide.memory import Memory
from ..decide.observations import Observation
from ..decide.policy import FailOnAlarm, Policy
from ..decide.verdict import Verdict
from ..instant import Instant
from ..record import state as state_table
from ..record.commands import APPLIED, REFUSED, CommandWithdrawn, Heard, Waiting
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from ..record.lease import Lease
from ..record.near_misses import NEAR_MISS
from ..record.recorded import LookInputs, Recorded
from ..record.state import MemoryChanged
from ..record.storage_report import health_lines

Result = dict[str, Any]
HOLD = "hold/"  # begins the key of what is held


@dataclass(frozen=True)
class RunContext:
    """The run for which a look is judged: its lease, the kinds of action that it carries out, and what it is about (a host, or all)."""

    holder: str
    token: int
    able: Collection[str]
    clock: Callable[[], Instant]
    only_host: str = ""


@dataclass(frozen=True)
class Judged:
    """A look's decision, with what was news in it. ``committed``: it is in the record, under the asker's token, and may be carried out."""

    decision: Decision
    observation: Observation
    news: tuple[str, ...]
    open_transactions: tuple[Mapping[str, Any], ...]
    committed: bool
    heard: tuple[Heard, ...] = ()  # what became of each command: those that waited in the record, then those of the caller
    recorded: Optional[Recorded] = None  # what the commit left in the record, for the same run's next look
    lease: Optional[Lease] = None  # as the commit prolonged it
    decided_from: Optional[DecisionInputs] = None


def judge(
    database: StateDatabase,
    policy: Policy,
    observation: Observation,
    context: RunContext,
    commit: bool,
    decider: Decider = decide,
    asked: Iterable[Command] = (),
    recorded: Recorded | None = None,
    unrecorded: Memory | None = None,
) -> Judged:
    """Decide on *observation*, with the commands that wait, and with *commit* record it all in one transaction, which prolongs the asker's
    lease as well. Raises LeaseLost, with nothing written, when that lease is not alive.

    *asked*: further commands, of a caller that records nothing. *recorded*: what the asker's run recorded last (:attr:`Judged.recorded`).
    *unrecorded*: what such a caller remembers of its look before, in which what waits in the record was heard and counted.
    """
    further = tuple(Waiting(0, command, context.clock(), math.inf) for command in asked)
    while True:
        inputs = database.look_inputs(recorded)
        if unrecorded is not None:
            inputs = replace(inputs, memory=unrecorded, waiting=(), results=())
        try:
            return _judge(database, policy, observation, context, commit, decider, replace(inputs, waiting=inputs.waiting + further))
        except (CommandWithdrawn, MemoryChanged):  # after it was read here; nothing was written
            continue


def _judge(
    database: StateDatabase,
    policy: Policy,
    observation: Observation,
    context: RunContext,
    commit: bool,
    decider: Decider,
    inputs: LookInputs,
) -> Judged:
    run_id = context.holder or "check mode"
    memory, said, heard = _hear_persons(policy, inputs.memory, inputs.waiting, context, commit)
    seen = replace(observation, results=inputs.results)
    decided_from = DecisionInputs(policy, memory, seen, context.clock(), run_id, tuple(context.able), context.only_host)
    decision = decided_from.decide(decider)
    before = {row["name"]: row for row in inputs.hosts}
    ordered = [_order_entry(action, policy) for action in decision.actions if not is_empty(action)]
    news = [*said, *_verdict_entries(decision, before), *_near_misses(decision), *ordered]
    standing = standing_of(decision)
    shown = [item for item in standing if not item["key"].startswith(HOLD)]
    lease: Optional[Lease] = None
    recorded: Optional[Recorded] = None
    if commit:
        with database.change(context.token, prolong=policy.lease) as change:
            change.heard(heard)
            change.journal(news)
            recorded, changes = change.look(inputs, decision.memory, _host_rows(decision), standing)
            left_open, lease = change.open_transactions(), change.lease
        shown = [item for item in shown if item["key"] in {*changes.raised, *changes.changed}]
    else:
        left_open = database.open_transactions()
    report = [entry.text for entry in news] + [_line(item) for item in shown]
    return Judged(decision, observation, tuple(report), tuple(left_open), commit, tuple(heard), recorded, lease, decided_from)


def _hear_persons(
    policy: Policy, memory: Memory, waiting: Iterable[Waiting], context: RunContext, commit: bool
) -> tuple[Memory, list[JournalEntry], list[Heard]]:
    """The memory with what people ask for, and what became of each command. One that is refused changes nothing and stops nobody.

    Before the first look of all no VM is known: what is not understood then waits for the next look, where one follows (*commit*).
    """
    none_known = commit and memory.looked_at is None
    entries, heard = [], []
    now = context.clock()
    for item in waiting:
        command = item.command
        what = " ".join(filter(None, (command.kind.value, command.subject, command.host and "to %s" % command.host)))
        data = {"by": command.by, "command": item.number, "kind": command.kind.value}
        subject = command.subject or "cluster"
        late = item.too_late(now)
        try:
            if late:
                raise CommandRefused(late)
            memory, text = apply_command(policy, memory, command, now, context.able)
        except CommandRefused as refused:
            if none_known and not late:
                continue
            text = "%s, asked for by %s, is refused: %s" % (what, command.by or "nobody", refused)
            entries.append(JournalEntry("person", text, subject=subject, data={**data, "refused": True}))
            heard.append(Heard(item.number, REFUSED, str(refused)))
            continue
        if text:
            entries.append(JournalEntry("person", text, subject=subject, data=data))
        heard.append(Heard(item.number, APPLIED, text or "%s: it is so already" % what))
    return memory, entries, heard


def _verdict_entries(decision: Decision, before: Mapping[str, Mapping[str, Any]]) -> Iterable[JournalEntry]:
    """An entry for each host whose verdict, or its confirmation, changed since the last look."""
    for host in decision.hosts:
        row = before.get(host.host) or {}
        old = (row.get("verdict"), bool((row.get("detail") or {}).get("confirmed")))
        if old != (host.verdict.value, _acted_on(host)):
            data = {"verdict": host.verdict.value, "confirmed": host.confirmed, "row": host.row, "samples": host.samples}
            yield JournalEntry("verdict", _verdict_text(host), subject=host.host, data=data)


def _near_misses(decision: Decision) -> Iterable[JournalEntry]:
    return (JournalEntry(NEAR_MISS, miss.text, subject=miss.host, data=to_dict(miss)) for miss in decision.near_misses)


def _acted_on(host: HostVerdict) -> bool:
    """Whether the verdict stands; that of a working host always does."""
    return host.confirmed or host.verdict.works


def _verdict_text(host: HostVerdict) -> str:
    return host.text if _acted_on(host) else "suspect: %s" % host.text


def _order_entry(action: Action, policy: Policy) -> JournalEntry:
    """An action that is carried out after this look; how it ended is journaled by whoever carries it out, or seen by a later look."""
    data = {"action": action.kind, "ordered": True, "mode": policy.mode.value}
    return JournalEntry("action", "ordered: %s" % _words(action), subject=action.host, data=data)


def _words(action: Action) -> str:
    reasons = list(action.reasons) + [reason for vm in getattr(action, "vms", ()) for reason in getattr(vm, "reasons", ())]
    return "%s %s: %s" % (action.kind, action.host, "; ".join(reasons))


def standing_of(decision: Decision) -> list[Result]:
    """Alarms, proposals and holds of a look, as the record keeps them while they stand."""
    return [*map(to_dict, decision.alarms), *_proposals(decision), *_holds(decision)]


def _proposals(decision: Decision) -> list[Result]:
    """What is only proposed, as standing conditions: journaled when they begin, change and end, and not at each look."""
    found: dict[str, Result] = {}
    for proposed in decision.proposed:
        action = proposed.action
        if is_empty(action):
            continue
        key = "proposed/%s/%s" % (action.kind, action.host)
        text = "%s (%s, not carried out)" % (_words(action), proposed.why_not)
        if key in found:  # parts of one plan, each with its own reason
            found[key]["text"] += "; " + text
            continue
        data = {"action": action.kind, "ordered": False, "mode": decision.mode.value}
        found[key] = {**to_dict(Alarm(key, Severity.INFO, action.host, text)), "kind": "action", "data": data}
    return list(found.values())


def _holds(decision: Decision) -> list[Result]:
    """What is not done and why, as standing conditions: journaled when they begin, change and end. Of one VM by its id."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for held in decision.held:
        reasons.setdefault((held.what, held.subject), []).append(held.reason)
    return [
        to_dict(Alarm("%s%s/%s" % (HOLD, what, subject), Severity.INFO, subject, "; ".join(dict.fromkeys(texts))))
        for (what, subject), texts in reasons.items()
    ]


def _line(standing: Mapping[str, Any]) -> str:
    """A new alarm or proposal, for the report."""
    return "%s: %s" % ("proposed" if standing["key"].startswith("proposed/") else "alarm", standing["text"])


def _host_rows(decision: Decision) -> list[dict[str, Any]]:
    verdicts = {host.host: host for host in decision.hosts}
    rows = state_table.host_rows(decision.memory, sorted(fenced_hosts(decision)))
    for row in rows:
        host = verdicts.get(row["name"])
        if host is not None:
            row["verdict"] = host.verdict.value
            row["reason"] = host.reason
            row["detail"] = {**row["detail"], "confirmed": _acted_on(host)}
    return rows


def fenced_hosts(decision: Decision) -> set[str]:
    return {host.host for host in decision.hosts if host.verdict in (Verdict.FENCED, Verdict.FENCING)}


def live_hosts(judged: Judged) -> list[str]:
    """The hosts on which VMs may be started: they answered in this look, and are not fenced."""
    fenced = fenced_hosts(judged.decision)
    return [host.name for host in judged.observation.hosts if host.api_answer is ApiAnswer.ANSWERED and host.name not in fenced]


def result_of(judged: Judged) -> Result:
    """The part of a task's result that says how the cluster stands."""
    decision = judged.decision
    shown = ("hosts", "alarms", "held", "down", "admission", "storage", "settled", "taken_at")
    return {
        "changed": False,
        "mode": decision.mode.value,
        **{name: to_dict(getattr(decision, name)) for name in shown},
        "proposed": [{**to_dict(item.action), "why_not": item.why_not} for item in decision.proposed],
        "disarmed": decision.memory.disarmed,
        "summary": summary_of(decision),
        "undone": _undone(decision),
    }


def ordered_in(decision: Decision) -> list[str]:
    """What a decision orders, in words with the reasons."""
    return [_words(action) for action in decision.actions if not is_empty(action)]


def alarms_that_fail(alarms: Iterable[Alarm], policy: Policy) -> list[str]:
    """Those of *alarms* that the policy does not let a run end green before, the worst first, in words."""
    if policy.fail_on_alarm is FailOnAlarm.NONE:
        return []
    least = Severity(policy.fail_on_alarm.value)
    standing = [alarm for alarm in alarms if alarm.severity.rank >= least.rank]
    return ["%s alarm: %s" % (alarm.severity.value, alarm.text) for alarm in sorted(standing, key=lambda item: -item.severity.rank)]


def events_seen(memory: Memory) -> dict[str, int]:
    """Host -> the key of the newest of its events that is known."""
    return {host.name: host.last_event for host in memory.hosts if host.last_event is not None}


def wait_after(judged: Judged) -> float:
    """Seconds until the next look is due: samples are counted from look to look, and this one took its time."""
    decision = judged.decision
    took = decision.taken_at.since(judged.observation.taken_at) or 0.0
    return round(max(0.0, decision.next_sample_in - took), 1)


def summary_of(decision: Decision) -> list[str]:
    """How it stands after a look, in words."""
    lines = [host.text for host in decision.hosts] + health_lines(decision.storage)
    lines += ["alarm: %s" % alarm.text for alarm in decision.alarms]
    lines += ["held: %s" % held.reason for held in decision.held]
    running = [vm for vm in decision.memory.vms if vm.power.value == "on"]
    lines.append("%d VMs known, %d running" % (len(decision.memory.vms), len(running)))
    return lines


def _undone(decision: Decision) -> list[str]:
    """What should be and is not: fences still to be completed, and VMs that should run, whoever could start them."""
    found = ["%s is to be fenced: %s" % (action.host, "; ".join(action.reasons)) for action in decision.actions if action.kind == "fence"]
    found += ["%s is down: %s" % (vm.name, vm.reason) for vm in decision.down]
    down = {vm.id for vm in decision.down}
    for action in decision.actions:  # and VMs that are only to be registered elsewhere
        found += ["%s is not yet registered on %s" % (vm.name, vm.destination) for vm in _planned(action) if vm.id not in down]
        for vm in getattr(action, "unplaced", ()):
            if vm.id not in down:
                found.append("%s finds no host: %s" % (vm.name, "; ".join("%s: %s" % (item.host, item.reason) for item in vm.reasons)))
    return found


def _planned(action: Action) -> tuple[PlannedVm, ...]:
    return action.vms if isinstance(action, (FailoverAction, RestartAction)) else ()
