# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way in for the operator's policy: every mistake is named by its place, with what to write instead, all at once."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

try:
    import jsonschema

    HAS_JSONSCHEMA = True
except ImportError:
    HAS_JSONSCHEMA = False

from ..decide.placement.rule_check import contradictions
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..libraries import unusable
from .schema import POLICY_SCHEMA

ROOT = "libreha_policy"
NOUNS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a text",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def read_policy(
    raw: Mapping[str, Any] | None, hosts: Sequence[Mapping[str, Any]] = (), storage: Sequence[Mapping[str, Any]] = ()
) -> Policy:
    """Check the policy and put it together with the inventory.

    Args:
        raw: The operator's ``libreha_policy``; None or empty is the default policy.
        hosts: The inventory's hosts, each ``name`` and the options of ``libreha_policy.hosts.NAME``.
        storage: The inventory's storage servers, each ``name`` and the options of ``libreha_policy.storage.NAME``.

    Raises:
        LibrehaError: Everything that is wrong, each with its place; ``details["errors"]`` has them one by one.
    """
    if not HAS_JSONSCHEMA:
        raise unusable("jsonschema")
    if raw is not None and not isinstance(raw, Mapping):
        raise _refused(["%s: %s is not a mapping of options" % (ROOT, _shown(raw))])
    errors: list[str] = []
    policy = {key: value for key, value in (raw or {}).items() if value is not None}
    for key, listed in (("hosts", hosts), ("storage", storage)):
        merged = _merge(policy.get(key), listed, key, errors)
        if merged is not None:
            policy[key] = merged
    policy = _typed(policy, POLICY_SCHEMA)
    validator = jsonschema.Draft202012Validator(POLICY_SCHEMA)
    errors += [
        text for error in sorted(validator.iter_errors(policy), key=lambda item: _place(item.absolute_path)) for text in _explain(error)
    ]
    if not errors:
        errors += _contradictions(policy)
    if errors:
        raise _refused(errors)
    read = Policy.from_dict(policy)
    errors += ["%s.rules: %s" % (ROOT, text) for text in contradictions(read)]
    errors += ["%s.storage_health.%s" % (ROOT, text) for text in read.storage_health.contradictions()]
    if errors:
        raise _refused(errors)
    return read


def _refused(errors: Sequence[str]) -> LibrehaError:
    return LibrehaError("; ".join(errors), remedy="correct the policy; nothing was changed", details={"errors": list(errors)})


def _merge(given: Any, listed: Sequence[Mapping[str, Any]], key: str, errors: list[str]) -> Any:
    """The policy's own entries and the inventory's in one mapping; each thing may be said once."""
    if given is not None and not isinstance(given, Mapping):
        return given  # the schema says what is wrong with it
    merged: dict[Any, Any] = {
        name: dict(entry or {}) if isinstance(entry or {}, Mapping) else entry for name, entry in (given or {}).items()
    }
    names = []
    for index, entry in enumerate(listed):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not name:
            errors.append("%s[%d]: name is missing" % (key, index))
            continue
        names.append(name)
        if not isinstance(merged.setdefault(name, {}), dict):
            continue
        for option, value in entry.items():
            if option == "name" or value is None:
                continue
            if merged[name].get(option, value) != value and names.count(name) == 1:
                errors.append("%s.%s.%s.%s: %r, but the inventory says %r" % (ROOT, key, name, option, merged[name][option], value))
            merged[name].setdefault(option, value)
    errors += ["%s: %s is listed %d times; list it once" % (key, name, times) for name, times in Counter(names).items() if times > 1]
    if names and isinstance(given, Mapping):
        for name in given:
            if name not in names:
                errors.append("%s.%s.%s: the inventory has no such name%s" % (ROOT, key, name, _did_you_mean(str(name), names)))
    return merged if merged or given is not None else None


