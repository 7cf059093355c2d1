"""Balancing: few moves, never a worse spread, and a single one where one is enough."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.moves.rebalance import Unit, choose_moves, spread
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import Room
from decide_world import Host, Vm, World
from hypothesis import given
from hypothesis import strategies as st

MEMORY = 10_000
Sizes = dict[str, list[int]]


def rooms_of(sizes: Sizes) -> dict[str, Room]:
    return {host: Room(host, memory=MEMORY - sum(mine), memory_total=MEMORY, cpu=0, cpu_total=0, cores=4) for host, mine in sizes.items()}


def units_of(sizes: Sizes) -> list[Unit]:
    return [
        Unit((VmRecord("%s-%d" % (host, number), "%s-%d" % (host, number), "", host, memory=size),), host)
        for host, mine in sizes.items()
        for number, size in enumerate(mine)
    ]


def balance(sizes: Sizes, band: float, most: int = 99, refused: Iterable[tuple[str, str]] = ()) -> tuple[list[tuple[str, str]], float]:
    """The moves (VM, host) and the spread after them; every step is checked not to be more uneven than the one before."""
    where = {unit.vms[0].name: unit for unit in units_of(sizes)}
    now = {host: list(mine) for host, mine in sizes.items()}
    spreads, moves = [spread(rooms_of(now))], []

    def move(unit: Unit, host: str) -> bool:
        if (unit.vms[0].name, host) in refused:
            return False
        now[unit.source].remove(unit.vms[0].memory)
        now[host].append(unit.vms[0].memory)
        moves.append((unit.vms[0].name, host))
        spreads.append(spread(rooms_of(now)))
        return True

    assert choose_moves(where.values(), rooms_of(sizes), band, most, move) == len(moves) <= most
    assert len({name for name, _host in moves}) == len(moves), "a VM moved twice"
    assert all(later <= before + 1e-9 for before, later in zip(spreads, spreads[1:], strict=False))
    assert all(sum(mine) <= MEMORY for mine in now.values())
    return moves, spreads[-1]


def one_move_is_enough(sizes: Sizes, band: float) -> bool:
    """Every single move, tried."""
    for source, mine in sizes.items():
        for index, size in enumerate(mine):
            for host in sizes:
                after = {name: list(others) for name, others in sizes.items()}
                after[source].pop(index)
                after[host].append(size)
                if sum(after[host]) <= MEMORY and spread(rooms_of(after)) <= band:
                    return True
    return False


clusters = st.dictionaries(
    st.sampled_from(["esx%d" % number for number in range(1, 6)]),
    st.lists(st.integers(100, 2400), max_size=4),
    min_size=2,
)


@given(clusters, st.sampled_from([0.05, 0.1, 0.2, 0.4]))
def test_it_ends_is_never_worse_and_takes_one_move_where_one_is_enough(sizes: Sizes, band: float) -> None:
    before = spread(rooms_of(sizes))
    moves, after = balance(sizes, band)
    assert after <= before + 1e-9
    if before <= band:
        assert moves == []
    elif one_move_is_enough(sizes, band):
        assert (len(moves), after <= band) == (1, True)


@given(clusters, st.integers(0, 3))
def test_it_stops_at_the_most_moves_allowed(sizes: Sizes, most: int) -> None:
    assert len(balance(sizes, 0.01, most)[0]) <= most


def test_a_refused_move_is_replaced_by_the_next_best() -> None:
    sizes = {"esx1": [2000, 2000, 2000], "esx2": [], "esx3": [1000]}
    first, _spread = balance(sizes, 0.1)
    assert first[0][1] == "esx2"
    names = {name for name, _host in first}
    others, _spread = balance(sizes, 0.1, refused=[(name, "esx2") for name in names])
    assert others[0] not in [(name, "esx2") for name in names]


def test_a_host_that_takes_no_vm_is_not_counted() -> None:
    rooms = rooms_of({"esx1": [5000], "esx2": [4000], "esx3": []})
    rooms["esx3"] = Room("esx3", refuses="it is fenced", memory=0, memory_total=MEMORY)
    assert spread(rooms) == pytest.approx(0.1)
    assert spread({}) == 0.0


def uneven(**policy: object) -> World:
    """esx1 holds 8 VMs of 1 GiB, the others none; vMotion everywhere."""
    hosts = {name: Host(name, memory=16384, live_migration=True) for name in ("esx1", "esx2", "esx3")}
    world = World(hosts, {"vm%d" % number: Vm("vm%d" % number, "esx1") for number in range(8)}, dict(policy))
    world.run(9)
    return world


def test_nobody_asked_and_nothing_moves() -> None:
    assert uneven().moves() == {}


def test_an_operator_asks_and_the_load_is_evened_out_live_and_then_no_more() -> None:
    world = uneven(rebalance={"band": 0.15})
    assert "balanced" in world.command("rebalance", by="alice")
    world.step(3)
    first = world.moves()
    assert first
    assert {cause for _host, cause in first.values()} == {"rebalance"}
    for _look in range(40):
        world.move()
        world.step(3)
    loads = [len(world.vms_on(host)) / 16 for host in world.hosts]
    assert max(loads) - min(loads) <= 0.15
    assert world.moves() == {}
    assert world.memory.rebalance == ""


def test_after_a_failover_only_if_the_policy_says_so() -> None:
    for wanted in (False, True):
        world = uneven(rebalance={"band": 0.15, "after_failover": wanted}, max_dead_fraction=1.0)
        world.hosts["esx4"] = Host("esx4", memory=16384, live_migration=True)
        world.run(9)
        world.kill("esx2")
        world.vms["vm0"].host = "esx2"
        world.heal("esx2")
        world.vms["vm0"].power = world.vms["vm1"].power
        world.run(9)
        world.kill("esx2")
        world.run(30)
        world.fence("esx2")
        world.step(3)
        (destination,) = world.plan().values()
        world.start("vm0", destination)
        world.run(90)
        assert any(action.kind == "move" for action in world.all_actions()) is wanted


def test_no_vm_goes_to_a_host_that_its_rules_like_less() -> None:
    rules = [{"type": "host_affinity", "vms": ["vm%d" % number for number in range(8)], "hosts": {"esx1": 1}, "required": False}]
    world = uneven(rebalance={"band": 0.15}, rules=rules)
    world.command("rebalance")
    world.step(3)
    assert world.moves() == {}
    assert world.memory.rebalance == ""


def test_a_failover_host_is_not_filled_by_balancing() -> None:
    control = {"form": "failover_hosts", "failover_hosts": ["esx3"]}
    world = uneven(rebalance={"band": 0.15}, admission_control=control)
    world.command("rebalance")
    world.step(3)
    assert {host for host, _cause in world.moves().values()} == {"esx2"}
