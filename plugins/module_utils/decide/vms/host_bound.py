# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Protected VMs that would not start elsewhere as they are: an alarm in peace time, not a surprise at the failure.

A host is judged by what it told last, so that the alarm does not come and go with a host that does not answer. What a host
lacks besides (memory, a network, a rule that forbids it) is admission control's and the drill's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..decision import Alarm, Severity
from ..memory import VmRecord
from ..observations import Power, vm_id
from ..obstacles import Obstacle, unmet
from ..state import Cluster


def host_bound_alarms(cluster: Cluster) -> list[Alarm]:
    return [*_without_another_host(cluster), *_held_open(cluster)]


def missing_elsewhere(vm: VmRecord, offers: Mapping[str, frozenset[str]]) -> list[Obstacle]:
    """What the other host that comes nearest to what *vm* needs does not offer; nothing where one has it all, or where there is no
    other. *offers* is what each host has."""
    found = [unmet(vm.obstacles, offered) for name, offered in sorted(offers.items()) if name != vm.host]
    return min(found, key=lambda items: (sum(item.blocks for item in items), len(items)), default=[])


def offers_of(cluster: Cluster) -> dict[str, frozenset[str]]:
    return {name: frozenset(host.record.offers) for name, host in cluster.hosts.items()}


def _without_another_host(cluster: Cluster) -> Iterator[Alarm]:
    tied = [vm for vm in cluster.vms if vm.obstacles and vm.id not in cluster.unprotected]
    if not tied:
        return
    offers = offers_of(cluster)
    for vm in tied:
        missing = missing_elsewhere(vm, offers)
        if missing:
            yield Alarm("tied:%s" % vm.id, Severity.WARNING, vm.name, host_bound_text(vm.name, missing))


def host_bound_text(name: str, missing: list[Obstacle]) -> str:
    blocking = [item for item in missing if item.blocks]
    begin = "%s starts on no other host" if blocking else "%s starts on another host only without a device"
    parts = ["%s: %s" % (item.lacks, item.remedy) for item in blocking or missing]
    return "%s: %s" % (begin % name, "; ".join(parts))


def _held_open(cluster: Cluster) -> Iterator[Alarm]:
    """A backup proxy that runs and has a VM's disk attached (hot-add) keeps it locked: as long as it does, no other host starts that VM."""
    holders = [vm for vm in cluster.vms if vm.attached_disks and vm.power is Power.ON]
    if not holders:
        return
    owners: dict[str, VmRecord] = {}
    attached = {disk for vm in holders for disk in vm.attached_disks}
    for vm in cluster.vms:
        if vm.id in cluster.unprotected:
            continue
        for item in vm.files:
            disk = vm_id(item.datastore_uuid, item.path)
            if disk in attached and disk not in vm.attached_disks:
                owners[disk] = vm
    text = (
        "%s cannot be started on another host while %s on %s has its disk attached (%s): if a backup runs, wait until it is over; if not, "
        "detach the disk from %s"
    )
    for holder in holders:
        for disk in holder.attached_disks:
            owner = owners.get(disk)
            if owner is not None and owner.id != holder.id:
                words = text % (owner.name, holder.name, holder.host, disk.partition(":")[2], holder.name)
                yield Alarm("disk_attached:%s:%s" % (owner.id, holder.id), Severity.WARNING, owner.name, words)
