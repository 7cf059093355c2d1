# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resident monitor's socket: one JSON object a line in each direction. It only answers; whoever wants something done gives a command.

Who may ask is what the socket's owner, group and mode (0660) say. An asker that is slow or says nonsense costs itself only.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from ..errors import LibrehaError, unexpected

Answer = Callable[[], dict[str, Any]]
TIMEOUT = 5.0  # s in which an asker must ask
LONGEST = 1 << 16  # bytes of a request
MODE = 0o660


class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers at *path* until it is closed. *answers* maps a request's name to what gives the answer, in a thread of the listener.

    Raises LibrehaError when the socket cannot be made there, or another monitor answers there.
    """

    daemon_threads = True

    def __init__(self, path: str, answers: dict[str, Answer]) -> None:
        self.answers = answers
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

    def answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = str(request["request"])
        except (ValueError, TypeError, KeyError):
            return {"error": 'no request; ask with one line such as {"request": "status"}'}
        if name not in self.answers:
            return {"error": "unknown request %s; there are %s" % (name, ", ".join(sorted(self.answers)))}
        try:
            return self.answers[name]()
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
            self.wfile.write(json.dumps(self.server.answer(line)).encode() + b"\n")


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
