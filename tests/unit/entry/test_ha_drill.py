"""The module ha_drill around the pure what_if: it looks, reads the state database, and leaves it as it was."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import NearMiss
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_drill import argument_spec, ask, run
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry
from ansible_collections.libreha.vmware.plugins.module_utils.record.near_misses import NEAR_MISS

TARGET, STORE = "iqn.2026-01.lab:san", "ds-shared"
HOSTS = ("esx1", "esx2")
POLICY = {"mode": "observe", "hosts": {name: {"initiator": "iqn.1998-01.com.vmware:%s" % name} for name in HOSTS}, "storage": {"san": {}}}


def look(ago: float, running: bool = True) -> seen.Observation:
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
    return seen.Observation(at, tuple(hosts), (vm,), HOSTS, storage=(server,))


@dataclass
class Scripted:
    """An observer that sees these looks, the last one again and again."""

    looks: list[seen.Observation]
    health: list[list[str]] = field(default_factory=list)  # of which servers it was asked for, look by look

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> seen.Observation:
        self.health.append(sorted({*health, *disks}))
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def news(self) -> bool:
        return False

    def highest_token(self) -> int:
        return 0


def drill(url: str, *looks: seen.Observation, lost: Sequence[str] = ("esx1",), max_looks: int = 5) -> dict[str, Any]:
    observer = Scripted(list(looks) or [look(3), look(0)])
    return ask(read_policy(POLICY), observer, url, lost, max_looks, lambda seconds: None)


def parameters(url: str, **other: Any) -> dict[str, Any]:
    """Of the module, as Ansible fills them in."""
    hosts = [{"name": name, "hostname": "%s.invalid" % name, **dict.fromkeys(("username", "password"), "x")} for name in HOSTS]
    given = {"policy": POLICY, "hosts": hosts, "storage": [{"name": "san", "driver": "tgt", "control_port": 1}], "state_url": url, **other}
    read = ArgumentSpecValidator(argument_spec()).validate(given)
    assert not read.error_messages
    return dict(read.validated_parameters)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield "sqlite:///%s" % (tmp_path / "state.db")


def contents(url: str) -> str:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        return hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()


def test_without_a_state_database_it_needs_none_and_makes_none(url: str) -> None:
    result = drill(url)
    (case,) = result["cases"]
    assert {vm["name"]: vm["destination"] for vm in case["plan"]} == {"web1": "esx2"}
    assert (result["changed"], result["judged"], result["remembered"]) == (False, True, False)
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_it_knows_what_the_monitor_remembers_and_leaves_the_database_as_it_was_while_another_holds_the_lease(url: str) -> None:
    """web1 crashed; only the memory knows that it should run."""
    policy = read_policy(POLICY)
    memory = Memory()
    for ago in (20.0, 17.0):
        observation = look(ago)
        memory = decide(policy, memory, observation, observation.taken_at, "monitor").memory
    crashed = look(3, running=False), look(0, running=False)
    with StateDatabase.open(url) as database:
        lease = database.acquire_lease("monitor", 60)
        database.save_memory(memory.to_dict(), lease.token)
        before = contents(url)
        result = drill(url, *crashed)
        assert contents(url) == before
        assert database.check_lease(lease.token) > 0
    (case,) = result["cases"]
    assert result["remembered"]
    assert [(vm["name"], vm["power_on"]) for vm in case["plan"]] == [("web1", True)]
    forgotten = drill(url + ".other", *crashed)["cases"][0]
    assert [(vm["name"], vm["power_on"]) for vm in forgotten["plan"]] == [("web1", False)]


def test_near_misses_are_told_with_how_it_stands(url: str) -> None:
    miss = NearMiss("esx1", Verdict.DEAD, 9.0, 15.0, 9.0, ("api", "ping"))
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("monitor", 60).token
        database.journal([JournalEntry(NEAR_MISS, miss.text, "esx1", data=to_dict(miss))], token)
    result = drill(url)
    assert result["near_misses"][0].startswith("1 near miss in 30 days") and result["near_misses"] == result["standing"][-3:]


def test_each_host_in_turn_where_none_is_named(url: str) -> None:
    result = drill(url, lost=[])
    assert [case["lost"] for case in result["cases"]] == [["esx1"], ["esx2"]]
    assert result["summary"][0].startswith("esx1: 1 VM starts elsewhere (esx2 1)")
    assert result["summary"][1].startswith("esx2: 0 VMs start elsewhere")


def test_one_look_alone_does_not_judge_the_storage(url: str) -> None:
    result = drill(url, max_looks=1)
    assert not result["judged"]
    assert any("still being judged" in line for line in result["standing"])


def test_it_looks_until_the_storage_is_judged_and_reads_the_health_of_its_servers_once(url: str) -> None:
    first = look(6)
    observer = Scripted([first, first, look(0)])  # the sessions' counters stand still from the first to the second
    waited: list[float] = []
    result = ask(read_policy(POLICY), observer, url, ["esx1"], 5, waited.append)
    assert result["judged"]
    assert observer.health == [["san"], [], []]
    assert all(0 < seconds <= 5 for seconds in waited) and len(waited) == 2


def test_the_question_is_about_the_moment_of_the_look_however_late_it_is_asked(url: str) -> None:
    result = drill(url, look(100), replace(look(100), storage=look(96).storage))
    assert result["judged"]
    assert [vm["destination"] for vm in result["cases"][0]["plan"]] == ["esx2"]


def test_hosts_that_were_looked_at_long_before_the_storage_are_not_trusted(url: str) -> None:
    assert not drill(url, look(63), replace(look(100), storage=look(60).storage), max_looks=2)["judged"]


def test_the_report_names_the_plan_the_reasons_and_the_time(url: str) -> None:
    report = "\n".join(drill(url)["cases"][0]["report"])
    assert "1.  web1  esx1 -> esx2  medium  vm web1 -> esx2: esx1 fence confirmed" in report
    assert "warning: mode: observe" in report
    assert "afterwards (host_failures): NOT admitted" in report
    assert "confirm_after" in report


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hosts_lost": ["esx1", "esx9"]}, "there is no host esx9; the hosts are esx1, esx2"),
        ({"max_looks": 0}, "max_looks is 0"),
        ({"policy": {"confirm_afer": 3}}, "confirm_afer"),
        ({"hosts": []}, "hosts names"),
    ],
)
def test_wrong_input_is_named_before_anything_is_asked(url: str, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(LibrehaError) as caught:
        run(parameters(url, **wrong), False)
    assert says in str(caught.value)
