"""What should run: only a clean power-off on a host that neither restarts nor goes down says that a VM shall stay off."""

from __future__ import annotations

import dataclasses

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired, OrderInProgress
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import EventGap
from decide_world import Host, Power, Vm, World, three_hosts


def off(world: World, vm: str, kind: str = "vm_powered_off") -> None:
    world.vms[vm].power = Power.OFF
    if kind:
        world.event(world.vms[vm].host, kind, vm)


def test_a_clean_power_off_is_wanted() -> None:
    world = three_hosts()
    off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED
    assert world.alarm("vm_down") is None


def test_the_power_off_of_a_move_that_came_to_nothing_is_nobodys_wish() -> None:
    world = three_hosts()
    for vm, to in (("vm1", "esx2"), ("vm2", "esx1")):  # vm2 was to start again where it is: no move would have stopped it
        record = dataclasses.replace(world.record(vm), in_progress=OrderInProgress(to, world.at()))
        world.memory = world.memory.with_vm(record)
        off(world, vm)
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED
    assert world.record("vm2").desired is Desired.STOPPED
    assert world.alarm("vm_down") is None
    assert [vm.name for action in world.last.actions if action.kind == "restart" for vm in action.vms] == ["vm1"]


def test_no_clean_event_is_a_crash_and_an_alarm() -> None:
    world = three_hosts()
    off(world, "vm1", "")
    off(world, "vm2", "vm_failed")
    world.step(3)
    assert world.record("vm1").desired is world.record("vm2").desired is Desired.STARTED
    assert {alarm.subject for alarm in world.last.alarms if alarm.key.startswith("vm_down")} == {"vm1", "vm2"}


def test_the_event_may_come_a_look_before_or_after_the_power_state() -> None:
    world = three_hosts()
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED
    off(world, "vm1", "")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED
    off(world, "vm2", "")
    world.step(3)
    world.event("esx1", "vm_powered_off", "vm2")
    world.step(3)
    assert world.record("vm2").desired is Desired.STOPPED


def test_an_old_event_does_not_excuse_a_later_crash() -> None:
    world = three_hosts()
    off(world, "vm1")
    world.step(3)
    world.vms["vm1"].power = Power.ON
    world.run(9)
    off(world, "vm1", "")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED


def test_events_before_the_first_look_are_history() -> None:
    world = three_hosts()
    world.memory = type(world.memory)()
    world.event("esx1", "vm_powered_off", "vm1")
    world.step(3)
    off(world, "vm1", "")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED


def test_what_is_first_seen_off_is_meant_to_be_off_and_what_is_started_is_wanted() -> None:
    world = three_hosts()
    world.vms["vm5"] = Vm("vm5", "esx1", Power.OFF)
    world.step(3)
    assert world.record("vm5").desired is Desired.STOPPED
    world.vms["vm5"].power = Power.ON
    world.step(3)
    assert world.record("vm5").desired is Desired.STARTED


def test_the_vms_of_a_host_that_shuts_down_in_order_stay_desired_and_fail_over() -> None:
    world = three_hosts()
    world.event("esx1", "host_shutdown")
    off(world, "vm1")
    off(world, "vm2")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED
    assert world.alarm("vm_down") is None
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    assert set(world.plan()) == {"vm1", "vm2"}


def test_a_host_that_reboots_in_order_is_given_time_and_its_vms_start_where_they_were() -> None:
    world = three_hosts()
    world.event("esx1", "host_reboot")
    off(world, "vm1")
    off(world, "vm2")
    world.step(3)
    world.kill("esx1")
    world.hosts["esx1"].session = None
    world.run(100)
    assert world.all_actions() == []
    assert "it reboots in order and is given" in world.held("esx1")
    assert not world.last.settled
    world.reboot("esx1")
    world.step(3)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1", "vm2"]


def test_a_host_that_does_not_come_back_from_its_reboot_is_failed_over() -> None:
    world = three_hosts()
    world.event("esx1", "host_reboot")
    world.step(3)
    world.kill("esx1")
    world.hosts["esx1"].session = None
    world.run(125)
    assert list(world.fences()) == ["esx1"]


def test_after_a_fast_reboot_vms_start_where_they_were_until_they_run() -> None:
    world = three_hosts()
    world.reboot("esx1")
    world.step(3)
    (restart,) = world.restarts().values()
    assert [(vm.name, vm.source, vm.destination, vm.power_on) for vm in restart.vms] == [
        ("vm1", "esx1", "esx1", True),
        ("vm2", "esx1", "esx1", True),
    ]
    assert restart.vms[0].vmx == "[shared] vm1/vm1.vmx"
    assert world.fences() == {}
    world.vms["vm1"].power = Power.ON
    world.step(3)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm2"]
    world.vms["vm2"].power = Power.ON
    assert world.step(3).settled
    assert world.restarts() == {}


def test_a_reboot_while_the_monitor_was_away_is_noticed_although_the_uptime_is_higher() -> None:
    world = three_hosts()
    world.hosts["esx1"].booted = world.now - 60
    world.memory = type(world.memory)()
    world.run(6)
    world.now += 3000
    world.reboot("esx1")
    world.now += 1000
    world.step(3)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm1", "vm2"]


def test_vms_that_were_off_or_crashed_before_the_reboot_are_not_started() -> None:
    world = three_hosts()
    off(world, "vm1")
    world.step(3)
    world.reboot("esx1")
    world.step(3)
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm2"]


