"""decide is a function: nothing but pure modules of the standard library and its own folder is imported there."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from decide_world import three_hosts

FOLDER = Path(__file__).resolve().parents[3] / "plugins" / "module_utils" / "decide"
GROUND = ("instant",)  # a value that the clock, which stands below decide, gives
PURE = {"__future__", "collections", "dataclasses", "enum", "functools", "operator", "typing"}


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_impure_is_imported_or_called(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= PURE
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(FOLDER).parts)  # how far up the folder of decide is
            interns = node.module == "sys" and [alias.name for alias in node.names] == ["intern"]  # an equal string: no effect
            if node.level == 0:
                assert (node.module or "").split(".")[0] in PURE or interns
            assert node.level <= depth or (node.level == depth + 1 and node.module in GROUND)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input", "exec", "eval", "__import__", "hash", "id")


def test_memory_survives_json() -> None:
    world = three_hosts(bmc=True)
    world.kill("esx1")
    world.run(30)
    world.command("confirmed_off", "esx1", by="alice", reason="off")
    world.command("disarm", by="bob")
    world.command("migrate", "vm3", "esx3")
    assert Memory.from_dict(json.loads(json.dumps(world.memory.to_dict()))) == world.memory


def test_nothing_remembered_is_a_fresh_memory_and_a_broken_one_is_named() -> None:
    assert Memory.from_dict(None) == Memory.from_dict({}) == Memory()
    with pytest.raises(ValueError, match=r"memory.hosts\[0\]: name is missing"):
        Memory.from_dict({"hosts": [{}]})


def test_a_decision_is_json() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    form = json.loads(json.dumps(world.step(3).to_dict()))
    (action,) = form["actions"]
    assert (action["kind"], action["vms"][0]["priority"]) == ("failover", "medium")
    assert form["hosts"][0]["verdict"] == "fenced"
