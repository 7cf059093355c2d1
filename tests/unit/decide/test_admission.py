"""Admission control: vSphere HA's three forms, and the exact answer beside them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.assessment import assess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Admission
from ansible_collections.libreha.vmware.plugins.module_utils.decide.forecast import admission as admission_module
from ansible_collections.libreha.vmware.plugins.module_utils.decide.forecast.admission import (
    admission_alarm,
    kept_for_failover,
    refuses_start,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.state import Cluster
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from decide_world import Host, Power, Vm, World


def world_of(hosts: dict[str, int], inventory: list[Vm], **policy: Any) -> World:
    """Hosts with their memory in MiB; two looks have been taken."""
    world = World({name: Host(name, memory=memory) for name, memory in hosts.items()}, {vm.name: vm for vm in inventory}, policy)
    world.run(9)
    return world


def standing(world: World) -> Admission:
    found = world.last.admission
    assert found is not None
    return found


def cluster_of(world: World) -> Cluster:
    return assess(read_policy(world.full_policy()), world.memory, world.look(), world.at(), world.run_id).cluster


def vms(host: str, count: int, memory: int = 1024, prefix: str = "") -> list[Vm]:
    return [Vm("%s%s-%d" % (prefix, host, number), host, memory=memory) for number in range(count)]


def test_the_hosts_with_the_most_slots_are_taken_away_first() -> None:
    """16 + 8 + 8 slots: without the large host 16 are left."""
    hosts = {"small1": 8192, "large": 16384, "small2": 8192}
    fits = standing(world_of(hosts, vms("large", 12) + vms("small1", 2) + vms("small2", 2)))
    assert (fits.admitted, fits.form) == (True, "host_failures")
    assert fits.text == "without large there are 16 slots of 1024 MiB and 32 MHz, and 16 protected VMs need 16"
    full = world_of(hosts, vms("large", 12) + vms("small1", 3) + vms("small2", 2))
    assert not standing(full).admitted
    assert "16 slots of 1024 MiB and 32 MHz, and 17 protected VMs need 17" in full.alarm("admission").text  # type: ignore[union-attr]


def test_one_large_vm_makes_every_slot_large() -> None:
    """vSphere's known waste: 2 x 16 GiB hold 8 slots of 4 GiB, although 9 small VMs would fit; the exact answer says so."""
    state = standing(world_of({"esx1": 16384, "esx2": 16384}, [Vm("big", "esx1", memory=4096), *vms("esx2", 4)]))
    assert not state.admitted
    assert (state.exact, state.tolerates, state.shortfalls) == (True, 1, ())


def test_a_vm_larger_than_a_slot_of_given_size_takes_several() -> None:
    given = {"admission_control": {"slot_memory": 1024, "slot_cpu": 100}}
    state = standing(world_of({"esx1": 8192, "esx2": 8192}, [Vm("big", "esx1", memory=4097)], **given))
    assert state.text.endswith("1 protected VM needs 5")
    assert state.admitted


@pytest.mark.parametrize(("failures", "admitted"), [(1, True), (2, False), (3, False)])
def test_as_many_host_failures_as_the_policy_wants(failures: int, admitted: bool) -> None:
    control = {"admission_control": {"host_failures": failures}}
    state = standing(world_of(dict.fromkeys(("esx1", "esx2", "esx3"), 4096), vms("esx1", 3) + vms("esx2", 3), **control))
    assert state.admitted is admitted
    assert state.tolerates == 1


@pytest.mark.parametrize(("percent", "admitted"), [(50.0, True), (51.0, False)])
def test_a_percentage_of_memory_stays_free(percent: float, admitted: bool) -> None:
    control = {"admission_control": {"form": "resource_percentage", "memory_percent": percent}}
    state = standing(world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 4) + vms("esx2", 4), **control))
    assert state.admitted is admitted
    assert state.text.startswith("50 % of the memory free, ")


def test_failover_hosts_run_no_protected_vm() -> None:
    control = {"admission_control": {"form": "failover_hosts", "failover_hosts": ["esx2"]}}
    assert standing(world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 2), **control)).admitted
    busy = standing(world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 2) + vms("esx2", 1), **control))
    assert (busy.admitted, busy.text) == (False, "the failover hosts are not free: esx2 runs esx2-0")
    away = world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 2), **control)
    away.hosts["esx2"].maintenance = True
    away.step(3)
    assert standing(away).text == "the failover hosts are not free: esx2 cannot take VMs now"
    assert kept_for_failover(read_policy(away.full_policy())) == {"esx2"}
    assert not kept_for_failover(read_policy({"admission_control": {"failover_hosts": ["esx2"]}}))


