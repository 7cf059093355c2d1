# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The TCP connections of the tgtd process as the kernel has them, and how to cut one.

tgtd lists a connection only when its login is complete, but looks at the access list only at the login's *first*
request (``login_start`` in usr/iscsi/iscsid.c; ``login_finish`` does not look again). So an initiator that was frozen
in the middle of its login is in no list, and would be let in when it wakes, however long after its right was taken.
The kernel knows its connection, and can end it from outside: the socket is fetched from the process with
pidfd_getfd(2) (Linux 5.6) and shut down; tgtd then reads end of file and forgets the login.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import socket
import struct
from dataclasses import dataclass

from ...addresses import same_address
from ...errors import LibrehaError

_PIDFD_GETFD = 438  # one number on every architecture (Linux 5.6)
_LISTEN = "0A"
_SOCKET = re.compile(r"^socket:\[(\d+)\]$")


@dataclass(frozen=True)
class DaemonConnection:
    """A connection that tgtd accepted. ``inode`` names this very socket for as long as it exists."""

    inode: int
    peer: str
    port: int

    def __str__(self) -> str:
        return "%s port %d" % (self.peer, self.port)


def accepted(pid: int) -> list[DaemonConnection]:
    """The accepted TCP connections of process *pid*, in its own network namespace. Raises LibrehaError when /proc
    does not tell (then nothing can be said about logins under way)."""
    try:
        inodes = set(_socket_descriptors(pid))
        rows = [row for table in ("tcp", "tcp6") for row in _table(pid, table) if row[4] in inodes]
    except (OSError, ValueError) as error:
        raise LibrehaError(
            "cannot read the connections of tgtd (process %d) from /proc: %s" % (pid, error),
            remedy="run the task as root (become: true)",
        ) from error
    ports = {port for _peer, _peer_port, port, state, _inode in rows if state == _LISTEN}
    return [DaemonConnection(inode, peer, peer_port) for peer, peer_port, port, state, inode in rows if state != _LISTEN and port in ports]


def cut(pid: int, connections: list[DaemonConnection]) -> int:
    """Shut these connections of process *pid* down, both ways; how many were still there. Raises LibrehaError."""
    ended = 0
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    except (AttributeError, OSError) as error:
        raise _cannot_cut(error) from error
    try:
        descriptors = _socket_descriptors(pid)
        for connection in connections:
            if connection.inode in descriptors:
                ended += _shut(process, descriptors[connection.inode], connection.inode)
    except OSError as error:
        raise _cannot_cut(error) from error
    finally:
        os.close(process)
    return ended


def _shut(process: int, descriptor: int, inode: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    copy = libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    if copy < 0:
        code = ctypes.get_errno()
        if code in (3, 9):  # ESRCH, EBADF: gone meanwhile
            return 0
        raise OSError(code, os.strerror(code))
    with socket.socket(fileno=copy) as connection:
        if os.fstat(copy).st_ino != inode:  # the number was used again meanwhile
            return 0
        with contextlib.suppress(OSError):  # not connected any more
            connection.shutdown(socket.SHUT_RDWR)
    return 1


def _cannot_cut(error: Exception) -> LibrehaError:
    return LibrehaError(
        "cannot end a connection of tgtd through the kernel (pidfd_getfd): %s" % error,
        remedy="run as root on Linux 5.6 or newer with Python 3.9 or newer, or restart tgtd: that ends every login under way",
    )


def _socket_descriptors(pid: int) -> dict[int, int]:
    """Socket inode -> file descriptor in the process."""
    found = {}
    folder = "/proc/%d/fd" % pid
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            match = _SOCKET.match(os.readlink("%s/%s" % (folder, name)))
            if match:
                found[int(match.group(1))] = int(name)
    return found


def _table(pid: int, name: str) -> list[tuple[str, int, int, str, int]]:
    """Rows of proc(5) net/tcp as (peer, peer's port, own port, state, inode)."""
    rows = []
    try:
        with open("/proc/%d/net/%s" % (pid, name), encoding="ascii") as table:
            lines = table.read().splitlines()[1:]
    except FileNotFoundError:  # no IPv6
        return []
    for line in lines:
        fields = line.split()
        own, peer = fields[1].rsplit(":", 1), fields[2].rsplit(":", 1)
        rows.append((_address(peer[0]), int(peer[1], 16), int(own[1], 16), fields[3], int(fields[9])))
    return rows


def _address(text: str) -> str:
    """The kernel prints 32-bit words in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    return same_address(str(ipaddress.ip_address(packed)))
