# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a datastore to the iSCSI LUNs below it: extents -> disks -> paths -> target and LUN number.

A disk's paths are listed twice by the host: the topology has those that exist now, the multipath information keeps
those that died. Both are read, so that a datastore whose storage just vanished still tells where it lay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..decide.observations import Datastore, Lun
from .properties import Properties
from .pyvmomi import vim

HOST_PATHS = (
    "config.storageDevice.hostBusAdapter",
    "config.storageDevice.scsiLun",
    "config.storageDevice.scsiTopology",
    "config.storageDevice.multipathInfo",
)
DATASTORE_PATHS = ("name", "summary", "info", "host")

VOLUME = re.compile(r"/vmfs/volumes/([^/]+)")
LUN_OF_PATH = re.compile(r":L(\d+)$")


def datastores(found: Iterable[tuple[Any, Properties]], host: Properties, host_reference: Any) -> tuple[Datastore, ...]:
    """All datastores of a host, sorted by name. *found* has DATASTORE_PATHS, *host* has HOST_PATHS."""
    luns = luns_of_disks(host)
    return tuple(sorted((_datastore(properties, luns, host_reference) for _reference, properties in found), key=lambda one: one.name))


def initiators(host: Properties) -> tuple[str, ...]:
    """IQNs of the host's iSCSI adapters."""
    adapters = host.get("config.storageDevice.hostBusAdapter") or ()
    names = (adapter.iScsiName for adapter in adapters if isinstance(adapter, vim.host.InternetScsiHba) and adapter.iScsiName)
    return tuple(dict.fromkeys(names))


def datastore_uuid(properties: Properties) -> str:
    """The VMFS UUID from the datastore's URL (ds:///vmfs/volumes/UUID/), the same on every host that mounts it."""
    summary = properties.get("summary")
    info = properties.get("info")
    for url in (getattr(summary, "url", None), getattr(info, "url", None)):
        match = VOLUME.search(url or "")
        if match:
            return match.group(1)
    return str(getattr(getattr(info, "vmfs", None), "uuid", None) or "")


def luns_of_disks(host: Properties) -> dict[str, tuple[Lun, ...]]:
    """Canonical disk name ("naa.6...") -> the iSCSI LUNs that its paths lead to."""
    names = {disk.key: disk.canonicalName for disk in host.get("config.storageDevice.scsiLun") or ()}
    found: dict[str, dict[Lun, None]] = {}
    topology = host.get("config.storageDevice.scsiTopology")
    for adapter in getattr(topology, "adapter", None) or ():
        for target in adapter.target or ():
            iqn = _iqn(target.transport)
            for lun in target.lun or ():
                if iqn and lun.scsiLun in names:
                    found.setdefault(names[lun.scsiLun], {})[Lun(iqn, int(lun.lun))] = None
    multipath = host.get("config.storageDevice.multipathInfo")
    for unit in getattr(multipath, "lun", None) or ():
        for path in unit.path or ():
            iqn = _iqn(path.transport)
            number = LUN_OF_PATH.search(path.name or "")
            if iqn and number and unit.lun in names:
                found.setdefault(names[unit.lun], {})[Lun(iqn, int(number.group(1)))] = None
    return {name: tuple(luns) for name, luns in found.items()}


def _iqn(transport: Any) -> str:
    if isinstance(transport, vim.host.InternetScsiTargetTransport):
        return transport.iScsiName or ""
    return ""


def _datastore(properties: Properties, luns: dict[str, tuple[Lun, ...]], host_reference: Any) -> Datastore:
    summary = properties.get("summary")
    info = properties.get("info")
    accessible = bool(getattr(summary, "accessible", False)) and _mounted(properties, host_reference)
    vmfs = getattr(info, "vmfs", None)
    kind = str(getattr(summary, "type", None) or ("VMFS" if vmfs is not None else "unknown"))
    below: dict[Lun, None] = {}
    not_iscsi = isinstance(info, vim.host.LocalDatastoreInfo)
    for extent in getattr(vmfs, "extent", None) or ():
        paths = luns.get(extent.diskName, ())
        below.update(dict.fromkeys(paths))
        # An extent without any iSCSI path is a local disk, unless the datastore is gone: then its paths may be too.
        not_iscsi = not_iscsi or (not paths and accessible)
    if getattr(vmfs, "local", None) and not below:
        not_iscsi = True
    return Datastore(
        name=str(properties.get("name") or getattr(summary, "name", "") or ""),
        uuid=datastore_uuid(properties),
        type=kind,
        accessible=accessible,
        maintenance=(getattr(summary, "maintenanceMode", None) or "normal") != "normal",
        capacity=int(getattr(summary, "capacity", None) or 0),
        free=int(getattr(summary, "freeSpace", None) or 0) if accessible else 0,
        local=not_iscsi,
        luns=tuple(below),
    )


def _mounted(properties: Properties, host_reference: Any) -> bool:
    """False when this host's own mount says that it cannot reach the datastore."""
    for mount in properties.get("host") or ():
        if mount.key._moId == host_reference._moId and mount.mountInfo is not None:
            return mount.mountInfo.accessible is not False and mount.mountInfo.mounted is not False
    return True
