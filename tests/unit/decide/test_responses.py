"""From a fault to its answer: first the fence, and only when it is seen confirmed, the VMs elsewhere."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.respond import FENCING
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ActInProgress, Sensor
from decide_world import ApiAnswer, Evidence, Power, World, three_hosts


def lost(world: World, name: str = "esx1") -> World:
    world.kill(name)
    world.run(30)
    return world


# dead hosts


def test_a_killed_host_is_fenced_and_then_its_vms_are_placed() -> None:
    world = lost(three_hosts())
    fence = world.fences()["esx1"]
    assert (fence.initiators, fence.storage) == (("iqn.1998-01.com.vmware:esx1",), ("san",))
    assert (fence.power, fence.stop) == (False, False)
    assert world.failovers() == {}
    world.fence("esx1")
    world.step(3)
    assert world.verdict("esx1") == "fenced"
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}
    vm = world.failovers()["esx1"].vms[0]
    assert (vm.vmx, vm.source, vm.power_on, vm.datastore_uuid) == ("[shared] vm1/vm1.vmx", "esx1", True, "ds-shared")


def test_nothing_starts_while_the_fence_is_not_confirmed_and_it_is_repeated_for_ever() -> None:
    world = lost(three_hosts())
    world.fence("esx1", confirmed=False)
    world.run(600)
    assert [action for action in world.all_actions() if action.kind == "failover"] == []
    assert world.verdict("esx1") == "fencing"
    assert list(world.fences()) == ["esx1"]
    assert "a session is still there" in world.alarm("fence_open:esx1").text
    assert "nothing starts before the fence is confirmed" in world.held("vm1")
    assert not world.last.settled


def test_every_storage_server_must_show_the_fence() -> None:
    world = three_hosts()
    world.servers = ("san", "san2")
    world.run(6)
    lost(world)
    world.fence("esx1")
    world.step(3)
    assert world.plan()
    world.unasked = {"san2"}
    world.step(3)
    assert world.failovers() == {}
    assert world.verdict("esx1") == "fencing"


def test_a_fenced_host_that_is_admitted_again_is_fenced_again_at_once() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    world.admitted_again = {"esx1"}
    world.step(3)
    assert list(world.fences()) == ["esx1"]
    assert world.failovers() == {}
    assert world.alarm("fence_undone:esx1") is not None


def test_a_fence_that_reached_one_of_two_servers_is_completed_whatever_memory_says() -> None:
    world = three_hosts()
    world.fence("esx1", confirmed=False)
    world.memory = type(world.memory)()
    world.step(3)
    assert list(world.fences()) == ["esx1"]


def test_the_failover_is_repeated_until_the_vms_run_elsewhere() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    world.start("vm1", "esx2")
    world.step(3)
    assert world.plan() == {"vm2": "esx3"}
    world.start("vm2", "esx3")
    assert world.step(3).settled
    assert world.failovers() == {}
    assert (world.record("vm1").host, world.record("vm2").host) == ("esx2", "esx3")


def test_a_vm_that_was_registered_by_an_earlier_attempt_goes_there() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.vms["vm1"].host = "esx3"  # registered, not running
    world.vms["vm1"].power = Power.OFF
    world.step(3)
    assert world.plan() == {"vm1": "esx3", "vm2": "esx2"}


def test_powered_off_vms_are_registered_elsewhere_but_not_started() -> None:
    world = three_hosts()
    world.vms["vm2"].power = Power.OFF
    world.event("esx1", "vm_powered_off", "vm2")
    world.step(3)
    lost(world)
    world.fence("esx1")
    world.step(3)
    assert {vm.name: vm.power_on for vm in world.failovers()["esx1"].vms} == {"vm1": True, "vm2": False}
    world.vms["vm2"].host = "esx2"
    world.start("vm1", "esx2")
    world.step(3)
    assert world.failovers() == {}
    assert world.record("vm2").host == "esx2"


def test_a_confirmed_dead_host_that_comes_back_before_its_fence_keeps_its_vms() -> None:
    world = lost(three_hosts())
    world.heal("esx1")
    for vm in world.vms_on("esx1"):
        vm.power = Power.ON
    world.step(3)
    world.step(3)
    assert world.verdict("esx1") == "healthy"
    assert world.last.actions == ()


# stopped or not


def test_what_a_fence_under_way_lacks_is_an_alarm_only_when_it_lasts() -> None:
    world = lost(three_hosts(bmc=True))
    world.acts = (ActInProgress("esx1"),)
    world.fence("esx1")
    world.step(3)
    assert world.alarm("not_stopped:esx1") is None
    assert world.fences() == {}, "ordered twice"
    assert not world.last.settled
    world.acts = ()
    world.step(3)
    assert world.fences()["esx1"].power
    assert world.alarm("not_stopped:esx1") is not None
    world.acts = (ActInProgress("esx1"),)
    world.run(FENCING)
    assert world.alarm("not_stopped:esx1") is not None


def test_with_a_bmc_nothing_starts_until_it_says_off() -> None:
    world = lost(three_hosts(bmc=True))
    assert world.fences()["esx1"].power
    world.fence("esx1")
    world.run(60)
    assert world.failovers() == {}
    assert world.fences()["esx1"].power
    assert "its power is on" in world.alarm("not_stopped:esx1").text
    world.hosts["esx1"].power = Power.UNKNOWN
    world.step(3)
    assert world.failovers() == {}
    world.hosts["esx1"].power = Power.OFF
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}
    assert not world.failovers()["esx1"].unstopped
    assert world.fences() == {}


def test_a_host_with_a_bmc_is_never_the_exception_even_if_it_is_named() -> None:
    world = lost(three_hosts(bmc=True, allow_unstopped_source=["esx1"]))
    world.fence("esx1")
    world.run(60)
    assert world.failovers() == {}


def test_without_a_bmc_an_unreachable_host_may_duplicate_on_the_network_and_that_is_said() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    assert world.failovers()["esx1"].unstopped
    assert "network duplicate possible" in world.alarm("duplicate:esx1").text


def started_in_doubt() -> World:
    """esx1 cannot be reached, and its VMs run elsewhere since."""
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    world.start("vm1", "esx2")
    world.start("vm2", "esx3")
    world.run(60)
    assert world.failovers() == {}
    return world


def test_that_it_may_duplicate_is_said_until_the_host_is_proved_off() -> None:
    world = started_in_doubt()
    assert "vm1, vm2 may execute there" in world.alarm("duplicate:esx1").text
    world.run_id = "another run"
    world.run(30)
    assert "vm1, vm2 may execute there" in world.alarm("duplicate:esx1").text
    world.command("confirmed_off", "esx1", by="alice", reason="I pulled its plug")
    world.step(3)
    assert world.alarm("duplicate:esx1") is None
    assert world.memory.host("esx1").doubtful == ()


def test_that_it_may_duplicate_is_said_until_the_host_itself_says_that_it_stopped_them() -> None:
    world = started_in_doubt()
    world.reboot("esx1")
    world.step(3)
    assert world.alarm("duplicate:esx1") is None


def test_a_fenced_host_is_not_switched_off_again_when_its_vms_run_elsewhere() -> None:
    world = lost(three_hosts(bmc=True))
    world.fence("esx1")
    world.hosts["esx1"].power = Power.OFF
    world.step(3)
    world.start("vm1", "esx2")
    world.start("vm2", "esx3")
    world.step(3)
    world.hosts["esx1"].power = Power.ON
    world.step(3)
    assert world.fences() == {}
    world.admitted_again = {"esx1"}
    world.step(3)
    assert not world.fences()["esx1"].power


# hang, storage cut


def test_a_hung_host_is_dead_and_switched_off_where_it_has_a_bmc() -> None:
    world = lost(three_hosts(bmc=True))
    assert (world.verdict("esx1"), world.row("esx1")) == ("dead", 9)


def test_a_host_whose_address_still_answers_is_asked_to_stop_its_vms() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.hosts["esx1"].ping = Evidence.OK
    world.run(30)
    assert world.row("esx1") == 8
    assert world.fences()["esx1"].stop
    assert len(world.fences()["esx1"].vms) == 2


@pytest.mark.parametrize("bmc", [False, True])
def test_a_host_that_lost_its_storage_stops_its_vms_through_its_api_first(bmc: bool) -> None:
    world = three_hosts(bmc=bmc)
    world.cut_storage("esx1")
    world.run(21)
    assert (world.verdict("esx1"), world.row("esx1")) == ("storage_lost", 6)
    fence = world.fences()["esx1"]
    assert (fence.stop, fence.power) == (True, False)
    world.fence("esx1")
    world.step(3)
    assert world.failovers() == {}
    assert "its own API says that the VM is on" in world.held("vm1")
    assert (world.fences()["esx1"].stop, world.fences()["esx1"].power) == (True, bmc)
    for vm in world.vms_on("esx1"):
        vm.power = Power.OFF
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}
    assert not world.failovers()["esx1"].unstopped


def test_a_host_that_still_has_its_datastore_is_left_alone() -> None:
    world = three_hosts()
    world.cut_storage("esx1")
    world.hosts["esx1"].accessible = True
    world.run(60)
    assert (world.verdict("esx1"), world.row("esx1")) == ("unknown", 7)
    assert world.all_actions() == []
    assert "another path" in world.alarm("verdict:esx1").text


def test_a_datastore_that_vanished_with_the_storage_counts_as_inaccessible() -> None:
    world = three_hosts()
    world.cut_storage("esx1")
    world.change = lambda look: dataclasses.replace(
        look, hosts=tuple(dataclasses.replace(host, datastores=()) if host.name == "esx1" else host for host in look.hosts)
    )
    world.run(21)
    assert world.row("esx1") == 6


def test_losing_one_of_two_targets_takes_no_host_away() -> None:
    world = three_hosts()
    world.servers = ("san", "san2")

    def without_san2(look):  # type: ignore[no-untyped-def]
        servers = []
        for server in look.storage:
            if server.name == "san2":
                target = "iqn.2026-01.lab:san2"
                sessions = tuple(
                    dataclasses.replace(item, target=target)
                    for item in server.sessions
                    if cut != "esx1" or not item.initiator.endswith(cut)
                )
                access = tuple(dataclasses.replace(item, target=target) for item in server.access)
                server = dataclasses.replace(server, sessions=sessions, access=access)
            servers.append(server)
        return dataclasses.replace(look, storage=tuple(servers))

    cut = ""
    world.change = without_san2
    world.run(12)
    assert world.row("esx1") == 4
    cut = "esx1"
    world.kill("esx1")
    world.hosts["esx1"].writes = True  # san still sees its writes
    world.run(60)
    assert world.verdict("esx1") == "isolated"
    assert world.all_actions() == []


# isolated, agent hung


def test_a_partition_changes_nothing_by_default_and_an_alarm_says_why() -> None:
    world = three_hosts()
    world.partition("esx1")
    world.run(300)
    assert (world.verdict("esx1"), world.row("esx1")) == ("isolated", 11)
    assert world.all_actions() == []
    assert "left running (isolation_response: leave_running)" in world.alarm("verdict:esx1").text


def test_an_isolated_host_is_only_taken_away_if_it_can_be_stopped() -> None:
    world = three_hosts(isolation_response="failover")
    world.partition("esx1")
    world.run(60)
    assert world.all_actions() == []
    assert "no BMC to stop them" in world.held("esx1")
    world = three_hosts(isolation_response="failover", allow_unstopped_source=["esx1"])
    world.partition("esx1")
    world.run(18)
    assert list(world.fences()) == ["esx1"]
    world = three_hosts(bmc=True, isolation_response="failover")
    world.partition("esx1")
    world.run(18)
    assert world.fences()["esx1"].power


@pytest.mark.parametrize(
    ("answer", "alarm", "severity"),
    [
        (ApiAnswer.NAME_NOT_RESOLVED, "name_service", "critical"),
        (ApiAnswer.NO_ROUTE, "own_network", "critical"),
        (ApiAnswer.NOT_ASKED, "not_asked", "warning"),
    ],
)
@pytest.mark.parametrize("writes", [True, False])
def test_a_host_that_could_not_be_asked_is_neither_isolated_nor_dead_and_the_alarm_names_what_the_observer_lacks(
    writes: bool, answer: ApiAnswer, alarm: str, severity: str
) -> None:
    world = three_hosts(bmc=True, isolation_response="failover")
    world.hosts["esx1"].api, world.hosts["esx1"].ping, world.hosts["esx1"].writes = answer, Evidence.UNKNOWN, writes
    world.run(60)
    assert (world.verdict("esx1"), world.row("esx1")) == ("unknown", 12)
    assert world.all_actions() == []
    said = world.alarm(alarm)
    assert said is not None
    assert "esx1" in said.text
    assert said.severity.value == severity


def test_a_fenced_host_that_could_not_be_asked_is_not_called_unreachable() -> None:
    """Without power fencing its VMs may start elsewhere while it may execute them, but only if it was asked and did not answer."""
    world = lost(three_hosts())
    world.fence("esx1")
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.NAME_NOT_RESOLVED, Evidence.UNKNOWN
    world.run(60)
    assert world.failovers() == {}
    assert "could not be asked" in world.alarm("not_stopped:esx1").text
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.TIMED_OUT, Evidence.FAILED
    world.step(3)
    assert world.failovers()["esx1"].unstopped


@pytest.mark.parametrize("mode, fenced", [("conservative", []), ("aggressive", ["esx1"])])
def test_an_isolated_host_whose_vms_fit_nowhere_is_left_running_unless_told_otherwise(mode: str, fenced: list[str]) -> None:
    world = three_hosts(bmc=True, isolation_response="failover", isolation_mode=mode)
    for host in ("esx2", "esx3"):
        world.hosts[host].memory = 1500
    world.partition("esx1")
    world.run(18)
    assert list(world.fences()) == fenced
    assert fenced or "can be placed elsewhere" in world.held("esx1")


def test_a_hung_agent_is_an_alarm_and_a_failover_only_if_the_policy_says_so() -> None:
    world = three_hosts()
    world.hosts["esx1"].api = ApiAnswer.TIMED_OUT
    world.run(60)
    assert (world.verdict("esx1"), world.row("esx1")) == ("agent_hung", 10)
    assert world.all_actions() == []
    assert world.alarm("verdict:esx1") is not None
    world = three_hosts(bmc=True, agent_hung_response="failover")
    world.hosts["esx1"].api = ApiAnswer.REFUSED
    world.run(18)
    assert world.fences()["esx1"].power


# power


def test_a_host_that_is_off_is_failed_over_without_confirmation_time() -> None:
    world = three_hosts(bmc=True)
    world.power_off("esx1")
    world.step(3)
    assert world.row("esx1") == 3  # its last write is too recent: contradiction, held
    world.step(9)
    assert world.row("esx1") == 2
    assert list(world.fences()) == ["esx1"]
    world.fence("esx1")
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}


def test_a_bmc_that_says_off_about_a_living_host_is_held_with_an_alarm() -> None:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].power = Power.OFF
    world.run(60)
    assert world.row("esx1") == 3
    assert world.all_actions() == []
    assert "its BMC says off but it is active" in world.alarm("verdict:esx1").text


# the operator's errors, the target's troubles


@pytest.mark.parametrize("answer", [ApiAnswer.LOGIN_REFUSED, ApiAnswer.CERTIFICATE_REFUSED, ApiAnswer.LICENCE_REFUSED])
def test_a_wrong_password_is_an_alarm_and_nothing_else(answer: ApiAnswer) -> None:
    world = three_hosts()
    world.hosts["esx1"].api = answer
    world.run(120)
    assert world.verdict("esx1") == "healthy"
    assert world.all_actions() == []
    assert world.alarm("operator:esx1") is not None
    assert world.record("vm1").host == "esx1"


def test_a_host_that_refuses_the_login_and_loses_its_storage_is_held() -> None:
    world = three_hosts()
    world.cut_storage("esx1")
    world.hosts["esx1"].api = ApiAnswer.LOGIN_REFUSED
    world.run(60)
    assert (world.verdict("esx1"), world.row("esx1")) == ("unknown", 7)
    assert world.all_actions() == []


def test_a_restart_of_the_target_moves_nothing() -> None:
    world = three_hosts()
    world.serving = False
    for host in world.hosts.values():
        host.session = None
    world.run(20)
    world.serving, world.target_started = True, world.now
    world.run(20)
    for host in world.hosts.values():
        host.session = "after"
    world.run(300)
    assert world.all_actions() == []
    assert world.last.alarms == ()


def test_a_target_that_is_down_is_an_alarm_about_the_target() -> None:
    world = three_hosts()
    world.serving = False
    world.run(30)
    assert "does not serve" in world.alarm("storage:san").text
    world.serving = None
    world.run(30)
    assert "could not be asked: ssh timed out" in world.alarm("storage:san").text
    assert world.all_actions() == []


def test_a_fenced_host_stays_fenced_while_the_storage_server_cannot_be_asked() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    world.serving = None
    world.heal("esx1")  # it wakes up and believes that it still runs its VMs
    world.start("vm1", "esx1")
    world.step(3)
    assert world.verdict("esx1") == "fencing"
    assert world.failovers() == {}


# sensors, modes, words


@pytest.mark.parametrize(("response", "vm2"), [("alarm", "esx3"), ("quarantine", "esx2"), ("evacuate", "esx2")])
def test_a_host_with_red_sensors_takes_vms_only_if_the_policy_leaves_it_at_an_alarm(response: str, vm2: str) -> None:
    world = three_hosts(degraded_response=response)
    world.hosts["esx3"].sensors = (Sensor("Fan 1", "red"),)
    lost(world)
    world.fence("esx1")
    world.step(3)
    assert world.verdict("esx3") == "degraded"
    assert world.plan() == {"vm1": "esx2", "vm2": vm2}
    assert "Fan 1" in world.alarm("degraded:esx3").text


def test_the_decision_is_the_same_in_every_mode() -> None:
    decisions = []
    for mode in ("observe", "ask", "act"):
        world = lost(three_hosts(mode=mode))
        decisions.append(world.last)
    proposed = [tuple(item.action for item in decision.proposed) for decision in decisions]
    assert proposed[0] == proposed[1] == decisions[2].actions != ()
    assert decisions[0].actions == decisions[1].actions == decisions[2].proposed == ()
    assert [decision.settled for decision in decisions] == [True, True, False]


def test_a_persons_word_that_a_host_is_off_replaces_a_target_that_cannot_be_asked() -> None:
    world = three_hosts(bmc=True)
    world.kill("esx1")
    world.hosts["esx1"].power = Power.UNKNOWN
    world.servers = ("san", "san2")
    world.unasked = {"san2"}
    world.run(60)
    world.fence("esx1")
    world.step(3)
    assert world.failovers() == {}
    world.command("confirmed_off", "esx1", by="alice", reason="I pulled the plug")
    world.step(3)
    assert world.plan() == {"vm1": "esx2", "vm2": "esx3"}
    assert list(world.fences()) == ["esx1"]  # pending at san2
    assert "alice: I pulled the plug" in world.failovers()["esx1"].reasons[0]


def test_a_persons_word_counts_for_nothing_while_the_host_answers() -> None:
    world = three_hosts()
    world.command("confirmed_off", "esx1", by="alice", reason="wrong host")
    world.servers = ("san",)
    world.serving = None
    world.run(30)
    assert world.failovers() == {}
    assert world.alarm("word:esx1") is not None


def test_a_word_ends_when_the_host_is_let_in_again() -> None:
    world = lost(three_hosts())
    world.command("confirmed_off", "esx1", by="alice", reason="off")
    world.fence("esx1")
    world.step(3)
    world.start("vm1", "esx2")
    world.start("vm2", "esx3")
    world.step(3)
    world.fenced.clear()
    world.reboot("esx1")
    world.step(3)
    assert world.verdict("esx1") == "healthy"
    assert world.memory.host("esx1").confirmed_off == ""


# what was recorded, and an old memory


def test_what_a_fenced_host_says_about_vms_changes_nothing() -> None:
    world = lost(three_hosts())
    world.fence("esx1")
    world.step(3)
    world.start("vm1", "esx2")
    world.start("vm2", "esx3")
    world.step(3)
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.ANSWERED, Evidence.OK  # thawed
    world.vms["ghost"] = type(world.vms["vm1"])("ghost", "esx1")
    world.vms["vm3"].host = "esx1"
    world.step(3)
    assert (world.record("vm1").host, world.record("vm3").host) == ("esx2", "esx2")
    assert [record.name for record in world.memory.vms] == ["vm1", "vm2", "vm3", "vm4"]


def test_with_an_old_memory_nothing_starts_while_a_host_that_may_have_the_vm_cannot_be_read() -> None:
    world = three_hosts()
    world.now += 3600  # the monitor was away; meanwhile vm1 moved to esx2, esx2 was partitioned, esx1 died
    world.start("vm1", "esx2")
    world.kill("esx1")
    world.partition("esx2")
    world.run_id = "run-2"
    world.run(60)
    world.fence("esx1")
    world.run(60)
    assert "vm1" not in world.plan()
    assert "may have moved to esx2" in world.held("vm1")
    world.heal("esx2")
    world.run(6)
    assert world.plan() == {"vm2": "esx3"}
    assert world.record("vm1").host == "esx2"


def test_a_host_that_was_out_of_reach_before_holds_nothing_up() -> None:
    world = three_hosts()
    world.partition("esx2")
    world.run(60)
    world.now += 3600
    world.kill("esx1")
    world.run(60)
    world.fence("esx1")
    world.step(3)
    assert world.plan() == {"vm1": "esx3", "vm2": "esx3"}


def test_a_vm_running_on_two_hosts_is_a_critical_alarm() -> None:
    world = three_hosts()
    twin = dataclasses.replace(next(vm for vm in world.look().vms if vm.name == "vm1"), host="esx2")
    world.change = lambda look: dataclasses.replace(look, vms=(*look.vms, twin))
    world.step(3)
    assert "esx1 and esx2" in world.alarm("runs_twice").text
    assert world.record("vm1").host == "esx1"


def test_a_host_whose_fence_is_still_open_is_not_believed_either() -> None:
    world = lost(three_hosts())
    world.fence("esx1", confirmed=False)
    world.hosts["esx1"].api, world.hosts["esx1"].ping = ApiAnswer.ANSWERED, Evidence.OK
    world.vms["vm3"].host = "esx1"
    world.step(3)
    assert world.verdict("esx1") == "fencing"
    assert world.record("vm3").host == "esx2"


def test_a_persons_word_does_not_replace_a_fence_while_the_address_still_answers() -> None:
    world = three_hosts()
    world.servers = ("san", "san2")
    world.run(6)
    lost(world)
    world.fence("esx1")
    world.unasked = {"san2"}
    world.command("confirmed_off", "esx1", by="alice", reason="I believe so")
    world.hosts["esx1"].ping = Evidence.OK
    world.step(3)
    assert world.failovers() == {}
    world.hosts["esx1"].ping = Evidence.FAILED
    world.step(3)
    assert set(world.plan()) == {"vm1", "vm2"}