def test_vms_that_are_not_ours_take_their_room() -> None:
    """4 GiB of 8 on each host are used by VMs that nobody would fail over: only half of the slots is there."""
    alien = [Vm("alien-%s" % host, host, memory=4096) for host in ("esx1", "esx2")]
    policy = {"vms": {vm.name: {"protection": "unprotected"} for vm in alien}}
    assert "without esx1 there are 4 slots" in standing(world_of({"esx1": 8192, "esx2": 8192}, [*alien, *vms("esx1", 2)], **policy)).text


def test_hosts_that_take_no_vm_have_no_slots() -> None:
    world = world_of({"esx1": 8192, "esx2": 8192, "esx3": 8192}, vms("esx1", 1))
    world.hosts["esx3"].maintenance = True
    world.kill("esx2")
    world.run(6)
    assert standing(world).text == "1 host failure to tolerate, and only 1 host can take VMs"


def test_the_exact_answer_knows_what_slots_do_not() -> None:
    """Enough slots, but the rule leaves vm nowhere to go."""
    rule = {"type": "host_affinity", "vms": ["web"], "hosts": {"esx1": 1}, "required": True, "name": "licence"}
    world = world_of({"esx1": 16384, "esx2": 16384}, [Vm("web", "esx1"), Vm("db", "esx1")], rules=[rule])
    state = standing(world)
    assert (state.admitted, state.exact, state.tolerates) == (True, True, 0)
    ((name, lost, reason),) = [(item.name, item.lost, item.reason) for item in state.shortfalls]
    assert (name, lost) == ("web", ("esx1",))
    assert "rule licence allows only esx1" in reason
    text = world.alarm("admission").text  # type: ignore[union-attr]
    assert "without esx1 web stays down (web: esx2: rule licence" in text


def test_vms_of_a_host_that_cannot_be_fenced_would_stay_down() -> None:
    world = world_of({"esx1": 16384, "esx2": 16384}, vms("esx1", 1))
    assert standing(world).tolerates == 1
    world.hosts["esx1"].told = ("iqn.2026-01.lab:another",)
    world.step(3)
    (shortfall,) = standing(world).shortfalls
    assert "esx1 is unfenceable" in shortfall.reason


def test_no_host_may_fail_while_the_vms_of_a_small_one_have_nowhere_to_go() -> None:
    """The largest host is empty and may well fail; pinned cannot leave the smallest."""
    rule = {"type": "host_affinity", "vms": ["pinned"], "hosts": {"small": 1}}
    world = world_of({"large": 16384, "medium": 8192, "small": 4096}, [Vm("pinned", "small")], rules=[rule])
    assert (standing(world).tolerates, [item.name for item in standing(world).shortfalls]) == (0, ["pinned"])


def test_what_is_down_already_is_no_news_but_uses_room() -> None:
    """esx1 is fenced and big finds no host: that has its own alarm. Losing esx2 next would take down its VMs."""
    world = world_of({"esx1": 16384, "esx2": 8192, "esx3": 4096}, [Vm("big", "esx1", memory=12000), *vms("esx2", 5)], max_dead_fraction=1.0)
    world.kill("esx1")
    world.fence("esx1")
    world.run(6)
    state = standing(world)
    assert "big" not in {item.name for item in state.shortfalls}
    assert [item.lost for item in state.shortfalls] == [("esx2",)]
    assert state.tolerates == 0


def test_a_large_cluster_counts_slots_and_says_that_it_did_not_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "EXACT_WORK", 5)
    state = standing(world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 8)))
    assert (state.exact, state.tolerates, state.shortfalls) == (False, 1, ())


def test_disabled_says_so_and_raises_no_alarm() -> None:
    world = world_of({"esx1": 4096}, vms("esx1", 3), admission_control={"form": "disabled"})
    assert (standing(world).admitted, standing(world).text) == (True, "admission control is disabled")
    assert admission_alarm(standing(world)) is None


def test_only_with_enforce_an_operators_start_is_refused() -> None:
    """Two hosts of 4 slots, 4 VMs run; the fifth would not survive the loss of one."""
    for enforce in (False, True):
        control = {"admission_control": {"enforce": enforce}}
        fifth = Vm("fifth", "esx2", power=Power.OFF)
        world = world_of({"esx1": 4096, "esx2": 4096}, [*vms("esx1", 2), *vms("esx2", 2), fifth], **control)
        cluster = cluster_of(world)
        records = {vm.name: vm for vm in cluster.vms}
        refused = refuses_start(cluster, records["fifth"])
        assert refused.startswith("admission control does not admit it: with it ") is enforce
        assert refuses_start(cluster, records["esx1-0"]) == ""  # it is counted already


