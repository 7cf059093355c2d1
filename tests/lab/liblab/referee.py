"""The referee: what happened to the VMs, judged from the LUN's backing file, the execution logs and the hosts' own word.

It shares no code with plugins/ or esxsim. For each VM:

* **downtime**: the longest time between two consecutive acknowledged records, and from the last one until now; for VMs without
  workload the same between two ticks, which is time in which no host executed the VM;
* **lost**: a record that was acknowledged to a host but is not on the LUN with the same hash;
* **overlapping writers**: a record accepted from an execution after a later one had begun to write, and every place where
  a record does not carry the hash of the one before it;
* **overlapping execution**: time in which two executions both ticked. A frozen process does not tick.

One trap: a host frozen after the target had acknowledged, and before it read the answer, logs that acknowledgement when it
is thawed, long after another host has begun. The record was on the LUN before, and the other host built upon it. So an
acknowledgement is late only if its *sequence* is not below the later execution's first one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import execution, lun
from .errors import LabError
from .execution import Ack, Execution
from .lun import Extent
from .state import Lab

SECOND = 1_000_000_000
FRESH_TICK_NS = 2 * SECOND  # a VM that ticked within this time, or five intervals, executes now
SILENT_NS = 5 * SECOND  # a VM without an acknowledged record for this long does not work, whatever its power state says


@dataclass(frozen=True)
class Case:
    """All that the referee judges by, read in this order: hosts, then logs, then LUN (what was acknowledged by then must be there)."""

    extents: Mapping[str, int]  # VM name -> extent number
    disks: Mapping[int, Extent]
    executions: Mapping[str, Mapping[str, Execution]]
    powers: Mapping[str, Optional[Mapping[str, str]]]  # host -> VM name -> on/off/suspended; None: does not answer
    now_ns: int
    record_interval_ns: int
    since_ns: int = 0
    meant_off: frozenset[str] = frozenset()
    workload: bool = True  # whether the VMs' guests write records


def lost(acks: list[Ack], disk: Extent) -> int:
    """Acknowledged records that are not on the LUN as such."""
    wanted = {(ack.sequence, ack.digest) for ack in acks}
    return sum(1 for sequence, digest in wanted if sequence not in disk.records or disk.records[sequence].digest != digest)


def chain_breaks(disk: Extent, extent: int) -> set[int]:
    """Positions that do not follow from the one before: holes, torn sectors, wrong sequence or extent, another record's hash."""
    last = max(list(disk.records) + list(disk.corrupt), default=-1)
    broken = set()
    for position in range(last + 1):
        record = disk.records.get(position)
        before = disk.records.get(position - 1)
        expected = bytes(32) if position == 0 else before.digest if before else None
        if record is None or record.sequence != position or record.extent != extent or record.previous != expected:
            broken.add(position)
    return broken


def late_records(executions: Mapping[str, Execution], disk: Extent) -> set[tuple[str, int]]:
    """(execution, sequence) of records accepted from an execution after a later one had begun writing."""
    began: dict[str, int] = {}  # when it wrote first
    first: dict[str, int] = {}  # its first sequence
    answered: dict[str, int] = {}  # when it was acknowledged first
    for position, record in disk.records.items():
        began[record.execution] = min(began.get(record.execution, record.boottime_ns), record.boottime_ns)
        first[record.execution] = min(first.get(record.execution, position), position)
    for one in executions.values():
        for ack in one.acks:
            began[one.id] = min(began.get(one.id, ack.boottime_ns), ack.boottime_ns)
            first[one.id] = min(first.get(one.id, ack.sequence), ack.sequence)
            answered[one.id] = min(answered.get(one.id, ack.boottime_ns), ack.boottime_ns)
    late = set()
    for older in began:
        newer = [one for one in began if began[one] > began[older]]
        if not newer:
            continue
        border = min(first[one] for one in newer)
        taken_over = min((answered[one] for one in newer if one in answered), default=None)
        late |= {(older, position) for position, record in disk.records.items() if record.execution == older and position >= border}
        for ack in executions[older].acks if older in executions else ():
            if taken_over is not None and ack.sequence >= border and ack.boottime_ns > taken_over:
                late.add((older, ack.sequence))
    return late


