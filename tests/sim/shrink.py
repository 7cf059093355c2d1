"""Makes a schedule that violates something small enough to be read: whatever is not needed for the violation is taken out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libsim.scenario import BadScenario, build_scenario
from libsim.simulation import simulate
from schedules import Raw


def kinds(result: dict[str, Any]) -> list[str]:
    """What *result* violates, each kind once, in the order in which it happened."""
    return list(dict.fromkeys(entry["violation"] for entry in result["violations"]))


def shrunk(raw: Raw, kind: str) -> Raw:
    """*raw* with as little as possible that still violates *kind*."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _without_something(raw):
            if _violates(candidate, kind):
                raw, smaller = candidate, True
                break
    return raw


def _without_something(raw: Raw) -> Iterator[Raw]:
    """Larger parts first: half of the timeline, a quarter, ..., single entries; then rules, VMs, hosts and options."""
    size = max(1, len(raw["timeline"]) // 2)
    while size:
        for start in range(0, len(raw["timeline"]), size):
            yield {**raw, "timeline": raw["timeline"][:start] + raw["timeline"][start + size :]}
        size //= 2
    for index in range(len(raw["rules"])):
        yield {**raw, "rules": raw["rules"][:index] + raw["rules"][index + 1 :]}
    for part in ("vms", "hosts", "policy"):
        for name in raw[part]:
            yield {**raw, part: {other: value for other, value in raw[part].items() if other != name}}


def _violates(raw: Raw, kind: str) -> bool:
    try:
        return kind in kinds(simulate(build_scenario(raw)))
    except BadScenario:  # something in it names what was taken out
        return False
