"""The judge around the pure decide: what its journal says is so, and what it returns is what is still to be done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext, judge, result_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record import near_misses
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import read_command
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.near_misses import NEAR_MISS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))  # the simulated cluster of decide's tests
from decide_world import Host, Vm, World, three_hosts

ABLE = ["fence", "failover", "restart", "stop", "reset"]


class Cluster:
    """A simulated cluster, judged by the real judge with a real database."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self.result: dict[str, Any] = {}
        self.begin("run-1")

    def begin(self, holder: str) -> None:
        """Another run takes over."""
        with StateDatabase.open(self.url) as database:
            if database.lease()["alive"]:
                database.release_lease(self.holder, self.token)
            lease = database.acquire_lease(holder, 600)
        self.holder, self.token = holder, lease.token

    def look(
        self, seconds: float = 3, looks: int = 1, check: bool = False, commands: Iterable[Mapping[str, Any]] = (), host: str = ""
    ) -> dict[str, Any]:
        with StateDatabase.open(self.url, clock=self.world.at) as database:
            database.give_commands(map(read_command, commands))
        for _look in range(looks):
            self.world.now += seconds
            for simulated in self.world.hosts.values():
                simulated.counter += simulated.writes and simulated.session is not None
            look = Observation.from_dict(json.loads(json.dumps(to_dict(self.world.look()))))
            context = RunContext(self.holder, self.token, ABLE, clock.now, host)
            with StateDatabase.open(self.url, create=False) as database:
                judged = judge(database, read_policy(self.world.full_policy()), look, context, commit=not check)
            self.result = {**result_of(judged), "actions": to_dict(judged.decision.actions), "news": list(judged.news)}
        return self.result

    def journal(self, kind: str, holder: str = "") -> list[str]:
        with StateDatabase.open(self.url, create=False) as database:
            return [entry["text"] for entry in database.read_journal(kinds=[kind]) if holder in ("", entry["holder"])]

    def hosts(self) -> dict[str, dict[str, Any]]:
        with StateDatabase.open(self.url, create=False) as database:
            return {row["name"]: row for row in database.hosts()}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def make(world: World) -> Cluster:
        monkeypatch.setattr(clock, "now", world.at)  # the decision's time; the database has its own
        found = Cluster(world, "sqlite:///%s/state.db" % tmp_path)
        found.look(looks=3)
        return found

    return make


def many(count: int) -> World:
    names = ["esx%d" % number for number in range(1, count + 1)]
    world = World({name: Host(name) for name in names}, {"vm-%s" % name: Vm("vm-%s" % name, name) for name in names})
    world.isolation = {"192.0.2.1": True}
    return world


def test_one_release_of_the_brake_is_applied_and_journaled_once(cluster: Any) -> None:
    lab = cluster(many(5))
    for name in ("esx1", "esx2", "esx3"):
        lab.world.kill(name)
    lab.look(looks=12)
    assert lab.journal("action") == []
    lab.begin("run-2")
    word = [{"kind": "release_brake", "by": "alice", "reason": "the rack burnt"}]
    lab.look(looks=10, commands=word)
    assert lab.journal("person") == ["alice releases the brake for esx1, esx2, esx3: the rack burnt"]
    for name in ("esx4", "esx5"):
        lab.world.kill(name)
    lab.look(looks=12)
    assert not [text for text in lab.journal("action") if "esx4" in text or "esx5" in text]
    lab.begin("run-3")
    lab.look(looks=12, commands=word)
    assert lab.journal("person")[1:] == ["alice releases the brake for esx4, esx5: the rack burnt"]


def test_a_fence_that_a_person_approved_is_journaled_as_ordered(cluster: Any) -> None:
    lab = cluster(three_hosts(mode="ask"))
    lab.world.kill("esx1")
    lab.look(looks=10)
    (proposed,) = lab.journal("action")
    assert proposed.startswith("fence esx1: ")
    assert proposed.endswith("(mode: ask, waits for a person's yes, not carried out)")
    lab.look(commands=[{"kind": "approve", "subject": "esx1", "by": "alice"}])
    (ordered, cleared) = lab.journal("action")[1:]
    assert ordered.startswith("ordered: fence esx1: ")
    assert "not carried out" not in ordered
    assert cleared.startswith("cleared: fence esx1")


def test_a_proposal_that_stands_is_journaled_when_it_begins_and_when_it_ends(cluster: Any) -> None:
    lab = cluster(three_hosts(mode="observe"))
    lab.world.kill("esx1")
    lab.look(looks=30)
    assert len(lab.journal("action")) == 1
    lab.world.heal("esx1")
    lab.look(looks=6)
    fences = [text for text in lab.journal("action") if "fence esx1" in text]
    assert [text.partition(": ")[0] for text in fences] == ["fence esx1", "cleared"]


def test_a_suspicion_that_ends_without_a_fence_is_journaled_as_a_near_miss(cluster: Any) -> None:
    lab = cluster(three_hosts())
    lab.world.kill("esx1")
    lab.look(looks=4)
    lab.world.heal("esx1")
    lab.look(looks=4)
    (told,) = lab.journal(NEAR_MISS)
    assert told.startswith("near miss: esx1 was suspected dead: ")
    with StateDatabase.open(lab.url, create=False) as database:
        assert [item.miss.text for item in near_misses.of_entries(database.read_journal(kinds=[NEAR_MISS]))] == [told]


