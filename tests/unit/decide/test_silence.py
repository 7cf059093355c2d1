"""Silence counts from the last sign of life on any path that failed, and only by probes that were made."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.silence import listen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Silence
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from decide_world import ApiAnswer, Evidence, World, three_hosts


def watched(**options: object) -> World:
    world = three_hosts(**options)
    world.run(9)
    return world


def until_fenced(world: World, host: str = "esx1", every: float = 3.0) -> float:
    began = world.now
    while host not in world.fences():
        world.step(every)
        assert world.now < began + 200
    return world.now - began


def test_the_times_of_the_paths_run_together() -> None:
    """A killed host's session stays listed: its storage has failed only after io_stale, and its API from the first look on."""
    world = watched()
    world.kill("esx1")
    assert until_fenced(world) == 15.0


def test_it_counts_from_the_path_that_lived_longest() -> None:
    world = watched()
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.TIMED_OUT, Evidence.FAILED
    world.run(9)  # it still writes
    world.kill("esx1")
    assert until_fenced(world) == 15.0


def test_a_verdict_that_changes_between_rows_begins_nothing_anew() -> None:
    """Its ping goes on and off: rows 8 and 9 take turns. Ping is a path that failed only while it fails."""
    world = watched()
    world.kill("esx1")
    world.hosts["esx1"].ping = Evidence.OK
    world.run(9)
    assert world.fences() == {}
    world.hosts["esx1"].ping = Evidence.UNKNOWN
    assert until_fenced(world) == 6.0


def test_a_path_that_shows_life_in_between_begins_again() -> None:
    world = watched()
    world.kill("esx1")
    world.run(12)
    world.hosts["esx1"].counter += 1  # one write
    world.step(3)
    assert world.fences() == {}
    world.run(12)
    assert world.fences() == {}
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_late_looks_cost_seconds_and_conclude_nothing_by_being_late() -> None:
    world = watched()
    world.kill("esx1")
    assert until_fenced(world, every=9.0) == 27.0  # three probes, none longer than confirm_after after the one before
    world = watched()
    world.kill("esx1")
    world.step(200)  # nobody listened
    assert world.fences() == {}
    assert until_fenced(world) == 15.0


def test_what_could_not_be_probed_is_neither_life_nor_silence() -> None:
    world = watched()
    world.kill("esx1")
    world.run(6)
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.NOT_ASKED, Evidence.UNKNOWN
    world.run(6)
    assert world.fences() == {}
    world.kill("esx1")
    world.step(3)
    assert world.fences() != {}, "three probes failed and none showed life"


def test_looks_that_could_not_probe_count_for_nothing() -> None:
    world = watched()
    world.kill("esx1")
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.NOT_ASKED, Evidence.UNKNOWN
    world.run(12)
    world.kill("esx1")
    world.step(3)
    assert world.fences() == {}, "one probe failed, four could not be made"
    assert until_fenced(world) == 9.0


def test_the_hosts_own_word_must_last_as_well() -> None:
    """Row 6: the target has seen nothing for long, but only now the host says that its datastore is gone."""
    world = watched()
    world.hosts["esx1"].writes = False
    world.run(30)
    assert (world.row("esx1"), world.fences()) == (7, {})
    world.hosts["esx1"].accessible = False
    world.run(15)
    assert (world.row("esx1"), world.fences()) == (6, {})
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_a_backend_that_hangs_fences_nobody_though_one_host_says_so_first() -> None:
    world = watched()
    for host in world.hosts.values():
        host.writes = False
    world.step(1)
    world.hosts["esx1"].accessible = False
    for _look in range(60):
        world.step(1)
        assert world.fences() == {}
    alarm = world.alarm("brake")
    assert alarm is not None
    assert "3 of 3 hosts lost" in alarm.text


def test_a_restarted_monitor_begins_again() -> None:
    world = watched()
    world.kill("esx1")
    world.run(12)
    world.run_id = "run-2"
    assert until_fenced(world) > 12.0


AT = Instant("boot", 100.0)


def evidence(seconds: float, boot: str = "boot"):
    """Nothing answers at this time."""
    world = three_hosts()
    world.kill("esx1")
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.evidence import gather

    look = world.look()
    policy = read_policy(world.full_policy())
    found = gather("esx1", look, world.memory, policy, world.at())
    return dataclasses.replace(found, taken_at=Instant(boot, AT.seconds + seconds), targets=()), policy


@pytest.mark.parametrize(
    ("seconds", "boot", "after"),
    [
        (3.0, "boot", Silence("api", AT, Instant("boot", 103.0), Instant("boot", 103.0), 1)),
        (-1.0, "boot", Silence("api", AT)),  # a probe that began before the last sign of life
        (16.0, "boot", Silence("api", Instant("boot", 116.0), Instant("boot", 116.0), Instant("boot", 116.0), 1)),
        (3.0, "next", Silence("api", Instant("next", 103.0), Instant("next", 103.0), Instant("next", 103.0), 1)),
    ],
)
def test_what_a_failed_probe_makes_of_an_earlier_sign_of_life(seconds: float, boot: str, after: Silence) -> None:
    seen, policy = evidence(seconds, boot)
    found = {item.path: item for item in listen([Silence("api", AT)], seen, Instant(boot, 500.0), policy)}
    assert found["api"] == after
