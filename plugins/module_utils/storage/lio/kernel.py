# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's target through rtslib-fb: reading who is there, and taking a node ACL away for certain.

**Why a node ACL that is gone means that nothing is in flight** (read in Linux 6.1, drivers/target, and tested with a backend
that stands still). Each session holds a reference on its node ACL, from the login's access check on
(``core_tpg_get_initiator_node_acl``) to ``transport_deregister_session``, which comes after the session's commands have been
waited for (``target_wait_for_sess_cmds``). Removing the ACL's directory in configfs (``core_tpg_del_initiator_node_acl``)
takes it off the list that logins look into, shuts all its sessions down, and returns only when the last of these
references is gone. So when the directory is gone there is no session, no command of one with the backend, and no login
under way that passed the check before.

It may take long: as long as the backend does not finish a write; or, if a login that passed the check completes just then,
until that new session ends. So it is done in a child process, which is waited for within a bound, and connections
that keep it waiting are cut (``ss -K``). A child that still waits then is left to the kernel: whatever it finishes later only takes away.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import time
from collections.abc import Iterable
from typing import Any, Callable

from ...errors import LibrehaError

CONFIGFS = "/sys/kernel/config/target"
_POLL = 0.01
_STATSN = re.compile(r"StatSN:\s*0x([0-9a-fA-F]+)")


def root() -> Any:
    """rtslib's root object. Raises LibrehaError when rtslib or the kernel's target is not to be had."""
    try:
        import rtslib_fb
    except ImportError as error:
        raise LibrehaError(
            "the Python library rtslib_fb is not installed here (%s)" % error,
            remedy="install python3-rtslib-fb (Debian) or python3-rtslib (RHEL) on the storage server; the role iscsi_target does that",
        ) from error
    try:
        return rtslib_fb.RTSRoot()
    except (rtslib_fb.RTSLibError, OSError, subprocess.SubprocessError) as error:
        raise LibrehaError(
            "the kernel's target (LIO) is not available: %s" % error,
            remedy="run the task as root (become: true), on a kernel with the modules target_core_mod and iscsi_target_mod; without them "
            "use driver: tgt",
        ) from error


def portal_groups() -> list[Any]:
    """The rtslib TPG objects of all iSCSI targets. Empty where none is configured, without loading a module."""
    if not os.path.isdir(os.path.join(CONFIGFS, "iscsi")):
        return []
    return [tpg for target in root().targets if target.fabric_module.name == "iscsi" for tpg in target.tpgs]


def session_of(acl: Any) -> tuple[str, str, int] | None:
    """Of the initiator's newest session: its id, its address, and the number of its last response (StatSN)."""
    text = _read(os.path.join(acl.path, "info"))
    found = re.search(r"LIO Session ID:\s*(\d+)", text)
    if found is None:
        return None
    address = re.search(r"Address (\S+) ", text)
    number = _STATSN.search(text)
    return found.group(1), _plain(address.group(1)) if address else "", int(number.group(1), 16) if number else 0


def commands_of(acl: Any) -> int:
    """SCSI commands that the initiator has sent to its LUNs, over all its sessions."""
    return sum(int(_read(path) or 0) for path in glob.glob(os.path.join(glob.escape(acl.path), "lun_*/statistics/scsi_auth_intr/num_cmds")))


def octets_of(acl: Any) -> int:
    """Octets that its newest session has moved."""
    stats = os.path.join(acl.path, "fabric_statistics", "iscsi_sess_stats")
    return sum(int(_read(os.path.join(stats, name)) or 0) for name in ("rxdata_octs", "txdata_octs"))


def serving_since() -> float | None:
    """When the oldest portal was opened, in seconds of the boot-time clock; None when there is none.

    Each portal has a kernel thread ``iscsi_np``, and the kernel tells its start in ticks since boot (proc(5), stat field 22).
    A restart of the target service removes all portals and opens them again.
    """
    started = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            text = _read("/proc/%s/stat" % name)
            if "(iscsi_np)" in text:
                fields = text.rpartition(")")[2].split()
                if fields[1] == "2":  # a child of kthreadd
                    started.append(int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    return min(started, default=None)


def remove_acl(acl: Any, timeout: float, cut: Callable[[], object]) -> None:
    """Remove a node ACL, and with it its sessions; see the module's text for what is certain when this returns.

    Args:
        acl: rtslib's NodeACL.
        timeout: Seconds to wait, and once more after *cut*.
        cut: Ends the connections that may keep it waiting.

    Raises LibrehaError when it is still not gone.
    """
    path, name = acl.path, acl.node_wwn
    child = os.fork()
    if child == 0:
        code = 1
        try:
            acl.delete()
            code = 0
        finally:
            os._exit(code)
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


def cut_connections(addresses: Iterable[str], ports: Iterable[int]) -> None:
    """Have the kernel abort the TCP connections from *addresses* to the portals' *ports*. A help and no proof: errors do not matter."""
    for address in addresses:
        for port in sorted(set(ports)):
            command = ["ss", "-K", "-n", "-t", "dst", address, "sport", "=", ":%d" % port]
            try:
                subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5, check=False)
            except (OSError, subprocess.SubprocessError):
                return


def _plain(address: str) -> str:
    """Without the brackets and the port that the kernel may write around an address."""
    found = re.match(r"\[([^\]]+)\]", address)
    return found.group(1) if found else address.rpartition(":")[0] if address.count(":") == 1 else address


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return ""
