"""What holds for every module: the action groups, Ansible's rule about reading, the changelog."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
#: An action group, and the doc fragment whose options all its modules share.
GROUPS = {"all": "hosts", "storage": "storage", "state": "state", "power": "power"}


def documentation(name: str) -> dict[str, Any]:
    text = (ROOT / "plugins/modules" / ("%s.py" % name)).read_text(encoding="utf-8")
    found = re.search(r'DOCUMENTATION = r"""\n(.*?)"""', text, re.DOTALL)
    assert found, name
    return dict(yaml.safe_load(found.group(1)))


@pytest.mark.parametrize(("group", "fragment"), GROUPS.items())
def test_an_action_group_holds_every_module_that_shares_its_options(group: str, fragment: str) -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    # A module about one host takes the same options as those about several.
    fragments = {"libreha.vmware." + name for name in ((fragment, "host") if fragment == "hosts" else (fragment,))}
    sharing = [name for name in MODULES if fragments & set(documentation(name).get("extends_documentation_fragment", []))]
    assert groups[group] == sharing


def test_every_action_group_is_known_here() -> None:
    assert set(yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]) == set(GROUPS)


@pytest.mark.parametrize("name", MODULES)
def test_what_only_reads_is_an_info_module(name: str) -> None:
    """Ansible's collection inclusion checklist: no "query" or "status" among the states of a module that changes something."""
    state = documentation(name).get("options", {}).get("state", {})
    reading = {"query", "status", "get", "list", "info", "gathered"}
    assert not reading & {str(choice) for choice in state.get("choices", [])}
    if name.endswith("_info"):
        assert not state


@pytest.mark.parametrize("name", MODULES)
def test_the_changelog_names_every_module(name: str) -> None:
    """`python tests/unit/docs/write_changelog.py` adds those that are new."""
    release = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"]["0.1.0"]
    described = {module["name"]: module["description"] for module in release["modules"]}
    assert described.get(name, "").replace("\\", "") == documentation(name)["short_description"]
    assert "- libreha.vmware.%s - " % name in (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
