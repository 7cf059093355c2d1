# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's software iSCSI adapter: its configuration as values, and the requests that change it.

Sources: vSphere Web Services API reference, HostStorageSystem, HostInternetScsiHba, IscsiManager.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .. import clock
from ..addresses import in_url
from .interface import FaultKind, HypervisorFault
from .pyvmomi import vim
from .setup import HostSetup

DEFAULT_PORT = 3260
APPEARS_SECONDS = 30.0  # until an adapter that was enabled is listed
POLL_SECONDS = 0.5
LEVELS = ("prohibited", "discouraged", "preferred", "required")
WORKING_PATHS = ("active", "standby")


@dataclass(frozen=True, order=True)
class Portal:
    """Where a target is reached."""

    address: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return "%s:%d" % (in_url(self.address), self.port)


@dataclass(frozen=True, order=True)
class StaticTarget:
    name: str  # IQN
    portal: Portal

    def __str__(self) -> str:
        return "%s at %s" % (self.name, self.portal)


@dataclass(frozen=True)
class Chap:
    """The part of the adapter's CHAP that a host tells. It never tells a secret."""

    level: str = "prohibited"  # one of LEVELS
    user: str = ""
    mutual_user: str = ""  # empty: the target need not prove who it is


@dataclass(frozen=True)
class Adapter:
    """The adapter as it is configured; without a device it is off."""

    device: str = ""  # "vmhba64"
    initiator: str = ""
    vmkernel_ports: frozenset[str] = frozenset()
    chap: Chap = Chap()
    send_targets: frozenset[Portal] = frozenset()
    static_targets: frozenset[StaticTarget] = frozenset()  # those that somebody entered, without those that discovery found

    @property
    def enabled(self) -> bool:
        return bool(self.device)


@dataclass(frozen=True)
class IscsiState:
    adapter: Adapter
    logged_in: frozenset[str] = frozenset()  # targets with a path that works
    discovered: frozenset[str] = frozenset()  # all targets that the adapter knows


