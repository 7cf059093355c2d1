# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs where, and what should run: the VM records after a look.

Who may change a record:

* a VM seen *running* on a host that is not fenced is there, whatever was believed before;
* a VM seen *not running* changes what is desired only on a working host that did not restart and is not going down,
  and only with a clean power-off event; without one it crashed and stays desired; while the host's events cannot be read
  nobody knows which, and it stays recorded as running, so that the next look asks again;
* a fenced host's word counts for nothing: what it believes to run cannot write any more;
* a host that could not be read says nothing; only from a host's list that was read can a VM be missing.

In most looks most VMs are as they were. Such a VM keeps the very record that it has, which nothing needs to build, compare or
write again: no field of a record says when it was last seen, that is its host's ``read_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Optional

from ...instant import Instant
from ..decision import Alarm, Severity
from ..hosts.host_reports import HostReport
from ..memory import Desired, Memory, VmRecord
from ..observations import Backing, Observation, Power, VmObservation
from ..replacing import replace
from ..tries import Results
from ..verdict import Verdict
from .in_progress import settle
from .vm_stop import shut_down_by_us

NEEDED = ("vmx", "disk", "parent", "swap", "snapshot")  # kinds of files without which a VM does not run, also those it only reads


@dataclass
class _Look:
    """The inputs of one look, and the alarms found on the way."""

    verdicts: Mapping[str, Verdict]
    reports: Mapping[str, HostReport]
    read: frozenset[str]  # unfenced hosts whose VM list was read
    now: Instant
    events_unread: Callable[[str], bool]
    had_before: frozenset[str]  # hosts whose list is the one that the look before had
    read_before: Callable[[str], Optional[Instant]]  # when a host's VMs were last read before this look
    goes_down: bool  # everything is being shut down
    alarms: list[Alarm] = field(default_factory=list)

    def alarm(self, what: str, record: VmRecord, severity: Severity, text: str) -> None:
        self.alarms.append(Alarm("%s:%s" % (what, record.id), severity, record.name, text))


def update_vms(
    memory: Memory,
    observation: Observation,
    verdicts: Mapping[str, Verdict],
    reports: Mapping[str, HostReport],
    results: Results,
    now: Instant,
    goes_down: bool = False,
) -> tuple[tuple[VmRecord, ...], list[Alarm]]:
    """The VM records after this look, ordered by id, and the alarms about single VMs."""
    fenced = {name for name, verdict in verdicts.items() if verdict in (Verdict.FENCED, Verdict.FENCING)}
    cut_off = {name for name, verdict in verdicts.items() if verdict is Verdict.FENCED}
    read = frozenset(observation.vms_read) - fenced
    had_before = frozenset(name for name in read if _is_the_list_before(name, observation, memory))
    look = _Look(verdicts, reports, read, now, observation.events_unread, had_before, lambda host: memory.host(host).read_at, goes_down)
    once, several = _sightings(observation, look.read)
    acting = {act.vm for act in observation.in_progress}
    records = memory.vms_by_id
    _tell_inaccessible(once, records, look)
    after: list[VmRecord] = []
    for identity in sorted([*records, *(identity for identity in once if identity not in records)]):
        known = records.get(identity)
        only = once.get(identity)
        if known is not None and only is not None and identity not in several and _as_before(known, only, look):
            after.append(known)
            continue
        sightings = several.get(identity) or ([only] if only is not None else [])
        moved = known is not None and known.in_progress is not None and known.in_progress.host != known.host
        if known is None:  # an id made while the files were out of reach may be wrong
            sightings = [vm for vm in sightings if vm.accessible]
        elif known.in_progress is not None:
            runs = any(vm.power is Power.ON for vm in sightings)
            told_by = results.get(identity, ())
            known = settle(known, {vm.host for vm in sightings}, runs, look.read, now, told_by, cut_off, identity in acting)
        record = _first_seen(sightings, look) if known is None else _seen_again(known, sightings, look, moved)
        if record is not None:
            after.append(record)
    return tuple(after), look.alarms


def _is_the_list_before(host: str, observation: Observation, memory: Memory) -> bool:
    """Whether a look has the list that another had: of observers at their own pace. Its events are new only once."""
    listed = observation.listed_on(host)
    age = listed[0].taken_at.since(memory.host(host).read_at) if listed else None
    return age is not None and age <= 0


