"""Adds new fields of the memory to memory_form.json: ``python tests/unit/decide/write_memory_form.py``. What is there stays as it is."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

FILE = Path(__file__).with_name("memory_form.json")
ROOT = Path(__file__).resolve().parents[3]


def form_of(kind: Any, found: dict[str, dict[str, str]] | None = None) -> dict[str, dict[str, str]]:
    """Name of each structure in *kind* -> its fields, each with its default as text."""
    found = {} if found is None else found
    if (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")) and kind.__name__ not in found:
        found[kind.__name__] = _defaults(kind)
        for hint in get_type_hints(kind).values():
            form_of(hint, found)
    for argument in get_args(kind):
        form_of(argument, found)
    return found


def _defaults(kind: Any) -> dict[str, str]:
    if not dataclasses.is_dataclass(kind):
        return {name: _text(kind._field_defaults.get(name, dataclasses.MISSING)) for name in kind._fields}
    return {field.name: _text(field.default) for field in dataclasses.fields(kind)}


def _text(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, Enum):
        return str(default.value)
    return "%s()" % type(default).__name__ if dataclasses.is_dataclass(default) else repr(default)


def stored() -> dict[str, dict[str, dict[str, str]]]:
    """Version -> the form of that version."""
    forms: dict[str, dict[str, dict[str, str]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return forms


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    importlib.import_module("conftest")  # makes the collection importable
    from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VERSION, Memory

    forms = stored() if FILE.exists() else {}
    known = forms.setdefault(str(VERSION), {})
    for name, fields in form_of(Memory).items():
        known[name] = {**fields, **known.get(name, {})}
    FILE.write_text(json.dumps(forms, indent=1, sort_keys=True) + "\n", encoding="utf-8")
