"""An initiator that stops in the middle of its login, as one that was frozen there (RFC 7143, 11.12). It needs nothing but Python.

    half_login.py ADDRESS PORT TARGET INITIATOR

says "half way", waits for a line, goes on with the login, and says "in" or "out".
"""

from __future__ import annotations

import socket
import struct
import sys


class HalfLogin:
    """Raises OSError or AssertionError when the target does not let it begin."""

    def __init__(self, address: str, port: int, target: str, initiator: str) -> None:
        self.connection = socket.create_connection((address, port), timeout=5)
        text = "InitiatorName=%s\0TargetName=%s\0SessionType=Normal\0" % (initiator, target)
        self._send(0x04, text.encode())  # operational negotiation, no transit yet
        assert self._status() == 0, "the access check lets it begin"

    def finish(self) -> bool:
        """Complete the login; whether the target let it in."""
        try:
            self._send(0x87, b"")  # transit to the full feature phase
            return self._status() == 0
        except OSError:
            return False

    def _send(self, flags: int, data: bytes) -> None:
        header = struct.pack(">BBBBB3s6sHIHHII16x", 0x43, flags, 0, 0, 0, len(data).to_bytes(3, "big"), b"\x80\0\0\0\0\1", 0, 1, 0, 0, 1, 0)
        self.connection.sendall(header + data + b"\0" * (-len(data) % 4))

    def _status(self) -> int:
        header = self._receive(48)
        self._receive((int.from_bytes(header[5:8], "big") + 3) // 4 * 4)
        return header[36]

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.connection.recv(length - len(data))
            if not part:
                raise ConnectionResetError("closed")
            data += part
        return data


def main() -> None:
    address, port, target, initiator = sys.argv[1:]
    login = HalfLogin(address, int(port), target, initiator)
    print("half way", flush=True)
    sys.stdin.readline()
    print("in" if login.finish() else "out", flush=True)


if __name__ == "__main__":
    main()