def overlap_ns(executions: Mapping[str, Execution], record_interval_ns: int) -> int:
    """Time in which two executions both ticked; a single tick within another's time counts as one interval."""
    gap = max(SECOND, 5 * record_interval_ns)
    spans = [one.spans(gap) for one in executions.values()]
    total = 0
    for index, mine in enumerate(spans):
        for theirs in spans[index + 1 :]:
            for a in mine:
                for b in theirs:
                    shared = min(a[1], b[1]) - max(a[0], b[0])
                    if shared >= 0:
                        total += max(shared, record_interval_ns)
    return total


def longest_gap(signs: list[int], since_ns: int, now_ns: int, running_out: bool) -> tuple[int, int | None, int | None]:
    """(length, from, to) in ns between signs that a VM works; ``to`` is None when it lasts until now.

    ``running_out``: whether the time until now counts."""
    times = sorted(signs)
    gaps: list[tuple[int, int, int | None]] = [(b - a, a, b) for a, b in zip(times, times[1:]) if b > since_ns]
    if times and running_out:
        gaps.append((max(0, now_ns - times[-1]), times[-1], None))
    return max(gaps, key=lambda gap: gap[0]) if gaps else (0, None, None)


def where(vm: str, case: Case) -> tuple[list[str], list[str]]:
    """Hosts at which a VM runs (their own word; for a host that does not answer, its execution log), and hosts where it ticks."""
    fresh = max(FRESH_TICK_NS, 5 * case.record_interval_ns)
    ticking = {one.host for one in case.executions.get(vm, {}).values() if one.ticks and case.now_ns - max(one.ticks) < fresh}
    on = {host for host, powers in case.powers.items() if powers is not None and powers.get(vm) == "on"}
    on |= {host for host in ticking if case.powers.get(host) is None}
    return sorted(on), sorted(ticking)


def judge_vm(vm: str, case: Case) -> tuple[dict[str, Any], list[str]]:
    """A VM's numbers, and every way in which it violates what must hold."""
    extent = case.extents[vm]
    disk = case.disks[extent]
    executions = case.executions.get(vm, {})
    acks = [ack for one in executions.values() for ack in one.acks]
    breaks = chain_breaks(disk, extent)
    late = late_records(executions, disk)
    overlapping = len(late) + len(breaks - {sequence for _execution, sequence in late})
    both_s = round(overlap_ns(executions, case.record_interval_ns) / SECOND, 3)
    signs = [ack.boottime_ns for ack in acks] if case.workload else [tick for one in executions.values() for tick in one.ticks]
    gap, gap_from, gap_to = longest_gap(signs, case.since_ns, case.now_ns, vm not in case.meant_off)
    on, ticking = where(vm, case)
    missing = lost(acks, disk)

    problems = []
    if missing:
        problems.append("%d acknowledged records are lost" % missing)
    if late:
        problems.append("%d records were accepted from a host after another had taken over" % len(late))
    if breaks:
        problems.append("the chain of records is broken at %d places, the first at %d" % (len(breaks), min(breaks)))
    if not case.workload and disk.records:
        problems.append("%d records were written, and it has no workload" % len(disk.records))
    if both_s:
        problems.append("executed twice at once for %.1f s" % both_s)
    if len(on) > 1:
        problems.append("runs at %s at once" % " and ".join(on))
    if vm in case.meant_off:
        if on:
            problems.append("runs at %s though it is meant to be off" % on[0])
    elif not on:
        problems.append("runs nowhere")
    elif not set(on) & set(ticking):
        problems.append("is powered on at %s but does not execute" % on[0])
    elif case.workload:
        silent = case.now_ns - max((ack.boottime_ns for ack in acks), default=0)
        if silent > SILENT_NS:
            problems.append("runs at %s but has written nothing for %.0f s" % (on[0], silent / SECOND))
    return {
        "downtime_s": round(gap / SECOND, 3),
        "gap_from": None if gap_from is None else gap_from / SECOND,
        "gap_to": None if gap_to is None else gap_to / SECOND,
        "records_lost": missing,
        "overlapping_writers": overlapping,
        "overlapping_execution_s": both_s,
        "host": on[0] if on else None,
        "hosts": on,
        "records": len(disk.records),
        "acknowledged": len(acks),
        "executions": len(executions),
        "chain_intact": not breaks,
        "ok": not problems,
    }, problems


