"""Every scenario below scenarios/ does what its expectation says."""

from __future__ import annotations

from pathlib import Path

import pytest
from expectation import read_expectation, unmet
from libsim.cli import scenario_files
from libsim.scenario import BadScenario, read_scenario
from libsim.simulation import simulate

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
FILES = scenario_files(SCENARIOS)


def expectation_of(file: Path) -> Path:
    return file.with_name(file.stem + ".expect.yml")


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SCENARIOS).with_suffix("")) for file in FILES])
def test_scenario(file: Path) -> None:
    expected = read_expectation(expectation_of(file))
    try:
        scenario = read_scenario(file)
    except BadScenario as error:
        assert expected.get("exit") == 2, error
        return
    missing = unmet(expected, simulate(scenario))
    assert not missing, "%s\n%s" % (expected.get("shows", ""), "\n".join(missing))


def test_no_expectation_is_without_its_scenario() -> None:
    named = {expectation_of(file) for file in FILES}
    lost = [path for path in SCENARIOS.rglob("*.expect.yml") if path not in named]
    assert not lost
    assert len(FILES) >= 80
