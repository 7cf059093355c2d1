# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A drill in words: what a person reads when asking what would happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Optional

from ..decide.decision import Admission, PlannedVm
from ..decide.forecast.losses import loss_texts, refusal_text
from ..decide.forecast.what_if import Drill, StaysDown, WhatIf
from ..record.storage_report import health_lines


def standing_lines(found: Drill) -> list[str]:
    """How it stands now."""
    lines = ["now: %s" % host.text for host in found.now.hosts]
    if not found.judged:
        lines.append(
            "a host's look is old, or its storage evidence is still being judged: do not trust this; ask again, on a less busy machine"
        )
    lines += health_lines(found.now.storage, in_full=True)
    lines += _admission("admission control", found.admission)
    if found.admission is not None:
        lines += loss_texts(found.admission.shortfalls)
    lines += ["unfenceable: %s, its VMs are not failed over: %s" % (item.host, item.reason) for item in found.unfenceable]
    return lines + _unprotected(found.unprotected)


def report_lines(case: WhatIf) -> list[str]:
    """One case in full: what stands before the plan, the plan in start order, and who stays down."""
    lines = ["held: %s" % item.reason for item in case.held]
    if case.held and (case.plan or case.unplaced):
        lines.append("once that is released or repaired:")
    lines += ["warning: %s" % text for text in case.warnings]
    lines += _table(case.plan)
    lines += ["does not fit: %s: %s" % (vm.name, refusal_text((item.host, item.reason) for item in vm.reasons)) for vm in case.unplaced]
    lines += ["stays down: %s: %s" % (vm.name, vm.reason) for vm in case.stays_down]
    lines += _unprotected(case.unprotected)
    lines += _admission("afterwards", case.admission_after)
    if case.time.parts:
        lines.append("all of them run after about %s, of which" % _seconds(case.time.least, case.time.most))
        lines += ["  %s: %s (%s)" % (_seconds(part.least, part.most), part.what, part.source) for part in case.time.parts]
    return lines


def summary_line(case: WhatIf) -> str:
    """ "esx1: 3 VMs start elsewhere (esx2 2, esx3 1), 1 does not fit; about 18 to 63 s" """
    started = [vm for vm in case.plan if vm.power_on]
    where = Counter(vm.destination for vm in started)
    parts = ["%s elsewhere%s" % (_verb(len(started), "VM starts", "VMs start"), _hosts(where))]
    registered = len(case.plan) - len(started)
    for number, one, many in (
        (registered, "is off and only registered", "are off and only registered"),
        (len(case.unplaced), "fits nowhere", "fit nowhere"),
        (len(case.stays_down), "stays down", "stay down"),
        (len(case.unprotected), "is unprotected", "are unprotected"),
    ):
        if number:
            parts.append(_verb(number, one, many))
    text = "%s: %s" % (", ".join(case.lost), ", ".join(parts))
    if started:
        text += "; about %s" % _seconds(case.time.least, case.time.most)
    return text + ("; HELD: %s" % "; ".join(item.reason for item in case.held) if case.held else "")


def _table(plan: Iterable[PlannedVm]) -> list[str]:
    """One line a VM: when, which, from where to where, with what priority, and why there."""
    rows = [
        (
            "%d." % number if vm.power_on else "-",
            vm.name,
            "%s -> %s" % (vm.source, vm.destination),
            vm.priority.value,
            "; ".join(vm.reasons),
        )
        for number, vm in enumerate(plan, 1)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows]


def _unprotected(vms: Iterable[StaysDown]) -> list[str]:
    return ["unprotected%s: %s on %s: %s" % (" by choice" if vm.chosen else "", vm.name, vm.host, vm.reason) for vm in vms]


def _admission(what: str, state: Optional[Admission]) -> list[str]:
    if state is None:
        return []
    able = {0: "no host may fail", 1: "any one host may fail"}.get(state.tolerates, "%d hosts may fail" % state.tolerates)
    how = "placing every VM" if state.exact else "counted in slots"
    verdict = "admitted" if state.admitted else "NOT admitted"
    return ["%s (%s): %s, %s; %s (%s)" % (what, state.form, verdict, state.text, able, how)]


def _hosts(where: Counter[str]) -> str:
    return " (%s)" % ", ".join("%s %d" % pair for pair in sorted(where.items())) if where else ""


def _verb(number: int, one: str, many: str) -> str:
    return "%d %s" % (number, one if number == 1 else many)


def _seconds(least: float, most: float) -> str:
    return "%.0f to %.0f s" % (least, most)
