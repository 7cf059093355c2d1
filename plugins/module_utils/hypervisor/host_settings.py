# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that a cluster wants alike on its hosts: autostart, NTP, advanced options, path policies.

Sources: vSphere Web Services API reference, HostAutoStartManager, HostDateTimeSystem, HostServiceSystem, OptionManager, HostStorageSystem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..decide.observations import Lun
from .pyvmomi import vim
from .setup import HostSetup
from .storage_paths import luns_of_disks

NTP_SERVICE = "ntpd"
ROUND_ROBIN = "VMW_PSP_RR"


@dataclass(frozen=True)
class PathPolicy:
    unit: str  # by which the host knows the LUN's paths
    policy: str  # "VMW_PSP_FIXED"


@dataclass(frozen=True)
class Settings:
    """As they are. An advanced option that the host does not have is missing."""

    autostart: bool
    ntp_servers: tuple[str, ...]
    ntp_policy: str  # "on": starts with the host
    ntp_runs: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    path_policies: Mapping[str, PathPolicy] = field(default_factory=dict)  # by disk


class HostSettings:
    """Those of the host that *setup* is logged in to."""

    def __init__(self, setup: HostSetup) -> None:
        self._setup = setup
        self._autostart = setup.manager("autoStartManager")
        self._clock = setup.manager("dateTimeSystem")
        self._services = setup.manager("serviceSystem")
        self._options = setup.manager("advancedOption")
        self._storage = setup.manager("storageSystem")

    def read(self, options: Iterable[str], targets: frozenset[str]) -> Settings:
        """*options* are keys; path policies are read of the LUNs of *targets*. Four round trips, and one for each option."""
        defaults = self._setup.read(self._autostart, "config").defaults
        ntp = self._setup.read(self._clock, "dateTimeInfo").ntpConfig
        service = next((one for one in self._setup.read(self._services, "serviceInfo").service or () if one.key == NTP_SERVICE), None)
        return Settings(
            autostart=bool(defaults is not None and defaults.enabled),
            ntp_servers=tuple(getattr(ntp, "server", None) or ()),
            ntp_policy=service.policy if service is not None else "",
            ntp_runs=bool(service is not None and service.running),
            options=dict(found for key in options for found in self._option(key)),
            path_policies=_path_policies(self._setup.read(self._storage, "storageDeviceInfo"), targets),
        )

    def _option(self, key: str) -> list[tuple[str, Any]]:
        with self._setup.session.reading("reading the option %s" % key):
            try:
                found = self._options.QueryOptions(key) or ()
            except vim.fault.InvalidName:
                return []
        return [(one.key, one.value) for one in found if one.key == key]  # it answers for all that begin so

    def set_autostart(self, enabled: bool) -> None:
        """For the whole host; which VMs would start, and in which order, stays."""
        spec = vim.host.AutoStartManager.Config(defaults=vim.host.AutoStartManager.SystemDefaults(enabled=enabled))
        self._change("setting autostart", lambda: self._autostart.ReconfigureAutostart(spec))

    def set_ntp_servers(self, servers: Iterable[str]) -> None:
        config = vim.host.DateTimeConfig(ntpConfig=vim.host.NtpConfig(server=list(servers)))
        self._change("setting the NTP servers", lambda: self._clock.UpdateDateTimeConfig(config))
        self._change("restarting %s" % NTP_SERVICE, lambda: self._services.RestartService(NTP_SERVICE))

    def start_ntp(self) -> None:
        self._change("letting %s start with the host" % NTP_SERVICE, lambda: self._services.UpdateServicePolicy(NTP_SERVICE, "on"))
        self._change("starting %s" % NTP_SERVICE, lambda: self._services.StartService(NTP_SERVICE))

    def set_option(self, key: str, value: Any) -> None:
        """*value* is of the type that the host has: it refuses a short number where it has a long one."""
        changed = [vim.option.OptionValue(key=key, value=value)]
        self._change("setting the option %s" % key, lambda: self._options.UpdateOptions(changed))

    def set_path_policy(self, unit: str, policy: str) -> None:
        wanted = vim.host.MultipathInfo.LogicalUnitPolicy(policy=policy)
        self._change("setting the path policy", lambda: self._storage.SetMultipathLunPolicy(unit, wanted))

    def _change(self, tried: str, request: Callable[[], Any]) -> None:
        with self._setup.session.writing(tried, None):
            request()


def _path_policies(disks: Any, targets: frozenset[str]) -> dict[str, PathPolicy]:
    paths = {"config.storageDevice.%s" % part: getattr(disks, part) for part in ("scsiLun", "scsiTopology", "multipathInfo")}
    luns: dict[str, tuple[Lun, ...]] = luns_of_disks(paths)
    ours = {name for name, below in luns.items() if any(lun.target.lower() in targets for lun in below)}
    names = {one.key: one.canonicalName for one in disks.scsiLun or ()}
    units = getattr(disks.multipathInfo, "lun", None) or ()
    return {names[unit.lun]: PathPolicy(unit.id, unit.policy.policy) for unit in units if names.get(unit.lun) in ours}
