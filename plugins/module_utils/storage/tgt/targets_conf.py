# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""targets.conf(5), the configuration that tgt-admin loads into tgtd when it starts: read it as tgt-admin does.

tgt-admin reads it with Perl's Config::General (Apache's syntax: blocks, ``include`` with globs and folders, ``#`` and
C comments, continued lines, here-documents; blocks of one target are merged), so this reader follows
that module's ``_read`` and ``_parse``, line by line, and remembers the file and line that each option came from.

Who is admitted. tgt-admin binds every ``initiator-name`` and ``initiator-address`` of a target, and **binds ALL
whenever there is no initiator-address at all**, also when there are names (``$allowall`` in ``add_targets``; so in tgt
1.0.85 and 1.0.97; targets.conf(5) says the same in half a sentence). A target that admits by name only is
therefore open to everybody after the next start, unless it also has an address line that no initiator can match:
:data:`~.reading.NOBODY_ADDRESS`.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...decide.observations import TargetAccess
from ...errors import LibrehaError
from .reading import NOBODY_ADDRESS

MASK = "#libreha-fenced# "
"""Put before a line that a fence takes out of force: it is a comment then, and comes back byte for byte."""

_C_COMMENT = re.compile(r"\s*/\*.*\*/\s*")
_COMMENT = re.compile(r"(?<!\\)#.*$", re.DOTALL)
_HERE_DOCUMENT = re.compile(r"^\s*(?:([^=]+?)\s*=\s*|(\S+?)\s+)<<\s*(.+?)\s*$")
_INCLUDE = re.compile(r"^\s*(include|includeoptional)(?:\s*([\"'])(.*?)(?<!\\)\2|\s+(.+?)\s*)$", re.IGNORECASE)
_START = re.compile(r"^<([^/]+?.*?)>$")
_END = re.compile(r"^</(.+?)>$")
_BLOCK = re.compile(r'^(?:"([^"]+)"|(\S+))(?:\s+(?:"([^"]+)"|(.*)))?$')
_ASSIGNMENT = re.compile(r"\s*=\s*|\s+")


@dataclass(frozen=True)
class Location:
    """A line of a file; ``count`` lines when it was continued with backslashes."""

    path: str
    line: int  # from 0
    count: int = 1

    def __str__(self) -> str:
        return "%s line %d" % (self.path, self.line + 1)


@dataclass(frozen=True)
class Option:
    """One option with its value, ``target`` being the target block around it (``""`` for none); ``direct`` tells that
    it is the target's own and not one of a nested block, a LUN's for instance."""

    name: str
    value: str
    target: str
    direct: bool
    place: Location
    masked: bool = False

    @property
    def words(self) -> list[str]:
        return self.value.split()


@dataclass
class SavedTarget:
    name: str
    ends: list[Location] = field(default_factory=list)  # its closing tags
    options: list[Option] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return [option.value for option in self.options if option.name == name and option.direct and not option.masked]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value.split()[0] for value in self.values("initiator-name") if value.split()))

    @property
    def closed(self) -> bool:
        """Whether it has an address line, without which tgt-admin admits everybody."""
        return bool(self.values("initiator-address"))

    def access(self) -> TargetAccess:
        addresses = [address for address in self.values("initiator-address") if address != NOBODY_ADDRESS]
        reason = ""
        if addresses:
            reason = "saved configuration: admitted by address: %s" % ", ".join(addresses)
        elif not self.closed:
            reason = "saved configuration: no initiator-address line, so tgt-admin admits ALL at the next start"
        return TargetAccess(target=self.name, initiators=self.names, anybody=bool(reason), reason=reason)


@dataclass
class Saved:
    """What a saved configuration says, over all its files."""

    targets: dict[str, SavedTarget] = field(default_factory=dict)
    elsewhere: list[Option] = field(default_factory=list)  # options outside target blocks
    files: dict[str, list[str]] = field(default_factory=dict)  # path -> lines with their ends, latin-1

    def driver_of(self, target: SavedTarget) -> str:
        """Its own ``driver``, the file's ``default-driver``, or tgt-admin's own default, iscsi."""
        defaults = [option.value for option in self.elsewhere if option.name == "default-driver" and not option.masked]
        return (target.values("driver") or defaults or ["iscsi"])[-1].strip()

    def options(self) -> Iterator[Option]:
        for target in self.targets.values():
            yield from target.options
        yield from self.elsewhere


def read(path: str) -> Saved:
    """Read *path* and all that it includes. Raises LibrehaError where tgt-admin would refuse it, or where it would
    depend on the folder that tgt-admin happens to be started in."""
    reader = _Reader()
    reader.include(path, None)
    if reader.stack:
        raise _unreadable(path, "block <%s> is not closed" % " ".join(filter(None, reader.stack[-1])))
    return reader.saved


def includes(path: str, other: str) -> bool:
    """Whether the file *path* itself says that *other* is to be read too, whether *other* is there or not."""
    try:
        with open(path, "rb") as source:
            found = [_INCLUDE.match(_COMMENT.sub("", line.rstrip("\n"))) for line in _lines(source.read())]
    except OSError as error:
        raise _unreadable(path, "cannot read it: %s" % error.strerror) from error
    patterns = [match.group(3) or match.group(4) for match in found if match]
    return any(fnmatch.fnmatch(other, one) or os.path.dirname(other) == one.rstrip("/") for pattern in patterns for one in _braces(pattern))


