"""By which way a VM moves, and everything that speaks against it, at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import MoveAction, RestartAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from decide_world import World, initiator, three_hosts

SAME = "cpu_features:a"


def with_cpus(**cpus: str) -> World:
    world = three_hosts()
    for name, host in world.hosts.items():
        word = cpus.get(name, SAME)
        host.capabilities = (word,) if word else ()
    world.step(3)
    return world


def ways(world: World) -> dict[str, str]:
    return {vm.name: vm.way.value for action in world.of(MoveAction) for vm in action.vms}


def destinations(world: World) -> dict[str, str]:
    return {vm.name: vm.destination for action in world.of(MoveAction) for vm in action.vms}


@pytest.mark.parametrize(
    ("cpu", "way", "words"),
    [
        (SAME, "suspend", "way: suspend"),
        ("cpu_features:b", "cold", "not the one of esx1"),
        ("", "cold", "does not tell"),
    ],
)
def test_a_vm_is_suspended_where_both_cpus_offer_the_same_and_shut_down_elsewhere(cpu: str, way: str, words: str) -> None:
    world = with_cpus(esx2=cpu)
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    assert ways(world) == {"vm1": way}
    (move,) = [vm for action in world.of(MoveAction) for vm in action.vms]
    assert words in move.reasons[0]


def test_a_vm_that_a_move_suspended_is_resumed_where_it_is_and_one_that_a_person_suspended_is_left_alone() -> None:
    world = with_cpus()
    mine, theirs = (world.record(name) for name in ("vm1", "vm2"))
    world.memory = world.memory.with_vm(replace(mine, power=Power.SUSPENDED, restart=True))
    world.memory = world.memory.with_vm(replace(theirs, power=Power.SUSPENDED))
    world.vms["vm1"].power = world.vms["vm2"].power = Power.SUSPENDED
    world.step(3)
    started = [vm.name for action in world.of(RestartAction) for vm in action.vms]
    assert started == ["vm1"]


def test_a_suspended_vm_of_a_lost_host_goes_only_where_its_memory_can_be_read() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.memory = world.memory.with_vm(replace(world.record("vm1"), power=Power.SUSPENDED, restart=True))
    world.vms["vm1"].power = Power.SUSPENDED
    world.step(3)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    assert world.plan()["vm1"] == "esx3"


def test_all_that_speaks_against_a_migration_is_named_by_one_run() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.hosts["esx2"].networks = ()
    world.vms["vm1"].networks = ("VM Network",)
    world.step(3)
    world.memory = world.memory.with_vm(replace(world.record("vm1"), wanted_host="esx2", ordered=True, wanted_way="suspend"))
    world.step(3)
    refused = world.record("vm1").refused
    assert "network VM Network is missing there" in refused
    assert "the CPU of esx2 is not the one of esx1" in refused
    assert world.moves() == {}


def test_a_migration_without_a_host_goes_to_the_one_that_suits_the_vm_best_and_stays_meant_for_it() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.vms["vm3"].memory = world.vms["vm4"].memory = 4096
    world.hosts["esx2"].memory = 8192
    world.step(3)
    world.command("migrate", "vm1")
    world.step(3)
    assert (destinations(world), world.record("vm1").wanted_host) == ({"vm1": "esx3"}, "esx3"), "esx3 has more room left"
    world.commands.append(Command(CommandKind.MIGRATE, "vm2", way="suspend"))
    world.hosts["esx2"].memory = 65536
    world.step(3)
    assert destinations(world)["vm2"] == "esx3", "memory is read again on the same CPU only"


def test_a_migration_without_a_host_leads_to_no_host_that_is_kept_free() -> None:
    world = three_hosts(hosts={name: {"initiator": initiator(name), "spare": name != "esx1"} for name in ("esx1", "esx2", "esx3")})
    world.command("migrate", "vm1")
    world.step(3)
    refused = world.record("vm1").refused
    assert "esx2 is kept free for failovers" in refused and "esx3 is kept free for failovers" in refused
    assert (world.moves(), world.record("vm1").ordered) == ({}, False)


def test_a_migration_without_a_host_names_what_speaks_against_each_host() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.hosts["esx3"].networks = ()
    world.hosts["esx3"].memory = 1024
    world.commands.append(Command(CommandKind.MIGRATE, "vm1", way="suspend"))
    world.step(3)
    refused = world.record("vm1").refused
    assert refused.startswith("vm1 is not moved: ")
    assert "the CPU of esx2 is not the one of esx1" in refused and "esx3: network VM Network is missing there" in refused
    assert "it takes no VM" not in refused and "an operator wants" not in refused


def test_a_vm_whose_guest_hears_no_shutdown_is_switched_off_only_when_a_person_names_that() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.vms["vm1"].tools = "guestToolsNotRunning"
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    assert (world.moves(), world.record("vm1").ordered) == ({}, False)
    refused = world.record("vm1").refused
    assert "the CPU of esx2 is not the one of esx1" in refused and "its guest hears no shutdown" in refused and "way: power_off" in refused
    world.commands.append(Command(CommandKind.MIGRATE, "vm1", "esx2", way="cold"))
    world.step(3)
    assert world.moves() == {} and "its guest hears no shutdown" in world.record("vm1").refused
    world.commands.append(Command(CommandKind.MIGRATE, "vm1", "esx2", way="power_off"))
    world.step(3)
    assert ways(world) == {"vm1": "power_off"}


def test_one_whose_guest_hears_no_shutdown_is_suspended_where_it_can_be() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.vms["vm1"].tools = "guestToolsNotRunning"
    world.hosts["esx2"].memory = 65536
    world.command("migrate", "vm1")
    world.step(3)
    assert (destinations(world)["vm1"], ways(world)["vm1"]) == ("esx3", "suspend")


def test_when_a_host_is_emptied_such_a_vm_goes_where_it_can_be_suspended_or_stays_with_the_reason() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.vms["vm1"].tools = world.vms["vm2"].tools = "guestToolsNotRunning"
    world.hosts["esx2"].memory = 65536
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert destinations(world)["vm1"] == "esx3"
    world = with_cpus(esx2="cpu_features:b", esx3="")
    world.vms["vm1"].tools = "guestToolsNotRunning"
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert "vm1" not in world.moves() and "vm2" in world.moves()
    stays = str(world.alarm("stays:%s" % world.vms["vm1"].id))
    assert "esx2: it cannot be suspended (the CPU of esx2 is not the one of esx1)" in stays and "way: power_off" in stays
    assert "an operator wants" not in stays


def test_a_guest_that_shuts_down_after_its_move_was_given_up_starts_again() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    assert ways(world) == {"vm1": "cold"}
    world.command("migrate", "vm1", "esx1")  # it shall stay
    world.run(40)  # the order is open no longer; the VM still runs where it was
    assert world.record("vm1").in_progress is None
    world.crash("vm1")
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    assert (world.record("vm1").desired.value, world.record("vm1").restart) == ("started", True)
    world.start("vm1", "esx1")
    world.run(400)
    world.crash("vm1")
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    assert world.record("vm1").desired.value == "stopped", "this one is a person's"


def test_it_is_known_as_ours_however_late_a_monitor_that_was_away_sees_it() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    world.command("migrate", "vm1", "esx1")  # it shall stay
    world.run(40)
    world.crash("vm1")
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(1000)
    assert (world.record("vm1").desired.value, world.record("vm1").restart) == ("started", True)


def test_an_emptied_host_s_vms_all_go_by_the_way_that_was_named() -> None:
    world = with_cpus(esx2="cpu_features:b")
    world.hosts["esx2"].memory = 65536
    world.vms["vm1"].tools = "guestToolsNotRunning"
    world.commands.append(Command(CommandKind.MAINTENANCE_ON, "esx1", way="suspend"))
    world.step(3)
    assert {(destinations(world)[name], way) for name, way in ways(world).items()} == {("esx3", "suspend")}
    world = with_cpus()
    world.commands.append(Command(CommandKind.MAINTENANCE_ON, "esx1", way="power_off"))
    world.step(3)
    assert set(ways(world).values()) == {"power_off"} and len(ways(world)) == 2
    world.command("maintenance_off", "esx1")
    world.step(3)
    assert world.memory.host("esx1").maintenance_way == ""


def test_a_move_of_an_emptied_host_that_failed_is_tried_again_after_a_while_and_is_an_alarm_meanwhile() -> None:
    world = with_cpus()
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert "vm1" in world.moves()
    world.fails("vm1", world.moves()["vm1"][0], "no space left")
    world.run(34)
    alarm = str(world.alarm("stays:%s" % world.vms["vm1"].id))
    assert "vm1" not in world.moves() and "it is moved again in" in alarm and "no space left" in alarm
    world.run(60)
    assert "vm1" in world.moves() and world.alarm("stays:%s" % world.vms["vm1"].id) is None


def test_a_migration_that_failed_is_given_up_with_its_reason_and_can_be_asked_for_again() -> None:
    world = with_cpus()
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    world.fails("vm1", "esx2", "no space left")
    world.run(34)
    assert world.moves() == {} and world.record("vm1").refused == "vm1 is not moved to esx2: no space left"
    world.command("migrate", "vm1", "esx2")
    world.step(3)
    assert "vm1" in world.moves()
