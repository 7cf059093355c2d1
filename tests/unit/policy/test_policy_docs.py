"""What users and editors are told of the policy is what is read, and each option of it does something."""

from __future__ import annotations

import collections.abc
import dataclasses
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Union, get_args, get_origin

import jsonschema
from ansible_collections.libreha.vmware.plugins.module_utils.decide.option import REQUIRED, Option, options_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_options
from policy_docs import PAGE, ROOT, SCHEMA, WRITE, blocks_of, meaning, page, schema, schema_text

PLUGINS = ROOT / "plugins"


def test_the_published_schema_is_written_from_the_options() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), WRITE


def test_the_page_is_written_from_the_options() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), WRITE


def test_every_option_is_described() -> None:
    assert [place for place, _owner, option in _all(Policy) if not (option.meaning or any(map(meaning, blocks_of(option.kind))))] == []


def test_every_example_and_every_default_is_right() -> None:
    for place, owner, option in _all(Policy):
        needed = {name: other.example for name, other in options_of(owner).items() if other.default is REQUIRED}
        for value in (option.example, getattr(option.default, "value", option.default)):
            if value not in (None, REQUIRED, "", {}) and not dataclasses.is_dataclass(value):
                read_options(owner, {**needed, place.rpartition(".")[2]: value}, place)


def test_every_option_is_read_by_something() -> None:
    described = ("policy.py", "contradictions.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in PLUGINS.rglob("*.py") if path.name not in described)
    read = set(re.findall(r"\.([a-z_]+)\b", code))
    read.add("default_protection")  # by Policy.vm
    assert [place for place, _owner, _option in _all(Policy) if place.rpartition(".")[2] not in read] == []


def _all(kind: Any, place: str = "") -> Iterator[tuple[str, Any, Option]]:
    """Every option: its place, the dataclass that has it, and what is said of it."""
    for name, option in options_of(kind).items():
        yield place + name, kind, option
        for block in blocks_of(option.kind):
            yield from _all(block, "%s%s." % (place, name))


# What is accepted. Null, and numbers and flags that templating turned into text, are left out: the reader takes them, the schema does not.

WRONG = ("no such thing", 7, -1, 2.5, True, {}, [], {"a": 1}, ["a"], ["a", "a"], [""], [1], {"colour": "red"})


def _values(kind: Any, option: Option) -> Iterator[Any]:
    """Values that are right, at a bound, beyond it, and of another type; in a block, one of them at a time."""
    yield from WRONG
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:
        for argument in arguments:
            if argument is not type(None):
                yield from _values(argument, option)
    elif origin is tuple:
        yield from ([item] for item in _values(arguments[0], option))
    elif origin is collections.abc.Mapping:
        yield from ({"name": item} for item in _values(arguments[1], option))
    elif dataclasses.is_dataclass(kind):
        yield from _policies(kind)
    elif issubclass(kind, Enum):
        yield from (member.value for member in kind)
    elif kind is str:
        yield option.example
    elif kind in (int, float):
        bounds = [bound for bound in (option.above, option.at_least, option.at_most, option.below) if bound is not None]
        yield from (bound + step for bound in bounds for step in (-1, -0.5, 0, 0.5, 1, 1.0))


def _policies(kind: Any) -> Iterator[dict[str, Any]]:
    needed: dict[str, Any] = {name: option.example for name, option in options_of(kind).items() if option.default is REQUIRED}
    if hasattr(kind, "type"):
        yield needed
        needed["type"] = kind.type
    yield needed
    yield {**needed, "colour": "red"}
    for name in needed:
        yield {other: value for other, value in needed.items() if other != name}
    for name, option in options_of(kind).items():
        yield from ({**needed, name: value} for value in _values(option.kind, option))


def test_schema_and_reader_accept_the_same() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    accepted = 0
    for raw in _policies(Policy):
        try:
            read_options(Policy, raw, "libreha_policy")
            errors: list[str] = []
        except LibrehaError as refused:
            errors = (refused.details or {})["errors"]
        assert validator.is_valid(raw) == (not errors), (raw, errors)
        accepted += not errors
    assert accepted > 300