def test_an_operators_start_on_a_failover_host_is_refused() -> None:
    control = {"admission_control": {"form": "failover_hosts", "failover_hosts": ["esx2"], "enforce": True}}
    world = world_of({"esx1": 4096, "esx2": 4096}, [Vm("a", "esx1", power=Power.OFF), Vm("b", "esx2", power=Power.OFF)], **control)
    cluster = cluster_of(world)
    refused = {vm.name: refuses_start(cluster, vm) for vm in cluster.vms}
    assert refused["a"] == ""
    assert "esx2 is kept free for failovers" in refused["b"]


def test_an_unprotected_vm_that_is_started_takes_room_from_the_protected() -> None:
    policy = {"vms": {"alien": {"protection": "unprotected"}}, "admission_control": {"enforce": True}}
    alien = Vm("alien", "esx2", power=Power.OFF, memory=2048)
    world = world_of({"esx1": 4096, "esx2": 4096}, [*vms("esx1", 3), alien], **policy)
    cluster = cluster_of(world)
    assert "does not admit it" in refuses_start(cluster, next(vm for vm in cluster.vms if vm.name == "alien"))


def test_failovers_are_never_refused() -> None:
    """Not admitted by far, with enforce: what fits is started all the same."""
    control = {"enforce": True, "host_failures": 2}
    world = world_of({"esx1": 8192, "esx2": 8192}, vms("esx1", 4) + vms("esx2", 4), admission_control=control, max_dead_fraction=1.0)
    assert not standing(world).admitted
    world.kill("esx1")
    world.fence("esx1")
    world.step(3)
    assert len(world.plan()) == 4


def two_full_hosts(enforce: bool = True) -> World:
    """Two hosts of 4 slots, 3 VMs run: one more survives the loss of a host, two more do not."""
    down = [Vm("fourth", "esx2", power=Power.OFF), Vm("fifth", "esx2", power=Power.OFF)]
    control = {"admission_control": {"enforce": enforce}}
    return world_of({"esx1": 4096, "esx2": 4096}, [*vms("esx1", 2), *vms("esx2", 1), *down], **control)


def started(world: World) -> set[str]:
    return {vm.name for action in world.restarts().values() for vm in action.vms}


def test_starts_that_are_ordered_together_are_admitted_one_after_the_other() -> None:
    world = two_full_hosts()
    world.command("start", "fourth")
    world.command("start", "fifth")
    world.step(3)
    assert started(world) == {"fifth"}  # alike in all else: by name
    assert "fourth is not started: admission control does not admit it: with it" in world.held("fourth")
    assert world.alarm("refused:") is not None
    assert (world.record("fourth").desired.value, world.record("fifth").asked) == ("stopped", False)
    world.start("fifth", "esx2")
    world.run(9)
    assert started(world) == set()
    assert world.alarm("refused:") is None


def test_without_enforce_both_are_started() -> None:
    world = two_full_hosts(enforce=False)
    world.command("start", "fourth")
    world.command("start", "fifth")
    world.step(3)
    assert started(world) == {"fourth", "fifth"}


def test_what_was_admitted_once_is_restarted_whatever_room_is_left() -> None:
    """Admission control is about an operator's wish, not about a VM that crashed."""
    world = two_full_hosts()
    world.command("start", "fourth")
    world.step(3)
    world.start("fourth", "esx2")
    world.run(9)
    world.hosts["esx1"].memory = 3072
    world.crash("fourth")
    world.step(3)
    assert not standing(world).admitted
    assert started(world) == {"fourth"}


def test_a_start_that_waits_for_its_lost_host_is_a_failover_and_not_refused() -> None:
    world = two_full_hosts()
    world.vms["fifth"].host = "esx1"
    world.run(9)
    world.command("start", "fifth")
    world.kill("esx1")
    world.fence("esx1")
    world.step(3)
    assert world.plan()["fifth"] == "esx2"


def test_an_operators_move_to_a_failover_host_is_refused_with_enforce() -> None:
    for enforce in (False, True):
        control = {"form": "failover_hosts", "failover_hosts": ["esx2"], "enforce": enforce}
        world = world_of({"esx1": 8192, "esx2": 8192, "esx3": 8192}, vms("esx1", 2), admission_control=control)
        world.command("migrate", "esx1-0", "esx2")
        world.step(3)
        assert ("kept free for failovers" in world.held("esx1-0")) is enforce
        assert (world.moves() == {}) is enforce


def test_a_rule_is_not_mended_by_a_move_to_a_failover_host() -> None:
    control = {"form": "failover_hosts", "failover_hosts": ["esx2"]}
    apart = [{"type": "vm_affinity", "vms": ["esx1-0", "esx1-1"], "together": False}]
    world = world_of(
        {"esx1": 8192, "esx2": 8192, "esx3": 4096}, vms("esx1", 2), admission_control=control, rules=apart, automatic_moves="all"
    )
    assert {vm.destination for action in world.all_actions() for vm in action.vms} == {"esx3"}
