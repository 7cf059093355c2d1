"""``make -s simulate`` as others call it: one JSON object a line, nothing else on stdout, and the exit codes of docs/scenario-format.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from libsim import cli

ROOT = Path(__file__).resolve().parents[2]
FINE = "name: fine\nhosts: {node1: , node2: {}}\nvms: {}\nrules: []\ntimeline: []\nuntil: 30\n"
UNKNOWN_KEY = "hosts: {node1: {ram: 5}}\nuntil: 30\n"


def make_simulate(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", "simulate", "SCENARIO=%s" % path], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_scenario_is_one_line_and_exit_0(tmp_path: Path) -> None:
    file = tmp_path / "a scenario.yml"
    file.write_text(FINE, encoding="utf-8")
    done = make_simulate(file)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert list(result) == ["name", "timeline", "final", "violations"]
    assert result["final"] == {"vms": {}, "hosts": {"node1": "healthy", "node2": "healthy"}}


def test_a_folder_is_a_line_each_without_the_expectations_and_a_broken_file_is_exit_2_naming_the_key(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(FINE, encoding="utf-8")
    (tmp_path / "b.expect.yml").write_text("final: {vms: {}}\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({"name": "json", "hosts": {"node1": {}}, "until": 30}), encoding="utf-8")
    (tmp_path / "a.yml").write_text(UNKNOWN_KEY, encoding="utf-8")
    done = make_simulate(tmp_path)
    assert done.returncode == 2
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["fine", "json"]
    assert "a.yml" in done.stderr and "unknown key ram" in done.stderr


def test_a_violation_is_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fine.yml"
    file.write_text(FINE, encoding="utf-8")
    monkeypatch.setattr(cli, "simulate", lambda scenario: {"name": scenario.name, "violations": [{"violation": "planted"}]})
    assert cli.main([str(file)]) == 1
    assert json.loads(capsys.readouterr().out)["violations"]


def test_make_hands_on_exit_1(tmp_path: Path) -> None:
    """GNU make by itself ends with 2 whatever a recipe ends with."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "simulate", "PYTHON=%s" % python, "SCENARIO=x"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
