"""Every deliberate bug of tests/mutants still has its place in the code. Whether a test catches it is seen by ``make mutants``."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
MUTANTS = yaml.safe_load((ROOT / "tests" / "mutants" / "mutants.yml").read_text(encoding="utf-8"))


def test_each_bug_is_put_into_exactly_one_place() -> None:
    found = {}
    for mutant in MUTANTS:
        text = (ROOT / "plugins" / "module_utils" / mutant["file"]).read_text(encoding="utf-8")
        found[mutant["name"]] = text.count(mutant["old"])
    assert len(found) == len(MUTANTS), "two mutants have the same name"
    assert {name: places for name, places in found.items() if places != 1} == {}


def test_each_bug_names_tests_that_exist() -> None:
    lost = [test for mutant in MUTANTS for test in mutant["tests"] if not (ROOT / test.partition("::")[0]).exists()]
    assert lost == []
