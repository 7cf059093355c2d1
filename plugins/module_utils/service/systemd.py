# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a service tells systemd (sd_notify(3), Type=notify), without its library: datagrams to the socket that the environment names."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Optional


class Notifier:
    """Tells systemd how the service does; without systemd it tells nobody. What systemd does not take is lost: it is never waited for."""

    def __init__(self, environment: Optional[Mapping[str, str]] = None) -> None:
        self._address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._status = ""

    def ready(self) -> None:
        self._send("READY=1")

    def alive(self) -> None:
        """Once in WatchdogSec at least, or systemd ends the service and starts it anew."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """For people, in ``systemctl status``; said when it changes."""
        if text != self._status:
            self._status = text
            self._send("STATUS=%s" % " ".join(text.split()))

    def reloading(self) -> None:
        """READY=1 must follow."""
        self._send("RELOADING=1\nMONOTONIC_USEC=%d" % (time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6))

    def stopping(self, text: str) -> None:
        self._send("STOPPING=1")
        self.status(text)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), address)
