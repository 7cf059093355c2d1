# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When an uptime proves that a host was started after it was fenced: one rule, for whoever proposes an unfence and whoever does it."""

from __future__ import annotations

MARGIN = 30.0
"""Seconds. It covers the length of the fence itself (its entry is dated when it begins, and again when something had
to be taken away) and what the host's own clock is off."""


def started_since(running: float, age: float, margin: float = MARGIN) -> bool:
    """Whether a host that has been *running* for so many seconds was started after a fence of that *age* (docs/safety.md, "Unfence")."""
    return running < age - margin
