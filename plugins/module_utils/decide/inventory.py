# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs where, and what should run: the VM records after a look.

Who may change a record:

* a VM seen *running* on a host that is not fenced is there, whatever was believed before;
* a VM seen *not running* changes what is desired only on a working host that did not restart and is not going down,
  and only with a clean power-off event; without one it crashed and stays desired;
* a fenced host's word counts for nothing: what it believes to run cannot write any more;
* a host that could not be read says nothing; only from a host's list that was read can a VM be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .decision import Alarm, Severity
from .instant import Instant
from .memory import Desired, FileRecord, Memory, VmRecord
from .observations import Observation, Power, VmObservation
from .told import Told
from .verdict import Verdict


@dataclass
class _Look:
    """The inputs of one look, and the alarms found on the way."""

    verdicts: Mapping[str, Verdict]
    told: Mapping[str, Told]
    read: frozenset[str]  # unfenced hosts whose VM list was read
    now: Instant
    alarms: list[Alarm] = field(default_factory=list)

    def alarm(self, what: str, record: VmRecord, severity: Severity, text: str) -> None:
        self.alarms.append(Alarm("%s:%s" % (what, record.id), severity, record.name, text))


def update_vms(
    memory: Memory, observation: Observation, verdicts: Mapping[str, Verdict], told: Mapping[str, Told], now: Instant
) -> tuple[tuple[VmRecord, ...], list[Alarm]]:
    """The VM records after this look, ordered by id, and the alarms about single VMs."""
    fenced = {name for name, verdict in verdicts.items() if verdict in (Verdict.FENCED, Verdict.FENCING)}
    look = _Look(verdicts, told, frozenset(observation.vms_read) - fenced, now)
    seen: dict[str, list[VmObservation]] = {}
    for vm in sorted(observation.vms, key=lambda item: (item.host, item.path)):
        if vm.host in look.read:
            seen.setdefault(vm.id, []).append(vm)
    records = {record.id: record for record in memory.vms}
    after: list[VmRecord] = []
    for identity in sorted(set(records) | set(seen)):
        known = records.get(identity)
        sightings = seen.get(identity, [])
        if known is None:  # an id made while the files were out of reach may be wrong
            sightings = [vm for vm in sightings if vm.accessible]
        record = _first_seen(sightings, look) if known is None else _seen_again(known, sightings, look)
        if record is not None:
            after.append(record)
    return tuple(after), look.alarms


def _first_seen(sightings: Sequence[VmObservation], look: _Look) -> VmRecord | None:
    """A VM that is first seen off is meant to be off - unless its host has just lost it."""
    running = [vm for vm in sightings if vm.power is Power.ON]
    vm = next(iter(running or sightings), None)
    if vm is None or (not running and not _works(vm.host, look)):
        return None
    record = _details(VmRecord(vm.id, vm.name, vm.path, vm.host), vm, look)
    if running:
        return replace(_running(record, running, look), on_since=None)
    return replace(record, desired=Desired.STOPPED, power=vm.power)


def _seen_again(record: VmRecord, sightings: Sequence[VmObservation], look: _Look) -> VmRecord | None:
    running = [vm for vm in sightings if vm.power is Power.ON]
    if running:
        return _running(record, running, look)
    elsewhere = [vm for vm in sightings if vm.host != record.host]
    record = replace(record, registered=elsewhere[0].host if elsewhere else "")
    home = next((vm for vm in sightings if vm.host == record.host), None)
    if home is not None:
        return _down_at_home(record, home, look) if _works(record.host, look) else record
    if record.host in look.read and _works(record.host, look):
        if elsewhere:  # somebody moved it while it was off
            return replace(_details(record, elsewhere[0], look), host=elsewhere[0].host, power=elsewhere[0].power, registered="")
        if record.id in _told(record.host, look).removed:
            return None
        look.alarm(
            "vm_missing",
            record,
            Severity.CRITICAL if record.desired is Desired.STARTED else Severity.WARNING,
            "%s is registered on no host any more and no event says that somebody removed it; it was on %s" % (record.name, record.host),
        )
        return replace(record, power=Power.UNKNOWN)
    gone = look.verdicts.get(record.host) in (Verdict.FENCED, Verdict.FENCING, None)
    if elsewhere and gone and record.desired is Desired.STOPPED:  # its registration has been brought over
        return replace(_details(record, elsewhere[0], look), host=elsewhere[0].host, power=elsewhere[0].power, registered="")
    return record


def _running(record: VmRecord, running: Sequence[VmObservation], look: _Look) -> VmRecord:
    vm = next((item for item in running if item.host == record.host), running[0])
    if len(running) > 1:
        where = " and ".join(item.host for item in running)
        look.alarm("runs_twice", record, Severity.CRITICAL, "%s runs on %s at once; stop it on all but one" % (record.name, where))
    stayed = vm.host == record.host and record.power is Power.ON
    record = _details(record, vm, look)
    return replace(
        record,
        host=vm.host,
        desired=Desired.STARTED,
        power=Power.ON,
        on_since=record.on_since if stayed else look.now,
        clean_off=record.id in _told(vm.host, look).clean_off,  # the list may have been read just before the power-off
        restart=False,
        registered="",
    )


def _down_at_home(record: VmRecord, vm: VmObservation, look: _Look) -> VmRecord:
    """Not running on the working host where it is recorded."""
    if vm.power is Power.UNKNOWN:
        return record
    told = _told(vm.host, look)
    was_running = record.power is Power.ON
    record = replace(_details(record, vm, look), power=vm.power, on_since=None)
    if record.desired is Desired.STOPPED:
        return record
    if record.clean_off or record.id in told.clean_off:
        return replace(record, desired=Desired.STOPPED, clean_off=False, restart=False)
    if was_running and (told.restarted or told.record.going_down):
        return replace(record, restart=True)
    if not record.restart:
        look.alarm(
            "vm_down",
            record,
            Severity.CRITICAL,
            "%s is %s on %s and no event says that somebody switched it off: it crashed" % (record.name, vm.power.value, vm.host),
        )
    return record


def _details(record: VmRecord, vm: VmObservation, look: _Look) -> VmRecord:
    files = record.files
    if vm.accessible and vm.backings:
        needed = [item for item in vm.backings if item.writable or item.kind in ("vmx", "disk", "parent", "swap", "snapshot")]
        files = tuple(FileRecord(item.path, item.kind, item.datastore, item.datastore_uuid) for item in needed)
    return replace(
        record,
        name=vm.name,
        path=vm.path if vm.accessible else record.path,
        memory=vm.memory or record.memory,
        cpu=vm.cpu,
        cpu_reserved=vm.cpu_reserved,
        memory_reserved=vm.memory_reserved,
        files=files,
        networks=vm.networks if vm.accessible else record.networks,
        seen_at=look.now,
    )


def _works(host: str, look: _Look) -> bool:
    return look.verdicts.get(host, Verdict.UNKNOWN).works


def _told(host: str, look: _Look) -> Told:
    return look.told[host]
