# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A status in words: what ``libreha status``, the playbook ``status`` and a check plugin show of :class:`Status`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from ..instant import Instant
from .status import ABSENT, LOOKING, STANDBY, HostStatus, Status

Paint = Callable[[str, str], str]
"""Text and a colour (red, yellow, green, dim, bold) -> the text as it is written."""

COLOURS = {"red": "31", "yellow": "33", "green": "32", "dim": "2", "bold": "1"}
BY_SEVERITY = {"critical": "red", "warning": "yellow", "info": "dim"}
INDENT = "  "


def plain(text: str, colour: str) -> str:
    return text


def coloured(text: str, colour: str) -> str:
    """With the escape sequences of a terminal (ECMA-48, SGR)."""
    return "\x1b[%sm%s\x1b[0m" % (COLOURS[colour], text)


def status_lines(status: Status, paint: Paint = plain) -> list[str]:
    """Everything, the worst where the eye falls first: the monitor, the VMs at risk, the alarms, what is under way, the hosts."""
    lines = [_head(status, paint)]
    lines += [INDENT + paint(status.service.problem, "red")] if status.service.problem else []
    lines += [INDENT + paint("disarmed: %s" % status.disarmed, "yellow")] if status.disarmed else []
    lines += _part("Hosts", _table([_host_row(host) for host in status.hosts], [_colour_of(host) for host in status.hosts], paint), paint)
    lines.append("")
    lines.append(paint("VMs", "bold") + " " + _vm_counts(status, paint))
    lines += [_risk(vm.name, vm.host, vm.down, vm.reasons, paint) for vm in status.at_risk]
    more = status.vms_at_risk - len(status.at_risk)
    lines += [INDENT + "and %d more" % more] if more > 0 else []
    lines += _part("Alarms", [_alarm(alarm.severity, alarm.since, alarm.text, paint) for alarm in status.alarms], paint)
    lines += _part("Under way", [INDENT + _with_since(act.what, act.since) for act in status.in_progress], paint)
    lines += _part("Held", [INDENT + "%s: %s" % (item.what, item.reason) for item in status.held], paint)
    lines += _part("Proposed, not carried out", [INDENT + text for text in status.proposed], paint)
    lines += _part("Near misses", [INDENT + text for text in status.near_misses], paint)
    lines += ["", paint("Admission control", "bold") + " " + status.admission] if status.admission else []
    return lines


def _head(status: Status, paint: Paint) -> str:
    service = status.service
    if service.state == ABSENT:
        told = paint("the resident monitor does not answer; what follows is from the record", "red")
        parts = [told, "last look %s" % age_text(status)]
        return "libreha: " + "; ".join(parts + (["%s holds the lease" % service.holder] if service.token is not None else []))
    colour = "green" if service.state == LOOKING else "yellow"
    parts = [paint(service.state, colour)]
    parts += ["mode %s" % status.mode] if status.mode else []
    parts.append("last look %s" % age_text(status))
    parts += ["settled"] if status.settled else []
    if service.up_for is not None:
        parts.append("up %s" % duration_text(service.up_for))
    if service.state == STANDBY and service.holder:
        parts.append("%s holds the lease" % service.holder)
    elif service.token is not None:
        parts.append("lease token %d" % service.token)
    return "libreha: " + ", ".join(parts)


def age_text(status: Status) -> str:
    """ "0.8 s ago", "never", "at 03:56:11Z, before this machine restarted" """
    look = status.last_look
    if look is None:
        return "never"
    if look.age is None:
        return "%s, before this machine restarted" % clock_text(look.taken_at)
    return "%s ago" % duration_text(look.age)


def duration_text(seconds: float) -> str:
    """ "0.8 s", "47 s", "12 min 3 s", "3 h 12 min", "2 d 4 h" """
    if seconds < 10:
        return "%.1f s" % seconds
    whole = int(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return "%d %s %d %s" % (whole // size, unit, whole % size // part, smaller)
    return "%d s" % whole


def _host_row(host: HostStatus) -> Sequence[str]:
    verdict = host.verdict if host.confirmed else "%s?" % host.verdict  # suspected only
    notes = [] if host.fenceable else ["cannot be fenced"]
    notes += ["in maintenance"] if host.maintenance else []
    lasts = duration_text(host.lasts) if host.lasts is not None else "-"
    running = "%d VM%s" % (host.running, "" if host.running == 1 else "s")
    return (host.name, verdict, lasts, running, "; ".join(filter(None, [*notes, "" if host.works else host.why])))


def _colour_of(host: HostStatus) -> str:
    if host.works:
        return "green" if host.verdict == "healthy" and host.fenceable else "yellow"
    return "red" if host.confirmed else "yellow"


def _table(rows: Sequence[Sequence[str]], colours: Sequence[str], paint: Paint) -> list[str]:
    """Columns of one width; the second is coloured."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row, colour in zip(rows, colours):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        cells[1] = paint(cells[1], colour)
        lines.append((INDENT + "  ".join([*cells, row[-1]])).rstrip())
    return lines


def _vm_counts(status: Status, paint: Paint) -> str:
    parts = ["%d known" % status.vms_known, "%d running" % status.vms_running]
    parts += [paint("%d down" % status.vms_down, "red")] if status.vms_down else []
    parts += [paint("%d at risk" % status.vms_at_risk, "yellow")] if status.vms_at_risk else ["none at risk"]
    return ", ".join(parts)


def _risk(name: str, host: str, down: bool, reasons: Iterable[str], paint: Paint) -> str:
    state = paint("DOWN", "red") if down else paint("at risk", "yellow")
    return "%s%s %s, recorded on %s: %s" % (INDENT, name, state, host, "; ".join(reasons))


def _alarm(severity: str, since: Optional[Instant], text: str, paint: Paint) -> str:
    return "%s%s %s" % (INDENT, paint(severity.ljust(8), BY_SEVERITY.get(severity, "dim")), _with_since(text, since))


def _with_since(text: str, since: Optional[Instant]) -> str:
    return "%s (since %s)" % (text, clock_text(since)) if since is not None else text


def clock_text(moment: Optional[Instant]) -> str:
    """ "2026-11-29 03:56:11Z" """
    return "%sZ" % moment.wall[:19].replace("T", " ") if moment is not None and moment.wall else "an unknown time"


def _part(title: str, lines: Sequence[str], paint: Paint) -> list[str]:
    return ["", paint(title, "bold"), *lines] if lines else []
