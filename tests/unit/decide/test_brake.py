"""Losing many hosts at once is held; no more than max_dead_fraction of them are fenced within brake_window."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from decide_world import Host, Power, Vm, World, three_hosts


def many(count: int, **options: object) -> World:
    names = ["esx%d" % number for number in range(1, count + 1)]
    world = World({name: Host(name) for name in names}, {"vm-%s" % name: Vm("vm-%s" % name, name) for name in names}, dict(options))
    world.isolation = {"192.0.2.1": True}
    world.run(9)
    return world


def lose(world: World, *names: str) -> None:
    for name in names:
        world.kill(name)
        world.hosts[name].session = None


def test_all_hosts_unreachable_at_once_are_held() -> None:
    world = many(3)
    lose(world, "esx1", "esx2", "esx3")
    world.run(300)
    assert world.all_actions() == []
    assert world.alarm("brake") is not None
    assert "the brake holds" in world.held("esx1")


def test_without_an_isolation_address_silence_everywhere_means_the_observer() -> None:
    world = many(3)
    world.isolation = {}
    lose(world, "esx1", "esx2", "esx3")
    world.run(60)
    assert world.verdict("esx1") == "observer_isolated"
    assert world.alarm("observer_isolated") is not None
    assert world.all_actions() == []


def test_half_of_the_hosts_is_not_more_than_half() -> None:
    world = many(4)
    lose(world, "esx1", "esx2")
    world.run(18)
    assert set(world.fences()) == {"esx1", "esx2"}


def test_more_than_half_is_held_whoever_was_confirmed_first() -> None:
    world = many(4)
    lose(world, "esx1")
    world.run(9)
    lose(world, "esx2", "esx3")
    world.run(120)
    assert world.all_actions() == []


def test_hosts_that_fail_one_after_another_do_not_slip_through() -> None:
    world = many(4)
    for name in ("esx1", "esx2"):
        lose(world, name)
        world.run(18)
        assert name in world.fences()
        world.fence(name)
    lose(world, "esx3")
    world.run(18)
    assert world.fences() == {}
    assert "3 of 4 hosts" in world.held("esx3")


def test_a_host_that_was_fenced_and_switched_off_by_us_goes_on_counting() -> None:
    world = many(4)
    for host in world.hosts.values():
        host.bmc = True
    for name in ("esx1", "esx2"):
        lose(world, name)
        world.run(18)
        world.fence(name)
        world.hosts[name].power = Power.OFF
    lose(world, "esx3")
    world.run(18)
    assert world.fences() == {}


def test_losses_further_apart_than_the_window_are_single_losses() -> None:
    world = many(4)
    lose(world, "esx1")
    world.run(18)
    world.fence("esx1")
    world.run(150)
    lose(world, "esx2")
    world.run(18)
    assert "esx2" in world.fences()


def test_the_brake_is_released_when_enough_hosts_answer_again() -> None:
    world = many(3)
    lose(world, "esx1", "esx2")
    world.run(60)
    assert world.fences() == {}
    world.heal("esx2")
    world.run(6)
    assert list(world.fences()) == ["esx1"]
    assert world.alarm("brake") is None


def test_the_brake_is_not_released_by_evidence_that_fades() -> None:
    world = many(3)
    lose(world, "esx1", "esx2")
    world.run(60)
    world.hosts["esx2"].looked_at = False
    world.run(300)
    assert world.all_actions() == []


def test_the_brake_is_released_when_enough_hosts_are_proved_off() -> None:
    world = many(3)
    lose(world, "esx1", "esx2")
    world.run(60)
    for name in ("esx1", "esx2"):
        world.hosts[name].bmc, world.hosts[name].power = True, Power.OFF
    world.step(3)
    assert set(world.fences()) == {"esx1", "esx2"}


def test_a_person_releases_the_brake_for_the_hosts_it_holds() -> None:
    world = many(5)
    lose(world, "esx1", "esx2", "esx3")
    world.run(60)
    assert world.fences() == {}
    world.command("release_brake", by="alice", reason="rack 3 burnt down")
    world.step(3)
    assert set(world.fences()) == {"esx1", "esx2", "esx3"}
    assert world.memory.brake.released_by == "alice: rack 3 burnt down"


def released(world: World, *names: str) -> World:
    """A run that hands the person's word in at each of its looks, as a playbook does, while the brake holds *names*."""
    lose(world, *names)
    world.run(60)
    assert world.fences() == {}
    world.commands = [Command(CommandKind.RELEASE_BRAKE, by="alice", reason="rack 3 burnt down")]
    world.run_id = "run-2"
    world.run(30)
    assert set(world.fences()) == set(names)
    return world


