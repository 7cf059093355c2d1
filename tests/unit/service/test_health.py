"""When a check plugin is calm, and when it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.service.health import Level, health_of, plugin_line, unknown_line
from ansible_collections.libreha.vmware.plugins.module_utils.service.status import (
    AlarmStatus,
    HostStatus,
    LastLook,
    ServiceStatus,
    Status,
    VmAtRisk,
)

NOW = Instant("boot", 100.0)
CALM = Status(
    version=1,
    at=NOW,
    service=ServiceStatus("looking", up_for=3600.0, token=7),
    last_look=LastLook(Instant("boot", 99.0), 0.8),
    mode="act",
    hosts=(HostStatus("esx1", "healthy", True, "esx1 healthy"), HostStatus("esx2", "healthy", True, "esx2 healthy")),
    vms_known=4,
    vms_running=4,
)
DEAD = HostStatus("esx2", "dead", True, "esx2 dead since 12:00:15")
ALARM = AlarmStatus("storage:san1", "critical", "san1", "storage server san1 | is silent")


def service(state: str, **more: Any) -> ServiceStatus:
    return ServiceStatus(state, **more)


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({}, Level.OK, ""),
        ({"last_look": LastLook(NOW, 31.0)}, Level.CRITICAL, "no look at the cluster within 30 s (last look 31 s ago)"),
        ({"last_look": LastLook(NOW, None)}, Level.CRITICAL, "before this machine restarted"),
        ({"last_look": None}, Level.CRITICAL, "last look never"),
        ({"last_look": None, "service": service("starting", up_for=2.0)}, Level.WARNING, "the resident monitor is starting"),
        ({"last_look": None, "service": service("starting", up_for=31.0)}, Level.CRITICAL, "the resident monitor is starting"),
        ({"service": service("absent", problem="no socket")}, Level.WARNING, "does not run: no socket"),
        ({"service": service("standby", problem="failover has the lease")}, Level.WARNING, "failover has the lease"),
        ({"service": service("looking", problem="the disk is full")}, Level.WARNING, "the disk is full"),
        ({"vms_down": 1, "at_risk": (VmAtRisk("i", "vm1", "esx1", True, ("off",)),)}, Level.CRITICAL, "1 VM is down: vm1"),
        ({"alarms": (ALARM,)}, Level.CRITICAL, "san1"),
        ({"alarms": (replace(ALARM, severity="warning"),)}, Level.WARNING, "san1"),
        ({"alarms": (replace(ALARM, severity="info"),)}, Level.OK, ""),
        ({"hosts": (DEAD,)}, Level.WARNING, "esx2 dead since"),
        ({"hosts": (replace(DEAD, confirmed=False),)}, Level.WARNING, "esx2 dead since"),
    ],
)
def test_what_each_thing_makes_of_the_check(changed: dict[str, Any], level: Level, said: str) -> None:
    health = health_of(replace(CALM, **changed))
    assert health.level is level
    assert said in "; ".join(health.findings)
    assert bool(health.findings) is (level is not Level.OK)


def test_with_a_scheduled_job_only_the_age_of_its_last_look_counts() -> None:
    absent = replace(CALM, service=service("absent", problem="no socket"), last_look=LastLook(NOW, 100.0))
    assert health_of(absent, 300.0, scheduled=True).level is Level.OK
    assert health_of(absent, 60.0, scheduled=True).level is Level.CRITICAL


def test_the_worst_is_said_first_and_the_rest_is_counted() -> None:
    alarms = tuple(AlarmStatus("a:%d" % number, "critical", "x", "number %d" % number) for number in range(5))
    status = replace(CALM, alarms=alarms, hosts=(DEAD,))
    line = plugin_line(status, health_of(status))
    assert line.startswith("LIBREHA CRITICAL - number 0; number 1; number 2; and 3 more | age=0.8s;;30 hosts=1 hosts_working=0 ")
    assert "alarms_critical=5" in line


def test_the_line_is_one_line_with_one_bar_whatever_an_alarm_says() -> None:
    status = replace(CALM, alarms=(replace(ALARM, text="a | b\nc"),))
    line = plugin_line(status, health_of(status))
    assert line.count("|") == 1 and "\n" not in line and "a / b c" in line
    assert unknown_line("x | y\nz") == "LIBREHA UNKNOWN - x / y z"


def test_a_calm_line_says_how_old_the_look_is() -> None:
    assert plugin_line(CALM, health_of(CALM)).startswith("LIBREHA OK - 2 hosts, 4 VMs running, last look 0.8 s ago | ")
