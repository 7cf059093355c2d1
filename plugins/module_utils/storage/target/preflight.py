# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the machine must have before a step is taken: the portals' addresses, free disks, files of the right size.

It changes nothing. Everything that is wrong is returned in words that name the option and the remedy.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Iterable

from ...errors import LibrehaError
from .model import Backstore, Portal
from .steps import Act, Step

_SIGNATURE_SECONDS = 30
_OURS = frozenset(("VMFS_volume_member",))
"""What a disk may carry without a word: it is what hosts put on it."""


def problems(steps: Iterable[Step], exportable: frozenset[str], open_portals: frozenset[Portal]) -> list[str]:
    """What forbids these steps on this machine.

    Args:
        steps: A plan's.
        exportable: Names of backstores whose disk or file may be exported with what is on it.
        open_portals: Those that the kernel's target has open already, for whichever target.
    """
    found = []
    for step in steps:
        if step.act == Act.ADD_PORTAL and step.item not in open_portals:
            found += _portal(step.item)
        elif step.act in (Act.CREATE_BACKSTORE, Act.GROW):
            store = step.item
            new = step.act == Act.CREATE_BACKSTORE
            found += _disk(store, store.name in exportable) if store.kind == "block" else _file(store, new, store.name in exportable)
    return found


def warnings(stores: Iterable[Backstore]) -> list[str]:
    """What is allowed and unwise."""
    found = []
    for store in stores:
        if store.write_back:
            found.append(
                "backstore %s has write_back: what the hosts believe written is lost when the storage server loses power" % store.name
            )
        if store.kind == "block" and os.path.basename(store.path)[:2] in ("sd", "vd", "hd") and os.path.dirname(store.path) == "/dev":
            found.append(
                "backstore %s is %s, a name that may mean another disk after a restart: use /dev/disk/by-id or a logical volume"
                % (store.name, store.path)
            )
    return found


def discards(store: Backstore) -> bool:
    """Whether UNMAP can free room: a disk that says so, or a file, in which holes are made."""
    if store.kind != "block":
        return True
    device = os.path.realpath("/sys/class/block/%s" % os.path.basename(os.path.realpath(store.path)))
    for folder in (device, os.path.dirname(device)):  # a partition's queue is its disk's
        try:
            with open(folder + "/queue/discard_max_bytes", encoding="ascii") as source:
                return int(source.read()) > 0
        except (OSError, ValueError):
            continue
    return False


def same_path(one: str, other: str) -> bool:
    """Whether both lead to the same disk or file. One that is not there is only equal to itself."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        first, second = os.stat(one), os.stat(other)
    except OSError:
        return False
    if stat.S_ISBLK(first.st_mode) and stat.S_ISBLK(second.st_mode):
        return first.st_rdev == second.st_rdev
    return os.path.samestat(first, second)


def _portal(portal: Portal) -> list[str]:
    """Try what LIO will do. (With net.ipv4.ip_nonlocal_bind an address may come later: a floating one.)"""
    family = socket.AF_INET6 if ":" in portal.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((portal.address, portal.port))
            listener.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return ["portal %s: this machine does not have that address. Correct it, or configure the network first (ip address)" % portal]
        if error.errno == errno.EADDRINUSE:
            return ["portal %s: another program listens there. See which (ss -ltnp); tgt and LIO cannot share a port" % portal]
        return ["portal %s cannot be opened: %s" % (portal, error.strerror)]
    return []


def _disk(store: Backstore, export: bool) -> list[str]:
    try:
        mode = os.stat(store.path).st_mode
        if not stat.S_ISBLK(mode):
            return [
                "backstore %s: %s is no block device. Give a disk, partition or logical volume, or use fileio" % (store.name, store.path)
            ]
        os.close(os.open(store.path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
    except FileNotFoundError:
        return ["backstore %s: there is no %s. Create the volume first, or correct the path" % (store.name, store.path)]
    except OSError as error:
        if error.errno == errno.EBUSY:
            return [
                "backstore %s: %s is in use on this machine: mounted, swap, part of a volume group or RAID, or held by another target. "
                "Free it, or correct the path (lsblk shows what uses it)" % (store.name, store.path)
            ]
        return ["backstore %s: %s cannot be opened: %s" % (store.name, store.path, error.strerror)]
    carries = "" if export else signature(store.path)
    if carries and carries not in _OURS:
        return [
            "backstore %s: %s is not empty, it carries %s. If that is what the hosts shall have, set its existing_data to export; "
            "otherwise correct the path, or wipe it (wipefs) knowing what you do" % (store.name, store.path, carries)
        ]
    return []


def _file(store: Backstore, new: bool, export: bool) -> list[str]:
    folder = os.path.dirname(store.path)
    if not os.path.isdir(folder):
        return ["backstore %s: there is no folder %s. Create it, or correct the path" % (store.name, folder)]
    try:
        there = os.stat(store.path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return ["backstore %s: cannot look at %s: %s" % (store.name, store.path, error.strerror)]
    if not stat.S_ISREG(there.st_mode):
        return ["backstore %s: %s is no file. Use type block for a disk" % (store.name, store.path)]
    size = store.size or 0
    if there.st_size > size:
        return [
            "backstore %s: the file %s has %d bytes, more than its size of %d. It is never made smaller: give at least its size"
            % (store.name, store.path, there.st_size, size)
        ]
    if new and there.st_blocks and not export:
        return [
            "backstore %s: the file %s has content. If that is what the hosts shall have, set its existing_data to export; "
            "otherwise correct the path" % (store.name, store.path)
        ]
    return []


def signature(path: str) -> str:
    """What blkid finds by looking at the disk itself (file system, LVM, RAID, swap, partition table), "" when nothing.
    Raises LibrehaError."""
    command = ["blkid", "--probe", "--output", "export", path]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SIGNATURE_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LibrehaError(
            "cannot look whether %s is empty: %s" % (path, error), remedy="install blkid (util-linux) and see that the disk answers"
        ) from error
    values = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    kind = values.get("TYPE") or values.get("PTTYPE", "") and "a partition table (%s)" % values["PTTYPE"]
    if answer.returncode == 8:  # blkid(8): ambivalent result
        return "several signatures"
    return kind
