# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal as people read it: a line for each entry, and below it, indented, why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

INDENT = " " * 4
_KIND = 9  # columns
_STATES = re.compile(r"^(?:(?:ordered|cleared|suspect|proposed): )*")


def journal_lines(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """ "2026-11-29 03:56:11Z  action    ordered: fence esx1", and in further lines the reasons; *entries* as ``journal.read`` returns."""
    lines = []
    for entry in entries:
        what, why = what_and_why(" ".join(str(entry["text"]).split()))
        lines.append("%sZ  %s %s" % (str(entry["wall"])[:19].replace("T", " "), str(entry["kind"]).ljust(_KIND), what))
        lines += [INDENT + reason for reason in why]
    return lines


def what_and_why(text: str) -> tuple[str, Sequence[str]]:
    """The head of a journal text, and its reasons: what follows the first colon, one for each semicolon outside of brackets.

    >>> what_and_why("ordered: fence esx1: esx1 is dead (api failed; ping failed); 2 VMs can start elsewhere")
    ('ordered: fence esx1', ['esx1 is dead (api failed; ping failed)', '2 VMs can start elsewhere'])
    """
    state = _STATES.match(text)
    begin = state.end() if state else 0
    head, *rest = _split(text[begin:], ": ", most=1)
    return text[:begin] + head, _split(rest[0], "; ") if rest else []


def _split(text: str, sign: str, most: int = -1) -> list[str]:
    """*text* parted at *sign* where it stands outside of brackets, *most* times at most (-1: everywhere)."""
    parts, depth, begin = [], 0, 0
    for index, letter in enumerate(text):
        depth = max(0, depth + (letter in "([") - (letter in ")]"))
        if not depth and text.startswith(sign, index) and index >= begin and most != 0:
            parts.append(text[begin:index])
            begin = index + len(sign)
            most -= 1
    return [*parts, text[begin:]]
