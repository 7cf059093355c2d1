# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resident monitor's socket: one JSON object a line in each direction. It only answers; whoever wants something done gives a command.
What it takes is what the record cannot have: a secret, and the wish that it steps down.

Who may ask is what the socket's owner, group and mode (0660) say; who may hand something over is root and the monitor's own user, by the
kernel's word. An asker that is slow or says nonsense costs itself only. No request is logged.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ..errors import LibrehaError, unexpected

Answer = Callable[[], dict[str, Any]]
Taker = Callable[[Mapping[str, Any]], dict[str, Any]]
TIMEOUT = 5.0  # s in which an asker must ask
LONGEST = 1 << 16  # bytes of a request
MODE = 0o660


class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers at *path* until it is closed. *answers* maps a request's name to what gives the answer, in a thread of the listener;
    *takers* does so for requests that hand something over: each gets the request, and raises LibrehaError to refuse it.

    Raises LibrehaError when the socket cannot be made there, or another monitor answers there.
    """

    daemon_threads = True

    def __init__(self, path: str, answers: Mapping[str, Answer], takers: Optional[Mapping[str, Taker]] = None) -> None:
        self.answers = answers
        self.takers = takers or {}
        self._path = path
        _remove_dead(path)
        before = os.umask(0o777 & ~MODE)  # no moment in which others may ask; no other thread makes files yet
        try:
            super().__init__(path, _Asked)
        except OSError as error:
            raise LibrehaError(
                "the socket %s cannot be made: %s" % (path, error.strerror),
                remedy="make its folder (RuntimeDirectory=), or name another in socket",
            ) from error
        finally:
            os.umask(before)
        self._inode = os.stat(path).st_ino
        threading.Thread(target=self.serve_forever, name="socket", daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An asker that went away is no news."""

    def answer(self, line: bytes, user: int) -> dict[str, Any]:
        """The answer to *line* of the user with the id *user*."""
        try:
            request = json.loads(line)
            name = str(request["request"])
        except (ValueError, TypeError, KeyError):
            return {"error": 'no request; ask with one line such as {"request": "status"}'}
        if name not in self.answers and name not in self.takers:
            return {"error": "unknown request %s; there are %s" % (name, ", ".join(sorted({*self.answers, *self.takers})))}
        if name in self.takers and user not in (0, os.getuid()):
            return {"error": "%s is heard from root only" % name}
        try:
            return self.takers[name](request) if name in self.takers else self.answers[name]()
        except LibrehaError as error:
            return {"error": str(error)}
        except Exception as error:  # a defect of this answer must not cost the monitor anything, and the asker should see it
            return {"error": unexpected(error)}


class _Asked(socketserver.StreamRequestHandler):
    timeout = TIMEOUT
    server: Listener

    def handle(self) -> None:
        while True:
            line = self.rfile.readline(LONGEST)
            if not line.endswith(b"\n"):
                return
            self.wfile.write(json.dumps(self.server.answer(line, _user_of(self.connection))).encode() + b"\n")


def _user_of(connection: socket.socket) -> int:
    """The id of the user at the other end, as the kernel has it (unix(7), SO_PEERCRED)."""
    _pid, user, _group = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(user)


def _remove_dead(path: str) -> None:
    """Remove the socket of a monitor that was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:  # the bind says what is wrong
            return
    raise LibrehaError("another monitor answers at %s" % path, remedy="stop it first: systemctl stop libreha-monitor")
