"""Every scenario below scenarios/ does what its expectation says.

All are begun with the first test, ``LIBREHA_WORKERS`` at a time (as many as there are processors); each test waits for its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from expectation import read_expectation, unmet
from libsim.cli import scenario_files
from libsim.scenario import BadScenario, read_scenario
from libsim.simulation import simulate

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
FILES = scenario_files(SCENARIOS)
WORKERS = int(os.environ.get("LIBREHA_WORKERS") or os.cpu_count() or 1)
Results = dict[Path, Future[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """What becomes of each scenario that is asked for."""
    asked = [item.callspec.params["file"] for item in request.session.items if getattr(item, "originalname", "") == "test_scenario"]
    with ProcessPoolExecutor(WORKERS) as pool:
        yield {file: pool.submit(outcome_of, file) for file in asked}
        pool.shutdown(cancel_futures=True)


def outcome_of(file: Path) -> dict[str, Any]:
    return simulate(read_scenario(file))


def expectation_of(file: Path) -> Path:
    return file.with_name(file.stem + ".expect.yml")


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SCENARIOS).with_suffix("")) for file in FILES])
def test_scenario(file: Path, results: Results) -> None:
    expected = read_expectation(expectation_of(file))
    try:
        result = results[file].result()
    except BadScenario as error:
        assert expected.get("exit") == 2, error
        return
    missing = unmet(expected, result)
    assert not missing, "%s\n%s" % (expected.get("shows", ""), "\n".join(missing))


def test_no_expectation_is_without_its_scenario() -> None:
    named = {expectation_of(file) for file in FILES}
    lost = [path for path in SCENARIOS.rglob("*.expect.yml") if path not in named]
    assert not lost
    assert len(FILES) >= 80
