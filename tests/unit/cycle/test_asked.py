"""Planned work while somebody else holds the lease: that one carries it out, and whoever asked waits for the outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "service"))

from ansible_collections.libreha.vmware.plugins.module_utils.cycle.asked import Asked, Waiter, failures, foresee, foreseen, half_done
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.judge import RunContext
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.monitor import ABLE, Monitor
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import MoveOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode, Policy
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.lease import LeaseHeld
from resident_scene import Cluster
from scene import Scene

MIGRATE = Command(CommandKind.MIGRATE, "vm1", "esx3", "Ada")
EVACUATE = Command(CommandKind.MAINTENANCE_ON, "esx1", "", "Ada", "a new fan")


@dataclass
class Asker:
    """Somebody who asks while another run is at work; ``meanwhile`` is what happens in each second that passes here."""

    scene: Scene
    meanwhile: Callable[[], None]
    said: list[str] = field(default_factory=list)
    handed: int = 0

    def ask(self, *commands: Command) -> tuple[Asked, Waiter]:
        database = StateDatabase.open(self.scene.url, clock=self.scene.world.at, sleep=lambda seconds: None)
        asked = Asked(database, commands, Mode.ACT)
        return asked, Waiter(Cluster(self.scene), database, asked, self._sleep, self.said.append, self._hand)

    def _sleep(self, seconds: float) -> None:
        self.scene.world.now += seconds
        self.meanwhile()

    def _hand(self) -> None:
        self.handed += 1


def moves_in(scene: Scene, monitor: Monitor) -> Callable[[], None]:
    """The other run looks each second; a move takes two looks."""
    begun: list[Any] = []

    def look() -> None:
        for host in scene.world.hosts.values():
            host.counter += host.writes and bool(host.session)
        for order in [order for order in scene.orders if order in begun]:
            if isinstance(order, MoveOrder):
                for move in order.planned:
                    scene.world.start(move.name, move.destination)
            scene.end(order)
        begun[:] = scene.orders
        monitor.run_once()

    return look


def test_the_run_that_has_the_lease_carries_it_out_and_the_outcome_is_waited_for(scene: Scene) -> None:
    other = scene.run("resident")
    scene.looks(6)
    asker = Asker(scene, moves_in(scene, other))
    asked, waiter = asker.ask(MIGRATE)
    assert waiter.lease("asker", 100.0) is None
    (row,) = asked.rows()
    assert (row["state"], row["progress"], row["stands"]) == ("applied", "done", "vm1 is on esx3")
    assert (scene.world.vms["vm1"].host, failures(asked.rows()), waiter.other) == ("esx3", [], "resident")
    assert (asker.said, asker.handed) == (["resident holds the lease and carries it out"], 1)


def test_a_memory_that_the_asker_cannot_read_is_an_error_with_a_remedy(scene: Scene) -> None:
    """The run that has the lease may be of a newer release."""
    scene.run("resident")
    asked, _waiter = Asker(scene, lambda: None).ask(MIGRATE)
    scene.database.save_memory({"version": 10**6}, scene.token)
    with pytest.raises(LibrehaError, match="the memory in .* cannot be read.*Remedy: run the release"):
        asked.rows()


def test_what_that_run_refuses_fails_with_its_reason(scene: Scene) -> None:
    asker = Asker(scene, moves_in(scene, scene.run("resident")))
    asked, waiter = asker.ask(Command(CommandKind.MIGRATE, "nobody", "esx3"))
    assert waiter.lease("asker", 100.0) is None
    (failure,) = failures(asked.rows())
    assert failure.startswith("migrate nobody: refused: no VM nobody is known")


def test_with_no_outcome_in_time_it_says_how_it_stands_and_that_it_remains_wanted(scene: Scene) -> None:
    other = scene.run("resident")
    scene.looks(6)

    def look() -> None:
        other.run_once()  # and the move does not end

    asked, waiter = Asker(scene, look).ask(MIGRATE)
    with pytest.raises(LibrehaError, match="resident holds the lease, and there is no outcome after 5 s") as late:
        waiter.lease("asker", 5.0)
    assert "vm1 is on its way from esx1 to esx3; it remains wanted" in str(late.value)
    assert asked.rows()[0]["state"] == "applied"
    assert late.value.details["failing"]


def test_what_no_run_took_up_in_time_is_withdrawn(scene: Scene) -> None:
    scene.run("frozen")
    asked, waiter = Asker(scene, lambda: None).ask(MIGRATE)
    with pytest.raises(LibrehaError, match="migrate vm1 was taken up by no run and is withdrawn"):
        waiter.lease("asker", 5.0)
    assert asked.rows()[0]["state"] == "withdrawn"


def test_when_the_other_run_ends_this_one_goes_on_by_itself(scene: Scene) -> None:
    scene.run("another playbook")
    scene.looks(6)
    left = [3]

    def ends() -> None:
        left[0] -= 1
        if left[0] == 0:
            scene.database.release_lease("another playbook", scene.token)

    asked, waiter = Asker(scene, ends).ask(MIGRATE)
    leased = waiter.lease("asker", 100.0)
    assert leased is not None
    assert leased.token > scene.token
    leased.monitor.run_once()
    assert asked.rows()[0]["state"] == "applied"
    assert [type(order) for order in scene.begun] == [MoveOrder]


def test_the_secret_is_handed_to_each_run_that_takes_the_lease(scene: Scene) -> None:
    scene.run("resident 1")
    taken = [0]

    def restarts() -> None:
        taken[0] += 1
        if taken[0] == 2:
            scene.database.release_lease("resident 1", scene.token)
            scene.run("resident 2")

    asker = Asker(scene, restarts)
    _asked, waiter = asker.ask(MIGRATE)
    with pytest.raises(LibrehaError, match="resident 2 holds the lease"):
        waiter.lease("asker", 5.0)
    assert asker.handed == 2


def test_without_a_command_the_work_is_left_to_the_other_run(scene: Scene) -> None:
    scene.run("resident")
    asker = Asker(scene, lambda: None)
    _asked, waiter = asker.ask()
    with pytest.raises(LeaseHeld):
        waiter.lease("asker", 0.0)
    assert (asker.said, asker.handed) == ([], 0)


@pytest.mark.parametrize(("subject", "fails"), [("vm1", []), ("esx1", ["critical alarm: esx1 is on fire"])])
def test_alarms_about_what_was_asked_fail_and_others_do_not(scene: Scene, subject: str, fails: list[str]) -> None:
    scene.run("resident")
    kind = CommandKind.MIGRATE if subject == "vm1" else CommandKind.FAILOVER
    scene.looks(6)
    asked, _waiter = Asker(scene, lambda: None).ask(Command(kind, subject, "esx3" if subject == "vm1" else ""))
    alarm = {"key": "fire:esx1", "subject": "esx1", "text": "esx1 is on fire", "data": {"severity": "critical"}}
    hold: dict[str, Any] = {"key": "hold/fence/esx1", "subject": "esx1", "text": "held", "data": {}}
    scene.database.journal_alarms([alarm, hold], scene.token)
    assert asked.failing_alarms(Policy()) == fails


def foreseen_of(scene: Scene, *commands: Command) -> tuple[list[str], int]:
    """How each would stand, and how many looks that took; the record is as before."""
    before = scene.database.load_memory()
    policy = read_policy(scene.world.full_policy())
    context = RunContext("", 0, ABLE, scene.world.at)
    judged, looks = foresee(scene, scene.database, policy, context, commands, scene.wait)
    assert scene.database.load_memory() == before
    return [row["progress"] for row in foreseen(commands, judged, Mode.ACT)], looks


def test_what_would_come_of_a_command_is_said_when_the_storage_evidence_is_there(scene: Scene) -> None:
    """A check or a migration on a cluster whose last look was long ago, or that no monitor has ever looked at."""
    assert foreseen_of(scene, MIGRATE) == (["open"], 2), "no look had seen the VM"
    scene.run()
    scene.looks(9)
    assert foreseen_of(scene, MIGRATE) == (["open"], 1)
    scene.wait(1000)
    assert foreseen_of(scene, MIGRATE) == (["open"], 2)


def test_what_speaks_against_a_command_is_said_all_the_same(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    assert foreseen_of(scene, Command(CommandKind.MIGRATE, "vm1", "esx9", "Ada"), MIGRATE) == (["failed", "open"], 1)
    scene.world.hosts["esx3"].maintenance = True
    scene.wait(1000)
    assert foreseen_of(scene, MIGRATE) == (["failed"], 2)


def test_that_a_vm_would_be_left_behind_is_known_before_a_host_is_emptied(scene: Scene) -> None:
    scene.run()
    scene.looks(9)
    policy = read_policy(scene.world.full_policy())
    context = RunContext("", 0, ABLE, scene.world.at)

    def rows() -> list[dict[str, Any]]:
        judged, _looks = foresee(scene, scene.database, policy, context, [EVACUATE], scene.wait)
        return foreseen([EVACUATE], judged, Mode.ACT)

    assert half_done(rows()) == []
    scene.world.vms["vm1"].memory = 10**6  # no other host has room for it
    scene.looks(1)
    (text,) = half_done(rows())
    assert text.startswith("maintenance_on esx1: it cannot be emptied; vm1 stays on esx1") and "memory too little" in text
    assert scene.journal("person") == []
