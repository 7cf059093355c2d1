"""A fence follows after confirm_after of silence on every path that failed, heard by three probes of one run."""

from __future__ import annotations

import dataclasses

from decide_world import ApiAnswer, Evidence, Instant, World, three_hosts


def dead(**options: object) -> World:
    """esx1 has no session and does not answer: dead from the next look on."""
    world = three_hosts(**options)
    world.kill("esx1")
    world.hosts["esx1"].session = None
    return world


def test_both_the_time_and_the_samples_are_needed() -> None:
    world = dead()
    for _look in range(4):
        world.step(3)
        assert world.fences() == {}
    world.step(3)
    assert list(world.fences()) == ["esx1"]
    world = dead()
    world.step(14)
    world.step(14)
    assert world.fences() == {}
    assert "2 probes of at least 3" in world.held("esx1")
    world.step(14)
    assert list(world.fences()) == ["esx1"]


def test_the_reason_says_since_when_and_from_what() -> None:
    world = dead()
    world.run(18)
    assert world.fences()["esx1"].reasons[0] == (
        "esx1 dead since 00:16:52 (api timed out, ping failed, storage failed: no session, 6 samples)"
    )


def test_a_gap_longer_than_confirm_after_begins_again() -> None:
    world = dead()
    world.run(12)
    world.step(16)
    assert world.fences() == {}
    world.run(12)
    assert world.fences() == {}
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_another_run_of_the_monitor_begins_again() -> None:
    world = dead()
    world.run(12)
    world.run_id = "run-2"
    world.run(15)
    assert world.fences() == {}
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_another_boot_begins_again() -> None:
    world = dead()
    world.run(12)
    world.boot = "boot-2"
    world.run(12)
    assert world.fences() == {}


def test_another_verdict_in_between_begins_again() -> None:
    world = dead()
    world.run(12)
    world.heal("esx1")
    world.step(3)
    world.kill("esx1")
    world.hosts["esx1"].session = None
    world.run(12)
    assert world.fences() == {}
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_the_same_look_handed_in_again_and_again_is_one_sample() -> None:
    world = dead()
    world.step(3)
    look = world.look()
    for _again in range(10):
        world.now += 1
        world.step(0, look)
    assert world.fences() == {}
    assert "1 sample" in world.last.hosts[0].text


def test_an_old_look_is_not_concluded_from() -> None:
    world = dead()
    looks = []
    for _look in range(8):
        world.now += 3
        looks.append(world.look())
    world.now += 60  # the run was frozen between observing and deciding
    for look in looks:
        world.step(0, look)
        assert world.fences() == {}
    assert world.alarm("stale:esx1") is not None


def test_a_look_made_on_another_machine_is_not_concluded_from() -> None:
    world = dead()
    world.change = lambda look: dataclasses.replace(look, taken_at=Instant("elsewhere", look.taken_at.seconds))
    world.run(60)
    assert world.fences() == {}


def test_a_host_that_was_not_looked_at_is_unknown() -> None:
    world = dead()
    world.hosts["esx1"].looked_at = False
    world.run(60)
    assert world.verdict("esx1") == "unknown"
    assert world.fences() == {}
    assert world.alarm("not_observed:esx1") is not None


def test_power_off_needs_no_time_and_no_second_sample() -> None:
    world = three_hosts(bmc=True)
    world.power_off("esx1")
    world.step(12)
    assert (world.verdict("esx1"), world.row("esx1")) == ("dead", 2)
    assert world.fences()["esx1"].power


def time_to_fence(world: World) -> float:
    world.kill("esx1")
    world.hosts["esx1"].session = None
    began = world.now
    while not world.fences():
        world.step(3)
    world.heal("esx1")
    world.step(3)
    return world.now - began - 3


def test_flapping_lengthens_the_time_and_quiet_forgets_it() -> None:
    world = three_hosts()
    assert [time_to_fence(world) for _time in range(6)] == [15, 15, 30, 60, 120, 120]
    world.run(330)
    assert time_to_fence(world) == 15


def test_a_passing_network_fault_is_no_flapping_of_a_host_that_is_left_running() -> None:
    world = three_hosts()
    for _time in range(4):
        world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.TIMED_OUT, Evidence.FAILED
        world.run(9)
        world.heal("esx1")
        world.run(9)
    assert world.memory.host("esx1").flaps == 0


def test_a_new_verdict_is_not_settled_before_it_is_confirmed() -> None:
    world = three_hosts()
    world.partition("esx1")
    assert not world.step(3).settled
    assert world.last.next_sample_in == 3.0
    assert world.run(18).settled
    assert world.last.next_sample_in == 5.0
