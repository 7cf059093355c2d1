# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layers on which an address can answer: TCP, ICMP echo, ARP.

Each probe gives an answer, silence, or says why it was not really tried. Only a probe that was really sent counts as
silence: a missing permission or a missing route is the observer's lack, not the host's.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .. import clock
from ..network import Failure, by_own_routes, failure_of

try:
    import icmplib
except ImportError:
    icmplib = None

ARP_REQUEST, ARP_REPLY = 1, 2
ARP_AGAIN_SECONDS = 1.0
ROUTES = "/proc/thread-self/net/route"  # proc(5): /proc/net is the whole process's
ETHERNET = 1  # ARPHRD_ETHER
ETH_P_ARP = 0x0806


class Heard(str, Enum):
    ANSWER = "answer"
    SILENCE = "silence"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Probe:
    heard: Heard
    text: str  # which layer and what came back, or why it was not tried


def tcp(address: str, family: int, port: int, timeout: float) -> Probe:
    """A connection and a refusal both prove a living network stack."""
    layer = "TCP port %d" % port
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect((address, port))
            return Probe(Heard.ANSWER, "%s connected" % layer)
        except (socket.timeout, TimeoutError):
            return Probe(Heard.SILENCE, "%s silent" % layer)
        except OSError as given:
            error = by_own_routes(given, family, address)
            failure = failure_of(error)
            if failure is Failure.ANSWERED:
                return Probe(Heard.ANSWER, "%s refused the connection" % layer)
            heard = Heard.SILENCE if failure is Failure.SILENT else Heard.NOT_TRIED
            return Probe(heard, "%s: %s" % (layer, error.strerror or error))


def icmp(address: str, family: int, timeout: float) -> Probe:
    """Two echo requests. As root on a raw socket, else on the datagram socket that net.ipv4.ping_group_range allows."""
    if icmplib is None:
        return Probe(Heard.NOT_TRIED, "ICMP not tried: the Python library icmplib is not installed")
    kind = icmplib.ICMPv6Socket if family == socket.AF_INET6 else icmplib.ICMPv4Socket
    identifier = secrets.randbelow(1 << 16)
    try:
        with _icmp_socket(kind) as probe:
            for sequence in range(2):
                request = icmplib.ICMPRequest(destination=address, id=identifier, sequence=sequence)
                probe.send(request)
                try:
                    reply = probe.receive(request, timeout / 2)
                    reply.raise_for_status()  # a router's "unreachable" is no answer of the host
                    return Probe(Heard.ANSWER, "ICMP echo answered")
                except (icmplib.TimeoutExceeded, icmplib.ICMPError):
                    continue
            return Probe(Heard.SILENCE, "ICMP silent")
    except icmplib.SocketPermissionError:
        return Probe(Heard.NOT_TRIED, "ICMP not tried: no permission (root, or net.ipv4.ping_group_range)")
    except (icmplib.ICMPLibError, OSError) as error:
        return Probe(Heard.NOT_TRIED, "ICMP not tried: %s" % error)


def _icmp_socket(kind: type) -> Any:
    try:
        return kind(privileged=True)
    except icmplib.SocketPermissionError:
        return kind(privileged=False)


def arp(address: str, family: int, timeout: float) -> Probe:
    """Who has the address? Asked only where the address is on one of this machine's own Ethernet segments."""
    if family != socket.AF_INET:
        return Probe(Heard.NOT_TRIED, "ARP not tried: not an IPv4 address")
    link = on_link(address)
    if link is None:
        return Probe(Heard.NOT_TRIED, "ARP not tried: %s is not on a local segment" % address)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as probe:
            probe.bind((link, ETH_P_ARP))
            _name, _protocol, _kind, hardware, own = probe.getsockname()
            if hardware != ETHERNET:
                return Probe(Heard.NOT_TRIED, "ARP not tried: %s is no Ethernet" % link)
            return _who_has(probe, own, address, timeout)
    except PermissionError:
        return Probe(Heard.NOT_TRIED, "ARP not tried: no permission (root or CAP_NET_RAW)")
    except OSError as error:
        return Probe(Heard.NOT_TRIED, "ARP not tried: %s" % (error.strerror or error))


def _who_has(probe: socket.socket, own: bytes, address: str, timeout: float) -> Probe:
    wanted = socket.inet_aton(address)
    # An ordinary question with our own address, as the kernel sends it: some hosts ignore one without a sender.
    request = b"\xff" * 6 + own + struct.pack("!HHHBBH", ETH_P_ARP, ETHERNET, 0x0800, 6, 4, ARP_REQUEST)
    request += own + source_address(address) + b"\0" * 6 + wanted
    deadline = clock.now().seconds + timeout
    again = 0.0
    while True:
        now = clock.now().seconds
        if now >= deadline:
            return Probe(Heard.SILENCE, "ARP silent")
        if now >= again:
            probe.send(request)
            again = now + ARP_AGAIN_SECONDS
        probe.settimeout(max(min(deadline, again) - now, 0.001))
        try:
            packet = probe.recv(2048)
        except (socket.timeout, TimeoutError):
            continue
        if len(packet) >= 42 and packet[20:22] == struct.pack("!H", ARP_REPLY) and packet[28:32] == wanted:
            return Probe(Heard.ANSWER, "ARP answered from %s" % ":".join("%02x" % byte for byte in packet[22:28]))


def source_address(address: str) -> bytes:
    """The address that this machine would send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((address, 9))
        return socket.inet_aton(route.getsockname()[0])


def on_link(address: str) -> str | None:
    """The interface on whose segment the address lies, or None: behind a router, or this machine's own."""
    if not os.path.exists(ROUTES) or _own(address):
        return None
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    best: tuple[int, int, str, int] | None = None
    with open(ROUTES, encoding="ascii") as routes:
        for line in list(routes)[1:]:
            fields = line.split()
            network, gateway, metric, mask = int(fields[1], 16), int(fields[2], 16), int(fields[6]), int(fields[7], 16)
            if number & mask == network:
                candidate = (bin(mask).count("1"), -metric, fields[0], gateway)
                best = max(best, candidate) if best is not None else candidate
    return best[2] if best is not None and best[3] == 0 else None


def _own(address: str) -> bool:
    """An address of this machine's can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
            return True
        except OSError:
            return False