def test_one_release_lets_no_host_through_that_is_lost_later() -> None:
    world = released(many(5), "esx1", "esx2", "esx3")
    lose(world, "esx4", "esx5")
    world.run(60)
    assert set(world.fences()) == {"esx1", "esx2", "esx3"}
    assert world.memory.brake.released == ("esx1", "esx2", "esx3")
    assert "the brake holds" in world.held("esx4")


def test_hosts_that_were_released_do_not_make_room_for_others() -> None:
    """Of the four that were left two are lost, then a third one; more than half of four."""
    world = released(many(10), *("esx%d" % number for number in range(1, 7)))
    lose(world, "esx7", "esx8", "esx9")
    world.run(60)
    assert not {"esx7", "esx8", "esx9"} & set(world.fences())


def test_the_same_person_may_release_again_in_a_later_run() -> None:
    world = released(many(5), "esx1", "esx2", "esx3")
    lose(world, "esx4", "esx5")
    world.run(60)
    world.run_id = "run-3"
    world.commands = [Command(CommandKind.RELEASE_BRAKE, by="alice", reason="rack 3 burnt down")]
    world.run(60)
    assert set(world.fences()) == {"esx1", "esx2", "esx3", "esx4", "esx5"}


def test_a_release_of_a_brake_that_holds_nothing_is_no_word_for_later() -> None:
    world = many(5)
    world.commands = [Command(CommandKind.RELEASE_BRAKE, by="alice", reason="just in case")]
    world.step(3)
    lose(world, "esx1", "esx2", "esx3")
    world.run(60)
    assert world.fences() == {}


def test_another_run_and_another_boot_do_not_release_the_brake() -> None:
    world = many(3)
    lose(world, "esx1", "esx2")
    world.run(30)
    world.run_id, world.boot, world.now = "run-2", "boot-2", 50.0
    world.run(60)
    assert world.fences() == {}


@pytest.mark.parametrize("fraction, fenced", [(0.3, set()), (0.34, {"esx1"})])
def test_the_fraction_is_the_policys(fraction: float, fenced: set[str]) -> None:
    world = many(3, max_dead_fraction=fraction)
    lose(world, "esx1")
    world.run(18)
    assert set(world.fences()) == fenced


def test_a_host_in_maintenance_leaves_the_count_unless_protected_vms_are_there() -> None:
    world = many(3)
    world.hosts["esx3"].maintenance = True
    world.run(3)
    lose(world, "esx1")
    world.run(18)
    assert list(world.fences()) == ["esx1"]  # vm-esx3 runs on esx3: one of three
    world = many(3)
    world.hosts["esx3"].maintenance = True
    del world.vms["vm-esx3"]
    world.event("esx3", "vm_removed")
    world.memory = type(world.memory)()
    world.run(6)
    lose(world, "esx1", "esx3")
    world.run(18)
    assert list(world.fences()) == ["esx1"]
    assert "in maintenance and no protected VM" in world.held("esx3")


def test_losing_one_of_two_hosts_is_within_the_default_fraction() -> None:
    world = three_hosts()
    del world.hosts["esx3"], world.vms["vm4"]
    world.memory = type(world.memory)()
    world.run(6)
    lose(world, "esx1")
    world.run(18)
    assert list(world.fences()) == ["esx1"]
