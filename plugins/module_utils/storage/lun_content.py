# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the LUNs that this machine exports are blank, read below the target, where the bytes are.

A host cannot tell: its API shows a partition table, but a file system or a volume group on the whole LUN looks to it like a blank disk,
and it formats either without asking. So a LUN is formatted only on the storage server's word that where any of these begin there is
nothing but zeros. Nothing is guessed from signatures; they only give the content a name.
"""

from __future__ import annotations

import contextlib
import glob
import mmap
import os
from dataclasses import dataclass

from ..errors import LibrehaError
from .lio.configfs import ROOT
from .tgt.control import Control, Mode, Op
from .tgt.reading import read_targets

MIB = 1 << 20
HEAD = 16 * MIB  # partition tables, superblocks, VMFS' volume header (2 MiB into the disk) and file system header
TAIL = MIB  # GPT's second table, MD RAID's and ZFS' last labels

SIGNATURES = (
    (512, b"EFI PART", "a partition table (GPT)"),
    (0x438, b"\x53\xef", "an ext file system"),
    (0, b"XFSB", "an XFS file system"),
    (0x10040, b"_BHRfS_M", "a btrfs file system"),
    (512, b"LABELONE", "a volume group (LVM)"),
    (3, b"NTFS    ", "an NTFS file system"),
    (4096, b"\xfc\x4e\x2b\xa9", "a disk of an array (MD RAID)"),
    (0, b"LIBREHALAB1", "VMFS (a simulated host's)"),
    (2 * MIB, b"\x0d\xd0\x01\xc0", "VMFS"),
    (MIB, b"\x0d\xd0\x01\xc0", "VMFS"),
    (510, b"\x55\xaa", "a partition table (MBR) or a boot sector"),
)


@dataclass(frozen=True)
class Exported:
    """A LUN by the number that initiators see. Several paths: they do not all see the same under that number."""

    target: str
    lun: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class LunContent:
    target: str
    lun: int
    path: str
    size: int  # bytes
    blank: bool  # proved: head and tail are zeros
    content: str  # what it holds, in words, or why that is not known


def read_contents(driver: str, control_port: int, timeout: float) -> list[LunContent]:
    """Every LUN of every target that runs here. Raises LibrehaError when the target cannot be asked."""
    exported = exported_by_lio() if driver == "lio" else exported_by_tgt(control_port, timeout)
    return [_content(one) for one in exported]


def exported_by_tgt(control_port: int, timeout: float) -> list[Exported]:
    targets = read_targets(Control(control_port, timeout).ask(Mode.TARGET, Op.SHOW).text)
    return sorted(
        (
            Exported(target.name.lower(), number, (unit.path,))
            for target in targets
            for number, unit in target.units.items()
            if unit.path.startswith("/")
        ),
        key=lambda one: (one.target, one.lun),
    )


def exported_by_lio(root: str = ROOT) -> list[Exported]:
    """By the portal groups' numbers and by those that ACLs map them to."""
    found: dict[tuple[str, int], set[str]] = {}
    for group in glob.glob("%s/iscsi/*/tpgt_*" % root):
        target = os.path.basename(os.path.dirname(group)).lower()
        for lun in glob.glob("%s/lun/lun_*" % group) + glob.glob("%s/acls/*/lun_*" % group):
            path = _backing(lun)
            if path:
                found.setdefault((target, int(lun.rpartition("_")[2])), set()).add(path)
    return [Exported(target, lun, tuple(sorted(paths))) for (target, lun), paths in sorted(found.items())]


def _backing(lun: str) -> str:
    """A LUN's folder has one link, to the backstore, or in an ACL to the group's LUN."""
    for entry in os.listdir(lun):
        there = os.path.join(lun, entry)
        if not os.path.islink(there):
            continue
        there = os.path.realpath(there)
        if os.path.exists(os.path.join(there, "udev_path")):
            with open(os.path.join(there, "udev_path"), encoding="utf-8") as file:
                return file.read().strip()
        if os.path.basename(there).startswith("lun_"):
            return _backing(there)
    return ""


def _content(exported: Exported) -> LunContent:
    path = exported.paths[0]
    if len(exported.paths) > 1:
        return LunContent(
            exported.target, exported.lun, "", 0, False, "not the same LUN for every initiator: %s" % ", ".join(exported.paths)
        )
    try:
        size, content = read_content(path)
    except OSError as error:
        return LunContent(exported.target, exported.lun, path, 0, False, "cannot be read: %s" % error)
    return LunContent(exported.target, exported.lun, path, size, not content, content)


def read_content(path: str) -> tuple[int, str]:
    """(bytes, what is there; empty when it is blank). Raises OSError."""
    descriptor = _open(path)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size == 0:
            return 0, "no size"
        head = _read(descriptor, 0, min(HEAD, size))
        if any(head):
            return size, _name(head)
        start = max(0, size - TAIL) // mmap.PAGESIZE * mmap.PAGESIZE
        return size, "data at its end" if any(_read(descriptor, start, size - start)) else ""
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """The kernel's target writes to a disk past the page cache, so a cached read could still show the disk of before."""
    if os.path.isfile(path):
        with contextlib.suppress(OSError):  # a file system without O_DIRECT; a file's pages are the same for everybody
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)


def _read(descriptor: int, start: int, size: int) -> bytes:
    """All of it; O_DIRECT wants aligned memory and whole pages, except at the end."""
    whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    with mmap.mmap(-1, whole) as buffer:
        done = 0
        while done < size:
            with memoryview(buffer) as view, view[done:] as rest:
                count = os.preadv(descriptor, [rest], start + done)
            if count == 0:
                raise OSError("%d bytes are missing at byte %d" % (size - done, start + done))
            done += count
        return buffer[:size]


def _name(head: bytes) -> str:
    for place, signature, name in SIGNATURES:
        if head[place : place + len(signature)] == signature:
            return name
    return "data, the first at byte %d" % (len(head) - len(head.lstrip(b"\0")))


def require_root() -> None:
    """Raises LibrehaError for a user that may not read disks."""
    if os.geteuid() != 0:
        raise LibrehaError("only root may read what lies on the LUNs", remedy="run the task with become")
