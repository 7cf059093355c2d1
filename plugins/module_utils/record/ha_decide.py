# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``ha_decide`` does: one look is decided on, and what it changes is recorded in one transaction.

The decision is made by ``decide``; here the memory is read and written around it, and verdicts, alarms, holds and actions
become journal entries. Whoever reads the journal finds each of them with its reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import clock
from ..decide.commands import Command, CommandKind, CommandRefused, apply_command
from ..decide.decide import decide
from ..decide.decision import Action, Alarm, Decision, HostVerdict, Severity
from ..decide.hosts.verdict import Verdict
from ..decide.instant import Instant
from ..decide.json_form import to_dict
from ..decide.memory import Memory
from ..decide.observations import Act, ActResult, ApiAnswer, Observation
from ..decide.policy import Mode, Policy
from ..decide.vms.failover import Step, start_asked
from ..errors import LibrehaError
from ..policy.reader import read_policy
from . import state as state_table
from .database import StateDatabase
from .journal import JournalEntry
from .storage_report import health_lines

Result = dict[str, Any]
RESULTS = 1000  # closed failover transactions that are looked at for starts that failed
POWER_RESULTS = 200  # journal entries that are looked at for stops and resets that failed


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError."""
    policy = read_policy(params["policy"])
    if params["validate_only"]:
        return {"changed": False, "mode": policy.mode.value}
    observation = _read(params["observation"])
    with StateDatabase.open(params["state_url"], create=False) as database:
        if not check_mode:
            database.renew_lease(params["holder"], params["token"], policy.lease)
        return _look(database, policy, observation, params, check_mode)


def _read(raw: Mapping[str, Any]) -> Observation:
    try:
        return Observation.from_dict(raw)
    except ValueError as error:
        raise LibrehaError(str(error), remedy="pass what the *_info modules returned, untouched") from None


def _look(database: StateDatabase, policy: Policy, observation: Observation, params: Mapping[str, Any], check_mode: bool) -> Result:
    memory, said = _hear_persons(policy, _remembered(database), params["commands"])
    results = start_results(database.transactions(closed=True, limit=RESULTS))
    results += power_results(database.read_journal(kinds=["power"], limit=POWER_RESULTS))
    decision = decide(
        policy, memory, replace(observation, results=results), clock.now(), params["holder"] or "check mode", params["carries_out"]
    )
    if params["host"]:
        decision = replace(decision, actions=tuple(action for action in decision.actions if action.host == params["host"]))
    before = {row["name"]: row for row in database.hosts()}
    news = (
        said
        + list(_verdict_entries(decision, before))
        + [_action_entry(action, policy) for action in (*decision.actions, *decision.proposed)]
    )
    fresh_alarms: Sequence[str] = [alarm.text for alarm in decision.alarms]
    if not check_mode:
        with database.change(params["token"]) as change:
            change.memory(decision.memory.to_dict())
            change.hosts(_host_rows(decision))
            change.vms(state_table.vm_rows(decision.memory))
            change.journal(news)
            changes = change.alarms([to_dict(alarm) for alarm in (*decision.alarms, *_holds(decision))])
            new = {*changes.raised, *changes.changed}
            fresh_alarms = [alarm.text for alarm in decision.alarms if alarm.key in new]
    result = _result(decision, observation, policy, news, fresh_alarms, len(database.open_transactions()))
    return {**result, "journal_seq": max((entry["seq"] for entry in database.read_journal(limit=1)), default=0)}


def _remembered(database: StateDatabase) -> Memory:
    try:
        return Memory.from_dict(database.load_memory())
    except ValueError as error:
        raise LibrehaError(
            "the memory in %s cannot be read: %s" % (database, error), remedy="restore the state database from its backup, or move it away"
        ) from None


def _hear_persons(policy: Policy, memory: Memory, commands: Iterable[Mapping[str, Any]]) -> tuple[Memory, list[JournalEntry]]:
    """Named persons' words, put into the memory and journaled once."""
    entries = []
    for given in commands or ():
        command = Command(CommandKind(given["kind"]), *(given.get(key) or "" for key in ("subject", "to", "by", "reason")))
        try:
            memory, text = apply_command(policy, memory, command, clock.now())
        except CommandRefused as refused:
            raise LibrehaError("%s: %s" % (command.kind.value, refused), remedy="nothing was changed; correct the command") from None
        if text:
            entries.append(JournalEntry("person", text, subject=command.subject or "cluster", data={"by": command.by}))
    return memory, entries


def start_results(transactions: Iterable[Mapping[str, Any]]) -> tuple[ActResult, ...]:
    """How the starts of earlier failovers ended. The token grows from run to run, and the clock within a run."""
    found = []
    for row in transactions:
        at = Instant.from_dict(row["updated_at"])
        if row["power_on"]:
            ok = row["outcome"] in (Step.VERIFIED.value, Step.POWERED_ON.value)
            key = "%012d/%017.3f/%s" % (row["token"], at.seconds, row["id"])
            asked, blocked = start_asked(row), row["outcome"] == Step.BLOCKED.value
            found.append(ActResult(key, row["vm_id"], row["destination"], Act.START, ok, at, "; ".join(row["reasons"]), asked, blocked))
    return tuple(found)


