# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host answered, and what that is evidence of."""

from __future__ import annotations

from enum import Enum


class Evidence(str, Enum):
    """One input of the verdict table (docs/safety.md, "Evidence")."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ApiAnswer(str, Enum):
    """How the host's management API answered. All that prove a living host count as ``ok`` for the verdict, and what
    the observer itself could not ask counts as ``unknown``: silence is evidence only of a host that was asked."""

    ANSWERED = "answered"  # logged in and read
    LOGIN_REFUSED = "login_refused"  # alive; the operator's error: alarm
    CERTIFICATE_REFUSED = "certificate_refused"  # TLS answered, its certificate was not accepted: alarm
    LICENCE_REFUSED = "licence_refused"  # alive; the licence forbids the call: alarm
    REFUSED = "refused"  # TCP connection refused: the machine answers, the agent does not
    TIMED_OUT = "timed_out"  # no answer in time
    TLS_REFUSED = "tls_refused"  # TCP answers, TLS does not come about
    UNREACHABLE = "unreachable"  # nobody at that address: no ARP reply, a router's "host unreachable"
    BROKEN = "broken"  # answered with something that is not this API
    NAME_NOT_RESOLVED = "name_not_resolved"  # the observer does not know the host's address
    NO_ROUTE = "no_route"  # the observer's own network has no way to the host
    NOT_ASKED = "not_asked"  # the observer could not ask, or not make sense of the answer; api_reason says why

    @property
    def evidence(self) -> Evidence:
        if self in (ApiAnswer.ANSWERED, ApiAnswer.LOGIN_REFUSED, ApiAnswer.CERTIFICATE_REFUSED, ApiAnswer.LICENCE_REFUSED):
            return Evidence.OK
        if self in (ApiAnswer.NAME_NOT_RESOLVED, ApiAnswer.NO_ROUTE, ApiAnswer.NOT_ASKED):
            return Evidence.UNKNOWN
        return Evidence.FAILED


# A machine that gave one of these answers is alive on the network: ping is ok "on any layer".
ALIVE = (
    ApiAnswer.ANSWERED,
    ApiAnswer.LOGIN_REFUSED,
    ApiAnswer.CERTIFICATE_REFUSED,
    ApiAnswer.LICENCE_REFUSED,
    ApiAnswer.REFUSED,
    ApiAnswer.TLS_REFUSED,
    ApiAnswer.BROKEN,
)
