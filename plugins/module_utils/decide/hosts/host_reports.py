# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts and storage servers told about themselves, remembered for when they cannot be asked.

A host that died tells nothing any more: its initiators, its datastores, whether it was in maintenance or going down in
order are known from before, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...instant import Instant
from ..answers import ApiAnswer
from ..memory import DatastoreRecord, HostRecord, Memory, StorageRecord
from ..observations import Event, HostObservation, Observation
from ..obstacles import offers
from ..policy import Policy
from ..replacing import replace

BOOT_MARGIN = 5.0  # seconds by which an uptime may be off between two looks
GOING_DOWN = {"host_shutdown": "shutdown", "host_reboot": "reboot"}


@dataclass(frozen=True)
class HostReport:
    """``restarted`` since the last look; ids of VMs that were switched off in order (``clean_off``), and names of those that somebody
    ``removed``: of a VM that it no longer has a host tells only the name, which no two VMs of a host share."""

    record: HostRecord
    restarted: bool = False
    clean_off: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


def read_report(
    record: HostRecord, seen: HostObservation | None, events: Iterable[Event], policy: Policy, events_unread: bool = False
) -> HostReport:
    """Take over what one host told in this look, and what its new events mean.

    A VM's power-off is clean only if the host neither restarted nor was going down: then it was the shutdown that
    switched the VM off, and the VM stays desired. The first look's events are history and mean nothing.
    """
    if seen is None:
        return HostReport(record)
    record = replace(record, has_bmc=record.has_bmc or seen.has_bmc)
    if seen.api_answer is not ApiAnswer.ANSWERED:
        return HostReport(record)
    restarted = _restarted(record, seen)
    mine = sorted((event for event in events if event.host == record.name), key=lambda event: event.key)
    last = record.last_event
    if last is None:
        new: list[Event] = []
    elif restarted and mine and mine[-1].key < last:
        new = mine  # the host counts its events anew
    else:
        new = [event for event in mine if event.key > last]
    announced = [event for event in new if event.kind in GOING_DOWN]
    going_down, going_down_at = record.going_down, record.going_down_at
    if announced and not restarted:
        going_down, going_down_at = GOING_DOWN[announced[-1].kind], seen.asked_at
    elif restarted or _given_up(record, seen, policy):
        going_down, going_down_at = "", None
    failed = {event.vm for event in new if event.kind == "vm_failed"}
    off = {event.vm for event in new if event.kind in ("vm_powered_off", "vm_suspended") and event.vm}
    in_order = not (restarted or going_down)
    return HostReport(
        replace(
            record,
            uptime=seen.uptime,
            uptime_at=seen.asked_at,
            initiators=seen.initiators or record.initiators,
            offers=tuple(sorted(offers(seen.capabilities, (store.uuid for store in seen.datastores if store.accessible)))),
            machine=seen.machine if seen.machine.uuid or seen.machine.serial else record.machine,
            maintenance=record.maintenance if seen.maintenance is None else seen.maintenance,
            last_event=_last_event(record, mine, restarted, events_unread),
            going_down=going_down,
            going_down_at=going_down_at,
        ),
        restarted,
        frozenset(off - failed) if in_order else frozenset(),
        frozenset(event.vm_name for event in new if event.kind == "vm_removed" and event.vm_name),
    )


def remember_datastores(
    memory: Memory, observation: Observation, storage_ok: Iterable[str]
) -> tuple[dict[str, DatastoreRecord], dict[str, tuple[str, ...]]]:
    """Datastores by UUID, and for each host the UUIDs that it had on iSCSI.

    A host with failed storage may list a datastore no more, or without its LUNs; what it had stays. Only a host whose
    storage works (*storage_ok*) and which does not list it has really given it up.
    """
    stores = {record.uuid: record for record in memory.datastores}
    had = {record.name: record.datastores for record in memory.hosts}
    working = set(storage_ok)
    for host in observation.hosts:
        if host.api_answer is not ApiAnswer.ANSWERED:
            continue
        for store in host.datastores:
            targets = tuple(sorted({lun.target for lun in store.luns}))
            known = stores.get(store.uuid)
            as_known = known is not None and (known.name, known.local, known.targets) == (store.name, store.local, targets)
            if store.uuid and not as_known and (targets or known is None or (store.accessible and store.local)):
                stores[store.uuid] = DatastoreRecord(store.uuid, store.name, store.local, targets)
        listed = {store.uuid for store in host.datastores if store.luns}
        before = set() if host.name in working else set(had.get(host.name, ()))
        had[host.name] = tuple(sorted(listed | before))
    return stores, had


def remember_storage(memory: Memory, observation: Observation) -> tuple[StorageRecord, ...]:
    """What each storage server exports and whom it admits; one that could not be asked keeps its last answer."""
    records = {record.name: record for record in memory.storage}
    for server in observation.storage:
        if server.serving is None:
            continue
        before = records.get(server.name, StorageRecord(server.name))
        records[server.name] = replace(before, looked_at=server.taken_at if server.sessions is not None else before.looked_at)
        if server.serving:
            admits_all = "%s: admits anybody (%s); let it admit named initiators only"
            open_to = [admits_all % (one.target, one.reason) for one in server.access if one.anybody]
            open_to += ["%s: %s" % (one.target, one.unfenceable) for one in server.access if one.unfenceable]
            records[server.name] = replace(
                records[server.name],
                targets=tuple(sorted({access.target for access in server.access})),
                anybody="; ".join(open_to),
                admits=tuple(sorted({name for access in server.access for name in access.initiators})),
            )
    return tuple(records[name] for name in sorted(records))


def rebooting(record: HostRecord, at: Instant | None, policy: Policy) -> float | None:
    """Seconds for which a host that reboots in order may still be away; None when there is no such grace."""
    if record.going_down != "reboot" or at is None:
        return None
    away = at.since(record.going_down_at)
    return None if away is None or away > policy.reboot_grace else policy.reboot_grace - away


def _last_event(record: HostRecord, mine: list[Event], restarted: bool, unread: bool) -> int | None:
    """The key after which the next look asks. A host that restarted may count from 1 again, so that it would tell
    nothing after the old key: then it is asked for all, as at the first look. A first look that read none was none."""
    if mine:
        return mine[-1].key
    if restarted or (unread and record.last_event is None):
        return None
    return record.last_event or 0


def _restarted(record: HostRecord, seen: HostObservation) -> bool:
    """Uptime lower than at the last look, or than the time that has passed since then."""
    if seen.uptime is None or record.uptime is None:
        return False
    passed = seen.asked_at.since(record.uptime_at)
    if seen.uptime + BOOT_MARGIN < record.uptime:
        return True
    return passed is not None and seen.uptime + BOOT_MARGIN < passed


def _given_up(record: HostRecord, seen: HostObservation, policy: Policy) -> bool:
    """A shutdown that was announced but did not come."""
    if not record.going_down:
        return False
    waited = seen.asked_at.since(record.going_down_at)
    return waited is None or waited > policy.reboot_grace