def power_results(entries: Iterable[Mapping[str, Any]]) -> tuple[ActResult, ...]:
    """How stops and resets ended, out of what ``act/vm_power.py`` wrote into the journal."""
    found = []
    for entry in entries:
        data = entry["data"]
        if data["phase"] == "after":
            at = Instant.from_dict(entry["at"])
            key = "%012d/%017.3f/%d" % (entry["token"], at.seconds, entry["seq"])
            found.append(ActResult(key, data["vm"], data["host"], Act(data["act"]), data["ok"], at, data["reason"]))
    return tuple(found)


def _verdict_entries(decision: Decision, before: Mapping[str, Mapping[str, Any]]) -> Iterable[JournalEntry]:
    """An entry for each host whose verdict, or its confirmation, changed since the last look."""
    for host in decision.hosts:
        row = before.get(host.host) or {}
        old = (row.get("verdict"), bool((row.get("detail") or {}).get("confirmed")))
        if old != (host.verdict.value, _acted_on(host)):
            data = {"verdict": host.verdict.value, "confirmed": host.confirmed, "row": host.row, "samples": host.samples}
            yield JournalEntry("verdict", _verdict_text(host), subject=host.host, data=data)


def _acted_on(host: HostVerdict) -> bool:
    """Whether the verdict stands; that of a working host always does."""
    return host.confirmed or host.verdict.works


def _verdict_text(host: HostVerdict) -> str:
    if host.verdict is Verdict.FENCED:
        return "%s: fence confirmed on every storage server" % host.host
    if _acted_on(host):
        return host.text
    return "suspect: %s" % host.text


def _action_entry(action: Action, policy: Policy) -> JournalEntry:
    words = list(action.reasons) + [reason for vm in getattr(action, "vms", ()) for reason in getattr(vm, "reasons", ())]
    text = "%s %s: %s" % (action.kind, action.host, "; ".join(words))
    if policy.mode is not Mode.ACT:
        text += " (mode: %s, not carried out)" % policy.mode.value
    return JournalEntry("action", text, subject=action.host, data={"action": action.kind, "mode": policy.mode.value})


def _holds(decision: Decision) -> list[Alarm]:
    """What is not done and why, as standing conditions: journaled when they begin, change and end."""
    merged = {"hold/%s/%s" % (held.what, held.subject): held for held in decision.held}
    return [Alarm(key, Severity.INFO, held.subject, held.reason) for key, held in merged.items()]


def _host_rows(decision: Decision) -> list[dict[str, Any]]:
    verdicts = {host.host: host for host in decision.hosts}
    fenced = [name for name, host in verdicts.items() if host.verdict in (Verdict.FENCED, Verdict.FENCING)]
    rows = state_table.host_rows(decision.memory, fenced)
    for row in rows:
        host = verdicts.get(row["name"])
        if host is not None:
            row["verdict"] = host.verdict.value
            row["detail"] = {**row["detail"], "confirmed": _acted_on(host)}
    return rows


def _result(
    decision: Decision,
    observation: Observation,
    policy: Policy,
    news: Sequence[JournalEntry],
    alarms: Sequence[str],
    open_transactions: int,
) -> Result:
    plan = [vm for action in decision.actions if action.kind in ("failover", "restart") for vm in to_dict(action)["vms"]]
    fenced = {host.host for host in decision.hosts if host.verdict in (Verdict.FENCED, Verdict.FENCING)}
    answered = [host.name for host in observation.hosts if host.api_answer is ApiAnswer.ANSWERED and host.name not in fenced]
    shown = ("hosts", "alarms", "held", "actions", "proposed", "admission", "storage", "settled", "taken_at")
    return {
        "changed": False,
        "mode": policy.mode.value,
        **{name: to_dict(getattr(decision, name)) for name in shown},
        "next_sample_in": _wait(decision, observation),
        "plan": plan,
        "live_hosts": answered,
        "open_transactions": open_transactions,
        "events_seen": {host.name: host.last_event for host in decision.memory.hosts if host.last_event is not None},
        "report": [entry.text for entry in news] + ["alarm: %s" % text for text in alarms],
        "summary": _summary(decision),
        "undone": _undone(decision, policy),
    }


def _wait(decision: Decision, observation: Observation) -> float:
    """Seconds until the next look is due: samples are counted from look to look, and this one took its time."""
    took = decision.taken_at.since(observation.taken_at) or 0.0
    return round(max(0.0, decision.next_sample_in - took), 1)


def _summary(decision: Decision) -> list[str]:
    lines = [host.text for host in decision.hosts] + health_lines(decision.storage)
    lines += ["alarm: %s" % alarm.text for alarm in decision.alarms]
    lines += ["held: %s" % held.reason for held in decision.held]
    running = [vm for vm in decision.memory.vms if vm.power.value == "on"]
    lines.append("%d VMs known, %d running" % (len(decision.memory.vms), len(running)))
    return lines


def _undone(decision: Decision, policy: Policy) -> list[str]:
    """What has still to be done: open fences, VMs not yet started, VMs without a place."""
    found = []
    for action in decision.actions:
        if action.kind == "fence":
            found.append("%s is to be fenced: %s" % (action.host, "; ".join(action.reasons)))
            continue
        found += [
            "%s is not yet started on %s" % (vm.name, vm.destination) for vm in getattr(action, "vms", ()) if hasattr(vm, "destination")
        ]
        for vm in getattr(action, "unplaced", ()):
            found.append("%s finds no host: %s" % (vm.name, "; ".join("%s: %s" % (refusal.host, refusal.reason) for refusal in vm.reasons)))
    return found
