# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File systems that must not fill up: where the target's files, the fence list and the state database lie."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ...decide.storage_health.sensors import Fill, FillKind
from .tools import CannotTell


@dataclass(frozen=True)
class FileSystem:
    """Bytes that anybody but root can still use, as df counts; ``inodes`` is 0 where the file system makes them as needed."""

    mount: str
    size: int
    free: int
    inodes: int
    inodes_free: int
    holds: tuple[str, ...]  # the paths it was asked for


def mount_of(path: str) -> str:
    """The mount point of *path*, or of the folder that it will be made in."""
    place = os.path.realpath(path)
    while place != "/" and not (os.path.exists(place) and os.path.ismount(place)):
        place = os.path.dirname(place)
    return place


def read_file_system(mount: str, holds: Iterable[str]) -> FileSystem:
    """Raises CannotTell. It hangs where the file system does."""
    try:
        found = os.statvfs(mount)
    except OSError as error:
        raise CannotTell("%s cannot be read: %s" % (mount, error.strerror), "see dmesg, and mount it again") from error
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    free = found.f_bavail * found.f_frsize
    return FileSystem(mount, used + free, free, found.f_files, found.f_favail, tuple(holds))


def fills(system: FileSystem) -> list[Fill]:
    note = "it holds %s" % ", ".join(system.holds)
    remedy = "free space on it, or make it larger"
    name = "file system %s" % system.mount
    found = [Fill(name, FillKind.FILE_SYSTEM, float(system.size - system.free), float(system.size), note=note, remedy=remedy)]
    if system.inodes:
        used = float(system.inodes - system.inodes_free)
        few = "remove files that nothing needs, and none that it is said to hold: df -i %s, du --inodes" % system.mount
        found.append(Fill(name + " inodes", FillKind.INODES, used, float(system.inodes), note=note, remedy=few))
    return found
