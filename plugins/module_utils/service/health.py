# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a status is good enough, as a monitoring plugin says it: OK, WARNING, CRITICAL or UNKNOWN, one line, and figures.

The exit codes and the line are those of the Monitoring Plugins (monitoring-plugins.org, "Plugin Output for Nagios"): Icinga, Naemon,
Checkmk and others read them. The check is the dead man's switch of whoever runs it: a monitor that does not run, or has stopped
looking, makes it critical, whatever the last look had found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from .status import ABSENT, LOOKING, Status
from .status_text import age_text

SHOWN = 3  # findings in the line; the figures count all
OLDEST = 30.0  # s; the resident monitor looks every few seconds


class Level(IntEnum):
    """The exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Health:
    """``findings`` are sentences about what is wrong, the worst first."""

    level: Level
    findings: tuple[str, ...]


def health_of(status: Status, oldest: float = OLDEST, scheduled: bool = False) -> Health:
    """Judge *status*. A last look older than *oldest* seconds is critical. *scheduled*: the playbook ``monitor`` does the work by a
    schedule, so it is right that no service runs."""
    critical = [*_stale(status, oldest), *_down(status), *_alarms(status, "critical")]
    warning = [] if scheduled else list(_service(status))
    warning += [host.why for host in status.hosts if not host.works or not host.confirmed]
    warning += _alarms(status, "warning")
    level = Level.CRITICAL if critical else Level.WARNING if warning else Level.OK
    return Health(level, tuple(dict.fromkeys([*critical, *warning])))


def plugin_line(status: Status, health: Health, oldest: float = OLDEST) -> str:
    """ "LIBREHA OK - 3 hosts, 12 VMs running, last look 0.8 s ago | age=0.8s;;30 ..." """
    calm = "%d hosts, %d VMs running, last look %s" % (len(status.hosts), status.vms_running, age_text(status))
    shown = list(health.findings[:SHOWN])
    if len(health.findings) > SHOWN:
        shown.append("and %d more" % (len(health.findings) - SHOWN))
    text = "; ".join(shown) if shown else calm
    return "LIBREHA %s - %s | %s" % (health.level.name, _one_line(text), _figures(status, oldest))


def unknown_line(why: str) -> str:
    return "LIBREHA %s - %s" % (Level.UNKNOWN.name, _one_line(why))


def _stale(status: Status, oldest: float) -> Iterable[str]:
    look, up_for = status.last_look, status.service.up_for
    if look is None and up_for is not None and up_for < oldest:
        return  # it has just started
    if look is None or look.age is None or look.age > oldest:
        why = status.service.problem or "the resident monitor is %s" % status.service.state
        yield "no look at the cluster within %g s (last look %s): %s" % (oldest, age_text(status), why)


def _down(status: Status) -> Iterable[str]:
    if status.vms_down:
        names = [vm.name for vm in status.at_risk if vm.down]
        listed = ", ".join(names[:5]) + (", ..." if status.vms_down > 5 else "")
        yield "%d VM%s down: %s" % (status.vms_down, " is" if status.vms_down == 1 else "s are", listed)


def _alarms(status: Status, severity: str) -> list[str]:
    return [alarm.text for alarm in status.alarms if alarm.severity == severity]


def _service(status: Status) -> Iterable[str]:
    service = status.service
    if service.state == ABSENT:
        yield "the resident monitor does not run: %s" % service.problem
    elif service.state != LOOKING:
        yield "the resident monitor is %s%s" % (service.state, ": %s" % service.problem if service.problem else "")
    elif service.problem:
        yield service.problem


def _figures(status: Status, oldest: float) -> str:
    look = status.last_look
    severities = [alarm.severity for alarm in status.alarms]
    figures = ["age=%.1fs;;%g" % (look.age, oldest)] if look is not None and look.age is not None else []
    counts = {
        "hosts": len(status.hosts),
        "hosts_working": sum(host.works for host in status.hosts),
        "vms": status.vms_known,
        "vms_running": status.vms_running,
        "vms_down": status.vms_down,
        "vms_at_risk": status.vms_at_risk,
        "alarms_critical": severities.count("critical"),
        "alarms_warning": severities.count("warning"),
        "acts": len(status.in_progress),
    }
    return " ".join([*figures, *("%s=%d" % item for item in counts.items())])


def _one_line(text: str) -> str:
    """Without what the plugins' protocol gives a meaning to."""
    return " ".join(text.replace("|", "/").split())
