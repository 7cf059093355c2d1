# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python libraries that the modules need where they run, with the lowest version of each: the one list of them.

``requirements.txt``, the module ``arbiter_info``, the role ``arbiter`` and the documentation say the same; a test compares them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from itertools import zip_longest
from typing import Callable

from .errors import LibrehaError

PYTHON = (sys.version_info[0], sys.version_info[1])
OLDEST_PYTHON = (3, 9)
VENV = "/opt/libreha/venv"  # where the role arbiter puts them


@dataclass(frozen=True)
class Library:
    """One library.

    Args:
        name: Its name for pip.
        module: What is imported.
        minimum: The lowest version that will do.
        purpose: What needs it.
        option: The feature without which it is not needed (lio, postgresql, monitor); empty: always needed.
        limit: (Python, version): on Pythons before that one, the first version that is too new.
        extra: An extra that pip is to install with it.
        package: The distributions' packages of it, where those are the better choice.
    """

    name: str
    module: str
    minimum: str
    purpose: str
    option: str = ""
    limit: tuple[tuple[int, int], str] | None = None
    extra: str = ""
    package: str = ""

    def requirement(self, python: tuple[int, int] = PYTHON) -> str:
        """As pip takes it: "pyvmomi>=8.0.3.0.1,<9.1"."""
        text = "%s%s>=%s" % (self.name, "[%s]" % self.extra if self.extra else "", self.minimum)
        return "%s,<%s" % (text, self.limit[1]) if self.limit and python < self.limit[0] else text

    def lines(self) -> list[str]:
        """Its lines in requirements.txt, with markers."""
        if self.limit is None:
            return [self.requirement()]
        since = "%d.%d" % self.limit[0]
        return [
            '%s; python_version >= "%s"' % (self.requirement(self.limit[0]), since),
            '%s; python_version < "%s"' % (self.requirement(OLDEST_PYTHON), since),
        ]


LIBRARIES = (
    Library(
        "pyvmomi",
        "pyVmomi",
        "8.0.3.0.1",
        "the API of the hosts",
        limit=((3, 10), "9.1"),  # it needs Python 3.10, its metadata does not say so, and pip takes it on 3.9
    ),
    Library("SQLAlchemy", "sqlalchemy", "2.0", "the state database"),
    Library("icmplib", "icmplib", "3.0", "the ping of the hosts"),
    Library("sushy", "sushy", "5.0", "power fencing by Redfish"),
    Library(
        "rtslib-fb",
        "rtslib_fb",
        "2.1.74",
        "the kernel's iSCSI target (LIO)",
        option="lio",
        package="python3-rtslib-fb on Debian and Ubuntu, python3-rtslib on RHEL",
    ),
    Library("ansible-core", "ansible", "2.15", "the resident monitor's check of its configuration", option="monitor"),
    Library("psycopg", "psycopg", "3.1", "a state database in PostgreSQL", option="postgresql", extra="binary"),
)
OPTIONS = tuple(library.option for library in LIBRARIES if library.option)


def installed(library: Library) -> str | None:
    """The version that this Python has; "" when its package does not tell, None when there is no such package."""
    try:
        return metadata.version(library.name) or ""
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Finding:
    """One library, as this Python has it: ``problem`` is empty when it will do."""

    library: Library
    version: str
    problem: str

    def to_dict(self) -> dict[str, str | bool]:
        return {
            "name": self.library.name,
            "module": self.library.module,
            "minimum": self.library.minimum,
            "purpose": self.library.purpose,
            "version": self.version,
            "problem": self.problem,
            "requirement": self.library.requirement(),
        }


def look(
    options: Iterable[str] = (),
    *,
    version_of: Callable[[Library], str | None] = installed,
    load: Callable[[str], object] = importlib.import_module,
) -> list[Finding]:
    """Every library that is needed with these *options* (OPTIONS): its version, and whether it can be imported."""
    wanted = set(options)
    return [_look(library, version_of(library), load) for library in LIBRARIES if not library.option or library.option in wanted]


def _look(library: Library, version: str | None, load: Callable[[str], object]) -> Finding:
    if version and not _in_range(library, version):
        return Finding(library, version, "%s %s is installed, %s is needed" % (library.name, version, library.requirement()))
    try:
        load(library.module)
    except Exception as error:  # whatever a damaged package raises while it is imported
        if version is None:
            return Finding(library, "", "%s is not installed" % library.name)
        return Finding(library, version, "%s %s cannot be imported: %s: %s" % (library.name, version, type(error).__name__, error))
    return Finding(library, version or "", "")


def unusable(module: str, problem: object = None, *, host: str | None = None) -> LibrehaError:
    """The error of a module that needs the library *module* and cannot use it."""
    library = _of(module)
    version = installed(library)
    said = ": %s" % problem if problem else ""
    what = "has not" if version is None else "has in version %s, which cannot be used" % (version or "unknown")
    return LibrehaError(
        "%s needs the Python library %s, which %s %s%s" % (library.purpose, library.name, sys.executable, what, said),
        host=host,
        remedy=remedy(library.module),
    )


def too_old(module: str) -> bool:
    """Whether the installed version of the library *module* is known, and is not one that will do."""
    library = _of(module)
    version = installed(library)
    return bool(version) and not _in_range(library, str(version))


def remedy(*modules: str) -> str:
    """What to do about libraries that are missing or too old."""
    wanted = [_of(module) for module in modules]
    packages = ["%s (a package of the distribution: %s)" % (library.name, library.package) for library in wanted if library.package]
    return (
        "run the role libreha.vmware.arbiter on this machine and set ansible_python_interpreter to %s/bin/python for it in the inventory; "
        "or install what is missing for the Python of the task: %s -m pip install %s%s"
        % (VENV, sys.executable, " ".join("'%s'" % library.requirement() for library in wanted), "".join("; %s" % one for one in packages))
    )


def _of(module: str) -> Library:
    return next(library for library in LIBRARIES if library.module == module)


def _in_range(library: Library, version: str) -> bool:
    if _before(version, library.minimum):
        return False
    return not (library.limit and library.limit[0] > PYTHON and not _before(version, library.limit[1]))


def _before(version: str, other: str) -> bool:
    """Whether *version* is lower; what follows the numbers (a pre-release, a distribution's own suffix) does not count."""
    pairs = zip_longest(_numbers(version), _numbers(other), fillvalue=0)
    return next((one < two for one, two in pairs if one != two), False)


def _numbers(version: str) -> list[int]:
    found = []
    for part in version.split("."):
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return found
