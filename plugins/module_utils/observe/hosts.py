# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at all hosts: API, ping and power devices of every host at the same time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .. import clock
from ..access import HostAccess
from ..decide.answers import ALIVE, ApiAnswer, Evidence
from ..decide.machine import Machine
from ..decide.observations import HostObservation, IsolationProbe, Power
from ..errors import LibrehaError
from ..fence.interface import PowerDevice
from ..fence.levels import Reading, cannot_prove_off, combine, read_device
from ..fence.registry import open_power_fence
from ..hypervisor.interface import Connection, HostUnavailable
from ..hypervisor.sessions import HostSessions
from ..instant import Instant
from ..parallel import Late, Outcome, Raised, StillWaiting
from ..stall_detector import LATE, StallDetector
from .ping import ping, probe_isolation, resolve
from .pools import Pools


def observe_hosts(
    accesses: Sequence[HostAccess], isolation_addresses: Sequence[str], taken_at: Instant, pools: Pools | None = None
) -> tuple[list[HostObservation], list[IsolationProbe]]:
    """Every host's observation in the order of *accesses*, and what the isolation addresses answered. Whatever a host
    does or does not answer is in its observation; only what no host can be blamed for is raised (LibrehaError). Without *pools*, all is
    ended with this look."""
    if pools is None:
        with Pools() as own:
            return observe_hosts(accesses, isolation_addresses, taken_at, own)
    looks: dict[tuple[str, str], Callable[[], Any]] = {}
    for access in accesses:
        connection = access.connection
        looks["name", access.name] = partial(look_up, connection)
        looks["api", access.name] = partial(_read_health, pools.sessions, connection)
        looks["ping", access.name] = partial(ping, connection.hostname, connection.port, connection.timeout)
        for number, device in enumerate(access.bmc):
            looks["power %d" % number, access.name] = partial(read_power, device)
    if isolation_addresses:
        looks["isolation", ""] = partial(probe_isolation, isolation_addresses, longest_timeout(accesses))
    with StallDetector() as stall_detector:
        outcomes = pools.workers.ask(looks, whole_look(accesses))
        delay = stall_detector.reason
    for access in accesses:
        if isinstance(outcomes["api", access.name], Late):  # so that the next look can ask anew
            pools.sessions.cut_off(access.connection)
    observations = [observation_of(access, outcomes, taken_at, delay, delay) for access in accesses]
    return observations, isolation_of(outcomes.get(("isolation", ""), []), isolation_addresses)


def isolation_of(outcome: Any, addresses: Sequence[str]) -> list[IsolationProbe]:
    if isinstance(outcome, Late) or (isinstance(outcome, Raised) and isinstance(outcome.error, StillWaiting)):
        return [IsolationProbe(address, False) for address in addresses]
    if isinstance(outcome, Raised):
        raise outcome.error
    probes: list[IsolationProbe] = outcome
    return probes


def whole_look(accesses: Sequence[HostAccess]) -> float:
    """Seconds for everything together: a silent host takes one timeout, one that answers slowly is cut off after two."""
    return 2 * longest_timeout(accesses) + 0.5


def longest_timeout(accesses: Sequence[HostAccess]) -> float:
    return max((access.connection.timeout for access in accesses), default=Connection.timeout)


def unavailable(outcome: Outcome[Any], name: str) -> tuple[ApiAnswer, str] | None:
    """How a host's API look failed, or None where it did not. Raises what is no host's fault."""
    if isinstance(outcome, Late):
        return ApiAnswer.TIMED_OUT, "%s answers too slowly: not read within %g s" % (name, outcome.after)
    if not isinstance(outcome, Raised):
        return None
    error = outcome.error
    if isinstance(error, HostUnavailable):
        return error.answer, str(error)
    if isinstance(error, StillWaiting):
        return ApiAnswer.NOT_ASKED, "%s: %s" % (name, error)
    if isinstance(error, LibrehaError):
        raise error
    # One host's strange answer must not blind us to the others. That we fail at it proves nothing against the host.
    return ApiAnswer.NOT_ASKED, "%s: unexpected %s: %s" % (name, type(error).__name__, error)


