"""drill.yml on the live lab: it says what would happen, changes nothing, and then exactly that happens."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from .chain import Chain, Run, lab, wait_for
from .conftest import MakeChain
from .test_faults import moved
from .test_operator import fences

pytestmark = pytest.mark.lab


def state_of(chain: Chain) -> str:
    """Every row of the state database."""
    with closing(sqlite3.connect(chain.state_url.removeprefix("sqlite:///"), timeout=30)) as database:
        return "\n".join(database.iterdump())


def promised(run: Run, source: str) -> dict[str, str]:
    """VM -> host as the printed plan says it."""
    return dict(re.findall(r"\d+\. +(\S+) +%s -> (\S+) " % source, run.log))


def drill(chain: Chain, **extra: Any) -> Run:
    before = state_of(chain)
    run = chain.play("drill", **extra)
    assert state_of(chain) == before
    return run


@pytest.mark.prove
def test_the_drill_changes_nothing_and_a_failure_keeps_its_promise(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "7")
    asked = drill(chain, host="esx1")
    assert (asked.code, asked.changed) == (0, 0), asked.log
    assert fences(chain) == []
    assert chain.referee()["ok"]
    where = chain.where()
    plan = promised(asked, "esx1")
    assert set(plan) == set(chain.vms_of("esx1"))
    assert "admission control (host_failures): admitted" in asked.log
    lab("fault", "esx1", "power-off")
    moved(chain, chain.play("monitor"))
    assert [entry for entry in chain.journal("verdict") if entry["data"].get("row") == 2]
    after = chain.where()
    assert {name: after[name] for name in plan} == plan
    assert {name: host for name, host in after.items() if name not in plan} == {name: where[name] for name in where if name not in plan}


@pytest.mark.prove
def test_each_host_in_turn_beside_a_monitor_at_work_and_without_any_state(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "3")
    with chain.playing("monitor") as monitor:
        wait_for("the monitor's lease", lambda: chain.record("lease")["lease"]["holder"])
        beside = chain.play("drill")
        assert monitor.finish().code == 0
    elsewhere = "sqlite:///%s" % (chain.folder / "nothing" / "state.db")
    (chain.folder / "nothing").mkdir()
    fresh = drill(chain, libreha_state_url=elsewhere)
    assert not list((chain.folder / "nothing").iterdir())
    for run in (beside, fresh):
        assert (run.code, run.changed) == (0, 0), run.log
        for host, other in (("esx1", "esx2"), ("esx2", "esx1")):
            assert promised(run, host) == dict.fromkeys(chain.vms_of(host), other)
        assert run.log.count("VMs start elsewhere") + run.log.count("VM starts elsewhere") >= 2


@pytest.mark.prove
def test_what_would_not_run_again_is_said_with_the_reason(chain_of: MakeChain) -> None:
    """One VM unprotected, one bound to its host by a rule, then two hosts at once, which the brake would hold: each is named."""
    chain = chain_of("--hosts", "3", "--vms", "6")
    first, second = chain.vms_of("esx1")[:2]
    chain.policy = {
        "vms": {first: {"protection": "unprotected"}},
        "rules": [{"type": "host_affinity", "vms": [second], "hosts": {"esx1": 1}, "name": "licence"}],
    }
    asked = drill(chain, host="esx1")
    assert asked.code == 0, asked.log
    assert re.search(r"does not fit: %s: .*esx2: rule licence allows only esx1" % second, asked.log), asked.log
    assert "unprotected by choice: %s on esx1: the policy leaves it unprotected" % first in asked.log
    both = drill(chain, host="esx1, esx2")
    assert "held: " in both.log
    assert "the brake holds: 2 of 3 hosts lost" in both.log
