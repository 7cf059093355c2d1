# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values of ``decide`` as JSON and back: dataclasses and named tuples of plain types, enums, tuples, and each other.

A look at a large cluster is some hundred thousand values. So what a type needs is worked out once for each type and not once
for each value, a place is named only where something is wrong, and equal strings become one object: most strings of a look are
those of the look before, and decide compares them all with what it remembers. What is only for decide itself to read again is
written without the fields that have their defaults, which are most of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from operator import itemgetter
from sys import intern
from typing import Any, Union, get_args, get_origin, get_type_hints


def to_dict(value: Any, whole: bool = True) -> Any:
    """The JSON form of a value: enums as their value, tuples as lists, dataclasses and named tuples as dictionaries.

    Without *whole*, fields that still have the very default of their type are left out; :func:`from_dict` gives it to them.
    """
    kind: Any = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is tuple or kind is list:
        return [to_dict(item, whole) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: to_dict(item, whole) for key, item in value.items()}
    if isinstance(value, tuple):  # named tuples are short, and whole ones are quicker to read
        return {name: to_dict(item) for name, item in zip(kind._fields, value)}
    fields = value.__dict__
    return {
        name: item if type(item) in _AS_IT_IS else to_dict(item, whole)  # spares most fields a call
        for name, default in _defaults(kind).items()
        if (item := fields[name]) is not default or whole
    }


def from_dict(kind: Any, value: Any, place: str) -> Any:
    """Read *value* as *kind* (a dataclass, enum, tuple, mapping, optional or plain type).

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
        present = [argument for argument in arguments if argument is not type(None)]
        read = _reader(present[0]) if len(present) == 1 else _union_reader(present)
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if origin is Mapping:
        return _mapping_reader(_reader(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return _structure_reader(kind)
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


def _union_reader(kinds: Iterable[Any]) -> _Reader:
    """Of structures that are told apart by their fields."""
    readers = [(_defaults(kind), _reader(kind)) for kind in kinds]

    def read_union(value: Any) -> Any:
        given = set(value) if isinstance(value, Mapping) else set()
        for fields, read in readers:
            required = {name for name, default in fields.items() if default is _REQUIRED}
            if required <= given <= set(fields):
                return read(value)
        raise _Misfit("it has the fields of none of the kinds that may stand here")

    return read_union


def _mapping_reader(read: _Reader) -> _Reader:
    def read_mapping(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _Misfit("expected a mapping, got %s" % type(value).__name__)
        items = {}
        key: Any = None
        try:
            for key, item in value.items():
                items[key] = read(item)
        except _Misfit as misfit:
            raise misfit.within("[%s]" % key) from None
        return items

    return read_mapping


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


def _structure_reader(kind: Any) -> _Reader:
    """Of a dataclass or named tuple. A mapping with all fields, as a look has, is read all at once; one with some of them, as memory
    has, field by field."""
    hints, defaults = get_type_hints(kind), _defaults(kind)
    fields = {name: (_plain_kind(hints[name]), _reader(hints[name])) for name in defaults}
    names = tuple(fields)
    required = frozenset(name for name, default in defaults.items() if default is _REQUIRED)
    values_of = itemgetter(*names) if len(names) > 1 else lambda value: tuple(value[name] for name in names)

    @cache
    def work_for(types: tuple[type[Any], ...]) -> list[tuple[int, _Reader]]:
        """What is to be done when the fields' values are of these *types*; the others are taken as they are."""
        steps = []
        for index, ((plain, read), found) in enumerate(zip(fields.values(), types)):
            if found is not plain or plain is str:
                steps.append((index, intern if found is plain else read))
        return steps

    def read_whole(values: Iterable[Any]) -> Any:
        items = list(values)
        index = 0
        try:
            for index, read in work_for(tuple(map(type, items))):
                items[index] = read(items[index])
        except _Misfit as misfit:
            raise misfit.within(".%s" % names[index]) from None
        return kind(*items)

    def read_structure(value: Any) -> Any:
        if value.__class__ is dict and len(value) == len(names):
            try:
                values = values_of(value)
            except KeyError:
                pass
            else:
                return read_whole(values)
        elif not isinstance(value, Mapping):
            raise _Misfit("expected a mapping, got %s" % type(value).__name__)
        given = {}
        name = ""
        try:
            for name, item in value.items():
                if name in fields:
                    plain, read = fields[name]
                    # As read does, but most fields are spared the call.
                    given[name] = read(item) if item.__class__ is not plain else intern(item) if plain is str else item
        except _Misfit as misfit:
            raise misfit.within(".%s" % name) from None
        if not required <= given.keys():
            raise _Misfit("%s is missing" % next(name for name in names if name in required and name not in given))
        return kind(**given)

    return read_structure


def _plain_kind(kind: Any) -> Any:
    """The type of which a value is read as it is; None if there is none."""
    if get_origin(kind) is Union:
        return _plain_kind(next(argument for argument in get_args(kind) if argument is not type(None)))
    return kind if kind in (str, int, float, bool) else None


_REQUIRED, _MADE_ANEW = object(), object()


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """Field name -> its default; ``_REQUIRED`` if there is none, ``_MADE_ANEW`` if each value has its own."""
    if not dataclasses.is_dataclass(kind):
        named: Any = kind
        return {name: named._field_defaults.get(name, _REQUIRED) for name in named._fields}
    found = {}
    for field in dataclasses.fields(kind):
        made_anew = field.default_factory is not dataclasses.MISSING
        found[field.name] = _MADE_ANEW if made_anew else _REQUIRED if field.default is dataclasses.MISSING else field.default
    return found
