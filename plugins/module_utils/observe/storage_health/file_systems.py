# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File systems that must not fill up: where the target's files, the fence list and the state database lie."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...decide.storage_health.seen import Fill, FillKind
from ...errors import LibrehaError
from ...storage.lio.configfs import ROOT
from ...storage.tgt.control import Control, Mode, Op
from .tools import CannotTell, read_text

_TGT_FILE = re.compile(r"^ {12}Backing store path: (/.*)$", re.MULTILINE)


@dataclass(frozen=True)
class FileSystem:
    """Bytes that anybody but root can still use, as df counts; ``inodes`` is 0 where the file system makes them as needed."""

    mount: str
    size: int
    free: int
    inodes: int
    inodes_free: int
    holds: tuple[str, ...]  # the paths it was asked for


def exported_files(driver: str, control_port: int, seconds: float) -> list[str]:
    """The regular files that the running target exports; none when it does not run."""
    if driver == "lio":
        paths = [read_text(path) for path in glob.glob("%s/core/fileio_*/*/udev_path" % ROOT)]
    else:
        try:
            answer = Control(control_port, seconds).ask(Mode.TARGET, Op.SHOW)
        except LibrehaError:  # the look at the sessions says so
            return []
        paths = _TGT_FILE.findall(answer.text)
    return sorted({path for path in paths if os.path.isfile(path)})


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
        few = "remove files on it: df -i %s, du --inodes" % system.mount
        found.append(Fill(name + " inodes", FillKind.INODES, used, float(system.inodes), note=note, remedy=few))
    return found
