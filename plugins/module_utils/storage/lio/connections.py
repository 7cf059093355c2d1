# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What TCP knows about the kernel target's connections: octets received from each initiator's address.

LIO counts commands and data, but not the NOPs that an idle initiator sends or answers, and these are a sign of life too
(docs/safety.md, "Evidence"). The kernel's socket statistics (sock_diag(7), struct tcp_info since Linux 4.1) count every octet. They are
asked for over netlink, as ss(8) does, and only read.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections import Counter

from ...addresses import same_address
from ...errors import LibrehaError

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_DONE, _ERROR = 3, 2
_ESTABLISHED = 1
_INET_DIAG_INFO = 2
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI2s2s16s16sIII")  # struct inet_diag_req_v2 (include/uapi/linux/inet_diag.h)
_MESSAGE = struct.Struct("=BBBB2s2s16s16sIIIIIIII")  # struct inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
_BYTES_RECEIVED = 128  # offset of tcpi_bytes_received in struct tcp_info (include/uapi/linux/tcp.h)


def octets_received(portals: set[int]) -> dict[str, int]:
    """Peer's address -> octets received on its established connections to the local ports *portals*.

    Raises LibrehaError when the kernel does not tell."""
    found: Counter[str] = Counter()
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port, peer, octets in _connections(family):
                if port in portals:
                    found[peer] += octets
    except (OSError, struct.error) as error:
        raise LibrehaError(
            "the kernel does not tell what its connections received (sock_diag): %s" % error,
            remedy="load the module tcp_diag, and run the task as root (become: true)",
        ) from error
    return dict(found)


def _connections(family: int) -> list[tuple[int, str, int]]:
    """(own port, peer's address, octets received) of all established TCP connections of an address family."""
    body = _REQUEST.pack(
        family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, 1 << _ESTABLISHED, b"\0\0", b"\0\0", b"", b"", 0, 0xFFFFFFFF, 0xFFFFFFFF
    )
    found: list[tuple[int, str, int]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(5)
        netlink.sendall(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
        while True:
            answer = netlink.recv(1 << 17)
            while answer:
                length, kind, _flags, _number, _port = _HEADER.unpack_from(answer)
                message, answer = answer[_HEADER.size : length], answer[(length + 3) & ~3 :]
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", message)[0], os.strerror(-struct.unpack_from("=i", message)[0]))
                found.append(_connection(message))


def _connection(message: bytes) -> tuple[int, str, int]:
    fields = _MESSAGE.unpack_from(message)
    packed = fields[7][:4] if fields[0] == socket.AF_INET else fields[7]
    octets, rest = 0, message[_MESSAGE.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _BYTES_RECEIVED + 8:
            octets = struct.unpack_from("=Q", rest, _ATTRIBUTE.size + _BYTES_RECEIVED)[0]
        rest = rest[max(_ATTRIBUTE.size, (length + 3) & ~3) :]
    return int.from_bytes(fields[4], "big"), same_address(str(ipaddress.ip_address(packed))), octets
