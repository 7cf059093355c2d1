"""What the monitor kept of its looks is decided again as it was, also without its names: of whole scenarios, with every kind of fault."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import KINDS, Decision
from ansible_collections.libreha.vmware.plugins.module_utils.decide.inputs import DecisionInputs
from ansible_collections.libreha.vmware.plugins.module_utils.service.looks import LookLog, read
from ansible_collections.libreha.vmware.plugins.module_utils.service.redaction import redacted
from libsim.scenario import read_scenario
from libsim.simulation import simulate

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
SOME = [
    "commands/move_that_stops_the_vm_and_fails",
    "failover_steps/both_ends_of_a_move_die",
    "maintenance/empty_and_return",
    "rules/pair_apart_moves_once",
    "storage_servers",
]
FILES = sorted(file for name in SOME for file in SCENARIOS.glob(name + "*") for file in ([file] if file.is_file() else file.rglob("*.yml")))


def recorded(file: Path) -> tuple[LookLog, set[str]]:
    """All looks of a simulated scenario, and the names in it."""
    log, scenario = LookLog(looks=100_000, vms=10_000_000), read_scenario(file)

    def decider(policy: Any, memory: Any, observation: Any, now: Any, run_id: str, only_host: str = "") -> Decision:
        inputs = DecisionInputs(policy, memory, observation, now, run_id, KINDS, only_host)
        decision = inputs.decide(decide)
        log.add(inputs, decision)
        return decision

    simulate(scenario, decider)
    return log, {*scenario.hosts, *scenario.vms}


@pytest.mark.parametrize("file", [file for file in FILES if ".expect" not in file.name], ids=lambda file: file.stem)
def test_a_recording_replays_with_its_names_and_without_them(file: Path) -> None:
    log, names = recorded(file)
    looks = read(log.recording())
    assert len(looks) > 10
    assert [again.differs for again in looks] == [()] * len(looks)
    plain = redacted(looks)
    without = read(plain)
    assert [again.differs for again in without] == [()] * len(looks)
    text = gzip.decompress(plain).decode()
    left = sorted(name for name in names if re.search(r"\b%s\b" % re.escape(name), text))
    assert not left
