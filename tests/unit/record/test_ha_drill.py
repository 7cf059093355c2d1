"""The module ha_drill around the pure what_if: it reads the state database, and leaves it as it was."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import NearMiss
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_drill import run
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry
from ansible_collections.libreha.vmware.plugins.module_utils.record.near_misses import NEAR_MISS

TARGET, STORE = "iqn.2026-01.lab:san", "ds-shared"
HOSTS = ("esx1", "esx2")
POLICY = {"mode": "observe", "hosts": {name: {"initiator": "iqn.1998-01.com.vmware:%s" % name} for name in HOSTS}, "storage": {"san": {}}}


def look(ago: float, running: bool = True) -> dict[str, Any]:
    """Two hosts, web1 on esx1, seen *ago* seconds before now; the sessions' counters count time."""
    now = clock.now()
    at = Instant(now.boot_id, now.seconds - ago, now.wall)
    store = seen.Datastore("shared", STORE, luns=(seen.Lun(TARGET, 1),))
    hosts = [
        seen.HostObservation(
            name,
            at,
            seen.ApiAnswer.ANSWERED,
            ping=seen.Evidence.OK,
            uptime=1000.0,
            cpu_cores=4,
            cpu_total=8000,
            cpu_free=8000,
            memory_total=8192,
            memory_free=7168,
            datastores=(store,),
            networks=("VM Network",),
            initiators=("iqn.1998-01.com.vmware:%s" % name,),
        )
        for name in HOSTS
    ]
    backing = seen.Backing("[shared] web1/web1.vmx", "vmx", "shared", STORE)
    power = seen.Power.ON if running else seen.Power.OFF
    vm = seen.VmObservation("%s:web1/web1.vmx" % STORE, "esx1", "web1", backing.path, at, power, memory=1024, backings=(backing,))
    sessions = tuple(seen.Session("iqn.1998-01.com.vmware:%s" % name, TARGET, "1", commands_done=int(1000 * at.seconds)) for name in HOSTS)
    access = seen.TargetAccess(TARGET, tuple("iqn.1998-01.com.vmware:%s" % name for name in HOSTS), luns=(1,))
    server = seen.StorageObservation("san", at, "tgt", serving=True, up_for=9999.0, sessions=sessions, access=(access,))
    found = seen.Observation(at, tuple(hosts), (vm,), HOSTS, storage=(server,))
    form: dict[str, Any] = json.loads(json.dumps(to_dict(found)))
    return form


def parameters(url: str, **other: Any) -> dict[str, Any]:
    return {
        "policy": POLICY,
        "observation": look(0),
        "earlier": [{**look(3), "vms": [], "vms_read": []}],
        "hosts_lost": ["esx1"],
        "state_url": url,
        **other,
    }


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield "sqlite:///%s" % (tmp_path / "state.db")


def contents(url: str) -> str:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        return hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()


def test_without_a_state_database_it_needs_none_and_makes_none(url: str) -> None:
    result = run(parameters(url), False)
    (case,) = result["cases"]
    assert {vm["name"]: vm["destination"] for vm in case["plan"]} == {"web1": "esx2"}
    assert (result["changed"], result["judged"], result["remembered"]) == (False, True, False)
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_it_knows_what_the_monitor_remembers_and_leaves_the_database_as_it_was_while_another_holds_the_lease(url: str) -> None:
    """web1 crashed; only the memory knows that it should run."""
    policy = read_policy(POLICY)
    memory = Memory()
    for ago in (20.0, 17.0):
        observation = seen.Observation.from_dict(look(ago))
        memory = decide(policy, memory, observation, observation.taken_at, "monitor").memory
    with StateDatabase.open(url) as database:
        lease = database.acquire_lease("monitor", 60)
        database.save_memory(memory.to_dict(), lease.token)
        before = contents(url)
        result = run(parameters(url, observation=look(0, running=False)), False)
        assert contents(url) == before
        assert database.check_lease(lease.token) > 0
    (case,) = result["cases"]
    assert result["remembered"]
    assert [(vm["name"], vm["power_on"]) for vm in case["plan"]] == [("web1", True)]
    forgotten = run(parameters(url + ".other", observation=look(0, running=False)), False)["cases"][0]
    assert [(vm["name"], vm["power_on"]) for vm in forgotten["plan"]] == [("web1", False)]


def test_near_misses_are_told_with_the_picture(url: str) -> None:
    miss = NearMiss("esx1", Verdict.DEAD, 9.0, 15.0, 9.0, ("api", "ping"))
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("monitor", 60).token
        database.journal([JournalEntry(NEAR_MISS, miss.text, "esx1", data=to_dict(miss))], token)
    result = run(parameters(url), False)
    assert result["near_misses"][0].startswith("1 near miss in 30 days") and result["near_misses"] == result["picture"][-3:]


def test_each_host_in_turn_where_none_is_named(url: str) -> None:
    result = run(parameters(url, hosts_lost=[]), True)
    assert [case["lost"] for case in result["cases"]] == [["esx1"], ["esx2"]]
    assert result["summary"][0].startswith("esx1: 1 VM starts elsewhere (esx2 1)")
    assert result["summary"][1].startswith("esx2: 0 VMs start elsewhere")


def test_one_look_alone_does_not_judge_the_storage(url: str) -> None:
    result = run(parameters(url, earlier=[]), False)
    assert not result["judged"]
    assert any("still being judged" in line for line in result["picture"])


def test_the_question_is_about_the_moment_of_the_look_however_late_it_is_asked(url: str) -> None:
    first, second = look(100), look(96)
    result = run(parameters(url, earlier=[first], observation={**first, "storage": second["storage"]}), False)
    assert result["judged"]
    assert [vm["destination"] for vm in result["cases"][0]["plan"]] == ["esx2"]


def test_hosts_that_were_looked_at_long_before_the_storage_are_not_trusted(url: str) -> None:
    old, storage = look(100), look(60)["storage"]
    assert not run(parameters(url, earlier=[look(63)], observation={**old, "storage": storage}), False)["judged"]


def test_the_report_names_the_plan_the_reasons_and_the_time(url: str) -> None:
    report = "\n".join(run(parameters(url), False)["cases"][0]["report"])
    assert "1.  web1  esx1 -> esx2  medium  vm web1 -> esx2: esx1 fence confirmed" in report
    assert "warning: mode: observe" in report
    assert "afterwards (host_failures): NOT admitted" in report
    assert "confirm_after" in report


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hosts_lost": ["esx1", "esx9"]}, "there is no host esx9; the hosts are esx1, esx2"),
        ({"observation": {}}, "observation: taken_at is missing"),
        ({"earlier": [{"taken_at": 3}]}, "earlier[0].taken_at"),
        ({"policy": {"confirm_afer": 3}}, "confirm_afer"),
    ],
)
def test_wrong_input_is_named_with_its_place(url: str, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(LibrehaError) as caught:
        run(parameters(url, **wrong), False)
    assert says in str(caught.value)
