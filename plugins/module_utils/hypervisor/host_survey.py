# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of a host once, before anybody relies on it: licences, privileges, autostart, clock, who else is at work there.

Two bulk reads, the host's clock and one option, whatever the number of VMs. What the host leaves out, because it has none or the user may
not read it, is None: it is not known, which is never the same as "none". Sources: vSphere Web Services API reference, LicenseManager,
AuthorizationManager, HostAutoStartManager, HostDateTimeSystem, OptionManager, SessionManager.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .. import clock
from ..decide.answers import ApiAnswer
from .entity_names import seen_name
from .interface import Connection, HostUnavailable
from .obstacle_reading import Since, known_paths
from .properties import Properties, PropertyReader
from .pyvmomi import vim
from .session import Session

HOST_PATHS = (
    "effectiveRole",
    "configManager",
    "config.dateTimeInfo",
    "config.service",
    "summary.managementServerIp",
    "summary.hardware",
)
HOST_PATHS_SINCE: Since = (((5, 1), ("config.featureCapability",)),)
VM_PATHS = ("name", "summary.config", "runtime.powerState", "guest.net", "guest.ipAddress", "snapshot")
NTP_SERVICES = ("ntpd", "ptpd")
SCRATCH = "ScratchConfig.CurrentScratchLocation"


@dataclass(frozen=True)
class Licence:
    """Never with its key. ``expires_in`` is in hours; None: it does not expire."""

    name: str
    edition: str
    expires_in: int | None = None


@dataclass(frozen=True)
class OtherSession:
    user: str
    address: str
    agent: str


@dataclass(frozen=True)
class SurveyedVm:
    name: str
    uuid: str  # BIOS UUID
    addresses: tuple[str, ...]  # that its guest tells
    snapshots: tuple[str, ...]
    running: bool = True


@dataclass(frozen=True)
class HostSurvey:
    """None: the host did not tell. ``clock_ahead`` is in seconds, to within half of ``clock_error``."""

    name: str
    clock_ahead: float | None = None
    clock_error: float = 0.0
    licences: tuple[Licence, ...] | None = None
    privileges: frozenset[str] | None = None  # that the user has on the host
    autostart: bool | None = None
    autostart_vms: tuple[str, ...] = ()  # names
    time_servers: tuple[str, ...] | None = None
    time_service_runs: bool | None = None
    vcenter: str | None = None  # the address of the one that manages the host; "": none
    sessions: tuple[OtherSession, ...] | None = None  # without this one
    scratch: str | None = None  # the folder of its logs and core dumps
    cpu: str = ""  # its model
    cpu_features: Mapping[str, str] | None = None
    vms: tuple[SurveyedVm, ...] = ()


def survey_host(connection: Connection) -> HostSurvey:
    """Log in, read, log out. Raises HostUnavailable."""
    session = Session(connection)
    session.login()
    try:
        with session.reading("surveying the host"):
            return _survey(connection.name, session)
    finally:
        session.logout()


def _survey(name: str, session: Session) -> HostSurvey:
    content = session.content
    paths = (*HOST_PATHS, *known_paths(HOST_PATHS_SINCE, str(content.about.apiVersion or "")))
    reader = PropertyReader(content)
    found = reader.inventory({"HostSystem": paths, "VirtualMachine": VM_PATHS})
    if len(found["HostSystem"]) != 1:
        text = "%d hosts are seen, and a standalone host has exactly one" % len(found["HostSystem"])
        remedy = "give the address of the host itself, not of a vCenter, and a user that may see it"
        raise HostUnavailable(text, answer=ApiAnswer.BROKEN, host=name, remedy=remedy)
    host = found["HostSystem"][0][1]
    autostart = getattr(host.get("configManager"), "autoStartManager", None)
    managers = [
        (content.licenseManager, ("licenses",)),
        (content.authorizationManager, ("roleList",)),
        (content.sessionManager, ("sessionList", "currentSession")),
        (autostart, ("config",)),
    ]
    wanted = [item for item in managers if item[0] is not None]
    answers = reader.objects(wanted)

    def of(manager: Any) -> Properties:
        return answers.get(manager._moId, {}) if manager is not None else {}

    ahead, error = _clock(session)
    names = {vm._moId: seen_name(str(properties.get("name") or "")) for vm, properties in found["VirtualMachine"]}
    enabled, starting = _autostart(of(autostart).get("config"), names)
    times = host.get("config.dateTimeInfo")
    return HostSurvey(
        name=name,
        clock_ahead=ahead,
        clock_error=error,
        licences=_licences(of(content.licenseManager).get("licenses")),
        privileges=_privileges(host.get("effectiveRole"), of(content.authorizationManager).get("roleList")),
        autostart=enabled,
        autostart_vms=starting,
        time_servers=tuple(getattr(times.ntpConfig, "server", None) or ()) if times is not None else None,
        time_service_runs=_time_service(host.get("config.service")),
        vcenter=None if "summary.hardware" not in host else str(host.get("summary.managementServerIp") or ""),
        sessions=_sessions(of(content.sessionManager)),
        scratch=_scratch(getattr(host.get("configManager"), "advancedOption", None)),
        cpu=str(getattr(host.get("summary.hardware"), "cpuModel", None) or ""),
        cpu_features=_features(host.get("config.featureCapability")),
        vms=tuple(_vm(properties) for _reference, properties in found["VirtualMachine"]),
    )


