# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a database answers when something is wrong, said so that an operator knows what to do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..errors import LibrehaError
from . import schema

# What SQLite says (sqlite3 in Python 3.9 gives no error code) -> what it means, remedy. First match counts.
_SQLITE = (
    ("disk is full", "the disk is full", "free space on the file system of {folder}; nothing was half written"),
    ("database is locked", "it is locked by another process{owners}", "if that process is stopped or hangs, end it; otherwise run again"),
    ("readonly database", "it may not be written", "run as its owner, or correct the owner and mode of {path} and of {folder}"),
    ("unable to open database file", "it cannot be opened", "check that {path} exists and that this user may write it and {folder}"),
    (
        "is not a database",
        "the file is not an SQLite database",
        "put a backup in its place, or name another file in state_url; it was not changed",
    ),
    (
        "malformed",
        "the database is damaged",
        "keep the file, put a backup (state.db.backup-*) in its place, or move it away and create a new one",
    ),
    ("disk i/o error", "reading or writing the disk failed", "check the kernel log, the disk, and the free space of {folder}"),
    ("no such table", "a table is missing: the database is damaged", "put a backup in its place"),
    ("no such column", "a column is missing: the database is damaged", "put a backup in its place"),
)


class DatabaseLocation:
    """Where a database is, as it may be shown: never its password, never its parameters."""

    def __init__(self, shown: str, path: str = "", secret: str = "") -> None:
        self.shown = shown
        self.path = path  # of an SQLite file
        self._secret = secret
        self._inode: int | None = None

    def __str__(self) -> str:
        return self.shown

    def hide(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text

    def remember_file(self) -> None:
        """Note which file this is now; :meth:`require_same_file` tells whether it still is."""
        self._inode = os.stat(self.path).st_ino if self.path else None

    def require_same_file(self) -> None:
        """Raise LibrehaError when the file was removed or replaced: what is open then is not what others see."""
        if self._inode is None:
            return
        try:
            same = os.stat(self.path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise LibrehaError(
                "%s was removed or replaced while it was in use" % self, remedy="run again: it is opened anew, or created if missing"
            )

    def explain(self, error: BaseException, trying: str) -> LibrehaError:
        """The error for the operator, from one of SQLAlchemy, its driver or the system."""
        cause = getattr(error, "orig", None) or error
        said = self.hide(" ".join(str(cause).split())) or type(cause).__name__
        lower = said.lower()
        if self.path and isinstance(cause, (sqlite3.Error, OSError)):
            for sign, meaning, remedy in _SQLITE:
                if sign in lower:
                    owners = lock_owners(self.path) if "{owners}" in meaning else ""
                    return self._error(
                        trying, meaning.format(owners=owners), remedy.format(path=self.path, folder=os.path.dirname(self.path)), said
                    )
            return self._error(trying, said, "check %s and the file system it is on" % self.path, "")
        if "lock timeout" in lower or "could not obtain lock" in lower:
            return self._error(trying, "it is locked by another process", "look for it in pg_stat_activity; end it if it hangs", said)
        return self._error(trying, said, "check that the database server runs, can be reached, and accepts this user", "")

    def _error(self, trying: str, meaning: str, remedy: str, said: str) -> LibrehaError:
        text = "%s: %s failed: %s" % (self.shown, trying, meaning)
        return LibrehaError("%s (%s)" % (text, said) if said else text, remedy=remedy)


@contextlib.contextmanager
def explained(place: DatabaseLocation, trying: str, system: bool = False) -> Iterator[None]:
    """Turn what the database or its driver raises inside into LibrehaError; with *system* also what the system does."""
    kinds: tuple[type[BaseException], ...] = (schema.sa.exc.DBAPIError, schema.sa.exc.TimeoutError, sqlite3.Error)
    if system:
        kinds += (OSError,)
    try:
        yield
    except kinds as error:
        raise place.explain(error, trying) from error


def lock_owners(path: str) -> str:
    """Which processes hold a lock on the SQLite file at *path*, for people; empty where the kernel does not tell."""
    inodes = set()
    for name in (path, path + "-shm"):
        with contextlib.suppress(OSError):
            inodes.add(os.stat(name).st_ino)
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()  # proc_locks(5): number, type, mode, access, pid, device:inode, from, to
            if "->" not in fields and fields[3] == "WRITE" and int(fields[5].rpartition(":")[2]) in inodes:
                found.add(int(fields[4]))
    found.discard(os.getpid())
    owners = ", ".join(_describe_process(pid) for pid in sorted(found) if pid > 0)
    return ": %s" % owners if owners else ""


def _describe_process(pid: int) -> str:
    try:
        command, _bracket, rest = Path("/proc/%d/stat" % pid).read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return "process %d" % pid
    stopped = ", stopped" if rest.split()[:1] == ["T"] else ""
    return "process %d (%s%s)" % (pid, command.partition("(")[2], stopped)
