"""How the cluster stands, from real decisions about a small cluster in simulated time (tests/unit/cycle/scene.py)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cycle"))

from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FailoverOrder, FenceOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import from_dict
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.service import status as status_module
from ansible_collections.libreha.vmware.plugins.module_utils.service.status import ABSENT, Status, recorded_status, status_of
from decide_world import SHARED, Power, three_hosts
from scene import LEASE, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    world = three_hosts(lease=LEASE)
    url = "sqlite:///%s" % (tmp_path / "state.db")
    with StateDatabase.open(url, clock=world.at, sleep=lambda seconds: None) as database:
        yield Scene(world, database, url)


def form(scene: Scene, **more: Any) -> dict[str, Any]:
    """What the service would answer now, through JSON as a client gets it."""
    judged = scene.monitor.judged
    given: dict[str, Any] = {
        "now": scene.world.at(),
        "started_at": Instant(scene.world.boot, 1000.0),
        "holder": "run-1",
        "token": scene.token,
        "look_ended_at": judged.decision.taken_at if judged is not None else None,
        "state": "looking",
        "problem": "",
    }
    return dict(json.loads(json.dumps(status_of(judged, scene.in_progress(), **{**given, **more}))))


def status(scene: Scene, **more: Any) -> Status:
    read: Status = from_dict(Status, form(scene, **more), "status")
    return read


def recorded(scene: Scene) -> Status:
    """What a reader finds in the state database when no service answers."""
    database = scene.database
    snapshot = database.snapshot(journal_limit=0, closed_limit=0)
    found = json.loads(json.dumps(recorded_status(snapshot, database.memory(), scene.world.at(), "it does not run")))
    read: Status = from_dict(Status, found, "status")
    return read


def calm(scene: Scene) -> None:
    scene.run()
    scene.looks(12)


def dead(scene: Scene) -> FenceOrder:
    """esx1, which runs vm1 and vm2, is to be fenced."""
    calm(scene)
    scene.world.kill("esx1")
    scene.looks(30)
    (order,) = (order for order in scene.orders if isinstance(order, FenceOrder))
    return order


def test_a_calm_cluster_shows_every_host_at_work_and_nothing_at_risk(scene: Scene) -> None:
    calm(scene)
    scene.world.now += 2.5
    found = status(scene)
    assert [(host.name, host.verdict, host.confirmed, host.running) for host in found.hosts] == [
        ("esx1", "healthy", True, 2),
        ("esx2", "healthy", True, 1),
        ("esx3", "healthy", True, 1),
    ]
    assert found.hosts[0].storage == ("iqn.2026-01.lab:san: ok",) and found.hosts[0].api == "ok"
    assert (found.vms_known, found.vms_running, found.vms_down, found.at_risk, found.in_progress) == (4, 4, 0, (), ())
    assert (found.mode, found.settled, found.disarmed) == ("act", True, "")
    assert found.service.state == "looking" and found.service.token == scene.token
    assert found.service.up_for == pytest.approx(scene.world.now - 1000.0)
    assert found.last_look is not None and found.last_look.age == pytest.approx(2.5)


def test_a_silent_host_is_shown_as_a_suspect_with_its_evidence_and_its_vms_at_risk(scene: Scene) -> None:
    calm(scene)
    scene.world.kill("esx1")
    scene.looks(12)
    found = status(scene)
    suspect = found.hosts[0]
    assert (suspect.verdict, suspect.confirmed, suspect.api, suspect.ping) == ("dead", False, "failed", "failed")
    assert suspect.why.startswith("esx1 dead since ") and suspect.since is not None
    assert suspect.lasts is not None and 0 <= suspect.lasts <= 12
    assert [(vm.name, vm.host, vm.down) for vm in found.at_risk] == [("vm1", "esx1", False), ("vm2", "esx1", False)]
    assert found.at_risk[0].reasons == (suspect.why,)
    assert found.vms_down == 0, "nobody knows whether they are down"
    assert [(item.what, item.subject) for item in found.held] == [("fence", "esx1")]
    assert "waiting for confirmation" in found.held[0].reason


def test_a_failover_shows_what_is_under_way_and_which_vms_are_down(scene: Scene) -> None:
    order = dead(scene)
    (act,) = status(scene).in_progress
    assert (act.what, act.kind, act.hosts, act.vms) == ("fence esx1", "fence", ("esx1",), ())
    scene.world.fence("esx1")
    scene.end(order)
    scene.looks(3)
    assert isinstance(scene.orders[0], FailoverOrder)
    found = status(scene)
    (act,) = found.in_progress
    assert (act.kind, sorted(act.vms), set(act.hosts)) == ("start", ["vm1", "vm2"], {"esx2", "esx3"})
    assert (found.vms_down, found.vms_at_risk) == (2, 2)
    assert {(vm.name, vm.down) for vm in found.at_risk} == {("vm1", True), ("vm2", True)}
    assert "is to be started on" in found.at_risk[0].reasons[0]


def test_alarms_come_the_worst_first_and_one_about_a_vm_puts_it_at_risk(scene: Scene) -> None:
    calm(scene)
    scene.world.vms["vm3"].datastores = (SHARED, "ds-local-esx2")  # a disk that no other host has
    scene.world.serving = None
    scene.looks(6)
    found = status(scene)
    ranks = [["critical", "warning", "info"].index(alarm.severity) for alarm in found.alarms]
    assert ranks == sorted(ranks) and 0 in ranks and 1 in ranks
    (unprotected,) = (vm for vm in found.at_risk if vm.name == "vm3")
    assert not unprotected.down and "cannot be failed over" in unprotected.reasons[0]


def test_before_the_first_look_there_is_nothing_but_the_service_and_its_problem(scene: Scene) -> None:
    scene.run()
    found = status(scene, state="standby", problem="monitor san2 holds the lease", token=None, holder="monitor san2")
    assert found.service.state == "standby" and found.service.problem == "monitor san2 holds the lease"
    assert (found.last_look, found.hosts, found.vms_known, found.alarms, found.service.token) == (None, (), 0, (), None)


def test_ages_across_a_restart_of_the_machine_are_not_told(scene: Scene) -> None:
    calm(scene)
    found = status(scene, now=Instant("boot-2", 5.0), started_at=Instant("boot-2", 4.0))
    assert found.last_look is not None and found.last_look.age is None
    assert found.service.up_for == 1.0 and found.hosts[0].lasts is None


def test_what_is_listed_is_bounded_and_what_is_counted_is_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "LISTED", 1)
    calm(scene)
    scene.world.kill("esx1")
    scene.looks(12)
    found = status(scene)
    assert (len(found.at_risk), found.vms_at_risk) == (1, 2)


def test_the_record_alone_shows_hosts_alarms_holds_and_vms_that_are_down(scene: Scene) -> None:
    calm(scene)
    scene.world.kill("esx1")
    scene.looks(12)
    found = recorded(scene)
    assert (found.service.state, found.service.problem, found.service.holder) == (ABSENT, "it does not run", "run-1")
    assert [(host.name, host.verdict, host.confirmed) for host in found.hosts[:2]] == [("esx1", "dead", False), ("esx2", "healthy", True)]
    assert [(item.what, item.subject) for item in found.held] == [("fence", "esx1")]
    assert [vm.name for vm in found.at_risk] == ["vm1", "vm2"] and found.vms_down == 0
    scene.looks(30)
    scene.world.fence("esx1")
    scene.looks(3)
    found = recorded(scene)
    assert [(vm.name, vm.down, vm.reasons[0]) for vm in found.at_risk] == [
        ("vm1", True, "its host esx1 is fenced"),
        ("vm2", True, "its host esx1 is fenced"),
    ]
    scene.world.now += 100
    found = recorded(scene)
    assert found.last_look is not None and found.last_look.age == pytest.approx(100)
    assert found.service.token is None, "its lease has ended"


def test_the_record_has_vms_that_should_run_and_are_off_but_not_those_that_a_person_stopped(scene: Scene) -> None:
    calm(scene)
    scene.database.give_commands([Command(CommandKind.STOP, "vm3", by="Ada")])
    scene.looks(3)
    for name in ("vm3", "vm4"):
        scene.world.vms[name].power = Power.OFF
    scene.looks(3)
    found = recorded(scene)
    assert [(vm.name, vm.reasons[0]) for vm in found.at_risk if vm.down] == [("vm4", "it is off on esx3")]
    assert [vm.name for vm in status(scene).at_risk if vm.down] == ["vm4"], "as the decision has it"


def test_an_empty_record_is_no_error(scene: Scene) -> None:
    found = recorded(scene)
    assert (found.last_look, found.hosts, found.service.state) == (None, (), ABSENT)


def test_a_form_of_a_newer_release_is_still_read(scene: Scene) -> None:
    calm(scene)
    newer = {**form(scene), "near_misses": [], "hosts": [{**host, "verdict": "asleep", "mood": 7} for host in form(scene)["hosts"]]}
    read: Status = from_dict(Status, newer, "status")
    assert not read.hosts[0].works
