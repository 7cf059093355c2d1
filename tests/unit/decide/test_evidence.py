"""Progress at the target is judged from two looks no further apart than io_stale, and never guessed."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.evidence import HostEvidence, TargetEvidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.evidence import judge_host
from decide_world import TARGET, ApiAnswer, Evidence, Instant, Power, World, three_hosts


def storage(world: World, host: str = "esx1") -> tuple[str, str]:
    (target,) = next(item.storage for item in world.last.hosts if item.host == host)
    return target.state.value, target.reason


def fresh() -> World:
    world = three_hosts()
    world.memory = type(world.memory)()
    return world


def test_a_first_look_knows_nothing_about_progress_and_asks_for_another() -> None:
    world = fresh()
    decision = world.step(3)
    assert storage(world) == ("unknown", "storage not judged yet")
    assert (world.verdict("esx1"), world.row("esx1")) == ("healthy", 5)
    assert world.alarm("no_storage_evidence") is None
    assert not decision.settled
    assert world.step(3).settled


def test_a_counter_that_advances_within_io_stale_is_progress() -> None:
    world = three_hosts()
    world.step(9)
    assert storage(world) == ("ok", "storage ok")


def test_a_counter_that_advanced_over_a_long_gap_proves_nothing_about_now() -> None:
    world = three_hosts()
    world.step(600)
    assert storage(world)[0] == "unknown"


def test_a_session_without_progress_fails_after_io_stale_and_not_before() -> None:
    world = three_hosts()
    world.hosts["esx1"].writes = False
    world.step(10)
    assert storage(world)[0] == "ok"
    world.step(1)
    assert storage(world) == ("failed", "storage failed 11 s")


def test_a_session_that_never_made_progress_fails_after_io_stale() -> None:
    world = fresh()
    world.hosts["esx1"].writes = False
    world.step(3)
    world.step(9)
    assert storage(world)[0] == "unknown"
    world.step(2)
    assert storage(world)[0] == "failed"


def test_an_admitted_initiator_without_a_session_has_failed() -> None:
    world = three_hosts()
    world.hosts["esx1"].session = None
    world.step(3)
    assert storage(world) == ("failed", "storage failed: no session")


def test_a_login_seen_between_two_near_looks_is_progress() -> None:
    world = three_hosts()
    world.hosts["esx1"].session = "s2"
    world.hosts["esx1"].writes = False
    world.step(3)
    assert storage(world)[0] == "ok"


def test_a_login_seen_after_a_long_gap_is_not() -> None:
    world = three_hosts()
    world.hosts["esx1"].session = "s2"
    world.step(60)
    assert storage(world)[0] == "unknown"


def test_counters_that_ran_backwards_begin_anew() -> None:
    world = three_hosts()
    world.hosts["esx1"].counter = 1
    world.step(3)
    assert storage(world)[0] == "unknown"


@pytest.mark.parametrize("trouble", ["restarted", "not serving", "unreadable", "not asked"])
def test_what_the_target_cannot_tell_is_unknown_for_all_and_nothing_is_concluded(trouble: str) -> None:
    world = three_hosts()
    world.hosts["esx1"].session = None
    if trouble == "restarted":
        world.target_started = world.now
    elif trouble == "not serving":
        world.serving = False
    elif trouble == "unreadable":
        world.readable = False
    else:
        world.serving = None
    world.run(60)
    assert world.verdict("esx1") == "healthy"
    assert storage(world)[0] == "unknown"
    assert world.all_actions() == []
    assert world.alarm("no_storage_evidence:esx1") is not None


def test_missing_sessions_count_again_when_the_grace_is_over() -> None:
    world = three_hosts()
    world.hosts["esx1"].session = None
    world.target_started = world.now
    world.step(179)
    assert storage(world)[0] == "unknown"
    assert not world.decisions[-1].settled, "the grace ends by itself: a run waits for it"
    world.step(2)
    assert storage(world)[0] == "failed"


def test_a_look_at_the_target_that_is_repeated_is_no_progress() -> None:
    world = three_hosts()
    old = world.look().storage
    world.change = lambda look: dataclasses.replace(look, storage=old)
    world.run(14)
    assert storage(world)[0] == "ok"  # nothing new was learned
    world.run(9)
    assert storage(world) == ("unknown", "storage unknown: san could not be asked: the look at it is old")


@pytest.mark.parametrize("answer", [ApiAnswer.REFUSED, ApiAnswer.TLS_REFUSED, ApiAnswer.BROKEN, ApiAnswer.LOGIN_REFUSED])
def test_any_answer_of_the_machine_is_a_ping(answer: ApiAnswer) -> None:
    world = three_hosts()
    world.hosts["esx1"].api, world.hosts["esx1"].ping = answer, Evidence.FAILED
    world.step(3)
    assert next(host.ping for host in world.last.hosts if host.host == "esx1") is Evidence.OK


def test_an_answering_host_is_not_believed_to_be_off() -> None:
    world = three_hosts(bmc=True)
    world.hosts["esx1"].ping, world.hosts["esx1"].power, world.hosts["esx1"].session = Evidence.FAILED, Power.OFF, None
    world.run(60)
    assert (world.verdict("esx1"), world.row("esx1")) == ("unknown", 3)
    assert world.fences() == {}


def test_counters_of_any_one_session_suffice() -> None:
    world = three_hosts()

    def second_path(look: seen.Observation) -> seen.Observation:
        stuck = seen.Session("iqn.1998-01.com.vmware:esx1", TARGET, "stuck", commands_done=5, bytes_done=5)
        server = look.storage[0]
        return dataclasses.replace(look, storage=(dataclasses.replace(server, sessions=(*(server.sessions or ()), stuck)),))

    world.change = second_path
    world.run(30)
    assert storage(world)[0] == "ok"


def test_initiator_names_are_compared_without_case() -> None:
    world = three_hosts()
    world.policy["hosts"] = {name: {"initiator": "iqn.1998-01.COM.VMWARE:%s" % name} for name in world.hosts}
    world.step(3)
    world.step(3)
    assert storage(world)[0] == "ok"


@pytest.mark.parametrize(
    "states, row, verdict",
    [
        (("failed no", "failed no"), 6, "storage_lost"),
        (("failed no", "ok yes"), 6, "storage_partly_lost"),
        (("failed no", "unknown yes"), 6, "storage_partly_lost"),
        (("failed no", "failed yes"), 7, "unknown"),
        (("unknown yes", "ok yes"), 5, "healthy"),
        (("ok yes", "ok yes"), 4, "healthy"),
    ],
)
def test_a_host_that_answers_has_lost_its_storage_only_if_all_targets_and_itself_say_so(
    states: tuple[str, ...], row: int, verdict: str
) -> None:
    targets = []
    for number, (state, word) in enumerate(item.split() for item in states):
        targets.append(TargetEvidence("san%d" % number, "iqn.2026-01.lab:%d" % number, Evidence(state), state, False, word == "yes"))
    evidence = HostEvidence(
        "esx1", Instant("b", 1.0), True, Evidence.OK, "api answered", Evidence.OK, "ping ok", Power.UNKNOWN, tuple(targets), ()
    )
    judgement = judge_host(evidence, observer_is_isolated=False)
    assert (judgement.row, judgement.verdict.value) == (row, verdict)


# looks that are old


def test_an_old_look_says_nothing_about_vms_fences_or_restarts() -> None:
    """It comes late, from before a failover: its VMs are shown where they were, and their host as one that nobody fenced."""
    world = three_hosts()
    world.run(6)
    old = world.look()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    world.vms["vm1"].host, world.vms["vm2"].host = "esx2", "esx3"
    world.run(6)
    before = {vm.id: vm.host for vm in world.memory.vms}
    world.step(look=old)
    assert {vm.id: vm.host for vm in world.memory.vms} == before
    assert world.verdict("esx1") in ("fenced", "fencing")
    assert not [host.name for host in world.memory.hosts if host.going_down] and world.plan() == {}
    world.step(3)
    assert world.verdict("esx1") == "fenced"
    assert {vm.id: vm.host for vm in world.memory.vms} == before


def test_a_vm_is_not_put_back_by_a_look_from_before_its_move() -> None:
    world = three_hosts()
    world.run(6)
    old = world.look()
    world.vms["vm1"].host = "esx3"
    world.run(20)
    world.step(look=old)
    assert {vm.name: vm.host for vm in world.memory.vms}["vm1"] == "esx3"


# looks that take too long


def test_a_look_that_takes_longer_than_io_stale_is_an_alarm_that_says_what_to_set() -> None:
    world = three_hosts()
    world.run(6)
    look = world.look()
    world.now += 12
    world.step(look=look)
    alarm = world.alarm("slow_looks")
    assert "one look took 12 s, longer than io_stale (10 s)" in alarm.text and "set io_stale" in alarm.text
    world.step(3)
    assert "slow_looks" not in {alarm.key for alarm in world.last.alarms}
