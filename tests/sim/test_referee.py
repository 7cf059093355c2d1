"""The referee catches what it is there for: deliberately wrong monitors, acts and brains are found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.authorization import not_in_progress
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import (
    Cause,
    FenceAction,
    MoveAction,
    PlannedMove,
    RejoinAction,
    RestartAction,
    Way,
)
from ansible_collections.libreha.vmware.plugins.module_utils.errors import StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from libsim.blocking import wait
from libsim.executor import SimulatedExecutor
from libsim.names import STORE, STORE_NAME, vm_id, vmx_path
from libsim.parts import SimulatedDeadman
from libsim.scenario import build_scenario
from libsim.simulation import simulate

DIES = {"at": 60, "do": "power", "host": "node1", "to": "off"}


def run(decider: Any = decide, *timeline: dict[str, Any], **changes: Any) -> dict[str, Any]:
    raw = {
        "hosts": {"node1": {}, "node2": {}, "node3": {}},
        "vms": {"vm101": {"host": "node1"}, "vm102": {"host": "node2"}},
        "timeline": list(timeline),
        "until": 500.0,
        **changes,
    }
    return simulate(build_scenario(raw), decider)


def kinds(result: dict[str, Any]) -> set[str]:
    return {entry["violation"] for entry in result["violations"]}


def moving(at: float, *moves: tuple[str, str, str]) -> Any:
    """The real brain, which at one look after *at* also orders these live moves (VM, from, to) in one instant."""
    done: list[bool] = []

    def decider(policy: Any, memory: Any, observation: Any, now: Any, run_id: str) -> Any:
        decision = decide(policy, memory, observation, now, run_id)
        if now.seconds < 100000 + at or done:
            return decision
        done.append(True)
        planned = tuple(
            PlannedMove(
                vm_id(vm), vm, vm, STORE, STORE_NAME, vmx_path(vm), source, to, True, Way.VMOTION, True, Cause.OPERATOR, ("planted",)
            )
            for vm, source, to in moves
        )
        return replace(decision, actions=(MoveAction(moves[0][1], planned, ("planted",)),))

    return decider


def changed(change: Any) -> Any:
    def decider(policy: Any, memory: Any, observation: Any, now: Any, run_id: str) -> Any:
        decision = decide(policy, memory, observation, now, run_id)
        actions = not_in_progress([change(action) for action in decision.actions], observation.in_progress)
        return replace(decision, actions=tuple(actions))

    return decider


def test_the_real_brain_violates_nothing_here() -> None:
    assert kinds(run(decide, DIES)) == set()


def no_fence(action: Any) -> Any:
    """Restarts the VMs of a lost host elsewhere instead of fencing it."""
    if not isinstance(action, FenceAction):
        return action
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import PlannedVm
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Priority

    planned = PlannedVm(
        vm_id("vm101"), "vm101", "vm101", STORE, STORE_NAME, vmx_path("vm101"), "node3", "node3", True, 0, 1, Priority.MEDIUM, ()
    )
    return RestartAction("node3", (planned,), ("planted",))


def test_a_start_elsewhere_without_the_fence_is_found() -> None:
    assert "started_before_fence" in kinds(run(changed(no_fence), DIES))


def test_a_lost_host_that_writes_again_beside_the_new_one_is_found() -> None:
    freezes = {"at": 60, "do": "hang", "host": "node1", "to": "on"}
    result = run(changed(no_fence), freezes, {"at": 200, "do": "hang", "host": "node1", "to": "off"})
    assert {"started_before_fence", "two_writers"} <= kinds(result)


def test_a_start_while_a_host_with_a_bmc_may_still_execute_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def never_off(self: Any, devices: Any, permit: Any, machine: Any) -> dict[str, bool]:
        wait(1.0)
        return {"confirmed_off": True, "changed": True}

    def stopped(*_args: Any, **_words: Any) -> Any:
        from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.fencing import Execution

        return Execution.STOPPED, "believed"

    from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts import fencing, respond
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms import recover

    monkeypatch.setattr(SimulatedExecutor, "_switch_off", never_off)
    for module in (fencing, recover, respond):
        if hasattr(module, "execution"):
            monkeypatch.setattr(module, "execution", stopped)
    assert "two_executions" in kinds(run(decide, {"at": 60, "do": "hang", "host": "node1", "to": "on"}))


def test_a_required_rule_broken_by_a_move_is_found_and_a_swap_in_one_instant_is_none() -> None:
    apart = [{"type": "vm_affinity", "vms": ["vm101", "vm102"], "together": False}]
    assert kinds(run(moving(50, ("vm101", "node1", "node2")), rules=apart)) == {"rule_broken"}
    assert kinds(run(moving(50, ("vm101", "node1", "node2"), ("vm102", "node2", "node1")), rules=apart)) == set()
    bound = [{"type": "host_affinity", "vms": ["vm101"], "hosts": {"node1": 0}}]
    assert kinds(run(moving(50, ("vm101", "node1", "node2")), rules=bound)) == {"rule_broken"}


def test_a_required_rule_broken_by_a_start_is_found() -> None:
    bound = [{"type": "host_affinity", "vms": ["vm101"], "hosts": {"node1": 0, "node2": 0}}]
    assert "rule_broken" in kinds(run(changed(no_fence), DIES, rules=bound))


def test_exceeded_memory_and_exceeded_cores_are_found() -> None:
    vms = {"vm101": {"host": "node1", "memory": 3000, "cpu": 2}, "vm102": {"host": "node2", "memory": 2000, "cpu": 3}}
    decider = moving(50, ("vm101", "node1", "node2"))
    assert "capacity_exceeded" in kinds(run(decider, vms=vms, hosts={"node1": {}, "node2": {"memory": 4096}}))
    decider = moving(50, ("vm101", "node1", "node2"))
    assert "capacity_exceeded" in kinds(run(decider, vms=vms, hosts={"node1": {}, "node2": {"cpu": 4}}))


def test_what_takes_nothing_does_not_exceed_what_was_too_much_before() -> None:
    decider = moving(100, ("vm101", "node1", "node2"))
    vms = {"vm101": {"host": "node1", "memory": 0, "cpu": 1}, "vm102": {"host": "node2", "memory": 8192, "cpu": 1}}
    assert "capacity_exceeded" not in kinds(run(decider, vms=vms, hosts={"node1": {}, "node2": {"memory": 4096, "cpu": 2}}))
    decider = moving(100, ("vm101", "node1", "node2"))
    assert "capacity_exceeded" in kinds(run(decider, vms=vms, hosts={"node1": {}, "node2": {"memory": 4096, "cpu": 1}}))


def test_a_service_that_is_never_restarted_is_found() -> None:
    def drop_failovers(policy: Any, memory: Any, observation: Any, now: Any, run_id: str) -> Any:
        decision = decide(policy, memory, observation, now, run_id)
        return replace(decision, actions=tuple(action for action in decision.actions if action.kind == "fence"))

    assert kinds(run(drop_failovers, DIES)) == {"not_recovered"}
    assert kinds(run(drop_failovers, DIES, vms={"vm101": {"host": "node1", "desired": "stopped"}})) == set()
    only_there = [{"type": "host_affinity", "vms": ["vm101"], "hosts": {"node1": 0}}]
    assert kinds(run(drop_failovers, DIES, rules=only_there)) == set()
    assert kinds(run(drop_failovers, DIES, {"at": 90, "do": "monitor", "to": "killed"})) == set()
    assert kinds(run(drop_failovers, {"at": 50, "do": "fence", "host": "node1", "to": "fails"}, DIES)) == set()
    assert kinds(run(drop_failovers, DIES, policy={"mode": "observe"})) == set()


def test_an_unfence_without_a_fresh_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedExecutor, "_lacking", lambda *_arguments: "")  # a storage server that asks for no proof

    frozen = [{"at": 60, "do": "hang", "host": "node1", "to": "on"}, {"at": 200, "do": "hang", "host": "node1", "to": "off"}]
    hosts = {"node1": {"bmc": False}, "node2": {}, "node3": {}}
    rejoin = {"at": 220, "do": "rejoin", "host": "node1"}

    def decider(policy: Any, memory: Any, observation: Any, now: Any, run_id: str) -> Any:
        decision = decide(policy, memory, observation, now, run_id)
        if decision.memory.host("node1").rejoin is None:
            return decision
        return replace(decision, actions=(RejoinAction("node1", "unfence", ("planted",), ("san",)),))

    assert "unfenced_without_fresh_start" in kinds(run(decider, *frozen, rejoin, hosts=hosts))


def test_an_act_that_ignores_its_lost_lease_is_stopped_by_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its own check, nor by its deadman, nor by the end of its run: the target's highest token is the last wall."""
    refused: list[str] = []
    at_server = SimulatedExecutor._fence_at_server

    def watched(self: Any, *arguments: Any) -> Any:
        try:
            return at_server(self, *arguments)
        except StaleToken as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr(SimulatedExecutor, "_fence_at_server", watched)
    monkeypatch.setattr(Permit, "check", lambda self, act: None)
    monkeypatch.setattr(SimulatedDeadman, "arm", lambda self, seconds: None)
    monkeypatch.setattr(SimulatedExecutor, "kill", lambda self: None)
    hangs = {"at": 60, "do": "hang", "host": "node1", "to": "on"}
    requested = next(entry["t"] for entry in run(decide, hangs)["timeline"] if entry["event"] == "fence_requested")
    timeline = [{"at": requested + 0.1, "do": "monitor", "to": "frozen"}, {"at": 300, "do": "monitor", "to": "thawed"}]
    result = run(decide, hangs, *timeline)
    assert refused and not kinds(result)


def test_a_frozen_monitor_wakes_up_and_does_nothing_while_another_run_has_acted() -> None:
    timeline = [{"at": 85, "do": "monitor", "to": "frozen"}, {"at": 300, "do": "monitor", "to": "thawed"}]
    result = run(decide, {"at": 60, "do": "hang", "host": "node1", "to": "on"}, *timeline)
    starts = [entry for entry in result["timeline"] if entry["event"] == "vm_started"]
    assert kinds(result) == set() and len(starts) == 1 and starts[0]["t"] < 300