def _clock(session: Session) -> tuple[float, float]:
    """How far the host's clock is ahead of ours, and how long asking it took; seconds."""
    before = clock.now()
    theirs = vim.ServiceInstance("ServiceInstance", session.stub).CurrentTime()
    after = clock.now()
    took = after.seconds - before.seconds
    ours = datetime.fromisoformat(after.wall).timestamp() - took / 2
    return theirs.astimezone(timezone.utc).timestamp() - ours, took


def _scratch(options: Any) -> str | None:
    if options is None:
        return None
    try:
        found = {one.key: one.value for one in options.QueryOptions(SCRATCH) or ()}
    except vim.fault.InvalidName:  # ESXi before 4.0, or a product without one
        return None
    return str(found[SCRATCH]) if found.get(SCRATCH) else None


def _licences(found: Any) -> tuple[Licence, ...] | None:
    if found is None:
        return None
    licences = []
    for one in found:
        properties = {item.key: item.value for item in one.properties or ()}
        hours = properties.get("expirationHours")
        expires = int(hours) if isinstance(hours, (int, float)) and (hours or one.editionKey == "eval") else None
        licences.append(Licence(str(one.name or ""), str(one.editionKey or ""), expires))
    return tuple(licences)


def _privileges(roles: Any, known: Any) -> frozenset[str] | None:
    """The privileges of the session's roles on the host."""
    if roles is None or known is None:
        return None
    mine = [role for role in known if role.roleId in set(roles)]
    return frozenset(str(name) for role in mine for name in role.privilege or ()) if mine else None


def _autostart(config: Any, names: Mapping[str, str]) -> tuple[bool | None, tuple[str, ...]]:
    if config is None:
        return None, ()
    starting = [one for one in config.powerInfo or () if str(one.startAction or "").lower() == "poweron"]
    enabled = bool(config.defaults is not None and config.defaults.enabled)
    return enabled, tuple(sorted(names.get(one.key._moId, str(one.key._moId)) for one in starting))


def _time_service(config: Any) -> bool | None:
    if config is None:
        return None
    return any(one.running for one in config.service or () if one.key in NTP_SERVICES)


def _sessions(found: Properties) -> tuple[OtherSession, ...] | None:
    listed = found.get("sessionList")
    if listed is None:
        return None
    own = getattr(found.get("currentSession"), "key", None)
    others = [one for one in listed if one.key != own]
    return tuple(OtherSession(str(one.userName or ""), str(one.ipAddress or ""), str(one.userAgent or "")) for one in others)


def _features(found: Any) -> dict[str, str] | None:
    return {str(one.key): str(one.value) for one in found} if found else None


def _vm(properties: Properties) -> SurveyedVm:
    addresses = {str(address) for card in properties.get("guest.net") or () for address in card.ipAddress or ()}
    if properties.get("guest.ipAddress"):
        addresses.add(str(properties["guest.ipAddress"]))
    return SurveyedVm(
        name=seen_name(str(properties.get("name") or "")),
        uuid=str(getattr(properties.get("summary.config"), "uuid", None) or "").lower(),
        addresses=tuple(sorted(addresses)),
        snapshots=tuple(_snapshots(getattr(properties.get("snapshot"), "rootSnapshotList", None) or ())),
        running=str(properties.get("runtime.powerState") or "poweredOn") == "poweredOn",
    )


def _snapshots(trees: Any) -> Iterator[str]:
    for tree in trees:
        yield str(tree.name or "")
        yield from _snapshots(tree.childSnapshotList or ())
