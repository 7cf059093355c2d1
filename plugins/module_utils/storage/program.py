# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that a storage server runs for the arbiter (observe/served.py): modules of this collection, in one file that Python runs.

The module ``storage_server_program`` writes it there. What it consists of follows from its imports, so arbiter and server compute the same
identity from the same source, and a difference of one line between them is found before anything is asked (storage/remote.py).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import marshal
import re
import zipfile
from collections.abc import Iterator
from typing import Optional

_ROOT = __name__.rpartition(".storage.")[0]
ENTRY = _ROOT + ".observe.served"
_MAIN = "import sys\n\nfrom %s import main\n\nsys.exit(main(sys.argv[1:], %r))\n"
# Modules of this collection import each other by relative names. Parsing would find the same, in ten times the time of an import.
_IMPORT = re.compile(r"^[ \t]*from (\.+)([\w.]*) import (?:\(([^)]*)\)|([^\n#(]+))", re.MULTILINE)
_DATE = (1980, 1, 1, 0, 0, 0)  # of each member: the file shall depend on the source only


@functools.lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """Each module that the program needs, by its full name, with its source."""
    found: dict[str, str] = {}
    wanted = [ENTRY]
    while wanted:
        name = wanted.pop()
        source = None if name in found else _source(name)
        if source is not None:
            found[name] = source
            wanted.extend(_imported(name, source))
    return found


@functools.lru_cache(maxsize=1)
def identity() -> str:
    """A digest of the program's source."""
    digest = hashlib.sha256()
    for name, source in sorted(sources().items()):
        digest.update(("%s\0%s\0" % (name, source)).encode())
    return digest.hexdigest()[:16]


def label() -> bytes:
    """The comment of the file: which program it holds, and for which Python it is compiled."""
    return b"libreha.vmware %s %s" % (identity().encode(), importlib.util.MAGIC_NUMBER.hex().encode())


def build() -> bytes:
    """The file. Each module is in it as source and compiled, since Python keeps nothing that it compiled from such a file; another Python
    than this one takes the source."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = label()
        packages = {name.rsplit(".", count)[0] for name in sources() for count in range(1, name.count(".") + 1)}
        for package in sorted(packages):
            archive.writestr(_member(package.replace(".", "/") + "/__init__.py"), "")
        archive.writestr(_member("__main__.py"), _MAIN % (ENTRY, identity()))
        for name, source in sorted(sources().items()):
            path = name.replace(".", "/") + ".py"
            archive.writestr(_member(path), source)
            archive.writestr(_member(path + "c"), _compiled(path, source))
    return written.getvalue()


def is_whole(path: str) -> bool:
    """Whether *path* is this program, for this Python, and undamaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == label() and archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _member(path: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _compiled(path: str, source: str) -> bytes:
    """As PEP 552 has it, of the kind that is not checked against the source."""
    code = marshal.dumps(compile(source, path, "exec", dont_inherit=True))
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source.encode()) + code


def _source(name: str) -> Optional[str]:
    """A module's source; None for what is not of this collection, and for packages, which hold nothing here."""
    spec = importlib.util.find_spec(name) if name.startswith(_ROOT + ".") else None
    if spec is None or spec.loader is None or spec.submodule_search_locations is not None:
        return None
    source = spec.loader.get_source(name)  # type: ignore[attr-defined]
    return source.decode() if isinstance(source, bytes) else source  # Ansible's own loader gives bytes


def _imported(name: str, source: str) -> Iterator[str]:
    """What the module imports of this collection, wherever in it, by full names."""
    for level, module, many, few in _IMPORT.findall(source):
        base = ".".join([name.rsplit(".", len(level))[0], *([module] if module else [])])
        yield base
        if _is_package(base):
            yield from ("%s.%s" % (base, item.split()[0]) for item in (many or few).split(",") if item.strip())


def _is_package(name: str) -> bool:
    if name != _ROOT and not name.startswith(_ROOT + "."):
        return False
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None
