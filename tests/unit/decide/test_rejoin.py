"""Letting a fenced host in again: never without proof that it started afresh since the fence."""

from __future__ import annotations

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import RejoinAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fresh_start import MARGIN
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart
from decide_world import Power, World, initiator, three_hosts


def fenced(bmc: bool = False) -> World:
    """esx1 was killed, fenced, and its VMs run elsewhere."""
    world = three_hosts(bmc=bmc)
    world.kill("esx1")
    world.hosts["esx1"].power = Power.OFF if bmc else Power.UNKNOWN
    world.run(30)
    world.fence("esx1")
    world.run(3)
    for name, host in world.plan().items():
        world.start(name, host)
    world.run(6)
    return world


def steps(world: World) -> list[str]:
    return [action.step for action in world.of(RejoinAction)]


def test_nobody_is_let_in_unasked() -> None:
    world = fenced()
    world.reboot("esx1")
    world.run(30)
    assert steps(world) == []
    assert world.command("rejoin", "esx2") == "", "a host that is not fenced has nothing to be let in to"


def test_a_host_that_started_afresh_is_unfenced() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.run(20)
    world.command("rejoin", "esx1", by="alice")
    world.step(3)
    assert steps(world) == ["unfence"]
    world.fenced.clear()
    world.step(3)
    assert steps(world) == []
    assert world.memory.host("esx1").rejoin is None


def test_a_host_that_kept_running_is_not_let_in_and_given_up_in_the_end() -> None:
    world = fenced()
    world.heal("esx1")
    world.hosts["esx1"].session = None
    world.command("rejoin", "esx1")
    for _look in range(100):
        world.step(5)
        assert steps(world) == []
    assert "not been started afresh" in str(world.alarm("rejoin"))
    world.run(120)
    assert world.memory.host("esx1").rejoin is None


def test_a_bmc_switches_it_on_or_cycles_it_once_and_then_waits_for_the_boot() -> None:
    world = fenced(bmc=True)
    world.command("rejoin", "esx1")
    world.step(3)
    assert steps(world) == ["power_on"]
    world.hosts["esx1"].power = Power.ON
    world.run(30)
    assert steps(world) == [], "it boots"
    assert not world.fences(), "and is not switched off for what it runs meanwhile"
    kept = fenced(bmc=True)
    kept.heal("esx1")
    kept.hosts["esx1"].session, kept.hosts["esx1"].power = None, Power.ON
    kept.command("rejoin", "esx1")
    kept.step(3)
    assert steps(kept) == ["power_cycle"]
    kept.run(60)
    assert steps(kept) == []


def test_a_host_that_runs_vms_again_is_not_let_in() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.vms["vm1"].host, world.vms["vm1"].power = "esx1", Power.ON
    world.command("rejoin", "esx1")
    world.run(10)
    assert steps(world) == []
    assert "it runs vm1 already" in str(world.alarm("rejoin"))


def test_an_unconfirmed_fence_is_not_lifted() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.fenced["esx1"] = False
    world.command("rejoin", "esx1")
    world.run(10)
    assert steps(world) == []


def test_the_brain_asks_for_no_unfence_that_the_storage_server_refuses() -> None:
    """One margin for both: a start that is proved by less is asked for by nobody."""
    world = fenced()
    fenced_at = world.fenced_at["esx1"]
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    entry = Entry("esx1", initiator("esx1"), 7, Instant(world.boot, fenced_at, ""))
    world.command("rejoin", "esx1")
    for margin_left in (-3.0, 3.0):
        world.hosts["esx1"].booted = fenced_at + MARGIN + margin_left
        world.step(3)
        lacking = FreshStart(uptime=world.now - world.hosts["esx1"].booted, age=0.0).lacking(entry, world.at())
        assert (steps(world) == ["unfence"]) == (not lacking) == (margin_left > 0)
