# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One target of tgt as values, and its file of targets.conf(5), written as the fence edits it.

The whole file belongs to the module tgt_target and is rendered anew by each run, so its form is fixed: a fence (saved.py) puts
:data:`~.targets_conf.MASK` before an ``initiator-name`` line, and a line that is rendered masked is the same byte for byte.

**What a host takes for the identity of its disk** (seen on tgt 1.0.85, INQUIRY page 0x83): an NAA name of type 6, made of the last 32
characters of ``scsi_id``, and one of type 3, made of the target's number and the LUN's. Left alone, both depend on the order in which
targets are configured. So ``scsi_id`` is given, and is the NAA name that LIO would have: a datastore is the same disk on both. And the
target's number is derived from its name, and saved (``controller_tid``).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...errors import LibrehaError
from ..target.names import naa_name
from . import targets_conf
from .reading import NOBODY_ADDRESS
from .targets_conf import MASK

HEADER = "# A target of libreha.vmware (module tgt_target), which writes this file anew. Fences (iscsi_fence) mark lines of it.\n"
HIDDEN = "(hidden)"
_NUMBERS = (1 << 28) - 1  # what the NAA name of type 3 has room for
_UNIT = re.compile(
    r"^    <backing-store (\S+)>\n        lun (\d+)\n        scsi_id \S+\n        scsi_sn (\S+)\n    </backing-store>\n", re.MULTILINE
)
_SECRET = re.compile(r"^(\s*incominguser (\S+) )(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """A LUN."""

    number: int
    path: str
    serial: str
    name: str = ""

    @property
    def scsi_id(self) -> str:
        return naa_name(self.serial).partition(".")[2]


@dataclass(frozen=True)
class Export:
    """A target. ``secrets``: CHAP user -> secret. ``initiators``: each spelling of each, since tgtd compares letter by letter.
    ``masked``: those that are fenced and not admitted, in lower case."""

    name: str
    tid: int
    units: Mapping[int, Unit] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    initiators: tuple[str, ...] = ()
    masked: frozenset[str] = frozenset()

    @property
    def admitted(self) -> tuple[str, ...]:
        return tuple(name for name in self.initiators if name.casefold() not in self.masked)


@dataclass(frozen=True)
class Written:
    """The file as it is; ``text`` is "" when there is none. It may hold initiators that are described no more. ``names`` (admitted) and
    ``masked`` are in lower case, ``spellings`` has both as they are written."""

    text: str = field(default="", repr=False)
    mode: int = 0o600
    units: Mapping[int, Unit] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    spellings: tuple[str, ...] = ()


def derived_tid(name: str, taken: Iterable[int] = ()) -> int:
    """The target's number: of its name, so the same on every machine, unless another target has it already."""
    tid = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _NUMBERS + 1
    while tid in taken:
        tid = tid % _NUMBERS + 1
    return tid


def render(export: Export) -> str:
    """The file. It holds CHAP secrets."""
    lines = [HEADER, "<target %s>\n" % export.name, "    controller_tid %d\n" % export.tid]
    lines += ["    allow-in-use yes\n", "    # a write that is acknowledged is on the disk\n", "    write-cache off\n"]
    for number, unit in sorted(export.units.items()):
        lines.append("    <backing-store %s>\n        lun %d\n" % (unit.path, number))
        lines.append("        scsi_id %s\n        scsi_sn %s\n    </backing-store>\n" % (unit.scsi_id, unit.serial))
    lines += ["    incominguser %s %s\n" % item for item in export.secrets.items()]
    lines += [
        "    # without an address line tgt-admin admits everybody, whatever names follow\n",
        "    initiator-address %s\n" % NOBODY_ADDRESS,
    ]
    for name in export.initiators:
        lines.append("%s    initiator-name %s\n" % (MASK if name.casefold() in export.masked else "", name))
    return "".join([*lines, "</target>\n"])


def read_written(path: str, name: str) -> Written:
    """Raises LibrehaError for a file that is not of this form, or that holds another target."""
    try:
        with open(path, encoding="latin-1") as source:
            text, mode = source.read(), os.fstat(source.fileno()).st_mode & 0o7777
    except FileNotFoundError:
        return Written()
    except OSError as error:
        raise LibrehaError("cannot read %s: %s" % (path, error.strerror), remedy="run the task as root (become: true)") from error
    saved = targets_conf.read(path)
    if not text.startswith(HEADER) or set(saved.targets) != {name}:
        raise LibrehaError(
            "%s was not written by tgt_target for %s, it has: %s" % (path, name, ", ".join(saved.targets) or "no target"),
            remedy="give file a name of its own; or move that file away, knowing that its targets are no longer served after a restart",
        )
    target = saved.targets[name]
    rights = [option for option in target.options if option.name == "initiator-name" and option.words]
    return Written(
        text=text,
        mode=mode,
        units={int(number): Unit(int(number), place, serial) for place, number, serial in _UNIT.findall(text)},
        secrets=dict(one.words for one in target.options if one.name == "incominguser" and not one.masked and len(one.words) == 2),
        names=frozenset(option.words[0].casefold() for option in rights if not option.masked),
        masked=frozenset(option.words[0].casefold() for option in rights if option.masked),
        spellings=tuple(dict.fromkeys(option.words[0] for option in rights)),
    )


def without_secrets(text: str, said: Mapping[str, str]) -> str:
    """The file as a diff may show it: of a secret only whether it is the one of *said*."""
    return _SECRET.sub(lambda one: one.group(1) + (HIDDEN if said.get(one.group(2)) == one.group(3) else HIDDEN + ", another one"), text)
