# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way in for the operator's policy: every mistake is named by its place, with what to write instead, all at once.

It reads any dataclass of options (``decide/option.py``), and knows no option by name.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Union, get_args, get_origin

from ..decide.option import REQUIRED, Option, options_of
from ..decide.policy import Policy
from ..errors import LibrehaError
from .contradictions import contradictions, did_you_mean

ROOT = "libreha_policy"
#: The bounds of a number: what is wrong, and how it is said.
BOUNDS = {
    "above": (operator.le, "not more than"),
    "at_least": (operator.lt, "less than"),
    "at_most": (operator.gt, "more than"),
    "below": (operator.ge, "not less than"),
}
NOUNS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
#: Templates make text of these (ansible-core before 2.19 does).
FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def read_policy(raw: Any) -> Policy:
    """The operator's ``libreha_policy``; None is the default policy.

    Raises:
        LibrehaError: Everything that is wrong, each with its place; ``details["errors"]`` has them one by one.
    """
    policy: Policy = read_options(Policy, raw, ROOT)
    _refuse(["%s.%s" % (ROOT, text) for text in contradictions(policy)])
    return policy


def read_options(kind: Any, raw: Any, place: str) -> Any:
    """*raw* as the dataclass of options *kind*. Each option is checked by itself. Raises LibrehaError as :func:`read_policy` does."""
    reading = _Reading()
    value = reading.block(kind, {} if raw is None else raw, place)
    _refuse(reading.errors)
    return value


def _refuse(errors: Sequence[str]) -> None:
    if errors:
        raise LibrehaError("; ".join(errors), remedy="correct the policy; nothing was changed", details={"errors": list(errors)})


class _Reading:
    """Reads on after a mistake: what is returned counts only if there are no *errors*."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def wrong(self, place: str, text: str) -> Any:
        """None, which stands for the value."""
        self.errors.append("%s: %s" % (place, text))
        return None

    def block(self, kind: Any, value: Any, place: str) -> Any:
        """A mapping of options. One that is null counts as not given, as an option in YAML does whose value was commented out."""
        if not isinstance(value, Mapping):
            return self.wrong(place, "%s is not a mapping of options" % _shown(value))
        options = options_of(kind)
        given = {}
        for name, item in value.items():
            if name not in options:
                known = "; the options there are %s" % (", ".join(sorted(options)) or "none")
                self.wrong("%s.%s" % (place, name), "unknown option%s" % (did_you_mean(str(name), options) or known))
            elif item is not None:
                given[name] = self.value(options[name].kind, item, "%s.%s" % (place, name), options[name])
        for name, option in options.items():
            if option.default is REQUIRED and name not in given:
                given[name] = self.wrong("%s.%s" % (place, name), "it is missing%s" % _example(option))
        return kind(**given)

    def value(self, kind: Any, value: Any, place: str, option: Option) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Union and type(None) in arguments:
            return self.value(arguments[0], value, place, option)
        if origin is Union:
            return self.one_of(arguments, value, place)
        if origin is tuple:
            return self.items(arguments[0], value, place, option)
        if origin is collections.abc.Mapping:
            return self.entries(arguments[1], value, place, option)
        if dataclasses.is_dataclass(kind):
            return self.block(kind, value, place)
        if issubclass(kind, Enum):
            return self.choice({member.value: member for member in kind}, value, place)
        if kind is bool:
            return self.flag(value, place)
        return self.text(value, place, option) if kind is str else self.number(kind, value, place, option)

    def one_of(self, kinds: Sequence[Any], value: Any, place: str) -> Any:
        """A block whose option ``type`` says which of *kinds* it is."""
        if not isinstance(value, Mapping):
            return self.wrong(place, "%s is not a mapping of options" % _shown(value))
        types = {kind.type: kind for kind in kinds}
        if value.get("type") is None:
            return self.wrong(place + ".type", "it is missing; use %s" % " or ".join(types))
        kind = self.choice(types, value["type"], place + ".type")
        return kind and self.block(kind, {name: item for name, item in value.items() if name != "type"}, place)

    def items(self, kind: Any, value: Any, place: str, option: Option) -> Any:
        if not isinstance(value, (list, tuple)):
            return self.wrong(place, "%s is not a list%s" % (_shown(value), _example(option)))
        if not value and option.default is REQUIRED:
            self.wrong(place, "it is empty%s" % _example(option))
        items = tuple(self.value(kind, item, "%s[%d]" % (place, index), option) for index, item in enumerate(value))
        if kind is str:
            self.errors += ["%s[%d]: it is empty" % (place, index) for index, item in enumerate(items) if item == ""]
            twice = [item for item, times in Counter(items).items() if times > 1 and item]
            if twice:
                self.wrong(place, "%s is listed twice" % ", ".join(twice))
        return items

    def entries(self, kind: Any, value: Any, place: str, option: Option) -> Any:
        """A mapping of names that the operator chooses. A block in it may be null: all of its options have their defaults."""
        if not isinstance(value, Mapping):
            return self.wrong(place, "%s is not a mapping%s" % (_shown(value), _example(option)))
        if not value and option.default is REQUIRED:
            self.wrong(place, "it is empty%s" % _example(option))
        for name in value:
            if not isinstance(name, str):
                self.wrong(place, "the name %s is not a text; write it in quotes" % _shown(name))
        blocks = dataclasses.is_dataclass(kind)
        return {
            name: self.value(kind, {} if item is None and blocks else item, "%s.%s" % (place, name), option) for name, item in value.items()
        }

    def choice(self, choices: Mapping[str, Any], value: Any, place: str) -> Any:
        if isinstance(value, str) and value in choices:
            return choices[value]
        return self.wrong(place, "%s is none of %s%s" % (_shown(value), ", ".join(choices), did_you_mean(str(value), choices)))

    def flag(self, value: Any, place: str) -> Any:
        flag = FLAGS.get(value.strip().lower()) if isinstance(value, str) else value
        return flag if isinstance(flag, bool) else self.wrong(place, "%s is not %s" % (_shown(value), NOUNS[bool]))

    def text(self, value: Any, place: str, option: Option) -> Any:
        if not isinstance(value, str):
            return self.wrong(place, "%s is not %s" % (_shown(value), NOUNS[str]))
        if option.pattern and not re.search(option.pattern, value):
            self.wrong(place, "%s is not %s%s" % (_shown(value), option.unit, _example(option)))
        return value

    def number(self, kind: Any, value: Any, place: str, option: Option) -> Any:
        hint = "; use %s%s" % (option.unit, _example(option))
        try:
            number = value if isinstance(value, int) else float(value)
            fits = not isinstance(value, bool) and math.isfinite(number) and kind(number) == number
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            return self.wrong(place, "%s is not %s%s" % (_shown(value), NOUNS[kind], hint))
        for name, (breaks, words) in BOUNDS.items():
            bound = getattr(option, name)
            if bound is not None and breaks(number, bound):
                self.wrong(place, "%s is %s %g%s" % (_shown(value), words, bound, hint))
        return kind(number)


def _example(option: Option) -> str:
    """As YAML takes it."""
    example = option.default if option.example is None else option.example
    if isinstance(example, float) and example.is_integer():
        example = int(example)
    return ", e.g. %s" % (example if isinstance(example, str) else json.dumps(example)) if example not in (REQUIRED, None, ()) else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
