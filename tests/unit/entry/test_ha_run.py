"""What ha_run refuses before anything is touched, and what its result is made of."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import Story
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import Ended, FenceOrder, PowerOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_run import argument_spec, line_of, run
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError

POLICY = {"hosts": {"esx1": {"initiator": "iqn.1998-01.com.vmware:esx1"}}, "storage": {"san1": {}}}
HOST = {"name": "esx1", "username": "ha", "password": "secret"}
SERVER = {"name": "san1", "driver": "tgt", "control_port": 0, "saved_config": None, "fence_list": "/nowhere", "timeout": 5.0, "ssh": None}


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
    assert Story(ended=ended).failed == ["its BMC is gone", "no"]


def test_lines_for_people() -> None:
    assert line_of({"kind": "alarm", "text": "esx1 is fenced"}) == "alarm: esx1 is fenced"
    assert line_of({"kind": "step", "text": "vm01: verified"}) == "vm01: verified"