def look_up(connection: Connection) -> float:
    """Seconds that resolving the name takes."""
    began = clock.now().seconds
    resolve(connection.proxy_host or connection.hostname, connection.port)
    return clock.now().seconds - began


def _read_health(sessions: HostSessions, connection: Connection) -> HostObservation:
    return sessions.ask(connection, lambda host: host.health())


def read_power(device: PowerDevice) -> Reading:
    return read_device(open_power_fence(device))


def observation_of(
    access: HostAccess, outcomes: Mapping[tuple[str, str], Any], taken_at: Instant, delay: str, ping_delay: str
) -> HostObservation:
    """One host out of what became of asking it: *outcomes* by path (api, name, ping, "power 0" and so on) and host.

    *delay* and *ping_delay*: why silence of its API, and of its address, is none of the host's (StallDetector.reason)."""
    name = access.name
    api = outcomes["api", name]
    failed = _not_asked(api, outcomes["name", name], name, delay) or unavailable(api, name)
    seen = HostObservation(name, taken_at, api_answer=failed[0], api_reason=failed[1]) if failed is not None else api
    answered, reason = _pinged(outcomes["ping", name])
    if answered is Evidence.FAILED and ping_delay:
        answered, reason = Evidence.UNKNOWN, "%s; %s" % (reason, ping_delay)
    if answered is not Evidence.OK and seen.api_answer in ALIVE and access.connection.proxy_host is None:
        answered, reason = Evidence.OK, "TCP port %d answered the API's connection (%s)" % (access.connection.port, reason)
    readings = [_reading(device, outcomes["power %d" % number, name]) for number, device in enumerate(access.bmc)]
    power, power_reason = combine(readings) if readings else (Power.UNKNOWN, "no BMC is configured")
    return dataclasses.replace(
        seen,
        taken_at=taken_at,
        ping=answered,
        ping_reason=reason,
        power=power,
        power_reason=power_reason,
        has_bmc=bool(readings),
        proves_no_off=cannot_prove_off(access.bmc),
        behind_bmc=tuple(reading.machine for reading in readings if reading.machine != Machine()),
    )


def _not_asked(api: Any, looked_up: Any, name: str, delay: str) -> tuple[ApiAnswer, str] | None:
    """The API's answer where its failure may be this machine's own: it was late itself, or its name service is slow."""
    refused = isinstance(api, Raised) and isinstance(api.error, HostUnavailable) and api.error.answer.evidence is Evidence.FAILED
    if delay and (refused or isinstance(api, Late)):
        return ApiAnswer.NOT_ASKED, "%s did not answer as it should, but %s" % (name, delay)
    if isinstance(api, Late) and (isinstance(looked_up, Late) or (isinstance(looked_up, float) and looked_up > LATE)):
        took = looked_up.after if isinstance(looked_up, Late) else looked_up
        return ApiAnswer.NAME_NOT_RESOLVED, "%s was not read within %g s: the name service alone took %.1f s" % (name, api.after, took)
    return None


def _pinged(outcome: Any) -> tuple[Evidence, str]:
    if isinstance(outcome, Late):
        return Evidence.UNKNOWN, "the probes did not return within %g s" % outcome.after
    if isinstance(outcome, Raised):
        return Evidence.UNKNOWN, "not tried: %s" % outcome.error
    return outcome[0], outcome[1]


def _reading(device: PowerDevice, outcome: Any) -> Reading:
    if isinstance(outcome, Late):
        return Reading(device, error=LibrehaError("%s did not answer within %g s" % (device.text, outcome.after)))
    if isinstance(outcome, Raised):  # one device's strange answer must not blind us to the others
        text = "%s: unexpected %s: %s" % (device.text, type(outcome.error).__name__, outcome.error)
        return Reading(device, error=LibrehaError(text))
    reading: Reading = outcome
    return reading
