# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an option of the policy is described: once, on the field of the dataclass that holds its value (``policy.py``).

The field's annotation gives the type, :func:`option` and its short forms the default and everything else: meaning, unit, bounds and
example. The reader of the operator's YAML (``policy/reader.py``), docs/policy.schema.json and docs/policy.md come from these
descriptions, so that none of them can differ from the values that ``decide`` reads.

Types are bool, int, float, str, a :class:`Choice`, a dataclass of further options (a block; its docstring is its meaning),
``tuple[T, ...]``, ``Mapping[str, T]``, ``Optional[T]``, and a union of dataclasses that differ in the constant ``type``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Optional, get_type_hints

REQUIRED = dataclasses.MISSING  # as a default: the option must be given, and a list or mapping must not be empty


class Choice(str, Enum):
    """The values that an option may have, each with what it means: ``ACT = "act", "carried out"``."""

    _value_: str
    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Choice:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


@dataclass(frozen=True)
class Option:
    """What is said of one option.

    Args:
        default: Its value when it is not given; or ``REQUIRED``.
        meaning: One sentence for the operator. Empty for a block, whose docstring says it.
        unit: As an error names it: "use seconds".
        above, at_least, at_most, below: Bounds of a number, or of each number in a mapping.
        pattern: A regular expression that a text must match.
        example: A value that is right, where the default shows none.
        inherits: Of an option with the default None: the option of the cluster that holds instead.
        kind: The type, from the field's annotation.
    """

    default: Any
    meaning: str
    unit: str = ""
    above: Optional[float] = None
    at_least: Optional[float] = None
    at_most: Optional[float] = None
    below: Optional[float] = None
    pattern: str = ""
    example: Any = None
    inherits: str = ""
    kind: Any = None


def option(default: Any, meaning: str = "", **details: Any) -> Any:
    """A dataclass field that is an option of the policy; *details* are those of :class:`Option`."""
    how = {"default_factory": default.copy} if isinstance(default, dict) else {"default": default}
    described: Any = dataclasses.field  # it stands in a dataclass: where this function is called
    return described(metadata={"option": Option(default, meaning, **details)}, **how)


def seconds(default: float, meaning: str, at_least: float = 0, **details: Any) -> Any:
    """A time that is never 0."""
    return option(default, meaning, unit="seconds", **({"at_least": at_least} if at_least else {"above": 0}), **details)


def days(default: float, meaning: str) -> Any:
    return option(default, meaning, unit="days", at_least=1)


def fraction(default: float, meaning: str) -> Any:
    return option(default, meaning, unit="a fraction between 0 and 1", above=0, at_most=1)


def percent(default: float, meaning: str) -> Any:
    return option(default, meaning, unit="percent", at_least=0, below=100)


def count(default: Optional[int], meaning: str, at_least: int = 0, **details: Any) -> Any:
    return option(default, meaning, **{"unit": "a whole number", "at_least": at_least, **details})


@cache
def options_of(kind: Any) -> Mapping[str, Option]:
    """Every option of the dataclass *kind* by its name, in the order of its fields. Each field is an option."""
    hints = get_type_hints(kind)
    return {field.name: dataclasses.replace(field.metadata["option"], kind=hints[field.name]) for field in dataclasses.fields(kind)}
