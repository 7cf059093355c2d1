"""The drill's promise: what it says of a failure is what decide does when the failure comes."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FailoverAction, FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.forecast import admission, hypothetical
from ansible_collections.libreha.vmware.plugins.module_utils.decide.forecast.what_if import (
    Drill,
    UnknownHost,
    WhatIf,
    drill,
    present,
    shortfalls_of,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired, Memory
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from decide_world import Host, Power, Vm, World, initiator, three_hosts
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = 12 * int(os.environ.get("LIBREHA_REPEAT", "1"))  # `make prove` repeats them more often (part properties)


def ask(world: World, *lost: str) -> WhatIf:
    (case,) = drill(present(read_policy(world.full_policy()), world.memory, world.look(), world.at()), lost).cases
    return case


def ask_all(world: World) -> Drill:
    return drill(present(read_policy(world.full_policy()), world.memory, world.look(), world.at()))


def destinations(case: WhatIf) -> dict[str, str]:
    return {vm.name: vm.destination for vm in case.plan if vm.power_on}


def reasons_of(case: WhatIf) -> str:
    return "; ".join(item.reason for item in case.held)


def lose(world: World, lost: list[str]) -> tuple[dict[str, str], set[str], set[str]]:
    """The hosts really die; all that decide orders is carried out until the plan is there. Returns where the VMs go, those
    that should run and find no place, and the hosts whose fence was ordered."""
    for name in lost:
        world.kill(name)
    ordered: set[str] = set()
    for _look in range(60):
        decision = world.step(3)
        for action in decision.actions:
            if isinstance(action, FenceAction) and action.host in lost:
                ordered.add(action.host)
                world.fence(action.host)
                if world.hosts[action.host].bmc:
                    world.hosts[action.host].power = Power.OFF
        if set(lost) <= ordered:
            break
    world.step(3)
    found = [action for action in world.last.actions if isinstance(action, FailoverAction) and action.host in lost]
    plan = {vm.name: vm.destination for action in found for vm in action.vms if vm.power_on}
    homeless = {vm.name for action in found for vm in action.unplaced if world.record(vm.name).desired is Desired.STARTED}
    return plan, homeless, ordered


@st.composite
def clusters(draw: st.DrawFn) -> World:
    names = ["esx%d" % number for number in range(1, draw(st.integers(2, 4)) + 1)]
    hosts = {
        name: Host(
            name, bmc=draw(st.booleans()), memory=draw(st.sampled_from((2048, 4096, 16384))), maintenance=draw(st.integers(0, 9)) == 0
        )
        for name in names
    }
    vms = {}
    for number in range(draw(st.integers(0, 8))):
        name = "vm%d" % number
        store = draw(st.sampled_from(("ds-shared", "ds-shared", "ds-shared", "ds-local")))
        on = draw(st.sampled_from((Power.ON, Power.ON, Power.ON, Power.OFF)))
        vms[name] = Vm(name, draw(st.sampled_from(names)), on, memory=draw(st.sampled_from((512, 1024, 2048))), datastores=(store,))
    options: dict[str, Any] = {"max_dead_fraction": 1.0, "vms": {}, "rules": []}
    for name in vms:
        options["vms"][name] = {"priority": draw(st.sampled_from(("highest", "medium", "low", "disabled")))}
    if len(vms) > 1 and draw(st.booleans()):
        few = draw(st.lists(st.sampled_from(sorted(vms)), min_size=2, max_size=3, unique=True))
        rule = {"type": "vm_affinity", "vms": few, "together": draw(st.booleans()), "required": draw(st.booleans())}
        options["rules"].append(rule)
    if vms and draw(st.booleans()):
        options["rules"].append({"type": "host_affinity", "vms": [draw(st.sampled_from(sorted(vms)))], "hosts": {names[-1]: 1}})
    return World(hosts, vms, options)


@settings(max_examples=EXAMPLES, deadline=None)
@given(clusters(), st.data())
def test_the_plan_is_the_one_that_a_real_failure_gets(world: World, data: st.DataObject) -> None:
    world.run(9)
    lost = data.draw(st.lists(st.sampled_from(sorted(world.hosts)), min_size=1, max_size=len(world.hosts) - 1, unique=True), label="lost")
    before = world.memory
    case = ask(world, *lost)
    assert ask(world, *lost) == case
    assert world.memory == before
    plan, unplaced, ordered = lose(world, lost)
    if ordered == set(lost):
        assert destinations(case) == plan
        assert {vm.name for vm in case.unplaced} == unplaced
        assert not case.held
    else:
        assert {item.subject for item in case.held} == set(lost) - ordered


@settings(max_examples=EXAMPLES, deadline=None)
@given(clusters())
def test_the_looks_own_answer_and_the_drills_agree(world: World) -> None:
    """Two ways to the same question: admission places on the cluster as it is, the drill imagines the whole failure."""
    world.run(9)
    found = ask_all(world)
    assert found.admission is not None
    assert found.admission.exact
    hypothetical = Counter(item.lost for case in found.cases for item in shortfalls_of(case))
    assert Counter(item.lost for item in found.admission.shortfalls) == hypothetical  # which of two equal VMs is left out may differ


def test_the_plan_is_in_start_order_and_says_why() -> None:
    priorities = {"vm1": {"priority": "low"}, "vm2": {"priority": "high"}}
    case = ask(three_hosts(bmc=True, vms=priorities), "esx1")
    assert [vm.name for vm in case.plan] == ["vm2", "vm1"]
    assert "vm vm2 -> esx" in case.plan[0].reasons[0]
    assert (case.held, case.warnings, case.unplaced, case.stays_down) == ((), (), (), ())


def test_vms_that_wait_for_others_are_in_the_plan_and_in_the_time() -> None:
    order = {"condition": "powered_on", "delay": 20, "timeout": 100}
    policy = {"vms": {"vm1": {"start_after": ["vm2"]}}, "start_order": order}
    case = ask(three_hosts(bmc=True, **policy), "esx1")
    assert [vm.name for vm in case.plan] == ["vm2", "vm1"]
    (waiting,) = [part for part in case.time.parts if part.what == "VMs wait for others"]
    assert (waiting.least, waiting.most) == (20.0, 100.0)


def test_a_vm_that_fits_nowhere_is_told_with_each_hosts_reason() -> None:
    world = three_hosts(bmc=True)
    world.vms["vm1"].memory = 16000
    world.run(6)
    case = ask(world, "esx1")
    (vm,) = case.unplaced
    assert vm.name == "vm1"
    assert {item.host: item.reason for item in vm.reasons if "memory too little" in item.reason}.keys() == {"esx2", "esx3"}
    assert set(destinations(case)) == {"vm2"}


def test_the_brake_is_foretold_and_the_plan_behind_it_as_well() -> None:
    case = ask(three_hosts(bmc=True), "esx1", "esx2")
    assert {item.subject for item in case.held} == {"esx1", "esx2"}
    assert "the brake holds: 2 of 3 hosts lost" in reasons_of(case)
    assert destinations(case) == {"vm1": "esx3", "vm2": "esx3", "vm3": "esx3"}


def test_the_other_hosts_stay_healthy_in_imagined_looks_however_long_they_go_on() -> None:
    world = three_hosts(bmc=True)
    base, start = world.look(), world.now
    for seconds in (3, 6, 9, 12, 60, 63, 120, 123):
        world.now = start + seconds
        world.step(look=hypothetical.later(base, seconds))
        assert {world.verdict(host) for host in world.hosts} == {"healthy"} or seconds in (60, 120)  # after a gap it is judged anew
    assert [host.storage[0].state.value for host in world.last.hosts] == ["ok", "ok", "ok"]


def test_losing_every_host_is_held_for_the_observer_may_be_cut_off() -> None:
    case = ask(three_hosts(bmc=True, max_dead_fraction=1.0), "esx1", "esx2", "esx3")
    assert {item.subject for item in case.held} == {"esx1", "esx2", "esx3"}
    assert not case.plan


def test_without_power_fencing_a_network_duplicate_is_foretold() -> None:
    case = ask(three_hosts(bmc=False), "esx1")
    assert any("network duplicate possible" in text for text in case.warnings)
    assert set(destinations(case)) == {"vm1", "vm2"}


def test_a_bmc_that_gives_no_answer_now_is_a_warning() -> None:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].power = Power.UNKNOWN
    world.run(6)
    assert any("the BMC of esx1 gives no answer now" in text for text in ask(world, "esx1").warnings)
    assert not ask(world, "esx2").warnings


def test_vms_of_an_unfenceable_host_stay_down_with_the_reason() -> None:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].told = (initiator("esx2"),)
    world.run(6)
    case = ask(world, "esx1")
    assert not case.plan
    assert {vm.name for vm in case.stays_down} == {"vm1", "vm2"}
    assert all("esx1 is unfenceable: " in vm.reason for vm in case.stays_down)
    assert "it is unfenceable" in reasons_of(case)
    assert {item.host for item in ask_all(world).unfenceable} >= {"esx1"}


def test_unprotected_vms_are_told_with_the_reason_and_whether_it_is_wanted() -> None:
    world = three_hosts(bmc=True, vms={"vm2": {"protection": "unprotected"}})
    world.vms["local"] = Vm("local", "esx1", datastores=("ds-local-esx1",))
    world.run(6)
    case = ask(world, "esx1")
    assert {vm.name: vm.chosen for vm in case.unprotected} == {"vm2": True, "local": False}
    assert "not on iSCSI" in next(vm.reason for vm in case.unprotected if vm.name == "local")
    assert {vm.name for vm in ask_all(world).unprotected} == {"vm2", "local"}


def test_a_storage_server_that_cannot_be_asked_holds_the_fence() -> None:
    """Without it nothing says that the host is dead, and nothing could confirm the fence."""
    world = three_hosts(bmc=True)
    world.unasked.add("san")
    world.step(3)
    case = ask(world, "esx1")
    assert {item.subject for item in case.held} == {"esx1"}
    assert not case.plan
    assert {vm.name for vm in case.stays_down} == {"vm1", "vm2"}
    assert "san could not be asked" in case.stays_down[0].reason


def test_mode_and_disarmed_are_told_and_do_not_hide_the_plan() -> None:
    world = three_hosts(bmc=True, mode="observe")
    world.command("disarm", by="alice", reason="firmware")
    world.step(3)
    case = ask(world, "esx1")
    assert set(destinations(case)) == {"vm1", "vm2"}
    assert "mode: observe" in case.warnings[0]
    assert "the cluster is disarmed (" in case.warnings[1]
    assert world.memory.disarmed


def test_admission_before_and_after() -> None:
    """Two of three hosts of 2 GiB carry 4 VMs of 1 GiB; afterwards the next loss is one too many."""
    names = ("esx1", "esx2", "esx3")
    world = World(
        {name: Host(name, bmc=True, memory=2048) for name in names},
        {"vm%d" % number: Vm("vm%d" % number, names[number % 3]) for number in range(4)},
    )
    world.run(9)
    case = ask(world, "esx1")
    assert case.admission_before is not None
    assert case.admission_after is not None
    assert (case.admission_before.admitted, case.admission_before.tolerates) == (True, 1)
    assert (case.admission_after.admitted, case.admission_after.tolerates) == (False, 0)


def test_a_fresh_memory_is_enough() -> None:
    world = three_hosts(bmc=True)
    world.memory = Memory()
    assert set(destinations(ask(world, "esx1"))) == {"vm1", "vm2"}


def test_without_hosts_each_one_is_lost_in_turn() -> None:
    found = ask_all(three_hosts(bmc=True))
    assert [case.lost for case in found.cases] == [("esx1",), ("esx2",), ("esx3",)]
    assert [len(case.plan) for case in found.cases] == [2, 1, 1]
    assert found.judged


def test_storage_evidence_that_is_still_being_judged_is_told() -> None:
    world = three_hosts(bmc=True)
    world.memory, world.decisions = Memory(), []
    assert not ask_all(world).judged


def test_where_a_look_only_counts_slots_the_drill_places_every_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    world = three_hosts(bmc=True)
    small = ask_all(world).admission
    monkeypatch.setattr(admission, "EXACT_WORK", 0)
    world.step(3)
    assert world.last.admission is not None
    assert not world.last.admission.exact
    large = ask_all(world).admission
    assert small is not None
    assert large is not None
    assert (large.exact, large.tolerates, large.shortfalls) == (True, small.tolerates, small.shortfalls) == (True, 2, ())
    world.vms["vm3"].memory = 16000
    world.run(6)
    broken = ask_all(world).admission
    assert broken is not None
    assert (broken.tolerates, [(item.name, item.lost) for item in broken.shortfalls]) == (0, [("vm3", ("esx2",))])


def test_the_time_has_a_source_for_each_part_and_adds_up() -> None:
    with_bmc, without = (ask(three_hosts(bmc=bmc), "esx1").time for bmc in (True, False))
    assert (sum(part.least for part in with_bmc.parts), sum(part.most for part in with_bmc.parts)) == (with_bmc.least, with_bmc.most)
    assert all(part.source and part.least <= part.most for part in with_bmc.parts)
    # A BMC that says off needs no confirmation time. Without one it is 15 s from the last sign of life, which was up to a look (3 s)
    # before the failure.
    assert with_bmc.least < 15 - 3 <= without.least
    assert "confirm_after" in {part.source.partition(",")[0] for part in without.parts}


def test_a_host_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnknownHost, match="there is no host esx9; the hosts are esx1, esx2, esx3"):
        ask(three_hosts(), "esx9")
