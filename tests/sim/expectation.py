"""What a scenario is expected to show: the file ``NAME.expect.yml`` beside ``NAME.yml``.

``final`` is a part of the final state; a value may be a list of allowed ones. ``events`` are patterns that must occur in that
order, ``never`` patterns that must not occur. A pattern matches an event that has all its keys with the same value, or one
of a list of values; ``reason`` and ``key`` need only be contained; ``after`` and ``before`` bound its time (not earlier
than the one, earlier than the other). ``exit`` is the exit code (default 0), ``shows`` a sentence for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

KEYS = {"final", "events", "never", "exit", "shows"}
CONTAINED = ("reason", "key")


def read_expectation(path: Path) -> dict[str, Any]:
    """Raises ValueError for a key that nothing would check."""
    found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    unknown = set(found) - KEYS
    if unknown:
        raise ValueError("%s: unknown keys %s" % (path, ", ".join(sorted(map(str, unknown)))))
    if set(found) <= {"shows"}:
        raise ValueError("%s: it expects nothing" % path)
    return found


def unmet(expected: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What *result* does not show, in words."""
    if expected.get("exit") == 2:
        return ["it was accepted, although it breaks the schema"]
    missing = []
    violated = 1 if result["violations"] else 0
    if violated != expected.get("exit", 0):
        missing.append("exit %d, not %d: %s" % (violated, expected.get("exit", 0), result["violations"]))
    for kind, entries in (expected.get("final") or {}).items():
        for name, allowed in entries.items():
            value = result["final"][kind].get(str(name), "nothing of that name")
            if not _allowed(value, allowed):
                missing.append("final.%s.%s is %s, not %s" % (kind, name, value, allowed))
    missing += _out_of_order(expected.get("events") or (), result["timeline"])
    for pattern in expected.get("never") or ():
        missing += ["%s must not occur: %s" % (pattern, event) for event in result["timeline"] if matches(pattern, event)][:1]
    return missing


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    for key, wanted in pattern.items():
        if key == "after":
            fits = event["t"] >= wanted
        elif key == "before":
            fits = event["t"] < wanted
        elif key in CONTAINED:
            fits = str(wanted) in str(event.get(key, ""))
        else:
            fits = key in event and _allowed(event[key], wanted)
        if not fits:
            return False
    return True


def _out_of_order(patterns: Sequence[Mapping[str, Any]], timeline: Sequence[Mapping[str, Any]]) -> list[str]:
    position = 0
    for pattern in patterns:
        while position < len(timeline) and not matches(pattern, timeline[position]):
            position += 1
        if position == len(timeline):
            return ["%s does not occur%s" % (pattern, " after the ones before it" if pattern is not patterns[0] else "")]
        position += 1
    return []


def _allowed(value: Any, allowed: Any) -> bool:
    return value in allowed if isinstance(allowed, list) else value == allowed
