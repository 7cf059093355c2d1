"""A suspicion that ends without a fence is told, with the silence that came closest to one."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import NearMiss
from decide_world import ApiAnswer, World, three_hosts


def silent_for(seconds: float, world: World) -> tuple[NearMiss, ...]:
    """esx1 neither answers nor writes for so long, and then works again; what the look that sees it tells."""
    world.kill("esx1")
    world.hosts["esx1"].session = None
    world.run(seconds)
    world.heal("esx1")
    world.hosts["esx1"].session = "s-again"
    return world.step(3).near_misses


def test_it_is_told_once_with_what_was_silent_and_how_close_it_was() -> None:
    world = three_hosts()
    (miss,) = silent_for(9, world)
    assert (miss.host, miss.verdict.value, miss.silent, miss.needed, miss.enough) == ("esx1", "dead", 9.0, 15.0, 9.0)
    assert miss.text.startswith("near miss: esx1 was suspected dead: api, ping and storage san ")
    assert miss.text.endswith(" were silent for 9.0 s, and a fence needs 15 s")
    assert world.step(3).near_misses == ()


@pytest.mark.parametrize("seconds", [0, 3])
def test_what_was_no_suspicion_of_a_fence_or_hardly_one(seconds: float) -> None:
    misses = silent_for(seconds, three_hosts())
    assert [miss.silent for miss in misses] == ([seconds] if seconds else [])


def test_a_flapping_host_needs_longer_and_the_same_confirm_after_would_have_been_enough() -> None:
    world = three_hosts()
    for _turn in range(3):
        silent_for(9, world)
        world.run(9)
    (miss,) = silent_for(9, world)
    assert (miss.needed, miss.enough) == (60.0, pytest.approx(2.25))


def test_a_host_that_is_fenced_and_comes_back_is_none() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.run(18)
    assert list(world.fences()) == ["esx1"]
    world.fence("esx1")
    assert world.step(3).near_misses == ()
    world.heal("esx1")
    assert world.step(3).near_misses == ()


def test_one_whose_fence_was_held_is_told_with_its_whole_silence() -> None:
    world = three_hosts(max_dead_fraction=0.1)
    (miss,) = silent_for(30, world)
    assert miss.silent == 30.0 > miss.needed


def test_the_path_that_fell_silent_last_says_how_close_it_was() -> None:
    world = three_hosts()
    world.hosts["esx1"].api = ApiAnswer.TIMED_OUT
    world.run(9)
    (miss,) = silent_for(9, world)
    assert miss.silent == 9.0
