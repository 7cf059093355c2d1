"""A playbook refuses variables of the wrong kind, and ones that are missing, before it does anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_exit_status import play


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Nothing of it is reached: the checks come first."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"libreha_hosts": {"hosts": {"esx1": {}}}, "libreha_storage": {"hosts": {"san1": here}}}
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups}}))
    return path


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("monitor", {"libreha_max_looks": "many"}, "libreha_max_looks"),
        ("monitor", {"libreha_mode": "watch"}, "value of libreha_mode must be one of: observe, ask, act"),
        ("failover", {}, "missing required arguments: host"),
        ("rejoin", {}, "missing required arguments: host"),
        ("failover", {"host": "esx1", "release_brake": "perhaps"}, "release_brake"),
        ("journal", {"entries": "all"}, "entries"),
    ],
)
def test_what_is_wrong_with_a_variable_is_said_before_anything_is_done(
    inventory: Path, name: str, given: dict[str, Any], said: str
) -> None:
    done = play(name, inventory, **given)
    assert done.returncode != 0
    assert said in done.stdout
    assert "Check the variables" in done.stdout and "Read the inventory and the policy" not in done.stdout
