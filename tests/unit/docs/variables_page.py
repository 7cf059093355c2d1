"""docs/variables.md, from the one place where the playbooks' variables are described: playbooks/tasks/variables.yml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/variables.md"
POLICY = ROOT / "docs/policy.md"
HEAD = """# Variables of the playbooks

Written by tests/unit/docs/write_variables.py from `playbooks/tasks/variables.yml`, by which each playbook checks them before it does
anything else. The cluster itself is described in the inventory: `playbooks/inventory.example`, and
[%(policy)s](%(policy)s) for `libreha_policy`.
"""


def variables() -> dict[str, dict[str, dict[str, Any]]]:
    """Playbook (or "everywhere") -> variable -> its argument spec."""
    (task,) = yaml.safe_load((ROOT / "playbooks/tasks/variables.yml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, dict[str, Any]]] = task["vars"]["libreha_variables"]
    return found


def render() -> str:
    parts = [HEAD % {"policy": POLICY.name}]
    for playbook, described in variables().items():
        parts.append("## %s\n" % ("Every playbook" if playbook == "everywhere" else playbook))
        parts.append("| variable | type | what it says |\n| --- | --- | --- |")
        parts.append("".join(_row(name, spec) for name, spec in described.items()))
    return "\n".join(parts)


def _row(name: str, spec: Mapping[str, Any]) -> str:
    kind = " or ".join("`%s`" % value for value in spec["choices"]) if "choices" in spec else spec["type"]
    if "elements" in spec:
        kind += " of %s" % spec["elements"]
    return "| `%s` | %s%s | %s |\n" % (name, kind, ", required" if spec.get("required") else "", spec["description"])
