# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last looks with what was decided on each, so that any decision can be made again and looked into.

They are kept in memory, bounded in number and in size, and cost nothing there: looks, memories and decisions are values that never change.
A *recording* is the same as a file: gzip of one JSON object a line, the first of which says what it is. A policy, and a memory, is written
only where it is not that of the look before, and not the one that the look before decided.

A recording has names and addresses, and no secret: none is part of a look, a memory or a policy (``redaction`` takes the names out).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any, Optional

from ..decide.decide import decide
from ..decide.decision import Decision
from ..decide.inputs import Decider, DecisionInputs
from ..decide.json_form import from_dict, to_dict
from ..decide.memory import Memory
from ..decide.observations import Observation
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..instant import Instant

FORMAT, VERSION = "libreha recording", 1
LOOKS = 300  # that are kept at most
VMS = 80_000  # VMs of all kept looks together: what a recording of a large cluster costs to write


@dataclass(frozen=True)
class Look:
    """One look of a recording: what its decision was made from, what was decided then (JSON form without the memory), and what is decided
    on it now."""

    inputs: DecisionInputs
    decided: Mapping[str, Any]
    decision: Decision

    @cached_property
    def differs(self) -> tuple[str, ...]:
        """The parts of the decision that do not come out as they were."""
        form = decided_form(self.decision)
        return tuple(name for name in sorted({*form, *self.decided}) if form.get(name) != self.decided.get(name))


class LookLog:
    """The last looks. One thread adds, others take."""

    def __init__(self, looks: int = LOOKS, vms: int = VMS) -> None:
        self._kept: deque[tuple[DecisionInputs, Decision]] = deque(maxlen=looks)
        self._most_vms = vms
        self._vms = 0
        self._lock = Lock()

    def add(self, inputs: DecisionInputs, decision: Decision) -> None:
        with self._lock:
            if len(self._kept) == self._kept.maxlen:
                self._forget()
            self._kept.append((inputs, decision))
            self._vms += len(inputs.observation.vms)
            while self._vms > self._most_vms and len(self._kept) > 1:
                self._forget()

    def _forget(self) -> None:
        inputs, _decision = self._kept.popleft()
        self._vms -= len(inputs.observation.vms)

    def recording(self) -> bytes:
        """Of all that are kept; it may be empty."""
        with self._lock:
            kept = list(self._kept)
        return write(kept)


# Recordings


def write(looks: Iterable[tuple[DecisionInputs, Decision]], redacted: bool = False) -> bytes:
    lines = [{"format": FORMAT, "version": VERSION, "redacted": redacted}]
    policy: Optional[Policy] = None
    memory: Optional[Memory] = None
    for inputs, decision in looks:
        line: dict[str, Any] = {"now": to_dict(inputs.now), "run_id": inputs.run_id, "able": list(inputs.able)}
        line["only_host"] = inputs.only_host
        if inputs.policy is not policy:
            line["policy"] = to_dict(inputs.policy)
        if inputs.memory is not memory:
            line["memory"] = inputs.memory.to_dict()
        line["observation"] = to_dict(inputs.observation)
        line["decided"] = decided_form(decision)
        lines.append(line)
        policy, memory = inputs.policy, decision.memory
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), 6, mtime=0)


def read(content: bytes, name: str = "recording", decider: Decider = decide) -> list[Look]:
    """The looks, each decided again: where a memory was left out, it is the one that the look before decides. Raises LibrehaError for what
    is no recording, or damaged; *name* is what it is called then."""
    try:
        lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
        if not lines or lines[0].get("format") != FORMAT:
            raise ValueError("it does not say that it is one")
        if lines[0].get("version") != VERSION:
            raise ValueError("it is of version %s, and this release reads %d" % (lines[0].get("version"), VERSION))
        return list(_looks(lines[1:], decider))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LibrehaError(
            "%s is no recording that can be read: %s" % (name, error), remedy="make one with: libreha incident --out FILE"
        ) from None


def _looks(lines: Iterable[Mapping[str, Any]], decider: Decider) -> Iterator[Look]:
    policy: Optional[Policy] = None
    memory: Optional[Memory] = None
    for number, line in enumerate(lines, 1):
        place = "look %d" % number
        policy = from_dict(Policy, line["policy"], "%s: policy" % place) if "policy" in line else policy
        memory = Memory.from_dict(line["memory"]) if "memory" in line else memory
        if policy is None or memory is None:
            raise ValueError("%s has no %s" % (place, "policy" if policy is None else "memory"))
        observation = Observation.from_dict(line["observation"])
        now = from_dict(Instant, line["now"], "%s: now" % place)
        inputs = DecisionInputs(policy, memory, observation, now, line["run_id"], tuple(line["able"]), line["only_host"])
        decision = inputs.decide(decider)
        yield Look(inputs, line["decided"], decision)
        memory = decision.memory


def decided_form(decision: Decision) -> dict[str, Any]:
    """What was decided, as JSON, without the memory: the next look has that."""
    form: dict[str, Any] = json.loads(json.dumps(to_dict(replace(decision, memory=Memory()))))
    del form["memory"]
    return form