def _sightings(observation: Observation, read: frozenset[str]) -> tuple[dict[str, VmObservation], dict[str, list[VmObservation]]]:
    """The first sighting of each VM by its id, and all of those that were sighted more than once, in the order of host and path."""
    once: dict[str, VmObservation] = {}
    several: dict[str, list[VmObservation]] = {}
    for vm in observation.vms:
        if vm.host not in read:
            continue
        if vm.id in once:
            several.setdefault(vm.id, [once[vm.id]]).append(vm)
        else:
            once[vm.id] = vm
    for sightings in several.values():
        sightings.sort(key=lambda item: (item.host, item.path))
    return once, several


def _as_before(record: VmRecord, vm: VmObservation, look: _Look) -> bool:
    """Whether a look in which *vm* is the only sighting changes nothing.

    True only if :func:`_seen_again` would return an equal record and raise no alarm: the VM runs where it ran, or is down where it
    is meant to be down, no event tells of it, and all its details are the same. It may be false when in doubt.
    """
    if _details_of(record) != _details_of(vm) or record.registered or record.in_progress is not None:
        return False
    if vm.power is Power.ON:
        as_meant = record.desired is Desired.STARTED or record.stopping
        if not as_meant or record.restart or record.clean_off or record.id in look.reports[vm.host].clean_off:
            return False
    elif record.desired is Desired.STARTED or record.on_since is not None or record.stopping:
        return False
    return not vm.accessible or not vm.backings or record.files == vm.backings or record.files == needed_files(vm)


#: What a record and a sighting both say of a VM; one call for all of it, since it is asked for every VM at every look.
_details_of = attrgetter(
    *("host", "power", "name", "path", "memory", "cpu", "cpu_reserved", "memory_reserved", "hardware_version", "heartbeat", "networks"),
    *("obstacles", "attached_disks"),
)


def needed_files(vm: VmObservation) -> tuple[Backing, ...]:
    """The files that it writes or needs."""
    return tuple(item for item in vm.backings if item.writable or item.kind in NEEDED)


def _tell_inaccessible(once: Mapping[str, VmObservation], records: Mapping[str, VmRecord], look: _Look) -> None:
    """A VM that nobody has seen with its files cannot be recorded, and so not be protected. One that is recorded may be listed by
    another id: where its files are out of reach, the datastore's UUID may be, too."""
    unknown = [vm for identity, vm in once.items() if not vm.accessible and identity not in records]
    if not unknown:
        return
    recorded = {(record.host, record.id.partition(":")[2]) for record in records.values()}
    for vm in unknown:
        if (vm.host, vm.id.partition(":")[2]) not in recorded:
            text = "%s is registered on %s, which cannot read its files (%s): nothing of it is known, and it is not protected; " % (
                vm.name,
                vm.host,
                vm.path,
            )
            text += "see why its datastore is not accessible there, or remove the VM from the host's inventory"
            look.alarms.append(Alarm("vm_inaccessible:%s" % vm.id, Severity.WARNING, vm.name, text))


def _first_seen(sightings: Sequence[VmObservation], look: _Look) -> VmRecord | None:
    """A VM that is first seen off is meant to be off - unless its host has just lost it."""
    running = [vm for vm in sightings if vm.power is Power.ON]
    vm = next(iter(running or sightings), None)
    if vm is None or (not running and not _works(vm.host, look)):
        return None
    record = _details(VmRecord(vm.id, vm.name, vm.path, vm.host), vm)
    if running:
        return replace(_running(record, running, look), on_since=None)
    return replace(record, desired=Desired.STOPPED, power=vm.power)


def _seen_again(record: VmRecord, sightings: Sequence[VmObservation], look: _Look, moved: bool = False) -> VmRecord | None:
    """*moved*: a move of it was ordered, and its end had not been seen before this look."""
    running = [vm for vm in sightings if vm.power is Power.ON]
    if running:
        return _running(record, running, look)
    elsewhere = [vm for vm in sightings if vm.host != record.host]
    registered = elsewhere[0].host if elsewhere else ""
    if record.registered != registered:
        record = replace(record, registered=registered)
    home = next((vm for vm in sightings if vm.host == record.host), None)
    if home is not None:
        return _down_at_home(record, home, look, moved) if _works(record.host, look) else record
    if record.host in look.read and _works(record.host, look):
        if elsewhere:  # somebody moved it while it was off
            return replace(_details(record, elsewhere[0]), host=elsewhere[0].host, power=elsewhere[0].power, registered="")
        if record.name in look.reports[record.host].removed:
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
        return replace(_details(record, elsewhere[0]), host=elsewhere[0].host, power=elsewhere[0].power, registered="")
    return record


