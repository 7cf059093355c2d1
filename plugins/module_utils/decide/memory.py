# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is remembered from one look to the next.

Memory makes decisions better, never safer: it may be old, or lost. What must never be wrong - who is fenced, who is
admitted, what is switched off - is read anew at every look and not kept here. A record is replaced, never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Optional

from .instant import Instant
from .observations import Power, from_dict, to_dict


class Desired(str, Enum):
    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True)
class SessionRecord:
    """Counters of one session at its last look, on the storage server's clock."""

    server: str
    target: str
    sid: str
    commands_done: Optional[int]
    bytes_done: Optional[int]
    seen_at: Instant
    since: Instant  # from when on progress is being judged
    progress_at: Optional[Instant] = None  # the last look that saw progress; None: none seen since ``since``


@dataclass(frozen=True)
class HostRecord:
    """One host. Instants are on the clock of the machine that looked at it, unless said otherwise."""

    name: str
    verdict: str = ""  # at the last fresh sample
    since: Optional[Instant] = None  # first of the consecutive samples with that verdict
    samples: int = 0
    last_sample: Optional[Instant] = None
    condemned: bool = False  # the last verdict would lead to a fence
    flaps: int = 0  # suspicions that ended without being confirmed
    last_flap: Optional[Instant] = None
    uptime: Optional[float] = None  # seconds, as last told
    uptime_at: Optional[Instant] = None
    initiators: tuple[str, ...] = ()  # as last told by itself
    maintenance: bool = False
    has_bmc: bool = False
    datastores: tuple[str, ...] = ()  # UUIDs of those on iSCSI that it had
    sessions: tuple[SessionRecord, ...] = ()
    last_event: Optional[int] = None  # highest event key dealt with
    going_down: str = ""  # shutdown or reboot: announced by an event, not yet back
    going_down_at: Optional[Instant] = None
    read_at: Optional[Instant] = None  # when its VMs were last read, on the decider's clock
    fenced: bool = False  # on a fence list when the storage servers were last asked
    confirmed_off: str = ""  # a named person's word that it is off, with the reason


@dataclass(frozen=True)
class FileRecord:
    """A file that the VM writes or needs."""

    path: str
    kind: str
    datastore: str
    datastore_uuid: str


@dataclass(frozen=True)
class VmRecord:
    """One VM: ``host`` is where it last ran (or is registered, if it never ran)."""

    id: str
    name: str
    path: str
    host: str
    desired: Desired = Desired.STARTED
    power: Power = Power.UNKNOWN
    memory: int = 0  # MiB
    cpu: int = 1
    cpu_reserved: int = 0  # MHz
    memory_reserved: int = 0  # MiB
    files: tuple[FileRecord, ...] = ()
    networks: tuple[str, ...] = ()
    seen_at: Optional[Instant] = None  # on the decider's clock
    on_since: Optional[Instant] = None  # the look that saw it come on at ``host``; None: it was on from the first look
    clean_off: bool = False  # a clean power-off event came while it was still listed as on
    restart: bool = False  # down because its host restarted
    registered: str = ""  # another unfenced host that has it registered, not running


@dataclass(frozen=True)
class DatastoreRecord:
    uuid: str
    name: str
    local: bool
    targets: tuple[str, ...]  # IQNs of its extents' targets


@dataclass(frozen=True)
class StorageRecord:
    """One storage server: ``looked_at`` is on its own clock."""

    name: str
    looked_at: Optional[Instant] = None
    targets: tuple[str, ...] = ()  # IQNs it exports
    anybody: str = ""  # why it admits anybody; empty: it does not
    admits: tuple[str, ...] = ()  # initiators that it admits


@dataclass(frozen=True)
class Condemned:
    """A host that counts for the brake; ``at`` is the last look that condemned it (on the decider's clock)."""

    host: str
    at: Instant


@dataclass(frozen=True)
class BrakeRecord:
    counted: tuple[Condemned, ...] = ()
    held: bool = False
    since: Optional[Instant] = None
    released: tuple[str, ...] = ()  # hosts that a person has let through
    released_by: str = ""  # who and why


@dataclass(frozen=True)
class Memory:
    run_id: str = ""
    looked_at: Optional[Instant] = None
    watching_since: Optional[Instant] = None  # looks have followed each other without a long gap since then
    hosts: tuple[HostRecord, ...] = ()
    vms: tuple[VmRecord, ...] = ()
    datastores: tuple[DatastoreRecord, ...] = ()
    storage: tuple[StorageRecord, ...] = ()
    brake: BrakeRecord = BrakeRecord()
    version: int = 1

    def host(self, name: str) -> HostRecord:
        return next((record for record in self.hosts if record.name == name), HostRecord(name))

    def vm(self, identity: str) -> Optional[VmRecord]:
        return next((record for record in self.vms if record.id == identity), None)

    def with_confirmed_off(self, host: str, by: str, reason: str) -> Memory:
        """A named person's word that *host* is off; the caller journals it. Ends when the host is let in again."""
        record = replace(self.host(host), confirmed_off="%s: %s" % (by, reason))
        others = tuple(other for other in self.hosts if other.name != host)
        return replace(self, hosts=tuple(sorted((*others, record), key=lambda item: item.name)))

    def with_brake_released(self, by: str, reason: str) -> Memory:
        """A named person lets the hosts through that the brake holds now; the caller journals it."""
        released = tuple(sorted({*self.brake.released, *(item.host for item in self.brake.counted)}))
        return replace(self, brake=replace(self.brake, released=released, released_by="%s: %s" % (by, reason)))

    def to_dict(self) -> dict[str, Any]:
        form: dict[str, Any] = to_dict(self)
        return form

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None) -> Memory:
        """Read what :func:`to_dict` wrote; nothing or an empty mapping is a fresh memory. Raises ValueError."""
        memory: Memory = from_dict(cls, value or {}, "memory")
        return memory
