# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove a node ACL, which may make the kernel wait, without hanging with it.

The kernel returns from the removal when the last session of the ACL is gone (see ``driver``): as long as the backend does not finish
a write, it waits, and no signal ends that. So it is done in a child process that is waited for within a bound. A child that
still waits then is left to the kernel: whatever it finishes later only takes away.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from typing import Any, Callable

from ...errors import LibrehaError

_POLL = 0.01


def remove_acl(acl: Any, timeout: float, cut: Callable[[], object]) -> None:
    """Remove a node ACL, and with it its sessions.

    Args:
        acl: rtslib's NodeACL.
        timeout: Seconds to wait, and once more after *cut*.
        cut: Ends the connections that may keep the kernel waiting.

    Raises LibrehaError when it is still not gone.
    """
    path, name = acl.path, acl.node_wwn
    child = os.fork()
    if child == 0:
        try:
            acl.delete()
        finally:
            os._exit(0)
    for last in (False, True):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if os.waitpid(child, os.WNOHANG)[0]:
                if os.path.isdir(path):
                    raise LibrehaError("the kernel did not remove the ACL of %s" % name, remedy="see its log (dmesg), then run this again")
                return
            time.sleep(_POLL)
        if not last:
            cut()
    raise LibrehaError(
        "the kernel is still ending the sessions of %s after %.0f s: a command has not come back from the backend" % (name, 2 * timeout),
        remedy="see to the disk behind its LUNs, then run this again; the removal goes on meanwhile",
    )


def cut_connections(address: str, ports: Iterable[int]) -> None:
    """Have the kernel abort the TCP connections from *address* to the portals' *ports*. A help and no proof: errors do not matter."""
    for port in sorted(set(ports)):
        command = ["ss", "-K", "-n", "-t", "dst", address, "sport", "=", ":%d" % port]
        try:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return
