# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values of ``decide`` as JSON and back: dataclasses of plain types, enums, tuples, and each other.

A look at a large cluster is some hundred thousand values. So what a type needs is worked out once for each type and not once
for each value, a place is named only where something is wrong, and equal strings become one object: most strings of a look are
those of the look before, and decide compares them all with what it remembers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from sys import intern
from typing import Any, Union, get_args, get_origin, get_type_hints


def to_dict(value: Any) -> Any:
    """The JSON form of a value: enums as their value, tuples as lists, instants as dictionaries."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        return {
            name: item if type(item := getattr(value, name)) in _AS_IT_IS else to_dict(item)  # spares most fields a call
            for name in _fields(kind)
        }
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    return value


def from_dict(kind: Any, value: Any, place: str) -> Any:
    """Read *value* as *kind* (a dataclass, enum, tuple, optional or plain type).

    Unknown keys are ignored, so that a module may return more than decide uses; missing ones take the field's default.
    Raises ValueError that names the *place* of what is wrong.
    """
    try:
        return _reader(kind)(value)
    except _Misfit as misfit:
        raise ValueError("%s%s: %s" % (place, misfit.place, misfit.reason)) from None


class _Misfit(Exception):
    """A value that is not of its kind. Its place is put together on the way out, so that what fits costs nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = ""

    def within(self, place: str) -> _Misfit:
        self.place = place + self.place
        return self


_AS_IT_IS = frozenset((str, int, float, bool, type(None)))
_Reader = Callable[[Any], Any]


@cache
def _reader(kind: Any) -> _Reader:
    """How a *kind* is read. Types are looked at here, once for each, and not once for each value."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:
        (one,) = [argument for argument in arguments if argument is not type(None)]
        read = _reader(one)
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if kind in (str, int, float, bool):
        return _plain_reader(kind)
    return lambda value: value


def _tuple_reader(read: _Reader) -> _Reader:
    def read_tuple(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise _Misfit("expected a list, got %s" % type(value).__name__)
        items: list[Any] = []
        try:
            for item in value:
                items.append(read(item))
        except _Misfit as misfit:
            raise misfit.within("[%d]" % len(items)) from None
        return tuple(items)

    return read_tuple


def _enum_reader(kind: type[Enum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read_enum(value: Any) -> Any:
        try:
            return members.get(value) or kind(value)
        except (TypeError, ValueError):
            raise _Misfit("%r is none of %s" % (value, ", ".join(member.value for member in kind))) from None

    return read_enum


def _plain_reader(kind: type[Any]) -> _Reader:
    def read_plain(value: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _Misfit("expected %s, got %r" % (kind.__name__, value))
        return intern(value) if value.__class__ is str else value

    return read_plain


def _dataclass_reader(kind: Any) -> _Reader:
    fields = [(name, _plain_kind(field_kind), _reader(field_kind), required) for name, (field_kind, required) in _fields(kind).items()]

    def read_dataclass(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _Misfit("expected a mapping, got %s" % type(value).__name__)
        given = {}
        name = ""
        try:
            for name, plain, read, required in fields:
                if name in value:
                    item = value[name]
                    if item.__class__ is not plain:
                        item = read(item)
                    elif plain is str:  # as read does, but most fields are spared the call
                        item = intern(item)
                    given[name] = item
                elif required:
                    break
            else:
                return kind(**given)
        except _Misfit as misfit:
            raise misfit.within(".%s" % name) from None
        raise _Misfit("%s is missing" % name)

    return read_dataclass


def _plain_kind(kind: Any) -> Any:
    """The type of which a value is read as it is; None if there is none."""
    if get_origin(kind) is Union:
        return _plain_kind(next(argument for argument in get_args(kind) if argument is not type(None)))
    return kind if kind in (str, int, float, bool) else None


@cache
def _fields(kind: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Field name -> (its type, whether it must be given)."""
    hints = get_type_hints(kind)
    return {
        field.name: (hints[field.name], field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
    }
