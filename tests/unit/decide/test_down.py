"""A VM that should run and is known to be down is told at every look, in every mode, and nothing waits for what nobody does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decide_world import Power, World, three_hosts

PLAYBOOKS = ("fence", "failover", "restart", "stop", "reset")  # what they carry out


def down(world: World) -> dict[str, str]:
    return {vm.name: vm.reason for vm in world.last.down}


def by_playbooks(**options: object) -> World:
    world = three_hosts(**options)
    world.able = PLAYBOOKS
    return world


def test_nothing_is_down_in_peace() -> None:
    world = by_playbooks()
    assert down(world) == {}
    world.crash("vm1")
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    assert down(world) == {}, "somebody switched it off"


@pytest.mark.parametrize("mode", ["observe", "ask", "act"])
def test_a_vm_that_crashed_is_down_in_every_mode(mode: str) -> None:
    world = by_playbooks(mode=mode)
    world.crash("vm1")
    world.step(3)
    assert "vm1 is to be started on esx1" in down(world)["vm1"]
    assert ("not done: mode: %s" % mode in down(world)["vm1"]) is (mode != "act")


def test_a_vm_whose_tries_are_used_up_is_down_and_tried_again_where_it_is_if_nobody_moves_vms() -> None:
    world = by_playbooks()
    world.crash("vm1")
    world.step(3)
    world.fails("vm1", "esx1")
    world.step(3)
    assert world.moves() == {}
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1"]
    alarm = world.alarm("does_not_start:")
    assert alarm is not None
    assert "no playbook moves it" in alarm.text
    world.fails("vm1", "esx1")
    world.step(3)
    assert world.last.settled, "the pause is not waited for"
    assert "vm1 is tried again in" in down(world)["vm1"]
    world.run(70)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1"]


def test_a_vm_that_its_own_host_does_not_take_is_left_to_a_person_with_what_to_do() -> None:
    world = by_playbooks()
    world.vms["vm1"].memory = 8192
    world.step(3)
    world.crash("vm1")
    world.hosts["esx1"].memory = 4096
    world.run(24)
    assert world.all_actions() == []
    assert world.last.settled, "nobody waits for what nobody does"
    alarm = world.alarm("by_hand:move:esx1")
    assert alarm is not None
    assert alarm.severity.value == "critical"
    assert "vm1 as [shared] vm1/vm1.vmx on esx" in alarm.text
    assert "run the playbook migrate, -e vm='vm1' -e host=esx" in alarm.text
    assert "not done: run the playbook migrate" in down(world)["vm1"]


def test_in_mode_ask_no_yes_is_asked_for_that_nobody_could_act_on() -> None:
    world = by_playbooks(mode="ask")
    world.command("maintenance_on", "esx1")
    world.run(6)
    assert world.alarm("ask") is None
    alarm = world.alarm("by_hand:move:esx1")
    assert alarm is not None
    assert alarm.severity.value == "warning", "they run"
    world.crash("vm3")
    world.step(3)
    assert "restart esx2; give it with the playbook monitor, -e approve=NAME" in str(world.alarm("ask"))


def test_an_operators_migration_that_nobody_makes_keeps_no_vm_down() -> None:
    world = three_hosts()
    world.command("migrate", "vm1", "esx3")
    world.able = PLAYBOOKS
    world.crash("vm1")
    world.step(3)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1"]


def fenced(**options: object) -> World:
    world = by_playbooks(**options)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world


def test_vms_of_a_fenced_host_are_down_until_they_run_elsewhere() -> None:
    world = fenced()
    assert set(down(world)) == {"vm1", "vm2"}
    for name, host in world.plan().items():
        world.start(name, host)
    world.step(3)
    assert down(world) == {}


def test_a_vm_without_a_place_is_down_with_each_hosts_reason() -> None:
    world = fenced(rules=[{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx1": 1}}])
    assert "allows only esx1" in down(world)["vm1"]


def test_a_vm_on_a_disk_that_cannot_be_fenced_is_down_and_one_that_is_taken_out_of_ha_is_not() -> None:
    world = by_playbooks()
    world.vms["vm1"].datastores = ("ds-shared", "ds-local-esx1")
    world.run(6)
    world.command("ignore", "vm2")
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    assert set(down(world)) == {"vm1"}
    assert "not failed over" in down(world)["vm1"]


def test_two_vms_of_one_name_are_held_each_for_itself() -> None:
    """Identity is the id: a hold of one does not stand for the other."""
    world = by_playbooks()
    world.change = lambda look: replace(look, vms=tuple(replace(vm, name="web") for vm in look.vms))
    world.run(6)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1", confirmed=False)
    world.step(3)
    assert len({item.subject for item in world.last.held if item.what == "failover"}) == 2


def test_a_vm_of_a_host_that_is_only_silent_is_not_known_to_be_down() -> None:
    world = by_playbooks()
    world.partition("esx1")
    world.run(30)
    assert world.verdict("esx1") == "isolated"
    assert down(world) == {}
    assert world.record("vm1").power is Power.ON
