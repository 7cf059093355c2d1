"""Letting a fenced host in again: never without proof that it started afresh since the fence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import RejoinAction, StaleVm
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fresh_start import MARGIN
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ActInProgress, Observation, SampleTimes
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart
from decide_world import Power, World, initiator, three_hosts


def fenced(bmc: bool = False) -> World:
    """esx1 was killed, fenced, and its VMs run elsewhere."""
    world = three_hosts(bmc=bmc)
    world.kill("esx1")
    world.hosts["esx1"].power = Power.OFF if bmc else Power.UNKNOWN
    world.run(30)
    world.fence("esx1")
    world.run(3)
    for name, host in world.plan().items():
        world.start(name, host)
    world.run(6)
    return world


def steps(world: World) -> list[str]:
    return [action.step for action in world.of(RejoinAction)]


def all_steps(world: World, seconds: float) -> list[str]:
    """Those of the last looks."""
    looks = [decision for decision in world.decisions if (world.at().since(decision.taken_at) or 0.0) < seconds]
    return [action.step for decision in looks for action in decision.actions if isinstance(action, RejoinAction)]


def back(bmc: bool = False) -> World:
    """esx1 started afresh after its fence, runs nothing, and an operator wants it back."""
    world = fenced(bmc)
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session, world.hosts["esx1"].power = None, Power.ON if bmc else Power.UNKNOWN
    world.run(6)
    world.command("rejoin", "esx1", by="alice")
    return world


def still_registers(world: World, *vms: str, power: Power = Power.OFF, **as_listed: object) -> None:
    """esx1 lists *vms* besides."""

    def change(look: Observation) -> Observation:
        at = world.at()
        stale = [replace(world._see_vm(world.vms[name]), host="esx1", power=power, taken_at=at, **as_listed) for name in vms]
        return replace(look, vms=(*look.vms, *(stale if look.was_read("esx1") else ())))

    world.change = change


def test_nobody_is_let_in_unasked() -> None:
    world = fenced()
    world.reboot("esx1")
    world.run(30)
    assert steps(world) == []
    assert world.command("rejoin", "esx2") == "", "a host that is not fenced has nothing to be let in to"


def test_a_host_that_started_afresh_is_unfenced() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.run(20)
    world.command("rejoin", "esx1", by="alice")
    world.step(3)
    assert steps(world) == ["unfence"]
    world.fenced.clear()
    world.step(3)
    assert steps(world) == ["rescan"], "it is let in, and has no session yet"
    world.run(9)
    assert steps(world) == [], "a rescan takes its time"
    world.run(30)
    assert "rescan" in all_steps(world, 30)
    world.heal("esx1")
    world.run(9)
    assert world.memory.host("esx1").rejoin is None, "its storage works"
    assert world.alarm("rejoin") is None


@pytest.mark.parametrize(("started", "is_proved"), [(25.0, False), (40.0, True)])
def test_an_uptime_told_some_seconds_ago_proves_no_later_start(started: float, is_proved: bool) -> None:
    """A start too soon after the fence stays so, though the host was last asked 12 s before its storage server."""
    world = fenced()
    world.now = world.fenced_at["esx1"] + started
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.run(20)
    world.command("rejoin", "esx1", by="alice")
    asked = world.look().host("esx1")
    world.now += 12.0
    look = world.look()
    assert asked is not None
    told = replace(asked, taken_at=look.taken_at, sampled=SampleTimes(asked.taken_at, asked.taken_at, *[look.taken_at] * 3))
    world.step(0.0, replace(look, hosts=tuple(told if host.name == "esx1" else host for host in look.hosts)))
    assert ("unfence" in steps(world)) is is_proved


def test_a_host_that_kept_running_is_not_let_in_and_given_up_in_the_end() -> None:
    world = fenced()
    world.heal("esx1")
    world.hosts["esx1"].session = None
    world.command("rejoin", "esx1")
    for _look in range(100):
        world.step(5)
        assert steps(world) == []
    assert "not been started afresh" in str(world.alarm("rejoin"))
    world.run(120)
    assert world.memory.host("esx1").rejoin is None


def test_a_bmc_switches_it_on_or_cycles_it_once_and_then_waits_for_the_boot() -> None:
    world = fenced(bmc=True)
    world.command("rejoin", "esx1")
    world.step(3)
    assert steps(world) == [], "a start that soon after the fence could never be told from one before it"
    assert "a start is proved from 30 s on" in str(world.alarm("rejoin"))
    world.run(30)
    assert all_steps(world, 30) == ["power_on"]
    world.hosts["esx1"].power = Power.ON
    world.run(30)
    assert steps(world) == [], "it boots"
    assert not world.fences(), "and is not switched off for what it runs meanwhile"
    kept = fenced(bmc=True)
    kept.heal("esx1")
    kept.hosts["esx1"].session, kept.hosts["esx1"].power = None, Power.ON
    kept.run(30)
    kept.command("rejoin", "esx1")
    kept.step(3)
    assert steps(kept) == ["power_cycle"]
    kept.partition("esx1")
    kept.run(60)
    assert all_steps(kept, 50) == []


def test_a_host_that_runs_vms_again_is_not_let_in() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.vms["vm1"].host, world.vms["vm1"].power = "esx1", Power.ON
    world.command("rejoin", "esx1")
    world.run(10)
    assert steps(world) == []
    assert "it runs vm1 already" in str(world.alarm("rejoin"))


def test_an_unconfirmed_fence_is_not_lifted() -> None:
    world = fenced()
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.fenced["esx1"] = False
    world.command("rejoin", "esx1")
    world.run(10)
    assert steps(world) == []


def test_the_brain_asks_for_no_unfence_that_the_storage_server_refuses() -> None:
    """One margin for both: a start that is proved by less is asked for by nobody."""
    world = fenced()
    fenced_at = world.fenced_at["esx1"]
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    entry = Entry("esx1", initiator("esx1"), 7, Instant(world.boot, fenced_at, ""))
    world.command("rejoin", "esx1")
    for margin_left in (-3.0, 3.0):
        world.hosts["esx1"].booted = fenced_at + MARGIN + margin_left
        world.step(3)
        lacking = FreshStart(uptime=world.now - world.hosts["esx1"].booted, age=0.0).lacking(entry, world.at())
        assert (steps(world) == ["unfence"]) == (not lacking) == (margin_left > 0)


# Stale registrations


@pytest.mark.parametrize(
    "as_listed",
    [
        {},
        {"id": "", "accessible": False, "path": "[] /vmfs/volumes/shared-uuid/vm1/vm1.vmx"},
        {"id": "", "accessible": False, "path": "[shared] vm1/vm1.vmx"},
    ],
)
def test_what_another_host_has_by_now_is_unregistered_before_the_host_is_let_in(as_listed: dict[str, object]) -> None:
    world = back()
    uuid = world.vms["vm1"].id.partition(":")[0]
    path = str(as_listed.get("path", "")).replace("shared-uuid", uuid)
    still_registers(world, "vm1", **{**as_listed, **({"path": path} if path else {})})
    world.step(3)
    (action,) = world.of(RejoinAction)
    assert (action.step, action.stale) == ("unregister", (StaleVm(world.vms["vm1"].id, "vm1", world.vms["vm1"].host),))
    assert "vm1 (now on %s)" % world.vms["vm1"].host in action.reasons[1]
    world.change = lambda look: look
    world.step(3)
    assert steps(world) == ["unfence"]


def test_a_registration_that_may_be_needed_is_left() -> None:
    """The host that has the VM by now died as well: it starts next where it is still registered."""
    world = back()
    still_registers(world, "vm1")
    world.kill(world.vms["vm1"].host)
    world.step(3)
    assert steps(world) == ["unfence"]


def test_a_path_names_a_vm_of_its_own_datastore_only() -> None:
    world = back()
    still_registers(world, "vm1", id="", accessible=False, path="[] /vmfs/volumes/another/vm1/vm1.vmx")
    world.step(3)
    assert steps(world) == ["unfence"]


def test_what_runs_there_is_neither_unregistered_nor_let_in_with_it() -> None:
    world = back()
    still_registers(world, "vm1", power=Power.ON)
    world.step(3)
    assert steps(world) == []
    assert "it runs vm1 already" in str(world.alarm("rejoin"))


# What keeps it waiting, and when that ends


def test_it_is_not_let_in_while_its_vms_are_being_started_elsewhere() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.run(40)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.command("rejoin", "esx1")
    world.step(3)
    assert world.plan()
    assert steps(world) == [], "ordered in this very look"
    world.acts = tuple(ActInProgress("esx2", vm.id) for vm in world.vms.values())
    world.step(3)
    assert (world.plan(), steps(world)) == ({}, [])
    assert "the start of vm1, vm2 elsewhere has not ended" in str(world.alarm("rejoin"))


def test_every_reason_is_named_at_once() -> None:
    world = fenced()
    world.heal("esx1")
    world.hosts["esx1"].session, world.fenced["esx1"] = None, False
    still_registers(world, "vm1", power=Power.ON)
    world.command("rejoin", "esx1")
    world.step(3)
    told = str(world.alarm("rejoin"))
    for reason in ("its fence is not confirmed", "it has not been started afresh", "it runs vm1 already"):
        assert reason in told


def test_a_slow_boot_is_not_cut_by_another_power_cycle() -> None:
    world = fenced(bmc=True)
    world.heal("esx1")
    world.hosts["esx1"].session, world.hosts["esx1"].power = None, Power.ON
    world.run(30)
    world.command("rejoin", "esx1")
    world.step(3)
    assert steps(world) == ["power_cycle"]
    world.partition("esx1")
    world.run(800)
    assert "power_cycle" not in all_steps(world, 790)
    world.reboot("esx1")
    world.hosts["esx1"].session = None
    world.run(6)
    assert "unfence" in all_steps(world, 6), "a boot of 13 minutes is waited for"


def test_a_power_cycle_that_did_not_happen_is_ordered_again() -> None:
    world = fenced(bmc=True)
    world.heal("esx1")
    world.hosts["esx1"].session, world.hosts["esx1"].power = None, Power.ON
    world.command("rejoin", "esx1")
    world.step(3)
    world.run(60)
    assert "power_cycle" in all_steps(world, 40)


def test_a_service_that_runs_there_alone_is_not_power_cycled() -> None:
    world = fenced(bmc=True)
    world.heal("esx1")
    world.hosts["esx1"].session, world.hosts["esx1"].power = None, Power.ON
    still_registers(world, "vm1", power=Power.ON, id="local:dns/dns.vmx", name="dns", moid="77")
    world.command("rejoin", "esx1")
    world.run(30)
    assert all_steps(world, 30) == []
    assert "no other host has dns; move or stop them" in str(world.alarm("rejoin"))


def test_a_wish_does_not_outlive_a_new_loss_of_the_host() -> None:
    world = back()
    world.step(3)
    world.fenced.clear()
    world.step(3)
    world.fence("esx1")
    world.step(3)
    assert world.memory.host("esx1").rejoin is None
    assert "was lost again" in str(world.alarm("rejoin"))


def test_a_host_whose_storage_does_not_come_back_is_named() -> None:
    world = back()
    world.step(3)
    world.fenced.clear()
    world.run(330)
    assert world.memory.host("esx1").rejoin is None
    assert [alarm for decision in world.decisions for alarm in decision.alarms if "its storage does not work" in alarm.text]


# A person's word


def test_a_word_stands_in_only_where_the_storage_server_was_restarted_since_the_fence() -> None:
    world = back()
    elsewhere = Instant("boot-0", 5.0, "")

    def restarted(look: Observation) -> Observation:
        storage = tuple(replace(server, fences=tuple(replace(line, at=elsewhere) for line in server.fences)) for server in look.storage)
        return replace(look, storage=storage)

    world.change = restarted
    world.step(3)
    assert steps(world) == []
    assert "san was itself restarted since the fence" in str(world.alarm("rejoin"))
    world.command("confirmed_restart", "esx1", by="alice", reason="I pulled its plug")
    world.step(3)
    (action,) = world.of(RejoinAction)
    assert (action.step, action.on_word, action.word) == ("unfence", ("san",), "alice: I pulled its plug")


def test_a_word_replaces_no_proof_that_can_be_had() -> None:
    world = fenced()
    world.heal("esx1")
    world.hosts["esx1"].session = None
    world.command("confirmed_restart", "esx1", by="alice", reason="I believe so")
    world.run(30)
    assert all_steps(world, 30) == []
    assert "it has not been started afresh" in str(world.alarm("rejoin"))


@pytest.mark.parametrize("hindered", [False, True])
@pytest.mark.parametrize("by", ["disarm", "another host's run"])
def test_no_run_waits_for_a_return_that_it_does_not_carry_out(by: str, hindered: bool) -> None:
    world = fenced()
    world.command("rejoin", "esx1", by="alice")
    if hindered and by == "disarm":
        world.command("disarm", by="bob", reason="the switch is replaced")
    elif hindered:
        world.only_host = "esx2"
    for name in [vm.name for vm in world.vms_on("esx1")]:
        world.start(name, "esx2")
    world.run(9)
    assert world.last.settled is hindered
    assert world.memory.host("esx1").rejoin is not None
