# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The "chance" of a search: a fixed sequence of numbers, so that the same problem has the same plan."""

from __future__ import annotations


class Lcg:
    """A linear congruential generator (Knuth's MMIX constants); its high bits serve."""

    def __init__(self) -> None:
        self._state = 1

    def below(self, limit: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % limit
