# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A replay in words: what ``libreha replay`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cycle.judge import ordered_in, summary_of
from ..decide.decision import Decision
from .looks import Look
from .status_text import clock_text

SAME = "decided as it was then"


def replay_lines(found: Sequence[Look]) -> list[str]:
    """A line for each look that brought something new, and below it what; quiet ones are taken together."""
    lines: list[str] = []
    quiet: list[int] = []
    before: list[str] = []
    for number, look in enumerate(found, 1):
        news = [text for text in _facts(look.decision) if text not in before]
        before = _facts(look.decision)
        if not news and not look.differs:
            quiet.append(number)
            continue
        lines += _quiet(quiet)
        quiet = []
        lines.append("%d. %s%s" % (number, _when(look), _differs(look)))
        lines += ["     %s" % text for text in news]
    lines += _quiet(quiet)
    wrong = sum(bool(look.differs) for look in found)
    return [*lines, "%d looks, %s" % (len(found), "all %s" % SAME if not wrong else "%d DECIDED DIFFERENTLY" % wrong)]


def look_lines(number: int, look: Look) -> list[str]:
    """One look in full."""
    decision = look.decision
    lines = ["look %d, %s, mode %s, run %s" % (number, _when(look), decision.mode.value, look.inputs.run_id)]
    lines += ["  %s" % text for text in summary_of(decision)]
    lines += ["  ordered: %s" % text for text in ordered_in(decision)]
    lines += ["  proposed: %s %s (%s)" % (item.action.kind, item.action.host, item.why_not) for item in decision.proposed]
    lines += ["  down: %s: %s" % (vm.name, vm.reason) for vm in decision.down]
    return [*lines, _differs(look).strip(" ;") or SAME]


def replay_form(number: int, look: Look) -> dict[str, Any]:
    """For programs: the number of the look, what was decided then, and which parts of it come out differently now."""
    return {"look": number, "differs": list(look.differs), **look.decided}


def _facts(decision: Decision) -> list[str]:
    hosts = ["%s %s%s" % (host.host, host.verdict.value, "" if host.confirmed or host.verdict.works else "?") for host in decision.hosts]
    return [*hosts, *("ordered: %s" % text for text in ordered_in(decision)), *(miss.text for miss in decision.near_misses)]


def _quiet(numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return []
    return ["%s. nothing new" % (numbers[0] if len(numbers) == 1 else "%d-%d" % (numbers[0], numbers[-1]))]


def _when(look: Look) -> str:
    return clock_text(look.inputs.now)


def _differs(look: Look) -> str:
    return "; DECIDED DIFFERENTLY: %s" % ", ".join(look.differs) if look.differs else ""
