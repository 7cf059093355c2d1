# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's view of one LUN and of the VMFS on it, and the requests that create, mount and resignature one.

Sources: vSphere Web Services API reference, HostDatastoreSystem, HostStorageSystem; vSphere Storage, "Managing Duplicate VMFS Datastores".
QueryAvailableDisksForVmfs leaves out disks of a mounted VMFS and no others, and QueryVmfsDatastoreCreateOptions offers the whole disk,
whatever partitions it has: neither says that a disk is blank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import clock
from ..decide.observations import Lun
from .entity_names import api_name, seen_name
from .interface import FaultKind, HypervisorFault
from .power_task import TaskRunner
from .pyvmomi import vim
from .setup import HostSetup
from .storage_paths import luns_of_disks

POLL_SECONDS = 0.5
TASK_SECONDS = 300.0  # for formatting and for a resignature
BLANK_FORMATS = ("", "unknown")
VMFS_VERSION = 6


@dataclass(frozen=True)
class Volume:
    """A VMFS: its UUID is the same on every host."""

    uuid: str
    name: str


@dataclass(frozen=True)
class Copy:
    """A VMFS that lies on another disk than the one it was made on: a snapshot, a replica, or a LUN with a new identity."""

    volume: Volume
    extents: tuple[str, ...]  # device paths


@dataclass(frozen=True)
class LunView:
    """What a host knows of the LUN; without a disk it does not see it."""

    disk: str = ""  # "naa.6001405..."
    size: int = 0  # bytes
    table: str = ""  # format of its partition table; empty: none
    partitions: tuple[str, ...] = ()  # their types
    volume: Volume | None = None  # mounted, or known and inaccessible
    accessible: bool = False
    copy: Copy | None = None
    elsewhere: str = ""  # the disk of another datastore that has the wanted name already


class Vmfs:
    """One LUN on the host that *setup* is logged in to; *name* is the datastore's."""

    def __init__(self, setup: HostSetup, lun: Lun, name: str) -> None:
        self._setup = setup
        self._lun = lun
        self._name = name
        self._storage = setup.manager("storageSystem")
        self._datastores = setup.manager("datastoreSystem")

    def read(self) -> LunView:
        """Four round trips. Raises HostUnavailable."""
        disks = self._setup.read(self._storage, "storageDeviceInfo")
        mounts = self._setup.read(self._storage, "fileSystemVolumeInfo").mountInfo or ()
        disk = self._disk(disks)
        name = disk.canonicalName if disk is not None else None
        elsewhere = next((used or "no disk" for used, volume, _mount in _volumes(mounts) if volume.name == self._name and used != name), "")
        if disk is None:
            return LunView(elsewhere=elsewhere)
        here = [(volume, mount) for used, volume, mount in _volumes(mounts) if used == disk.canonicalName]
        with self._setup.session.reading("reading the partition table of %s" % disk.canonicalName):
            table = self._storage.RetrieveDiskPartitionInfo([disk.devicePath])[0].spec
        with self._setup.session.reading("reading which VMFS are copies"):
            copies = self._storage.QueryUnresolvedVmfsVolume() or ()
        return LunView(
            disk=disk.canonicalName,
            size=int(disk.capacity.block) * int(disk.capacity.blockSize),
            table="" if (table.partitionFormat or "") in BLANK_FORMATS else table.partitionFormat,
            partitions=tuple(str(partition.type) for partition in table.partition or ()),
            volume=here[0][0] if here else None,
            accessible=bool(here) and here[0][1].accessible is not False and here[0][1].mounted is not False,
            copy=_copy(copies, disk.canonicalName),
            elsewhere=elsewhere,
        )

    def rescan(self, seconds: float) -> None:
        """Look for disks and datastores; what is found is mounted. It is no change of what anybody described."""
        with self._setup.session.patiently(seconds):
            self._request("rescanning", self._storage.RescanAllHba)
            self._request("searching for datastores", self._storage.RescanVmfs)

    def wait_for(self, reached: Callable[[LunView], bool], seconds: float) -> LunView:
        """The view when it is *reached*, or after *seconds*."""
        deadline = clock.now().seconds + seconds
        while True:
            view = self.read()
            if reached(view) or clock.now().seconds >= deadline:
                return view
            clock.sleep(POLL_SECONDS)

    def create(self, disk: str) -> None:
        """Format the whole of *disk* and mount it. The caller has proved that it is blank. Raises HypervisorFault."""
        tried = "creating the datastore %s on %s" % (self._name, disk)
        with self._setup.session.acting(tried):
            options = self._datastores.QueryVmfsDatastoreCreateOptions("/vmfs/devices/disks/%s" % disk, VMFS_VERSION)
        spec = next((option.spec for option in options or () if option.spec.vmfs.extent.diskName == disk), None)
        if spec is None:
            raise HypervisorFault(
                "%s: the host offers no way to format this disk" % tried,
                kind=FaultKind.OTHER,
                host=self._setup.name,
                remedy="check in the host client that the disk is attached and large enough (VMFS needs 1.3 GB)",
            )
        spec.vmfs.volumeName = api_name(self._name)
        with self._setup.session.patiently(TASK_SECONDS):
            self._request(tried, lambda: self._datastores.CreateVmfsDatastore(spec))

    def resignature(self, copy: Copy) -> None:
        """Give the copy an identity of its own, and the wanted name: the host calls it "snap-NUMBER-NAME"."""
        tried = "resignaturing the VMFS %s" % copy.volume.uuid
        spec = vim.host.UnresolvedVmfsResignatureSpec(extentDevicePath=list(copy.extents))
        with self._setup.session.writing(tried, None):
            task = self._datastores.ResignatureUnresolvedVmfsVolume_Task(spec)
        result = TaskRunner(self._setup.session, self._setup.reader, None).wait(task, tried, TASK_SECONDS)
        self._request("naming the datastore %s" % self._name, lambda: result.result.RenameDatastore(api_name(self._name)))

    def _disk(self, disks: Any) -> Any:
        """None while the host does not see the LUN."""
        paths = {"config.storageDevice.%s" % part: getattr(disks, part) for part in ("scsiLun", "scsiTopology", "multipathInfo")}
        names = {name for name, luns in luns_of_disks(paths).items() if self._lun in {Lun(lun.target.lower(), lun.lun) for lun in luns}}
        return next((one for one in disks.scsiLun or () if one.canonicalName in names and isinstance(one, vim.host.ScsiDisk)), None)

    def _request(self, tried: str, request: Callable[[], Any]) -> None:
        with self._setup.session.writing(tried, None):
            request()


def _volumes(mounts: Any) -> list[tuple[str, Volume, Any]]:
    """(disk of the first extent, volume, how it is mounted) of each VMFS; of other datastores only the name counts."""
    return [
        (
            extent.diskName if extent else "",
            Volume(str(getattr(one.volume, "uuid", "") or ""), seen_name(one.volume.name or "")),
            one.mountInfo,
        )
        for one in mounts
        for extent in (list(getattr(one.volume, "extent", None) or ()) or [None])
    ]


def _copy(copies: Any, disk: str) -> Copy | None:
    for one in copies:
        if any(extent.device.diskName == disk for extent in one.extent):
            return Copy(Volume(one.vmfsUuid, one.vmfsLabel), tuple(extent.devicePath for extent in one.extent))
    return None