def test_a_power_off_that_an_operator_ordered_after_the_restart_counts() -> None:
    world = three_hosts()
    world.reboot("esx1")
    world.step(3)
    world.vms["vm1"].power = Power.ON
    world.step(3)
    off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED


def test_a_vm_that_left_a_read_host_and_appears_elsewhere_has_moved() -> None:
    world = three_hosts()
    world.vms["vm1"].host = "esx3"
    world.step(3)
    assert world.record("vm1").host == "esx3"
    world.vms["vm2"].power, world.vms["vm2"].host = Power.OFF, "esx2"
    world.step(3)
    assert world.record("vm2").host == "esx2"


def test_a_vm_that_is_gone_without_a_word_is_an_alarm_and_with_one_is_forgotten() -> None:
    world = three_hosts()
    del world.vms["vm1"]
    world.step(3)
    assert "no event says that somebody removed it" in world.alarm("vm_missing").text
    assert world.record("vm1").desired is Desired.STARTED
    del world.vms["vm2"]
    world.event("esx1", "vm_removed", "vm2")
    world.step(3)
    assert [record.name for record in world.memory.vms] == ["vm1", "vm3", "vm4"]


def test_a_host_that_could_not_be_read_makes_no_vm_missing() -> None:
    world = three_hosts()
    world.partition("esx1")
    world.run(30)
    assert world.alarm("vm_missing") is None
    assert world.record("vm1").host == "esx1"


def test_a_host_that_lost_its_storage_does_not_make_its_vms_unwanted() -> None:
    world = three_hosts()
    world.cut_storage("esx1")
    off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STARTED


def test_a_wrong_id_made_while_the_files_are_out_of_reach_makes_no_vm() -> None:
    world = three_hosts()

    def unreadable(look):  # type: ignore[no-untyped-def]
        vms = tuple(
            dataclasses.replace(vm, id=":" + vm.id.partition(":")[2], accessible=False, backings=()) if vm.host == "esx1" else vm
            for vm in look.vms
        )
        return dataclasses.replace(look, vms=vms)

    world.change = unreadable
    world.cut_storage("esx1")
    world.run(21)
    assert len(world.memory.vms) == 4
    world.fence("esx1")
    world.step(3)
    assert world.failovers() == {}  # they still run there, by whatever id


def test_the_record_holds_what_a_failover_needs() -> None:
    world = World({"esx1": Host("esx1")}, {"vm1": Vm("vm1", "esx1", memory=2048, cpu=2)})
    world.run(6)
    record = world.record("vm1")
    assert (record.memory, record.cpu, record.path, record.networks) == (2048, 2, "[shared] vm1/vm1.vmx", ("VM Network",))
    assert [item.datastore_uuid for item in record.files] == ["ds-shared"]


def test_a_host_that_counts_its_events_anew_after_a_restart_is_still_heard() -> None:
    world = three_hosts()
    for _number in range(20):
        world.event("esx1", "other")
    world.step(3)
    world.events.clear()
    world.reboot("esx1")
    world.step(3)
    world.vms["vm1"].power = Power.ON
    world.run(6)
    off(world, "vm1")
    world.step(3)
    assert world.record("vm1").desired is Desired.STOPPED


def without_events(skipped: int = 0):  # type: ignore[no-untyped-def]
    def change(look):  # type: ignore[no-untyped-def]
        kept = tuple(event for event in look.events if skipped or event.host != "esx1")
        return dataclasses.replace(look, events=kept, event_gaps=(EventGap("esx1", "esx1: reading the events: no", skipped),))

    return change


def test_a_vm_that_went_down_while_events_cannot_be_read_is_left_as_it_is_until_they_can() -> None:
    world = three_hosts()
    world.change = without_events()
    world.vms["vm1"].power = Power.OFF
    world.event("esx1", "vm_powered_off", "vm1")
    world.vms["vm2"].power = Power.OFF
    world.run(30)
    assert world.all_actions() == []
    assert "events cannot be read" in world.alarm("vm_down:ds-shared:vm1").text
    assert world.alarm("event_gap:esx1") is not None
    world.change = lambda look: look
    world.run(6)
    assert world.record("vm1").desired is Desired.STOPPED  # somebody switched it off
    assert [vm.name for vm in world.restarts()["esx1"].vms] == ["vm2"]  # and this one crashed
    assert world.alarm("event_gap") is None


def test_single_events_that_were_skipped_keep_nothing_back() -> None:
    world = three_hosts()
    world.change = without_events(skipped=1)
    world.vms["vm1"].power = Power.OFF
    world.run(6)
    assert "vm1" in [vm.name for vm in world.restarts()["esx1"].vms]
    assert world.alarm("event_gap:esx1") is not None


def test_a_host_that_restarted_starts_its_vms_also_without_its_events() -> None:
    world = three_hosts()
    world.change = without_events()
    world.reboot("esx1")
    world.run(6)
    assert sorted(vm.name for vm in world.restarts()["esx1"].vms) == ["vm1", "vm2"]


def test_the_first_events_that_are_read_are_history_however_late_they_come() -> None:
    world = three_hosts()
    world.memory = type(world.memory)()
    world.event("esx1", "vm_powered_off", "vm1")
    world.change = without_events()
    world.run(9)
    world.change = lambda look: look
    world.run(6)
    world.crash("vm1")
    world.run(6)
    assert world.record("vm1").desired is Desired.STARTED