def _running(record: VmRecord, running: Sequence[VmObservation], look: _Look) -> VmRecord:
    vm = next((item for item in running if item.host == record.host), running[0])
    if len(running) > 1:
        where = " and ".join(item.host for item in running)
        look.alarm("runs_twice", record, Severity.CRITICAL, "%s runs on %s at once; stop it on all but one" % (record.name, where))
    stayed = vm.host == record.host and record.power is Power.ON
    record = _details(record, vm)
    return replace(
        record,
        host=vm.host,
        desired=record.desired if record.stopping else Desired.STARTED,
        power=Power.ON,
        on_since=record.on_since if stayed else look.now,
        shut_down_at=record.shut_down_at if stayed else None,
        failed_move=record.failed_move if stayed else None,
        # The list may have been read just before the power-off; and it may serve another look.
        clean_off=record.id in look.reports[vm.host].clean_off or (record.clean_off and vm.host in look.had_before),
        restart=False,
        registered="",
    )


def _down_at_home(record: VmRecord, vm: VmObservation, look: _Look, moved: bool) -> VmRecord:
    """Not running on the working host where it is recorded. A move may stop a VM and then come to nothing, and so does the shutdown of
    everything: that power-off is ours."""
    if vm.power is Power.UNKNOWN:
        return record
    reports = look.reports[vm.host]
    was_running = record.power is Power.ON
    ours = moved or shut_down_by_us(record, look.goes_down, look.read_before(vm.host) or look.now)
    if was_running and not ours and _nobody_knows_why(record, vm, look):
        return record
    record = replace(_details(record, vm), power=vm.power, on_since=None, stopping=False)
    if record.desired is not Desired.STARTED:
        return record
    if record.clean_off or record.id in reports.clean_off:
        if ours:
            return replace(record, clean_off=False, restart=True)
        return replace(record, desired=Desired.STOPPED, clean_off=False, restart=False)
    if was_running and (reports.restarted or reports.record.going_down or (ours and not moved)):
        return replace(record, restart=True)
    if not record.restart:
        look.alarm(
            "vm_down",
            record,
            Severity.CRITICAL,
            "%s is %s on %s and no event says that somebody switched it off: it crashed" % (record.name, vm.power.value, vm.host),
        )
    return record


def _nobody_knows_why(record: VmRecord, vm: VmObservation, look: _Look) -> bool:
    """Whether a VM went down that should run, and only events that could not be read would tell whether somebody meant it."""
    reports = look.reports[vm.host]
    known = record.clean_off or reports.restarted or reports.record.going_down
    if known or record.desired is not Desired.STARTED or not look.events_unread(vm.host):
        return False
    text = "%s is %s on %s, whose events cannot be read: it crashed, or somebody switched it off, so it is left as it is"
    look.alarm("vm_down", record, Severity.CRITICAL, text % (record.name, vm.power.value, vm.host))
    return True


def _details(record: VmRecord, vm: VmObservation) -> VmRecord:
    files = record.files
    if vm.accessible and vm.backings:
        files = needed_files(vm)
    return replace(
        record,
        name=vm.name,
        path=vm.path if vm.accessible else record.path,
        memory=vm.memory or record.memory,
        cpu=vm.cpu,
        cpu_reserved=vm.cpu_reserved,
        memory_reserved=vm.memory_reserved,
        files=files,
        hardware_version=vm.hardware_version or record.hardware_version,
        heartbeat=vm.heartbeat,
        networks=vm.networks if vm.accessible else record.networks,
        obstacles=vm.obstacles if vm.accessible else record.obstacles,
        attached_disks=vm.attached_disks if vm.accessible else record.attached_disks,
    )


def _works(host: str, look: _Look) -> bool:
    return look.verdicts.get(host, Verdict.UNKNOWN).works