def test_what_a_disarmed_cluster_does_not_do_says_that_it_is_disarmed(cluster: Any) -> None:
    lab = cluster(three_hosts())
    lab.look(commands=[{"kind": "disarm", "by": "alice", "reason": "new switch"}])
    lab.world.kill("esx1")
    lab.look(looks=10)
    (entry,) = lab.journal("action")
    assert entry.endswith("(the cluster is disarmed (alice: new switch), not carried out)")
    assert lab.result["disarmed"] == "alice: new switch", "no playbook completes what an earlier run left open"
    assert lab.look(commands=[{"kind": "arm", "by": "alice"}])["disarmed"] == ""


def test_a_failover_in_which_no_vm_finds_a_place_is_no_order(cluster: Any) -> None:
    lab = cluster(three_hosts(rules=[{"type": "host_affinity", "vms": ["vm1", "vm2"], "hosts": {"esx1": 1}}]))
    lab.world.kill("esx1")
    lab.look(looks=10)
    lab.world.fence("esx1")
    lab.look(looks=5)
    assert not [text for text in lab.journal("action") if "failover" in text]
    assert sum(line.startswith("vm1 is down: vm1 finds no host") for line in lab.result["undone"]) == 1


def test_a_fence_on_a_persons_word_is_not_said_to_be_confirmed_by_a_storage_server(cluster: Any) -> None:
    lab = cluster(three_hosts())
    lab.world.kill("esx1")
    lab.world.serving = None
    lab.look(looks=10, commands=[{"kind": "confirmed_off", "subject": "esx1", "by": "alice", "reason": "plug pulled"}])
    verdicts = [text for text in lab.journal("verdict") if text.startswith("esx1 fenced")]
    assert verdicts == ["esx1 fenced (on the word of alice: plug pulled (san could not be asked))"]
    starts = [text for text in lab.journal("action") if text.startswith("ordered: failover esx1")]
    assert starts
    assert not [text for text in starts if "fence confirmed" in text or "confirmed on" in text]
    alarms = [text for text in lab.journal("alarm") if text.startswith("the fence of esx1 is not confirmed")]
    assert "on the word of alice" in alarms[0]
    assert "nothing starts" not in alarms[0]


def test_a_confirmed_fence_names_the_storage_servers_that_confirm_it(cluster: Any) -> None:
    world = three_hosts()
    world.servers = ("san1", "san2")
    lab = cluster(world)
    lab.world.kill("esx1")
    lab.look(looks=10)
    lab.world.fence("esx1")
    lab.look()
    assert [text for text in lab.journal("verdict") if "fenced" in text] == ["esx1 fenced (confirmed on san1, san2)"]


def test_the_holds_of_two_vms_of_one_name_are_both_journaled(cluster: Any) -> None:
    world = three_hosts()
    world.change = lambda look: replace(look, vms=tuple(replace(vm, name="web") for vm in look.vms))
    lab = cluster(world)
    lab.world.kill("esx1")
    lab.look(looks=10)
    lab.world.fence("esx1", confirmed=False)
    lab.look(looks=4)
    with StateDatabase.open(lab.url, create=False) as database:
        keys = [entry["key"] for entry in database.read_journal() if entry["key"].startswith("hold/failover/")]
    assert keys == ["hold/failover/ds-shared:vm1/vm1.vmx", "hold/failover/ds-shared:vm2/vm2.vmx"]


def test_the_table_of_hosts_says_why_and_changes_only_with_the_verdict(cluster: Any) -> None:
    lab = cluster(three_hosts())
    assert lab.hosts()["esx2"]["reason"] == "API and storage work"
    before = lab.hosts()["esx2"]["updated_at"]
    lab.world.kill("esx1")
    lab.look(looks=10)
    assert lab.hosts()["esx1"]["reason"] == "storage failed and nothing answers"
    assert lab.hosts()["esx2"]["updated_at"] == before
    lab.world.fence("esx1")
    lab.look()
    assert lab.hosts()["esx1"]["reason"] == "confirmed on san"


@pytest.mark.parametrize("mode", ["observe", "ask", "act"])
def test_a_vm_that_should_run_and_does_not_is_undone_in_every_mode(cluster: Any, mode: str) -> None:
    lab = cluster(three_hosts(mode=mode, max_relocate=0))
    assert lab.result["undone"] == []
    lab.world.crash("vm1")
    lab.look(looks=2)
    (line,) = lab.result["undone"]
    assert line.startswith("vm1 is down: ")
    assert [vm["name"] for vm in lab.result["down"]] == ["vm1"]


def test_a_run_about_one_host_returns_what_it_does_not_do_about_another_as_proposed(cluster: Any) -> None:
    lab = cluster(three_hosts(max_dead_fraction=1.0))
    lab.world.kill("esx1")
    lab.world.kill("esx2")
    lab.look(looks=10, host="esx1")
    assert [action["host"] for action in lab.result["actions"]] == ["esx1"]
    assert [(item["host"], item["why_not"]) for item in lab.result["proposed"]] == [("esx2", "this run is only about the loss of esx1")]


def test_check_mode_says_the_same_and_records_nothing(cluster: Any) -> None:
    lab = cluster(three_hosts(mode="observe"))
    lab.world.crash("vm1")
    said = lab.look(check=True)
    assert any(line.startswith("proposed: restart esx1") for line in said["news"])
    assert lab.journal("action") == []
