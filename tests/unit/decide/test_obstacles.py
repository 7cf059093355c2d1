"""A VM that is tied to its host is never given to a host that cannot run it, and the operator hears of it before anything fails."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.forecast.what_if import drill, present
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import Obstacle, ObstacleKind
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from decide_world import World, three_hosts

VGPU = Obstacle(ObstacleKind.VGPU, "vGPU profile grid", "vgpu:grid")
PCI = Obstacle(ObstacleKind.PCI_DEVICE, "PCI device 0")
USB = Obstacle(ObstacleKind.USB_DEVICE, "USB 1")
CD = Obstacle(ObstacleKind.MEDIA, "CD/DVD drive 1", "datastore:ds-local-esx3")


def tied(*obstacles: Obstacle, **offered: tuple[str, ...]) -> World:
    """vm1 on esx1 has *obstacles*; *offered* are capabilities by host."""
    world = three_hosts()
    world.vms["vm1"].obstacles = obstacles
    for name, capabilities in offered.items():
        world.hosts[name].capabilities = capabilities
    world.run(6)
    return world


def lose_esx1(world: World) -> World:
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    return world


def test_what_no_other_host_has_is_an_alarm_with_a_remedy_in_peace_time() -> None:
    alarm = tied(PCI).alarm("tied:")
    assert alarm is not None and alarm.subject == "vm1" and alarm.severity.value == "warning"
    assert alarm.text == (
        "vm1 starts on no other host: PCI device 0 is a PCI device of one host (DirectPath I/O): remove the device from the VM, or leave "
        "the VM out on purpose (protection: unprotected)"
    )


def test_there_is_no_alarm_where_one_other_host_has_it_all() -> None:
    assert tied(VGPU, esx3=("vgpu:grid",)).alarm("tied:") is None
    assert tied(CD).alarm("tied:") is None  # the datastore is esx3's own


def test_its_own_host_is_no_other_host() -> None:
    assert tied(VGPU, esx1=("vgpu:grid",)).alarm("tied:") is not None


def test_two_hosts_that_each_have_one_half_are_not_one_that_has_all() -> None:
    alarm = tied(VGPU, CD, esx2=("vgpu:grid",)).alarm("tied:")
    assert alarm is not None and "starts on another host only without a device" in alarm.text and "CD/DVD drive 1" in alarm.text


def test_an_unprotected_vm_is_left_alone() -> None:
    world = tied(PCI)
    world.policy["vms"] = {"vm1": {"protection": "unprotected"}}
    world.step(3)
    assert world.alarm("tied:") is None


def test_the_alarm_does_not_come_and_go_with_a_host_that_does_not_answer() -> None:
    world = tied(VGPU, esx3=("vgpu:grid",))
    world.partition("esx3")
    world.step(3)
    assert world.alarm("tied:") is None
    world.hosts["esx3"].capabilities = ()
    world.heal("esx3")
    world.step(3)
    assert world.alarm("tied:") is not None


def test_a_vm_goes_where_what_it_needs_is_and_nowhere_else() -> None:
    assert lose_esx1(tied(VGPU, esx3=("vgpu:grid",))).plan()["vm1"] == "esx3"
    world = lose_esx1(tied(PCI))
    assert world.plan() == {"vm2": world.plan()["vm2"]}
    (action,) = world.failovers().values()
    (nowhere,) = action.unplaced
    assert nowhere.name == "vm1"
    assert {(item.host, item.reason) for item in nowhere.reasons if item.host != "esx1"} == {
        ("esx2", "PCI device 0 is a PCI device of one host (DirectPath I/O)"),
        ("esx3", "PCI device 0 is a PCI device of one host (DirectPath I/O)"),
    }


def test_what_does_not_keep_it_from_starting_only_chooses_the_host() -> None:
    assert lose_esx1(tied(CD)).plan()["vm1"] == "esx3"
    assert lose_esx1(tied(USB)).plan()["vm1"] in ("esx2", "esx3")


def test_a_host_with_the_device_comes_before_one_that_a_rule_prefers() -> None:
    world = tied(CD)
    world.policy["rules"] = [{"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx2": 1}, "required": False}]
    assert lose_esx1(world).plan()["vm1"] == "esx3"


@pytest.mark.parametrize("obstacle", [USB, PCI])
def test_a_working_vm_is_not_moved_away_from_its_devices(obstacle: Obstacle) -> None:
    world = tied(obstacle)
    for host in world.hosts.values():
        host.live_migration = True
    world.command("maintenance_on", "esx1")
    world.step(3)
    assert set(world.moves()) == {"vm2"}
    alarm = world.alarm("stays:")
    assert alarm is None or obstacle.lacks in alarm.text
    assert obstacle.lacks in world.held("vm1")


def test_after_a_crash_it_starts_again_where_it_was() -> None:
    world = tied(PCI)
    world.crash("vm1")
    world.step(3)
    (restart,) = world.restarts().values()
    assert [(vm.name, vm.destination) for vm in restart.vms] == [("vm1", "esx1")]


def test_admission_and_drill_know_it() -> None:
    world = tied(PCI)
    admission = world.last.admission
    assert admission is not None
    assert [(item.name, item.lost) for item in admission.shortfalls] == [("vm1", ("esx1",))]
    found = drill(present(read_policy(world.full_policy()), world.memory, world.look(), world.at()), ("esx1",))
    assert [vm.name for vm in found.cases[0].unplaced] == ["vm1"]


def test_a_vm_whose_disk_a_running_backup_proxy_holds_open_is_an_alarm() -> None:
    world = three_hosts()
    world.vms["vm3"].attached_disks = ("ds-shared:vm1/disk", "ds-shared:templates/none.vmdk")
    world.change = lambda look: dataclasses.replace(
        look,
        vms=tuple(
            dataclasses.replace(vm, backings=tuple(item._replace(path="[shared] %s/vmx" % vm.name) for item in vm.backings[:1]))
            if vm.name != "vm1"
            else dataclasses.replace(vm, backings=(vm.backings[0]._replace(path="[shared] vm1/disk", kind="disk"),))
            for vm in look.vms
        ),
    )
    world.step(3)
    alarm = world.alarm("disk_attached:")
    assert alarm is not None and alarm.subject == "vm1" and "while vm3 on esx2 has its disk attached (vm1/disk)" in alarm.text
    world.vms["vm3"].power = Power.OFF
    world.step(3)
    assert world.alarm("disk_attached:") is None