def judge(case: Case) -> dict[str, Any]:
    """The verdict: tests/lab/README.md."""
    vms, problems = {}, []
    for vm in case.extents:
        vms[vm], found = judge_vm(vm, case)
        problems += [{"vm": vm, "problem": text} for text in found]
    return {
        "ok": not problems,
        "vms": vms,
        "problems": problems,
        "silent_hosts": sorted(host for host, powers in case.powers.items() if powers is None),
        "totals": {
            "downtime_s": max((one["downtime_s"] for one in vms.values()), default=0.0),
            "records": sum(one["records"] for one in vms.values()),
            "acknowledged": sum(one["acknowledged"] for one in vms.values()),
            "records_lost": sum(one["records_lost"] for one in vms.values()),
            "overlapping_writers": sum(one["overlapping_writers"] for one in vms.values()),
            "overlapping_execution_s": round(sum(one["overlapping_execution_s"] for one in vms.values()), 3),
        },
    }


def judge_lab(lab: Lab, since: str | None = None, meant_off: set[str] | None = None) -> dict[str, Any]:
    """Read everything of a lab that is up, and judge. ``since``: "fault" or seconds on CLOCK_BOOTTIME."""
    from . import api  # pyVmomi is not needed to judge

    names = {vm.path: vm.name for vm in lab.vms}
    unknown = (meant_off or set()) - set(names.values())
    if unknown:
        raise LabError("The lab has no VM %s." % ", ".join(sorted(unknown)))
    seen = api.poll(lab.hosts, str(lab.ca_file))
    powers = {host: None if vms is None else {names.get(vm.path, vm.path): vm.power for vm in vms} for host, vms in seen.items()}
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    executions = execution.read({host.name: lab.execution_log(host.name) for host in lab.hosts})
    return judge(
        Case(
            extents={vm.name: vm.extent for vm in lab.vms},
            disks=lun.read(Path(lab.lun_file), [vm.extent for vm in lab.vms]),
            executions=executions,
            powers=powers,
            now_ns=now_ns,
            record_interval_ns=lab.options.record_interval_ms * 1_000_000,
            since_ns=_since(lab, since),
            meant_off=frozenset(meant_off or ()),
            workload=lab.options.workload,
        )
    )


def _since(lab: Lab, since: str | None) -> int:
    if since is None:
        return 0
    if since == "fault":
        faults = [event["boottime_s"] for event in lab.events if event["action"] == "fault"]
        return int(faults[-1] * SECOND) if faults else 0
    try:
        return int(float(since) * SECOND)
    except ValueError:
        raise LabError("--since takes 'fault' or seconds on CLOCK_BOOTTIME, not '%s'." % since) from None


def text(verdict: dict[str, Any]) -> str:
    """For the terminal."""
    lines = ["%-8s %-8s %10s %8s %6s %8s %10s" % ("VM", "HOST", "DOWNTIME", "RECORDS", "LOST", "OVERLAP", "EXECUTED")]
    lines.append("%-8s %-8s %10s %8s %6s %8s %10s" % ("", "", "s", "", "", "WRITERS", "TWICE s"))
    for name, vm in verdict["vms"].items():
        numbers = (vm["downtime_s"], vm["records"], vm["records_lost"], vm["overlapping_writers"], vm["overlapping_execution_s"])
        lines.append("%-8s %-8s %10.1f %8d %6d %8d %10.1f" % (name, vm["host"] or "-", *numbers))
    lines += ["", *("%s: %s" % (found["vm"], found["problem"]) for found in verdict["problems"])]
    lines.append("referee: %s" % ("ok" if verdict["ok"] else "NOT ok, %d problems" % len(verdict["problems"])))
    return "\n".join(lines)
