"""docs/scenario-format.md documents the format that is read, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from libsim import scenario
from libsim.scenario import DOINGS, BadScenario, build_scenario
from libsim.simulation import simulate

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/scenario-format.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/sim/libsim").rglob("*.py")))
UNKNOWN = "no_such_key"


def _section(heading: str) -> str:
    return PAGE.split("\n## %s\n" % heading)[1].split("\n## ")[0]


def _table(heading: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    lines = [line for line in _section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", cell)


def _first_column(heading: str) -> set[str]:
    return {name for cells in _table(heading) for name in _names(cells[0])}


def _known_keys(raw: dict[str, Any]) -> set[str]:
    """The keys that the reader names where *raw* has an unknown one."""
    with pytest.raises(BadScenario) as refused:
        build_scenario(raw)
    named = [line.split("the keys there are ")[1] for line in str(refused.value).splitlines() if UNKNOWN in line]
    assert len(named) == 1
    return set(named[0].split(", "))


def _scenario(**changed: Any) -> dict[str, Any]:
    return {"hosts": {"node1": {}}, "vms": {"vm101": {"host": "node1"}}, "until": 10, **changed}


@pytest.mark.parametrize(
    ("heading", "raw"),
    [
        ("The file", _scenario(**{UNKNOWN: 1})),
        ("Hosts", _scenario(hosts={"node1": {UNKNOWN: 1}})),
        ("VMs", _scenario(vms={"vm101": {"host": "node1", UNKNOWN: 1}})),
        ("Rules", _scenario(rules=[{"type": "vm_affinity", "vms": ["vm101"], "together": True, UNKNOWN: 1}])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_key_has_its_line(heading: str, raw: dict[str, Any]) -> None:
    assert _first_column(heading) == _known_keys(raw)


def test_each_do_has_its_line_with_its_keys_and_values() -> None:
    documented = {
        _names(cells[0])[0]: (tuple(_names(cells[1])), tuple(_names(cells[2])), tuple(_names(cells[3]))) for cells in _table("Timeline")
    }
    assert documented == DOINGS


def _line(do: str) -> str:
    return next(cells[4] for cells in _table("Timeline") if _names(cells[0]) == [do])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (_line("vm"), scenario.VM_COMMANDS),
        (_line("vm_fault"), scenario.VM_FAULTS),
        (_line("operator"), scenario.OPERATOR_COMMANDS),
        (_section("VMs"), scenario.DESIRED),
        (_section("VMs"), scenario.PRIORITIES),
        (_section("Rules"), ("host_affinity", "vm_affinity")),
    ],
    ids=("commands", "faults", "operator", "desired", "priority", "rules"),
)
def test_each_value_is_named(text: str, values: tuple[str, ...]) -> None:
    assert set(values) <= set(_names(text))


def test_each_event_has_its_line() -> None:
    emitted = set(re.findall(r'\bemit\(\s*"([a-z_]+)"', SOURCE))
    assert "vm_started" in emitted
    assert _first_column("What a run prints") == emitted


def test_each_violation_has_its_line() -> None:
    reported = set(re.findall(r'(?:violation\(|_once\(lasting, )\s*"([a-z_]+)"', SOURCE))
    assert "two_writers" in reported
    assert _first_column("Violations") == reported


def test_the_example_runs_and_shows_what_its_name_says() -> None:
    example = re.findall(r"```yaml scenario\n(.*?)```", PAGE, re.DOTALL)
    assert len(example) == 1
    result = simulate(build_scenario(yaml.safe_load(example[0])))
    assert result["violations"] == []
    assert result["final"]["hosts"]["node1"] == "fenced"
    assert (result["final"]["vms"]["vm101"], result["final"]["vms"]["vm103"]) == ("node2", "node2")
