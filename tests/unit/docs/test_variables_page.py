"""The page of the playbooks' variables says what is checked, and each variable that a playbook takes from its user is on it."""

from __future__ import annotations

import re

import pytest
from variables_page import PAGE, ROOT, render, variables

# Words that templates use and nobody gives with -e; what begins with libreha_ is a playbook's own or the inventory's.
GIVEN = re.compile(
    r"\b(host|approve|reason|force|confirmed_off|release_brake|entries|since|kinds)\b(?= *(?:\||is defined|is not string|\)|==|in ))"
)


def test_the_page_is_as_the_variables_are_described() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "python tests/unit/docs/write_variables.py"


@pytest.mark.parametrize("playbook", [name for name in variables() if name != "everywhere"])
def test_a_playbook_checks_its_variables_before_anything_else_and_describes_all_that_it_takes(playbook: str) -> None:
    text = (ROOT / "playbooks" / ("%s.yml" % playbook)).read_text(encoding="utf-8")
    assert re.search(r"libreha_run: \"?%s\"?\n" % playbook, text)
    play = text[text.index("libreha_run") :]
    first = play[play.index("  tasks:\n") :].splitlines()[2]
    assert first.strip() == "ansible.builtin.include_tasks: tasks/variables.yml"
    taken = {name for line in text.splitlines() if "{{" in line or "that" in line or "- " in line for name in GIVEN.findall(line)}
    described = variables()[playbook]
    assert taken <= set(described), "not described in playbooks/tasks/variables.yml"
    assert {name for name in described if not name.startswith("libreha_")} <= set(re.findall(r"\w+", text)), "described and not used"


def test_every_playbook_has_its_variables_described() -> None:
    others = {"site"}  # it takes those of the roles, and of monitor
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - others == set(variables()) - {"everywhere"}


def test_what_several_playbooks_take_is_called_the_same() -> None:
    names = {name for playbook, described in variables().items() for name in described if playbook != "everywhere"}
    assert not {name for name in names if "host" in name} - {"host"}
