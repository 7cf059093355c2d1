# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests that may make the kernel wait, made so that nobody hangs with it: remove a node ACL, look whether the target answers.

The kernel returns from the removal when the last session of the ACL is gone (see ``driver``): as long as the backend does not finish
a write, it waits, and no signal ends that. Meanwhile it also holds the folder of the ACLs, so that listing that hangs as well (seen on
Linux 6.1). So both are done in a child process that is waited for within a bound. A child that still waits then is left to the kernel:
whatever it finishes later only takes away. It keeps none of our files open, or whoever reads our output would wait for it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from typing import Any, Callable

from ...errors import LibrehaError

_POLL = 0.01
_REMEDY = "see to the disk behind its LUNs, then run this again; the removal goes on meanwhile"


def remove_acl(acl: Any, timeout: float, cut: Callable[[], object]) -> None:
    """Remove a node ACL, and with it its sessions.

    Args:
        acl: rtslib's NodeACL.
        timeout: Seconds to wait, and once more after *cut*.
        cut: Ends the connections that may keep the kernel waiting.

    Raises LibrehaError when it is still not gone.
    """
    path, name = acl.path, acl.node_wwn
    child = _in_child(acl.delete)
    for last in (False, True):
        if _ended(child, timeout):
            if os.path.isdir(path):
                raise LibrehaError("the kernel did not remove the ACL of %s" % name, remedy="see its log (dmesg), then run this again")
            return
        if not last:
            cut()
    raise LibrehaError(
        "the kernel is still ending the sessions of %s after %.0f s: a command has not come back from the backend" % (name, 2 * timeout),
        remedy=_REMEDY,
    )


def require_answer(folders: Iterable[str], timeout: float) -> None:
    """Raises LibrehaError when *folders* of configfs cannot be listed within *timeout* seconds."""
    wanted = list(folders)

    def list_all() -> None:
        for folder in wanted:
            os.listdir(folder)

    if not _ended(_in_child(list_all), timeout):
        raise LibrehaError(
            "the kernel's target has not answered for %.0f s: it is ending sessions, and a command has not come back from the backend"
            % timeout,
            remedy=_REMEDY,
        )


def _in_child(act: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.closerange(3, 1024)
        act()
    finally:
        os._exit(0)


def _ended(child: int, timeout: float) -> bool:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(_POLL)
    return False


def cut_connections(address: str, ports: Iterable[int]) -> None:
    """Have the kernel abort the TCP connections from *address* to the portals' *ports*. A help and no proof: errors do not matter."""
    for port in sorted(set(ports)):
        command = ["ss", "-K", "-n", "-t", "dst", address, "sport", "=", ":%d" % port]
        try:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return
