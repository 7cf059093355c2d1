"""What ha_run refuses before anything is touched, and what its result is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import alarms_that_fail
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import RunSummary
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import Ended, FenceOrder, PowerOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Alarm, Decision, FenceAction, Severity
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_run import argument_spec, line_of, run, unless_failing
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy

POLICY = {"hosts": {"esx1": {"initiator": "iqn.1998-01.com.vmware:esx1"}}, "storage": {"san1": {}}}
HOST = {"name": "esx1", "username": "ha", "password": "secret"}
SERVER = {"name": "san1", "driver": "tgt", "control_port": 0, "saved_config": None, "fence_list": "/nowhere", "timeout": 5.0, "ssh": None}


NOW = Instant("boot", 1.0)
NOTHING = decide(Policy(), Memory(), Observation(NOW), NOW, "run")


def params(**given: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in argument_spec().items()}
    return {**defaults, "policy": POLICY, "hosts": [HOST], "storage": [SERVER], "state_url": "sqlite:////proc/none/state.db", **given}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hosts": [{**HOST, "name": "esx2"}]}, ["hosts names esx2", "policy's hosts are esx1"]),
        ({"storage": [SERVER, {**SERVER, "name": "san2"}]}, ["storage names san1, san2", "policy's storage are san1"]),
        ({"policy": {**POLICY, "confirm_aftr": 3}}, ["confirm_aftr"]),
        ({"hosts": [{**HOST, "password": None}]}, ["password is missing for host esx1"]),
        ({}, ["/proc/none"]),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_cannot_work_is_refused_with_its_option_and_no_secret(given: dict[str, Any], words: list[str], check_mode: bool) -> None:
    with pytest.raises(LibrehaError) as refused:
        run(params(**given), check_mode)
    for word in words:
        assert word in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_was_repeated_with_success_is_no_failure() -> None:
    def fence(host: str) -> FenceOrder:
        return FenceOrder(FenceAction(host, (), ("san1",), False, False, (), ()))

    reset = PowerOrder("reset", "esx3", ("id",))
    ended = [
        Ended(fence("esx1"), ("san1: no answer",)),
        Ended(fence("esx2"), ("its BMC is gone",)),
        Ended(fence("esx1")),
        Ended(reset, ("no",)),
    ]
    assert RunSummary(ended=ended).failed == ["its BMC is gone", "no"]


def alarms(*severities: Severity) -> Decision:
    standing = tuple(Alarm("a:%d" % number, severity, "x", "number %d" % number) for number, severity in enumerate(severities))
    return dataclasses.replace(NOTHING, alarms=standing)


@pytest.mark.parametrize(
    ("fail_on_alarm", "failing"),
    [
        ("critical", ["critical alarm: number 1"]),
        ("warning", ["critical alarm: number 1", "warning alarm: number 0"]),
        ("info", ["critical alarm: number 1", "warning alarm: number 0", "info alarm: number 2"]),
        ("none", []),
    ],
)
def test_the_policy_says_which_alarms_fail_a_run(fail_on_alarm: str, failing: list[str]) -> None:
    policy = read_policy({"fail_on_alarm": fail_on_alarm})
    assert alarms_that_fail(alarms(Severity.WARNING, Severity.CRITICAL, Severity.INFO).alarms, policy) == failing


def test_a_run_fails_on_critical_alarms_by_default_with_its_result_and_what_to_do() -> None:
    failing = alarms_that_fail(alarms(Severity.WARNING, Severity.CRITICAL).alarms, Policy())
    with pytest.raises(LibrehaError, match="critical alarm: number 1. Remedy: .*fail_on_alarm") as failed:
        unless_failing({"changed": True, "looks": 3}, failing)
    assert failed.value.details == {"changed": True, "looks": 3, "failing": failing}
    assert unless_failing({"looks": 3}, []) == {"looks": 3, "failing": []}


def test_lines_for_people() -> None:
    assert line_of({"kind": "alarm", "text": "esx1 is fenced"}) == "alarm: esx1 is fenced"
    assert line_of({"kind": "step", "text": "vm01: verified"}) == "vm01: verified"