class IscsiAdapter:
    """The adapter of the host that *setup* is logged in to. *before_write* is called before each request that changes something."""

    def __init__(self, setup: HostSetup, before_write: Callable[[], None] | None = None) -> None:
        self._setup = setup
        self._before_write = before_write
        self._manager = setup.manager("iscsiManager")
        self._storage = setup.manager("storageSystem")

    def read(self) -> IscsiState:
        """Two round trips. Raises HostUnavailable."""
        device_info = self._setup.read(self._storage, "storageDeviceInfo")
        hba = _software_adapter(device_info)
        if hba is None:
            return IscsiState(Adapter())
        with self._setup.session.reading("reading the vmkernel ports of %s" % hba.device):
            bound = self._manager.QueryBoundVnics(hba.device) or ()
        entered = frozenset(
            _static_target(target) for target in hba.configuredStaticTarget or () if target.discoveryMethod in (None, "", "staticMethod")
        )
        adapter = Adapter(
            device=hba.device,
            initiator=hba.iScsiName or "",
            vmkernel_ports=frozenset(port.vnicDevice for port in bound if port.vnicDevice),
            chap=_chap(hba.authenticationProperties),
            send_targets=frozenset(Portal(target.address, target.port or DEFAULT_PORT) for target in hba.configuredSendTarget or ()),
            static_targets=entered,
        )
        known = frozenset(target.iScsiName for target in hba.configuredStaticTarget or ())
        return IscsiState(adapter, _targets_of_working_paths(device_info, hba.key), known)

    def enable(self) -> str:
        """Switch the adapter on and wait until it is listed; its device name. Raises HypervisorFault."""
        tried = "enabling the software iSCSI adapter"
        self._change(tried, lambda: self._storage.UpdateSoftwareInternetScsiEnabled(True))
        deadline = clock.now().seconds + APPEARS_SECONDS
        while clock.now().seconds < deadline:
            hba = _software_adapter(self._setup.read(self._storage, "storageDeviceInfo"))
            if hba is not None:
                return str(hba.device)
            clock.sleep(POLL_SECONDS)
        raise HypervisorFault(
            "%s: it is not listed after %g s" % (tried, APPEARS_SECONDS),
            kind=FaultKind.TIMED_OUT,
            host=self._setup.name,
            remedy="look at the storage adapters in the host client, and run this again",
        )

    def rename(self, device: str, initiator: str) -> None:
        self._change("naming the initiator %s" % initiator, lambda: self._storage.UpdateInternetScsiName(device, initiator))

    def bind(self, device: str, port: str) -> None:
        self._change("binding %s to %s" % (port, device), lambda: self._manager.BindVnic(device, port))

    def unbind(self, device: str, port: str) -> None:
        """Never by force: a host refuses while a session uses the port and no other could."""
        self._change("unbinding %s from %s" % (port, device), lambda: self._manager.UnbindVnic(device, port, False))

    def set_chap(self, device: str, chap: Chap, secret: str, mutual_secret: str) -> None:
        properties = vim.host.InternetScsiHba.AuthenticationProperties(
            chapAuthEnabled=chap.level != "prohibited",
            chapAuthenticationType=_api_level(chap.level),
            mutualChapAuthenticationType=_api_level("required" if chap.mutual_user else "prohibited"),
        )
        if chap.level != "prohibited":
            properties.chapName, properties.chapSecret = chap.user, secret
        if chap.mutual_user:
            properties.mutualChapName, properties.mutualChapSecret = chap.mutual_user, mutual_secret
        self._change(
            "setting CHAP of %s" % device, lambda: self._storage.UpdateInternetScsiAuthenticationProperties(device, properties, None)
        )

    def renew_chap_secret(self, secret: str) -> bool:
        """Replace the adapter's CHAP secret and keep its user and level. False where the adapter is off or uses no CHAP.
        Raises HypervisorFault, also where the target proves itself to the host: its secret would have to be given again, and a host tells
        none."""
        adapter = self.read().adapter
        if not adapter.enabled or adapter.chap.level == "prohibited":
            return False
        if adapter.chap.mutual_user:
            raise HypervisorFault(
                "the CHAP secret of %s is changed only together with the target's own, which is not known here" % adapter.device,
                kind=FaultKind.OTHER,
                host=self._setup.name,
            )
        self.set_chap(adapter.device, adapter.chap, secret, "")
        return True

    def add_send_target(self, device: str, portal: Portal) -> None:
        targets = [vim.host.InternetScsiHba.SendTarget(address=portal.address, port=portal.port)]
        self._change("adding the send target %s" % portal, lambda: self._storage.AddInternetScsiSendTargets(device, targets))

    def remove_send_target(self, device: str, portal: Portal) -> None:
        targets = [vim.host.InternetScsiHba.SendTarget(address=portal.address, port=portal.port)]
        self._change("removing the send target %s" % portal, lambda: self._storage.RemoveInternetScsiSendTargets(device, targets))

    def add_static_target(self, device: str, target: StaticTarget) -> None:
        self._change("adding the target %s" % target, lambda: self._storage.AddInternetScsiStaticTargets(device, [_api_target(target)]))

    def remove_static_target(self, device: str, target: StaticTarget) -> None:
        self._change(
            "removing the target %s" % target, lambda: self._storage.RemoveInternetScsiStaticTargets(device, [_api_target(target)])
        )

    def rescan(self, device: str, seconds: float) -> None:
        """Discovery, logins and the search for disks and datastores; it returns when the host is done."""
        with self._setup.session.patiently(seconds):
            self._change("rescanning %s" % device, lambda: self._storage.RescanHba(device))
            self._change("searching for datastores", self._storage.RescanVmfs)

    def wait_for(self, reached: Callable[[IscsiState], bool], seconds: float) -> IscsiState:
        """The state when it is *reached*, or after *seconds*: a host lists what a rescan found a moment later."""
        deadline = clock.now().seconds + seconds
        while True:
            state = self.read()
            if reached(state) or clock.now().seconds >= deadline:
                return state
            clock.sleep(POLL_SECONDS)

    def _change(self, tried: str, request: Callable[[], Any]) -> None:
        with self._setup.session.writing(tried, self._before_write):
            request()


def _software_adapter(device_info: Any) -> Any:
    """None while it is off: a host lists it only then."""
    for adapter in device_info.hostBusAdapter or ():
        if isinstance(adapter, vim.host.InternetScsiHba) and adapter.isSoftwareBased:
            return adapter
    return None


def _targets_of_working_paths(device_info: Any, adapter: str) -> frozenset[str]:
    found = set()
    for unit in getattr(device_info.multipathInfo, "lun", None) or ():
        for path in unit.path or ():
            if path.adapter == adapter and (path.state or path.pathState) in WORKING_PATHS:
                with contextlib.suppress(AttributeError):  # a path whose transport is not iSCSI
                    found.add(str(path.transport.iScsiName))
    return frozenset(found)


def _static_target(target: Any) -> StaticTarget:
    return StaticTarget(target.iScsiName, Portal(target.address, target.port or DEFAULT_PORT))


def _api_target(target: StaticTarget) -> Any:
    return vim.host.InternetScsiHba.StaticTarget(address=target.portal.address, port=target.portal.port, iScsiName=target.name)


def _chap(properties: Any) -> Chap:
    if properties is None or not properties.chapAuthEnabled:
        return Chap()
    mutual = _level(properties.mutualChapAuthenticationType) != "prohibited"
    return Chap(
        level=_level(properties.chapAuthenticationType or "chapPreferred"),  # the API's default
        user=properties.chapName or "",
        mutual_user=(properties.mutualChapName or "") if mutual else "",
    )


def _level(text: str | None) -> str:
    level = (text or "")[len("chap") :].lower()
    return level if level in LEVELS else "prohibited"


def _api_level(level: str) -> str:
    return "chap" + level.capitalize()


def names(values: Iterable[Any]) -> list[str]:
    """Sorted, for results."""
    return [str(value) for value in sorted(values)]
