# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What preflight reads: the look that the monitor takes too, and beside it, at the same time, what is asked only once. Reads only."""

from __future__ import annotations

import glob
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from .. import clock
from ..access import HostAccess
from ..decide.observations import Observation
from ..errors import LibrehaError
from ..hypervisor.host_survey import HostSurvey, survey_host
from ..observe.cluster import observe_cluster
from ..parallel import Late, Raised, failure_of, in_parallel
from ..storage.server import ServerAccess
from .certificates import Certificate, read_bmc_certificate, read_certificate
from .on_arbiter import Arbiter, StateFile

LOOK_SECONDS = 100.0  # in which the whole look is given up; its parts have shorter limits of their own
SURVEY_FACTOR = 5  # of a host's timeout, for its survey: login, four answers and logout
DAY = 86400.0
RESOLV_CONF = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")  # the first where the second names only the local stub


@dataclass(frozen=True)
class Facts:
    """``unsurveyed``, ``uncertified`` and ``bmcs_uncertified``: host -> why. ``bmc_certificates``: of the Redfish services with TLS."""

    observation: Observation
    surveys: Mapping[str, HostSurvey]
    unsurveyed: Mapping[str, str]
    certificates: Mapping[str, Certificate]
    uncertified: Mapping[str, str]
    bmc_certificates: Mapping[str, Certificate]
    bmcs_uncertified: Mapping[str, str]
    arbiter: Arbiter


def read_facts(
    accesses: Sequence[HostAccess], servers: Sequence[ServerAccess], isolation: Sequence[str], events_after: Mapping[str, int]
) -> Facts:
    """All hosts and storage servers at the same time. Raises LibrehaError for what is nobody's but this machine's."""
    longest = max((access.connection.timeout for access in accesses), default=5.0)
    looks: dict[tuple[str, str], Callable[[], Any]] = {("look", ""): partial(observe_cluster, accesses, isolation, servers, events_after)}
    for access in accesses:
        looks["survey", access.name] = partial(survey_host, access.connection)
        looks["certificate", access.name] = partial(read_certificate, access.connection)
        for device in (device for device in access.bmc if device.driver == "redfish"):
            looks["bmc_certificate", access.name] = partial(read_bmc_certificate, device)
    outcomes = in_parallel(looks, max(LOOK_SECONDS, SURVEY_FACTOR * longest))
    look = outcomes["look", ""]
    if isinstance(look, (Late, Raised)):
        raise failure_of(look, "looking at the cluster", "arbiter")
    surveys, unsurveyed = _sorted(outcomes, "survey", "surveying the host")
    certificates, uncertified = _sorted(outcomes, "certificate", "reading its certificate")
    of_bmcs, bmcs_uncertified = _sorted(outcomes, "bmc_certificate", "reading its BMC's certificate")
    bmc_certificates = {name: found for name, found in of_bmcs.items() if found is not None}
    return Facts(look, surveys, unsurveyed, certificates, uncertified, bmc_certificates, bmcs_uncertified, read_arbiter())


def _sorted(outcomes: Mapping[tuple[str, str], Any], kind: str, tried: str) -> tuple[dict[str, Any], dict[str, str]]:
    found, failed = {}, {}
    for (what, name), outcome in outcomes.items():
        if what != kind:
            continue
        if isinstance(outcome, Raised) and isinstance(outcome.error, OSError):
            failed[name] = "%s: %s" % (tried, outcome.error)
        elif isinstance(outcome, (Late, Raised)):
            failed[name] = failure_of(outcome, tried, name).said
        else:
            found[name] = outcome
    return found, failed


def read_arbiter() -> Arbiter:
    return Arbiter(
        uuid=_line("/sys/class/dmi/id/product_uuid").lower(),
        addresses=_own_addresses(),
        name_servers=_name_servers(),
        targets=tuple(sorted({_line(path) for path in glob.glob("/sys/class/iscsi_session/*/targetname")} - {""})),
    )


def read_state_file(path: str, pattern: str) -> StateFile:
    """*path* is empty where the database is not in a file here. *pattern* names its backups; the newest one counts."""
    if not path:
        return StateFile(None)
    copies = [name for name in glob.glob(pattern) if os.path.isfile(name)]
    newest = max(copies, key=os.path.getmtime, default="")
    age = (datetime.fromisoformat(clock.now().wall).timestamp() - os.path.getmtime(newest)) / DAY if newest else None
    return StateFile(os.path.exists(path), pattern, newest, age)


def resolve_services(services: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Each service's names as addresses. Raises LibrehaError for a name that does not resolve."""
    found = {}
    for service, names in services.items():
        addresses: set[str] = set()
        for name in names:
            try:
                addresses.update(str(entry[4][0]) for entry in socket.getaddrinfo(name, None))
            except OSError as error:
                raise LibrehaError(
                    "services: %s of %s cannot be resolved: %s" % (name, service, error), remedy="give its address"
                ) from error
        found[service] = tuple(sorted(addresses))
    return found


def _own_addresses() -> tuple[str, ...]:
    """IPv4 and IPv6 addresses of this machine's interfaces, without loopback and link-local ones (proc(5), fib_trie and if_inet6)."""
    found = set()
    lines = _lines("/proc/net/fib_trie")
    for number, line in enumerate(lines[:-1]):
        if "32 host LOCAL" in lines[number + 1] and "|--" in line:
            found.add(line.split("|--")[1].strip())
    for line in _lines("/proc/net/if_inet6"):
        groups = struct.unpack(">8H", bytes.fromhex(line.split()[0]))
        found.add(str(ipaddress.IPv6Address(":".join("%x" % group for group in groups))))
    kept = [ipaddress.ip_address(text) for text in found]
    return tuple(sorted(str(one) for one in kept if not (one.is_loopback or one.is_link_local)))


def _name_servers() -> tuple[str, ...] | None:
    for path in RESOLV_CONF:
        lines = _lines(path)
        if lines:
            named = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
            return tuple(address for address in named if not address.startswith("127."))
    return None


def _line(path: str) -> str:
    return "".join(_lines(path)[:1]).strip()


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().splitlines()
    except OSError:
        return []
