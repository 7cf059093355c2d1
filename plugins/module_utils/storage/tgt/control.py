# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask tgtd on its control socket, as tgtadm(8) does.

Why not run tgtadm itself: a child process would outlive the deadline of the act (lease/deadman.py: a child has no timer
of its own and, frozen and woken, would still deliver its request), and tgtadm takes a CHAP secret only on its command
line, where every user of the machine reads it. The request is one C structure, ``struct tgtadm_req`` of tgt's
usr/tgtadm.h, unchanged since 2008 and the same in tgt 1.0.85 and 1.0.97; its length is checked by tgtd, so another
layout is an error and nothing worse.

tgtd answers only a process of its own user and group (``ipc_perm`` in usr/mgmt.c), which is root.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from ...errors import LibrehaError

_REQUEST = struct.Struct("@ii64sIiQQIIIIII")
_ANSWER = struct.Struct("@II")
NO_TARGET = -1


class Op(IntEnum):
    NEW = 0
    DELETE = 1
    SHOW = 2
    BIND = 3
    UNBIND = 4
    UPDATE = 5
    STATS = 6


class Mode(IntEnum):
    SYSTEM = 0
    TARGET = 1
    DEVICE = 2
    PORTAL = 3
    LLD = 4
    SESSION = 5
    CONNECTION = 6
    ACCOUNT = 7


class Code(IntEnum):
    """Answers that are told apart (usr/tgtadm_error.h); the text is tgtadm's."""

    SUCCESS = 0
    NO_TARGET = 4
    NO_SESSION = 6
    NO_CONNECTION = 7
    ACL_EXIST = 12
    ACL_NOEXIST = 13
    USER_EXIST = 14
    NO_USER = 15


@dataclass(frozen=True)
class Answer:
    code: int
    text: str
    pid: int  # the daemon that answered, as the kernel tells it


class NotServing(LibrehaError):
    """There is no daemon at the control socket: the target service is down. One that hangs is another error."""


class Control:
    """The control socket of one tgtd.

    Args:
        port: tgtd's control port (``tgtd -C``), 0 for the machine's ordinary one.
        timeout: Seconds for each request.
    """

    def __init__(self, port: int = 0, timeout: float = 5.0) -> None:
        self.port = port
        self.timeout = timeout

    @property
    def path(self) -> str:
        return "%s.%d" % (os.environ.get("TGT_IPC_SOCKET") or "/var/run/tgtd/socket", self.port)

    def ask(
        self,
        mode: Mode,
        op: Op,
        *,
        tid: int = NO_TARGET,
        sid: int = 0,
        cid: int = 0,
        lun: int = 0,
        lld: str = "iscsi",
        parameters: str = "",
    ) -> Answer:
        """Send one request, read its whole answer. *parameters* may hold a secret and is in no error's text.

        Raises NotServing when there is no daemon, another LibrehaError when it cannot be asked. An error code of the
        daemon is returned, not raised.
        """
        payload = parameters.encode() + b"\0" if parameters else b""
        request = _REQUEST.pack(mode, op, lld.encode(), _REQUEST.size + len(payload), tid, sid, lun, cid, 0, 0, 0, 0, 0)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(self.path)
                pid, _uid, _gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                connection.sendall(request + payload)
                code, length = _ANSWER.unpack(self._read(connection, _ANSWER.size))
                text = self._read(connection, length - _ANSWER.size).decode(errors="replace")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotServing(
                "tgtd is not running: nothing answers at its control socket %s (%s)" % (self.path, error.strerror),
                remedy="start it (systemctl start tgt), or set control_port if tgtd was started with -C",
            ) from error
        except PermissionError as error:
            raise LibrehaError(
                "tgtd's control socket %s may not be opened (%s)" % (self.path, error.strerror),
                remedy="run the task as root (become: true)",
            ) from error
        except (OSError, struct.error) as error:
            raise LibrehaError(
                "tgtd did not answer at %s within %.0f s (%s)" % (self.path, self.timeout, error),
                remedy="see whether tgtd hangs (its log, its disk), and run the task as root (become: true)",
            ) from error
        return Answer(code, text.rstrip("\0"), pid)

    def must(self, act: str, answer: Answer, *allowed: Code) -> Answer:
        """*answer*, or LibrehaError naming the *act* when its code is neither success nor one of *allowed*."""
        if answer.code not in (Code.SUCCESS, *allowed):
            name = {code.value: code.name for code in Code}.get(answer.code, "")
            raise LibrehaError(
                "tgtd refused to %s: error %d %s" % (act, answer.code, name.lower().replace("_", " ")),
                remedy="compare with `tgtadm -C %d --op show --mode target` and tgtd's log" % self.port,
            )
        return answer

    @staticmethod
    def _read(connection: socket.socket, length: int) -> bytes:
        parts = []
        while length > 0:
            part = connection.recv(min(length, 1 << 16))
            if not part:
                raise ConnectionResetError("the daemon closed the connection in the middle of its answer")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