class _Reader:
    def __init__(self) -> None:
        self.saved = Saved()
        self.stack: list[tuple[str, str]] = []  # open blocks: kind, name

    def include(self, path: str, origin: Location | None) -> None:
        if not os.path.isabs(path):
            raise _unreadable(str(origin or path), "the path %s is relative to wherever tgt-admin is started" % path)
        if re.search(r"[*?\[{\\]", path):
            for pattern in _braces(path):
                for found in sorted(glob.glob(pattern)):
                    if os.path.isfile(found):
                        self._file(found, origin)
        elif os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                if os.path.isfile(os.path.join(path, name)):
                    self._file(os.path.join(path, name), origin)
        else:
            self._file(path, origin)

    def _file(self, path: str, origin: Location | None) -> None:
        if path in self.saved.files:  # Config::General reads a file once
            return
        try:
            with open(path, "rb") as source:
                lines = _lines(source.read())
        except OSError as error:
            raise _unreadable(str(origin or path), "cannot read %s: %s" % (path, error.strerror)) from error
        self.saved.files[path] = lines
        in_comment = False
        document_end = ""
        long, long_start = "", -1
        for number, raw in enumerate(lines):
            text = raw[:-1] if raw.endswith("\n") else raw
            if document_end:
                if text.strip() == document_end:
                    document_end = ""
                continue
            if _C_COMMENT.search(text):
                text = _C_COMMENT.sub("", text, count=1)
            elif re.match(r"^\s*/\*", text):
                in_comment = True
            elif "*/" in text:
                in_comment = False
                text = text[text.rindex("*/") + 2 :]
            if in_comment:
                continue
            if text.startswith(MASK) and not long:
                self._option(text[len(MASK) :], Location(path, number), masked=True)
                continue
            text = _COMMENT.sub("", text)
            if re.search(r"(?<!\\)\\$", text):
                long += text[:-1].lstrip()
                long_start = number if long_start < 0 else long_start
                continue
            document = _HERE_DOCUMENT.match(text)
            if document:
                document_end = document.group(3)
                name = (document.group(1) or document.group(2)).strip()
                if name in ("initiator-name", "initiator-address", "incominguser"):
                    raise _unreadable(str(Location(path, number)), "%s given as a here-document is not supported" % name)
                continue
            if long:
                self._content(long + text.lstrip(), Location(path, long_start, number - long_start + 1))
                long, long_start = "", -1
                continue
            if not text.strip():
                continue
            included = _INCLUDE.match(text)
            if included:
                self._include_line(included, Location(path, number))
            else:
                self._content(text, Location(path, number))

    def _include_line(self, match: re.Match[str], place: Location) -> None:
        path = match.group(3) or match.group(4)
        if match.group(1).lower() == "includeoptional" and not os.path.exists(path) and not re.search(r"[*?\[{\\]", path):
            return
        self.include(path, place)

    def _content(self, text: str, place: Location) -> None:
        text = text.strip()
        empty = re.match(r"^<([^/]+?.*?)/>$", text)
        if empty:
            self._start(empty.group(1).strip())
            self._end(place)
        elif _START.match(text):
            self._start(text[1:-1])
        elif _END.match(text):
            if not self.stack:
                raise _unreadable(str(place), "%s closes no block" % text)
            self._end(place)
        else:
            self._option(text, place)

    def _start(self, inner: str) -> None:
        match = _BLOCK.match(inner)
        kind, name = inner.strip('"'), ""
        if match and not re.match(r'^"[^"]+"$', inner):
            kind, name = match.group(1) or match.group(2), (match.group(3) or match.group(4) or "").strip()
        self.stack.append((kind, name))
        if len(self.stack) == 1 and kind == "target" and name:
            self.saved.targets.setdefault(name, SavedTarget(name))

    def _end(self, place: Location) -> None:
        closed = self.stack.pop()
        if not self.stack and closed[0] == "target" and closed[1]:
            self.saved.targets[closed[1]].ends.append(place)

    def _option(self, text: str, place: Location, *, masked: bool = False) -> None:
        if masked:
            text = _COMMENT.sub("", text)
        parts = _ASSIGNMENT.split(text.strip(), maxsplit=1)
        name, value = parts[0], parts[1] if len(parts) > 1 else ""
        if len(value) > 1 and value.startswith('"') and value.endswith('"'):
            value = value[1:-1]
        value = re.sub(r'\\([$\\"#])', r"\1", value)
        target = self.stack[0][1] if self.stack and self.stack[0][0] == "target" else ""
        option = Option(name, value, target, len(self.stack) == 1, place, masked)
        if target:
            self.saved.targets[target].options.append(option)
        else:
            self.saved.elsewhere.append(option)


def _lines(content: bytes) -> list[str]:
    """Lines as Perl sees them: only a line feed ends one. Latin-1 gives every byte back as it was."""
    return re.findall(r"[^\n]*\n|[^\n]+", content.decode("latin-1"))


def _braces(pattern: str) -> list[str]:
    """Perl's glob knows ``{a,b}``, Python's does not."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    return [found for choice in match.group(1).split(",") for found in _braces(pattern[: match.start()] + choice + pattern[match.end() :])]


def _unreadable(place: str, why: str) -> LibrehaError:
    return LibrehaError(
        "the saved configuration of tgt cannot be followed: %s: %s" % (place, why),
        remedy="write it so that `tgt-admin -e -c FILE` reads it anywhere: absolute include paths, one option a line",
    )
