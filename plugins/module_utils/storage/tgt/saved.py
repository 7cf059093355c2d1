# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take an initiator's right out of tgt's saved configuration, and put it back.

A line that loses its force becomes a comment in its place (:data:`~.targets_conf.MASK`), so everything else stays as
it was byte for byte, a person sees what happened, and unfencing restores the line exactly. Files are replaced
durably, and only where something changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from ...decide.observations import TargetAccess
from ...errors import LibrehaError
from .. import durable
from . import targets_conf
from .reading import ISER, NOBODY_ADDRESS
from .targets_conf import MASK, Option, Saved

_GUARD = "%sinitiator-address %s # without an address line tgt-admin admits everybody\n"
_ACCOUNT = re.compile(r'^(\s*incominguser(?:\s*=\s*|\s+)"?)(\S+) ([^\s"#]+)("?\s*(?:#.*)?)$', re.DOTALL)


def access(path: str) -> list[TargetAccess]:
    """Whom each saved target will admit at the next start."""
    found = targets_conf.read(path)
    return [replace(target.access(), unfenceable=ISER if found.driver_of(target) == "iser" else "") for target in found.targets.values()]


def revoke(path: str, initiator: str) -> bool:
    """Take *initiator* out of every block of every file; durable on return. Whether anything changed.

    A target that admits by name but has no initiator-address line would be open to everybody at the next start, the
    fenced initiator included: it gets an address line that nobody matches. A target with neither names nor
    addresses is open on purpose and is left alone; it shows as ``anybody`` in :func:`access`.
    """
    saved = targets_conf.read(path)
    edits = _Edits(saved)
    named = {target.name for target in saved.targets.values() if target.names}
    for option in saved.options():
        if option.name == "initiator-name" and not option.masked and _names(option, initiator):
            edits.mask(option)
    for target in saved.targets.values():
        if target.name in named and not target.closed:
            edits.insert_before_end(saved, target.name, _GUARD, NOBODY_ADDRESS)
    return edits.write()


def admit(path: str, initiator: str, targets: Iterable[str], spellings: Collection[str] = ()) -> bool:
    """Give the right back in exactly *targets*, where they are in the saved configuration; durable on return.

    A line that was marked comes back as it was. One is written for each of *spellings* that has none, for *initiator* when there is no
    other.
    """
    saved = targets_conf.read(path)
    edits = _Edits(saved)
    wanted = set(targets)
    for option in saved.options():
        if option.masked and option.name == "initiator-name" and _names(option, initiator) and option.target in wanted | {""}:
            edits.unmask(option)
    for name in sorted(wanted & set(saved.targets)):
        target = saved.targets[name]
        back = [word for option in target.options if option.masked and option.direct and _names(option, initiator) for word in option.words]
        there = {word for word in (*back, *target.names) if _same(word, initiator)}
        lines = [one for one in (spellings or ([] if there else [initiator])) if one not in there]
        for one in lines:
            edits.insert_before_end(saved, name, "%sinitiator-name %s\n", one)
        if lines and not target.closed:
            edits.insert_before_end(saved, name, _GUARD, NOBODY_ADDRESS)
    return edits.write()


def account_secrets(path: str, user: str) -> set[str]:
    """The secrets that the saved configuration has for CHAP user *user* (one, in a sound configuration)."""
    return {
        option.words[1]
        for option in targets_conf.read(path).options()
        if option.name == "incominguser" and len(option.words) == 2 and option.words[0] == user
    }


def change_secret(path: str, user: str, secret: str) -> bool:
    """Replace the secret of CHAP user *user* in every ``incominguser`` line; durable on return."""
    saved = targets_conf.read(path)
    edits = _Edits(saved)
    for option in saved.options():
        if option.name == "incominguser" and not option.masked and option.words[:1] == [user]:
            edits.replace_secret(option, user, secret)
    return edits.write()


def _same(one: str, other: str) -> bool:
    """iSCSI names are compared without regard to case (RFC 7143, 4.2.7.1). tgtd compares bytes, so a fence takes every spelling, and
    whoever is let in again needs the very one that it says."""
    return one.casefold() == other.casefold()


def _names(option: Option, initiator: str) -> bool:
    return any(_same(word, initiator) for word in option.words)


@dataclass
class _Edits:
    """Changes to lines, by file; a line's number is the one that was read until :meth:`write`."""

    saved: Saved
    before: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    instead: dict[tuple[str, int], str] = field(default_factory=dict)

    def mask(self, option: Option) -> None:
        place = option.place
        for number in range(place.line, place.line + place.count):
            line = self.saved.files[place.path][number]
            if place.count > 1:
                raise LibrehaError(
                    "%s: an initiator-name continued over several lines cannot be taken out safely" % place,
                    remedy="write it on one line",
                )
            self.instead[place.path, number] = MASK + line

    def unmask(self, option: Option) -> None:
        line = self.saved.files[option.place.path][option.place.line]
        self.instead[option.place.path, option.place.line] = line[len(MASK) :]

    def insert_before_end(self, saved: Saved, target: str, form: str, value: str) -> None:
        """Insert a line at the end of the target's first block, indented like the line above it."""
        end = saved.targets[target].ends[0]
        line = saved.files[end.path][end.line]
        if not line.strip().startswith("</"):
            raise LibrehaError(
                "%s: the block of target %s has no closing line of its own" % (end, target), remedy="write </target> on a line"
            )
        indent = re.match(r"[ \t]*", line)
        self.before.setdefault((end.path, end.line), []).append(form % ((indent.group() if indent else "") + "    ", value))

    def replace_secret(self, option: Option, user: str, secret: str) -> None:
        line = self.saved.files[option.place.path][option.place.line]
        ending = "\n" if line.endswith("\n") else ""
        match = _ACCOUNT.match(line[: len(line) - len(ending)])
        if match is None or match.group(2) != user or option.place.count > 1:
            raise LibrehaError(
                "%s: this incominguser line cannot be changed safely" % option.place,
                remedy="write it as: incominguser NAME SECRET",
            )
        if match.group(3) != secret:
            self.instead[option.place.path, option.place.line] = match.group(1) + user + " " + secret + match.group(4) + ending

    def write(self) -> bool:
        paths = dict.fromkeys(path for path, _line in [*self.instead, *self.before])
        for path in paths:
            lines: list[str] = []
            for number, line in enumerate(self.saved.files[path]):
                lines.extend(self.before.get((path, number), ()))
                lines.append(self.instead.get((path, number), line))
            durable.replace(path, "".join(lines).encode("latin-1"))
        return bool(paths)