def _typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Numbers and booleans that templating turned into text (ansible-core before 2.19 does) as what they are."""
    kind = schema.get("type")
    if isinstance(value, str) and kind in ("number", "integer"):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if kind == "integer" and number.is_integer() else number
    if isinstance(value, str) and kind == "boolean":
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().lower(), value)
    if isinstance(value, Mapping) and kind == "object":
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        entry = rest if isinstance(rest, Mapping) else {}
        return {key: _typed(item, properties.get(key, entry)) for key, item in value.items() if item is not None or key not in properties}
    return value


def _explain(error: Any) -> Iterable[str]:
    """One schema error in the operator's words."""
    place, schema, value = _place(error.absolute_path), error.schema, error.instance
    hint = _hint(schema)
    if error.validator == "additionalProperties":
        known = sorted(schema.get("properties", {}))
        for name in sorted(str(key) for key in value if key not in known):
            mean = _did_you_mean(name, known) or "; the options there are %s" % (", ".join(known) or "none")
            yield "%s.%s: unknown option%s" % (place, name, mean)
    elif error.validator == "type":
        yield "%s: %s is not %s%s" % (place, _shown(value), NOUNS.get(str(schema["type"]), str(schema["type"])), hint)
    elif error.validator == "enum":
        yield "%s: %s is none of %s%s" % (
            place,
            _shown(value),
            ", ".join(map(str, schema["enum"])),
            _did_you_mean(str(value), schema["enum"]),
        )
    elif error.validator in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        words = {"minimum": "less than", "exclusiveMinimum": "not more than", "maximum": "more than", "exclusiveMaximum": "not less than"}
        bound = words[error.validator]
        yield "%s: %s is %s %s%s" % (place, _shown(value), bound, error.validator_value, hint)
    elif error.validator == "pattern":
        yield "%s: %s is not %s%s" % (place, _shown(value), schema.get("x-unit", "in the right form"), _example(schema))
    elif error.validator == "uniqueItems":
        twice = [str(item) for item, times in Counter(map(str, value)).items() if times > 1]
        yield "%s: %s is listed twice" % (place, ", ".join(twice))
    elif error.validator == "minLength":
        yield "%s: it is empty" % place
    else:
        yield "%s: %s" % (place, error.message)


def _contradictions(policy: Mapping[str, Any]) -> list[str]:
    """What no schema can say: names that must exist, and names that must differ."""
    errors = []
    hosts = policy.get("hosts") or {}
    owners: dict[str, list[str]] = {}
    for name, entry in hosts.items():
        if entry.get("initiator"):
            owners.setdefault(entry["initiator"].lower(), []).append(name)
    for initiator, names in sorted(owners.items()):
        if len(names) > 1:
            text = "%s.hosts: %s have the same initiator %s; give each host its own, a fence could not tell them apart"
            errors.append(text % (ROOT, " and ".join(sorted(names)), initiator))
    for index, name in enumerate(policy.get("allow_unstopped_source") or ()):
        if hosts and name not in hosts:
            errors.append("%s.allow_unstopped_source[%d]: there is no host %s%s" % (ROOT, index, name, _did_you_mean(name, hosts)))
    return errors


def _place(path: Iterable[Any]) -> str:
    text = ROOT
    for part in path:
        text += "[%d]" % part if isinstance(part, int) else ".%s" % part
    return text


def _hint(schema: Mapping[str, Any]) -> str:
    return "; use %s%s" % (schema["x-unit"], _example(schema)) if "x-unit" in schema else ""


def _example(schema: Mapping[str, Any]) -> str:
    examples = schema.get("examples")
    if not examples:
        return ""
    example = examples[0]
    return ", e.g. %s" % (int(example) if isinstance(example, float) and example.is_integer() else example)


def _did_you_mean(word: str, known: Iterable[Any]) -> str:
    close = difflib.get_close_matches(word, [str(item) for item in known], n=1, cutoff=0.6)
    return "; did you mean %s?" % close[0] if close else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
