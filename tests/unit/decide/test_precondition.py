"""A host whose fence would prove nothing and a VM that lies elsewhere are alarms from the first look, and never failed over."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Severity
from decide_world import ApiAnswer, World, initiator, three_hosts


def first_look(world: World) -> World:
    world.memory = type(world.memory)()
    world.step(3)
    return world


def never_failed_over(world: World) -> bool:
    world.kill("esx1")
    world.run(60)
    world.fence("esx1")
    world.run(60)
    return not any(action.kind in ("fence", "failover") for action in world.all_actions())


def test_a_target_that_admits_anybody_makes_every_host_unfenceable() -> None:
    world = three_hosts()
    world.decisions.clear()
    world.anybody = "tgt ACL: ALL"
    first_look(world)
    assert "tgt ACL: ALL" in world.alarm("anybody:san").text
    assert {alarm.key for alarm in world.last.alarms if alarm.key.startswith("unfenceable")} == {
        "unfenceable:esx1",
        "unfenceable:esx2",
        "unfenceable:esx3",
    }
    assert never_failed_over(world)


def test_a_target_at_which_a_fence_proves_nothing_makes_every_host_unfenceable() -> None:
    """It names its initiators, and still is no arbiter: a tgt before 1.0.83, iSER."""
    world = three_hosts()
    world.decisions.clear()
    world.unfenceable = "this is tgt 1.0.80"
    first_look(world)
    assert world.alarm("anybody:san").text.startswith("a fence at san proves nothing, and nothing is failed over: ")
    assert "this is tgt 1.0.80" in world.alarm("unfenceable:esx2").text
    assert never_failed_over(world)


def test_what_the_target_last_said_counts_while_it_is_down() -> None:
    world = three_hosts()
    world.anybody = "demo mode"
    world.step(3)
    world.serving = None
    world.step(3)
    assert world.alarm("anybody:san") is not None


@pytest.mark.parametrize(
    "told, reason",
    [
        ((initiator("other"),), "it says that its initiator is iqn.1998-01.com.vmware:other, the policy says iqn.1998-01.com.vmware:esx1"),
        ((), "it has not told its initiator yet"),
        ((initiator("esx1"), initiator("esx2")), "it has another admitted initiator, iqn.1998-01.com.vmware:esx2"),
    ],
)
def test_a_host_must_itself_tell_the_policys_initiator_and_no_other(told: tuple[str, ...], reason: str) -> None:
    world = three_hosts()
    world.decisions.clear()
    world.hosts["esx1"].told = told
    first_look(world)
    assert reason in world.alarm("unfenceable:esx1").text
    assert never_failed_over(world)


def test_a_host_that_tgt_spells_another_way_is_an_alarm_and_fenceable_all_the_same() -> None:
    """tgtd compares letter by letter, the kernel's target and iSCSI itself do not."""
    world = three_hosts()
    spelled = initiator("ESX1")
    world.hosts["esx1"].told = (spelled,)
    first_look(world)
    alarm = world.alarm("initiator_spelling:esx1:san")
    assert alarm.severity is Severity.WARNING and spelled in alarm.text and initiator("esx1") in alarm.text
    assert world.alarm("unfenceable:esx1") is None and world.alarm("initiator_spelling:esx2") is None
    world.driver = "lio"
    world.step()
    assert world.alarm("initiator_spelling:esx1:san") is None


def test_a_policy_that_spells_a_host_another_way_than_the_host_is_worth_a_word() -> None:
    world = three_hosts()
    world.policy["hosts"] = {name: {"initiator": initiator(name)} for name in ("ESX1", "esx2", "esx3")}
    world.policy["hosts"]["esx1"] = world.policy["hosts"].pop("ESX1")
    first_look(world)
    assert world.alarm("initiator_spelling:esx1").severity is Severity.INFO
    assert world.alarm("unfenceable") is None


def test_two_hosts_that_tell_one_initiator_are_both_unfenceable() -> None:
    world = three_hosts()
    world.hosts["esx2"].told = (initiator("esx1"),)
    first_look(world)
    assert "shares its initiator" in world.alarm("unfenceable:esx1").text
    assert world.alarm("unfenceable:esx2") is not None
    assert world.alarm("unfenceable:esx3") is None


def test_a_second_initiator_that_no_target_admits_is_harmless() -> None:
    world = three_hosts()
    world.hosts["esx1"].told = (initiator("esx1"), "iqn.1998-01.com.vmware:spare-hba")
    first_look(world)
    assert world.alarm("unfenceable") is None


def test_a_host_that_the_policy_does_not_name_is_unfenceable() -> None:
    world = three_hosts()
    world.policy["hosts"] = {name: {"initiator": initiator(name)} for name in ("esx2", "esx3")}
    first_look(world)
    assert "names no initiator" in world.alarm("unfenceable:esx1").text


def test_what_a_host_told_is_remembered_when_it_dies() -> None:
    world = three_hosts()
    world.hosts["esx1"].api = ApiAnswer.TIMED_OUT
    world.step(3)
    assert world.alarm("unfenceable:esx1") is None


def test_a_vm_with_a_disk_on_a_local_datastore_is_an_alarm_and_stays_down() -> None:
    world = three_hosts()
    world.decisions.clear()
    world.vms["vm1"].datastores = ("ds-shared", "ds-local-esx1")
    first_look(world)
    assert "disk [ds-local-esx1] vm1/disk lies on datastore local-esx1, which is not on iSCSI" in world.alarm("unprotected").text
    world.kill("esx1")
    world.run(60)
    world.fence("esx1")
    world.step(3)
    assert world.plan() == {"vm2": "esx2"}
    assert "not on iSCSI" in world.held("vm1")


def test_a_vm_on_a_target_that_is_not_ours_is_unprotected() -> None:
    world = three_hosts()

    def foreign(look):  # type: ignore[no-untyped-def]
        lun = look.hosts[0].datastores[0].luns[0]
        store = dataclasses.replace(
            look.hosts[0].datastores[0], uuid="ds-foreign", name="foreign", luns=(dataclasses.replace(lun, target="iqn.x:y"),)
        )
        hosts = tuple(dataclasses.replace(host, datastores=(*host.datastores, store)) for host in look.hosts)
        return dataclasses.replace(look, hosts=hosts)

    world.change = foreign
    world.vms["vm1"].datastores = ("ds-shared", "ds-foreign")
    first_look(world)
    assert "at target iqn.x:y, which is not fenced by us" in world.alarm("unprotected").text


def test_a_vm_whose_files_are_not_known_is_unprotected() -> None:
    world = three_hosts()
    world.change = lambda look: dataclasses.replace(look, vms=tuple(dataclasses.replace(vm, backings=()) for vm in look.vms))
    first_look(world)
    assert "its files are not known" in world.alarm("unprotected").text


def test_what_the_operator_left_unprotected_is_no_alarm_and_stays_down() -> None:
    world = three_hosts(vms={"vm1": {"protection": "unprotected"}, "vm2": {"priority": "disabled"}})
    world.kill("esx1")
    world.run(60)
    world.fence("esx1")
    world.step(3)
    assert world.alarm("unprotected") is None
    assert world.failovers() == {}
    assert "the policy leaves it unprotected" in world.held("vm1")
    assert "restart priority is disabled" in world.held("vm2")


def test_unnamed_vms_follow_the_default_protection() -> None:
    world = three_hosts(default_protection="unprotected", vms={"vm2": {"protection": "protected"}})
    world.kill("esx1")
    world.run(60)
    world.fence("esx1")
    world.step(3)
    assert world.plan() == {"vm2": "esx2"}
