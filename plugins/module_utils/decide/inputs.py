# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that one decision was made from, as one value: whoever keeps it can make the decision again, anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..instant import Instant
from .decision import Decision
from .memory import Memory
from .observations import Observation
from .policy import Policy

Decider = Callable[..., Decision]
"""``decide``, or in a test of the referee a wrong one."""


@dataclass(frozen=True)
class DecisionInputs:
    """The arguments of ``decide``; ``memory`` is the one after the commands that were applied before."""

    policy: Policy
    memory: Memory
    observation: Observation
    now: Instant
    run_id: str
    able: tuple[str, ...]
    only_host: str = ""

    def decide(self, decider: Decider) -> Decision:
        return decider(self.policy, self.memory, self.observation, self.now, self.run_id, self.able, self.only_host)
