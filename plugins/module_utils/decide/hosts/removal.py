# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Taking a host out of the cluster for good because an operator asked for it; and hosts that left the inventory without that.

Invariants: a host is locked out only where that takes no VM from anybody. One that works is empty by its own list, in this look, and
nothing is under way to or from it. One that is fenced already is out only when it is proved to run nothing: its power is off, its own list
says so, or a person's word stands. Locked out means fenced: the same fence, confirmed at every storage server, which lasts when the host's
records are gone, so that nobody lets it in by mistake; ``rejoin`` does, with the proof that it needs.

What is remembered of a host that the inventory does not name any more stays as it was, with an alarm, until an operator says that it
is out: so a host that is missing by mistake loses neither its maintenance nor its fence, and its VMs are not forgotten in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..decision import Alarm, FenceAction, Severity
from ..memory import Desired, HostRecord, Memory, VmRecord
from ..observations import Power
from ..replacing import replace
from ..state import Cluster, HostState
from .respond import fence_action


@dataclass
class Removals:
    fences: list[FenceAction] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    records: dict[str, HostRecord] = field(default_factory=dict)  # that change, by host
    awaited: bool = False  # one is on its way out


def plan_removals(cluster: Cluster, memory: Memory) -> Removals:
    """The hosts to lock out now, those that are out, and those that left the inventory without that."""
    out = Removals(alarms=_about_gone(memory, cluster))
    for host in cluster.hosts.values():
        removal = host.record.removal
        if removal is None:
            continue
        if removal.done:
            out.alarms.append(_is_out(host, cluster))
            continue
        against = _against(host, cluster) if not (host.fence.listed and removal.proved) else []
        if against:
            text = "%s is not taken out of the cluster: %s" % (host.name, "; ".join(against))
            out.records[host.name] = replace(host.record, removal=None, refused=text)
            out.alarms.append(Alarm("removal:%s" % host.name, Severity.WARNING, host.name, text))
        elif host.fence.whole and host.fence.confirmed:
            out.records[host.name] = _done(replace(host.record, removal=replace(removal, proved=True, done=True)))
        else:
            out.awaited = True
            out.records[host.name] = replace(host.record, removal=replace(removal, proved=True))
            if not host.fence.whole:
                reasons = ("it is taken out of the cluster for good (%s)" % removal.by,)
                out.fences.append(replace(fence_action(host, cluster, cluster.servers, False, reasons), by_name=True))
    return out


def with_the_gone(memory: Memory, records: Mapping[str, HostRecord]) -> tuple[HostRecord, ...]:
    """*records*, those of this look, and of the hosts that the inventory does not name, but for those that are out."""
    gone = [record for record in memory.hosts if record.name not in records and not (record.removal and record.removal.done)]
    remembered = {**records, **{record.name: record if record.gone else replace(record, gone=True) for record in gone}}
    return tuple(remembered[name] for name in sorted(remembered))


def still_recorded(vms: tuple[VmRecord, ...], memory: Memory, cluster: Cluster) -> tuple[VmRecord, ...]:
    """*vms* without those that were lost with a host which is out and not in the inventory any more: they lay on its own disks."""
    out = {record.name for record in memory.hosts if record.removal and record.removal.done and record.name not in cluster.hosts}
    return tuple(vm for vm in vms if vm.host not in out) if out else vms


def _about_gone(memory: Memory, cluster: Cluster) -> list[Alarm]:
    """One alarm for each host that is remembered, is not out, and is not in the inventory."""
    out = {record.name for record in memory.hosts if record.removal and record.removal.done}
    names = {record.name for record in memory.hosts} | {vm.host for vm in cluster.vms}
    return [_gone(memory.host(name), cluster.vms_on.get(name, ())) for name in sorted(names - cluster.hosts.keys() - out - {""})]


def _gone(record: HostRecord, vms: Iterable[VmRecord]) -> Alarm:
    named = sorted(vm.name for vm in vms)
    wanted = any(vm.desired is Desired.STARTED for vm in vms)
    state = [
        "it is fenced" if record.fenced or record.confirmed_off else "",
        "it is in maintenance" if record.wanted_maintenance else "",
        "%s recorded there" % (", ".join(named[:10]) + (" and %d more are" % (len(named) - 10) if len(named) > 10 else " are"))
        if named
        else "",
    ]
    text = (
        "%s is not in the inventory any more%s: nobody watches it, and nothing of it is failed over; put it back, or take it out for good "
        "(ansible-playbook -i INVENTORY libreha.vmware.host_remove -e host=%s)"
    )
    said = "".join(", %s" % part for part in state if part)
    return Alarm(
        "gone:%s" % record.name, Severity.CRITICAL if wanted else Severity.WARNING, record.name, text % (record.name, said, record.name)
    )


def _is_out(host: HostState, cluster: Cluster) -> Alarm:
    text = "%s is out of the cluster for good; remove it from the inventory (libreha_hosts), and its initiator from what the targets admit"
    text %= host.name
    lost = sorted(vm.name for vm in cluster.vms_on.get(host.name, ()))
    text += "; with it go %s, which lay on its own disks" % ", ".join(lost) if lost else ""
    return Alarm("removal:%s" % host.name, Severity.INFO, host.name, text)


def _done(record: HostRecord) -> HostRecord:
    """Nothing is wanted of it any more."""
    over = replace(record, wanted_maintenance=False, maintenance_order=None, maintenance_way="", failback=False)
    return replace(over, mode=None, rejoin=None, refused="")


def _against(host: HostState, cluster: Cluster) -> list[str]:
    """Everything that speaks against locking it out."""
    found = []
    tells = host.answers_api and cluster.observation.was_read(host.name)
    off = host.evidence.power is Power.OFF and not host.evidence.answers
    word = bool(host.record.confirmed_off) and not host.evidence.answers and host.evidence.power is not Power.ON
    listed = cluster.observation.listed_on(host.name) if tells else ()
    recorded = [vm.name for vm in cluster.vms_on.get(host.name, ()) if not (host.is_fenced and vm.id in cluster.unprotected)]
    running = sorted(vm.name for vm in listed if vm.power is Power.ON)
    here = sorted({*recorded, *(vm.name for vm in listed)} - set(running))
    if host.unfenceable:
        found.append("it cannot be locked out: %s" % host.unfenceable)
    if running:
        found.append("%s runs there" % ", ".join(running))
    if here and not host.is_fenced:
        found.append("%s is registered or recorded there; move it with migrate, or unregister it" % ", ".join(here))
    if recorded and host.is_fenced:
        found.append("%s is recorded there, and has not been started elsewhere" % ", ".join(sorted(recorded)))
    if any(act.host == host.name and act.vm for act in cluster.observation.in_progress) or any(
        vm.in_progress is not None and host.name in (vm.host, vm.in_progress.host) for vm in cluster.vms
    ):
        found.append("a start or move to or from it has not ended")
    if not host.is_fenced and not cluster.leads(host):
        found.append("it is %s, and its own list of VMs cannot be read; have it failed over first (playbook failover)" % host.verdict.value)
    if host.is_fenced and not (off or word or tells):
        found.append("it is fenced, and not proved to be off: switch it off, or say that it is (failover, -e confirmed_off)")
    return found
