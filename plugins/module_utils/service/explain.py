# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a VM is where it is, or a host what it is, and why nothing was done: from the memory, the journal and the last decision.

Everything is read from the record, where each look commits what it decided: a hold, a proposal and an alarm stand there for as long as they
last. So an explanation is the same with and without a service at work; only its age differs, and that is said first. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cycle.judge import HOLD
from ..decide.memory import Desired, HostRecord, Memory, VmRecord
from ..errors import LibrehaError
from ..instant import Instant
from ..record.journal_text import journal_lines
from .status import PROPOSED
from .status_text import clock_text, duration_text

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What the state database has about one subject, at one moment.

    Args:
        hosts, alarms, transactions: Rows as ``StateDatabase.snapshot`` returns them; holds and proposals are among the alarms.
        closed: The closed failover transactions of the VM, in any order.
        journal: The last entries about the subject.
    """

    memory: Memory
    hosts: Sequence[Row]
    alarms: Sequence[Row]
    transactions: Sequence[Row]
    closed: Sequence[Row]
    journal: Sequence[Row]
    now: Instant


@dataclass(frozen=True)
class Section:
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    subject: str
    kind: str  # vm or host
    sections: tuple[Section, ...]

    def lines(self) -> list[str]:
        found = []
        for section in self.sections:
            found += ["", section.title, *("  " + line for line in section.lines)]
        return found[1:]


def subject_of(memory: Memory, name: str, hosts: Iterable[str]) -> tuple[str, str]:
    """("vm", its id) or ("host", its name) for what a person calls *name*. A host comes before a VM of that name; a VM may be named by its
    id. Raises LibrehaError with the names that come close."""
    known = {*hosts, *(host.name for host in memory.hosts)}
    if name in known:
        return "host", name
    found = [vm for vm in memory.vms if name in (vm.id, vm.name)]
    if len(found) == 1:
        return "vm", found[0].id
    if found:
        raise LibrehaError(
            "%d VMs are called %s" % (len(found), name), remedy="name the one by its id: %s" % ", ".join(vm.id for vm in found)
        )
    names = sorted({*known, *(vm.name for vm in memory.vms)})
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    remedy = "did you mean %s?" % " or ".join(close) if close else "known are %s" % (", ".join(names[:20]) or "none yet")
    raise LibrehaError("no VM and no host %s is known" % name, remedy=remedy)


def explain(kind: str, subject: str, recorded: Recorded) -> Explanation:
    """*kind* and *subject* as :func:`subject_of` gives them."""
    if kind == "host":
        title, sections = subject, _host_sections(subject, recorded)
    else:
        vm = recorded.memory.vm(subject) or VmRecord(subject, subject, "", "")
        title, sections = vm.name, _vm_sections(vm, recorded)
    told = [Section(name, tuple(lines)) for name, lines in sections if lines]
    return Explanation(title, kind, tuple(told))


# A VM


def _vm_sections(vm: VmRecord, recorded: Recorded) -> list[tuple[str, list[str]]]:
    held = _standing(recorded, HOLD, vm.id) + _held_of_host(vm, recorded)
    alarms = [row["text"] for row in recorded.alarms if row["key"].endswith(":" + vm.id) and not _is_internal(row)]
    return [
        ("%s, as of the last look (%s)" % (vm.name, _age(recorded)), _vm_state(vm)),
        ("Why it is there", _why_there(vm, recorded)),
        ("Its host %s" % vm.host, _host_state(vm.host, recorded)),
        ("What is being done", _under_way(vm.id, recorded)),
        ("What is not done, and why", [*held, *_own_obstacles(vm, recorded)]),
        ("Alarms about it", alarms),
        ("What happened", journal_lines(recorded.journal)),
    ]


def _vm_state(vm: VmRecord) -> list[str]:
    wish = {
        Desired.STARTED: "it should run",
        Desired.STOPPED: "it should be stopped, a person or its guest stopped it; it goes along when its host is lost",
        Desired.DISABLED: "the policy leaves it alone (disabled)",
    }
    lines = ["power %s, on %s; %s" % (vm.power.value, vm.host, wish[vm.desired]), "file %s, id %s" % (vm.path, vm.id)]
    if vm.on_since is not None:
        lines.append("it came on there at %s" % clock_text(vm.on_since))
    if vm.registered:
        lines.append("%s has it registered as well, not running" % vm.registered)
    return lines


def _why_there(vm: VmRecord, recorded: Recorded) -> list[str]:
    lines = []
    if vm.wanted_host or vm.ordered:
        lines.append(
            "a person wants it on %s%s" % (vm.wanted_host or "another host", ", and it is still to be moved" if vm.ordered else "")
        )
    if vm.home:
        lines.append("it came from %s when that host was emptied for maintenance" % vm.home)
    if vm.in_progress is not None:
        lines.append("a start or move to %s was ordered at %s; its end was not seen" % (vm.in_progress.host, clock_text(vm.in_progress.at)))
    ended = sorted(recorded.closed, key=lambda row: str(row["updated_at"]["wall"]))
    if ended:
        last = ended[-1]
        lines.append(
            "%s: %s -> %s, %s" % (clock_text(Instant.from_dict(last["updated_at"])), last["source"], last["destination"], last["outcome"])
        )
        lines += ["  %s" % reason for reason in last["reasons"]]
    return lines or ["no move of it is on record: it was found there, or a person put it there"]


def _own_obstacles(vm: VmRecord, recorded: Recorded) -> list[str]:
    lines = []
    if recorded.memory.disarmed:
        lines.append("the cluster is disarmed (%s): nothing is done about any VM" % recorded.memory.disarmed)
    if vm.ignored:
        lines.append("a person took it out of HA (libreha command manage %s puts it back)" % vm.name)
    lines += ["%s (%s) ties it to its host" % (item.device, item.kind.value) for item in vm.obstacles if item.blocks]
    if vm.tries.failed:
        lines.append("starts that failed: %s; last: %s" % (", ".join(vm.tries.failed), vm.tries.reason or "no reason given"))
    if vm.tries.not_before is not None:
        left = recorded.now.since(vm.tries.not_before)
        lines += ["it is tried again in %s" % duration_text(-left)] if left is not None and left < 0 else []
    if vm.tries.blocked:
        lines.append("it waits for a person: %s" % vm.tries.blocked)
    if vm.waiting_since is not None:
        lines.append("it waits for others in the start order since %s" % clock_text(vm.waiting_since))
    return lines


def _held_of_host(vm: VmRecord, recorded: Recorded) -> list[str]:
    """What is held about its host matters to the VM while that host does not work."""
    return _standing(recorded, HOLD, vm.host) + _standing(recorded, PROPOSED, vm.host)


# A host


def _host_sections(name: str, recorded: Recorded) -> list[tuple[str, list[str]]]:
    alarms = [row["text"] for row in recorded.alarms if row["subject"] == name and not _is_internal(row)]
    vms = sorted(vm.name for vm in recorded.memory.vms if vm.host == name)
    open_here = [row for row in recorded.transactions if not row["closed"] and name in (row["source"], row["destination"])]
    listed = ", ".join(vms[:20]) + (", and %d more" % (len(vms) - 20) if len(vms) > 20 else "")
    return [
        ("%s, as of the last look (%s)" % (name, _age(recorded)), _host_state(name, recorded)),
        ("VMs recorded there", [listed] if vms else []),
        ("What is being done", list(map(_transaction, open_here))),
        ("What is not done, and why", _standing(recorded, HOLD, name) + _standing(recorded, PROPOSED, name) + _disarmed(recorded)),
        ("Alarms about it", alarms),
        ("What happened", journal_lines(recorded.journal)),
    ]


def _host_state(name: str, recorded: Recorded) -> list[str]:
    row = next((row for row in recorded.hosts if row["name"] == name), None)
    record = recorded.memory.host(name)
    if row is None:
        return ["nothing is recorded about %s" % name]
    confirmed = bool(row["detail"].get("confirmed"))
    since = " since %s" % clock_text(record.since) if record.since is not None else ""
    lines = ["%s%s%s%s" % (row["verdict"], "" if confirmed else " (suspected, not acted on)", since, _reason(row))]
    return lines + _host_notes(record)


def _host_notes(record: HostRecord) -> list[str]:
    lines = []
    if record.fenced:
        lines.append(
            "fenced at %s; libreha command rejoin %s, or the playbook unfence, lets it in" % (_listed(record.fenced_at), record.name)
        )
    if record.confirmed_off:
        lines.append("a person's word that it is off: %s" % record.confirmed_off)
    if record.wanted_maintenance or record.maintenance:
        lines.append("in maintenance" if record.maintenance else "it is to be emptied for maintenance")
    if record.going_down:
        lines.append("it announced a %s" % record.going_down)
    if record.wrong_bmc:
        lines.append("its BMC is not its own: %s" % record.wrong_bmc)
    if record.flaps:
        lines.append("%d suspicions ended without being confirmed; each makes the next confirmation take longer" % record.flaps)
    for silence in record.silences:
        if silence.probes:
            lines.append("%s silent since %s: %d probes failed" % (silence.path, clock_text(silence.since), silence.probes))
    return lines


# What both have


def _under_way(vm: str, recorded: Recorded) -> list[str]:
    return [_transaction(row) for row in recorded.transactions if not row["closed"] and row["vm_id"] == vm]


def _transaction(row: Row) -> str:
    opened = clock_text(Instant.from_dict(row["opened_at"]))
    what = "start" if row["power_on"] else "registration"
    return "%s of %s, %s -> %s: last step %s, begun %s, tried %d times" % (
        what,
        row["vm_name"],
        row["source"],
        row["destination"],
        row["step"],
        opened,
        row["attempts"],
    )


def _standing(recorded: Recorded, prefix: str, subject: str) -> list[str]:
    """The holds or proposals (by *prefix* of the key) that stand about *subject*, with since when."""
    return [
        "%s (since %s)" % (row["text"], clock_text(Instant.from_dict(row["since"])))
        for row in recorded.alarms
        if row["key"].startswith(prefix) and row["key"].partition("/")[2].partition("/")[2] == subject
    ]


def _disarmed(recorded: Recorded) -> list[str]:
    return ["the cluster is disarmed: %s" % recorded.memory.disarmed] if recorded.memory.disarmed else []


def _is_internal(row: Row) -> bool:
    return row["key"].startswith((HOLD, PROPOSED))


def _reason(row: Row) -> str:
    return ": %s" % row["reason"] if row["reason"] else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no storage server by name"


def _age(recorded: Recorded) -> str:
    looked = recorded.memory.looked_at
    if looked is None:
        return "there was none yet"
    age = recorded.now.since(looked)
    return "%s ago" % duration_text(age) if age is not None else "at %s, before this machine restarted" % clock_text(looked)
