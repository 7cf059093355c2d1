# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a connection failed: the other end answered, it stayed silent, or this machine could not ask it at all.

Only silence of an end that was really asked is evidence against it. So only errors that are known to mean silence do, and
whatever else a system call fails with is this machine's own lack: no route, no permission, no file descriptor left.
(connect(2), tcp(7), icmp(7); which ICMP message becomes which error: ``icmp_err_convert`` in net/ipv4/icmp.c.)
"""

from __future__ import annotations

import errno
import socket
from enum import Enum

#: No ARP or neighbour reply, or a router that says so of the host; and no answer in time.
SILENCE = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)
#: This machine's routes, addresses or packet filter do not let it send, or no router on the way knows the network.
NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EAFNOSUPPORT)


class Failure(Enum):
    ANSWERED = "answered"  # with a refusal, or by cutting the connection
    SILENT = "silent"
    NO_ROUTE = "no route"  # nothing was sent: this machine's own network
    NOT_SENT = "not sent"  # nothing was sent: this machine lacks something else


def failure_of(error: OSError) -> Failure:
    """What *error*, which a socket gave while connecting or exchanging data, says."""
    if isinstance(error, ConnectionError):
        return Failure.ANSWERED
    if isinstance(error, (socket.timeout, TimeoutError)) or error.errno in SILENCE:
        return Failure.SILENT
    return Failure.NO_ROUTE if error.errno in NO_ROUTE else Failure.NOT_SENT


def by_own_routes(error: OSError, family: int, address: str) -> OSError:
    """*error*, or ENETUNREACH in its place where this machine's own routing table made it.

    A route of type ``unreachable`` gives the same EHOSTUNREACH as a neighbour that does not answer. Connecting a datagram
    socket looks the route up and sends nothing."""
    if error.errno != errno.EHOSTUNREACH:
        return error
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as route:
            route.connect((address, 9))
    except OSError as own:
        return OSError(errno.ENETUNREACH, "this machine's own routes: %s" % (own.strerror or own))
    return error


def most_telling(errors: list[OSError]) -> OSError:
    """Of the failures at several addresses of one name: an answer before silence, and silence before what was not asked."""
    order = list(Failure)
    return min(errors, key=lambda error: order.index(failure_of(error)))
