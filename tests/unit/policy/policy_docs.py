"""docs/policy.schema.json and docs/policy.md, from the one place where options are described: decide/policy.py and decide/option.py."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from ansible_collections.libreha.vmware.plugins.module_utils.decide.option import REQUIRED, Option, options_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/policy.md"
SCHEMA = ROOT / "docs/policy.schema.json"
WRITE = "python tests/unit/policy/write_policy.py"
TYPES = {float: "number", int: "integer", bool: "boolean", str: "string"}
BOUNDS = {"above": "exclusiveMinimum", "at_least": "minimum", "at_most": "maximum", "below": "exclusiveMaximum"}
HEAD = """# The policy

Written by tests/unit/policy/write_policy.py from the code that reads the policy. [policy.schema.json](policy.schema.json) says the same to
editors (a first line `# yaml-language-server: $schema=...` turns on completion and checks in many of them).

The policy is the variable `libreha_policy`, usually in `group_vars/all/policy.yml`; `playbooks/inventory.example` has one to begin with.
Every option has a default, so an empty policy is a valid one: it observes, and changes nothing. An option that is null counts as not given.
Each playbook checks the whole policy before it does anything else, also whether options contradict each other, and names every mistake by
its place, with what to write instead:

    libreha_policy.confirm_aftr: unknown option; did you mean confirm_after?
    libreha_policy.failover.lock_retry: 5 is less than 20; use seconds, e.g. 60

```yaml
libreha_policy:
  mode: act
  isolation_addresses: [192.0.2.1]
  vms:
    dc1: {priority: highest}
    web1: {start_after: [db1]}
    build-runner: {protection: unprotected}
  rules:
    - {type: vm_affinity, name: domain controllers apart, vms: [dc1, dc2], together: false}
  failover:
    parallel_per_host: 2
```
"""


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. ``x-unit`` is ours: the unit as an error names it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://libreha.example/policy.schema.json",
        "title": "libreha_policy",
        **_block(Policy),
    }


def schema_text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def _block(kind: Any) -> dict[str, Any]:
    properties = {name: _property(option) for name, option in options_of(kind).items()}
    required = [name for name, option in options_of(kind).items() if option.default is REQUIRED]
    if hasattr(kind, "type"):
        properties, required = {"type": {"description": meaning(kind), "const": kind.type}, **properties}, ["type", *required]
    found = {"description": meaning(kind), "type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _property(option: Option) -> dict[str, Any]:
    found: dict[str, Any] = {"description": option.meaning} if option.meaning else {}
    found.update(_type(option.kind, option))
    if option.unit:
        found["x-unit"] = option.unit
    if option.default not in (REQUIRED, None, ""):
        found["default"] = {} if dataclasses.is_dataclass(option.default) else _plain(option.default)
    if option.unit or option.example is not None:
        found["examples"] = [_plain(option.default if option.example is None else option.example)]
    return found


def _type(kind: Any, option: Option) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    some = option.default is REQUIRED
    if origin is Union and type(None) in arguments:
        return _type(arguments[0], option)
    if origin is Union:
        return {"anyOf": [_block(argument) for argument in arguments]}
    if origin is tuple and arguments[0] is not str:
        return {"type": "array", "items": _type(arguments[0], option)}
    if origin is tuple:
        found = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
        return {**found, "minItems": 1} if some else found
    if origin is collections.abc.Mapping:
        found = {"type": "object", "additionalProperties": _type(arguments[1], option)}
        return {**found, "minProperties": 1} if some else found
    if dataclasses.is_dataclass(kind):
        return _block(kind)
    if issubclass(kind, Enum):
        meanings = [member.meaning for member in kind]
        found = {"type": "string", "enum": [member.value for member in kind]}
        return {**found, "enumDescriptions": meanings} if any(meanings) else found
    bounds = {keyword: getattr(option, name) for name, keyword in BOUNDS.items() if getattr(option, name) is not None}
    return {"type": TYPES[kind], **bounds, **({"pattern": option.pattern} if option.pattern else {})}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def page() -> str:
    """docs/policy.md: a table of the cluster's options, then one for each block."""
    blocks = {name: option for name, option in options_of(Policy).items() if blocks_of(option.kind)}
    parts = [HEAD, "## The cluster\n", _table({name: option for name, option in options_of(Policy).items() if name not in blocks})]
    for name, option in blocks.items():
        entries = get_origin(option.kind) is collections.abc.Mapping
        parts.append("## %s\n" % ("%s.NAME" % name if entries else name))
        if option.meaning:
            parts.append(option.meaning + "\n")
        for kind in blocks_of(option.kind):
            if hasattr(kind, "type"):
                parts.append("### type: %s\n" % kind.type)
            parts.append(meaning(kind) + "\n")
            if options_of(kind):
                parts.append(_table(options_of(kind)))
    return "\n".join(parts)


def blocks_of(kind: Any) -> list[Any]:
    """The dataclasses of options in a type."""
    return [kind] if dataclasses.is_dataclass(kind) else [block for argument in get_args(kind) for block in blocks_of(argument)]


def meaning(kind: Any) -> str:
    """A block's docstring in one line."""
    return " ".join((inspect.getdoc(kind) or "").split())


def _table(options: Mapping[str, Option]) -> str:
    lines = ["| option | value | default | meaning |", "| --- | --- | --- | --- |"]
    lines += ["| `%s` | %s | %s | %s |" % (name, _value(option), _default(option), _meaning(option)) for name, option in options.items()]
    return "\n".join(lines) + "\n"


def _value(option: Option) -> str:
    """ "seconds, at least 20" """
    kind = option.kind
    if type(None) in get_args(kind):
        kind = get_args(kind)[0]
    if dataclasses.is_dataclass(kind):
        return "as [%s](#%s)" % (option.inherits, option.inherits)
    if get_origin(kind) is tuple:
        return "list of texts"
    entries = "name: " if get_origin(kind) is collections.abc.Mapping else ""
    if not entries and issubclass(kind, Enum):
        return "<br>".join("`%s`%s" % (member.value, ": %s" % member.meaning if member.meaning else "") for member in kind)
    bounds = [
        "%s %g" % (name.replace("_", " "), bound)
        for name in BOUNDS
        if (bound := getattr(option, name)) is not None and "between" not in option.unit
    ]
    return entries + ", ".join([option.unit or {bool: "`true` or `false`", str: "text"}[kind], *bounds])


def _default(option: Option) -> str:
    if option.default is REQUIRED:
        return "must be given"
    if option.inherits:
        return "the cluster's `%s`" % option.inherits
    if option.default in ("", ()):
        return "none"
    number = isinstance(option.default, float)
    return "`%s`" % ("%g" % option.default if number else json.dumps(_plain(option.default)).strip('"'))


def _meaning(option: Option) -> str:
    example = "" if option.example is None else " Example: `%s`" % json.dumps(option.example).strip('"')
    return (option.meaning or meaning(get_args(option.kind)[0])) + example
