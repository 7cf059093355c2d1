# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of an applied command, read from the record: whoever holds the lease carries it out, and whoever gave it asks here.

A command changes what is wanted (``commands.py``); it is *done* when the cluster is seen to be so, and *failed* when nothing that is
under way or ordered will make it so. Everything else is *open*. The memory says it, because an alarm may stand for one look only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from .commands import Command, CommandKind
from .memory import Desired, HostRecord, Memory, VmRecord
from .observations import Power
from .policy import Mode
from .verdict import Verdict


class Progress(str, Enum):
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """``text`` says how it stands, as a sentence."""

    progress: Progress
    text: str


@dataclass(frozen=True)
class Record:
    """What a look committed. ``standing``: the texts of alarms, holds and proposals by their keys; ``moving``: the ids of VMs that have an
    open transaction; ``mode``: that of the policy by which whoever carries out decides; ``ways``: how VMs went where they were brought
    since the command was given, by their ids."""

    memory: Memory
    standing: Mapping[str, str] = field(default_factory=dict)
    moving: Collection[str] = ()
    mode: Mode = Mode.ACT
    ways: Mapping[str, str] = field(default_factory=dict)

    @property
    def idle(self) -> str:
        """Why nothing that a person asks for is carried out now; empty when it is."""
        if self.memory.disarmed:
            return "the cluster is disarmed (%s)" % self.memory.disarmed
        return "with mode: observe it is only proposed" if self.mode is Mode.OBSERVE else ""

    def on_its_way(self, vm: VmRecord) -> bool:
        return vm.id in self.moving or vm.in_progress is not None


def is_planned_work(command: Command) -> bool:
    """Whether it asks for something of which an outcome can be seen; of others it is heard, and no more."""
    return command.kind in _JUDGES


def outcome_of(command: Command, applied: str, record: Record) -> Outcome:
    """How *command*, which was taken up with the words *applied*, stands by *record*."""
    return _JUDGES[command.kind](command, record) if is_planned_work(command) else Outcome(Progress.DONE, applied)


def _migrate(command: Command, record: Record) -> Outcome:
    vm = next((vm for vm in record.memory.vms if command.subject in (vm.id, vm.name)), None)
    if vm is None:
        return Outcome(Progress.FAILED, "no VM %s is known any more" % command.subject)
    wanted = command.host or vm.wanted_host
    if record.on_its_way(vm):
        return Outcome(Progress.OPEN, "%s is on its way from %s to %s" % (vm.name, vm.host, wanted))
    if vm.host == wanted and not vm.ordered:
        if vm.desired is Desired.STARTED and vm.power is not Power.ON:
            return Outcome(Progress.OPEN, "%s is on %s and does not run yet" % (vm.name, vm.host))
        way = record.ways.get(vm.id)
        return Outcome(Progress.DONE, "%s is on %s%s" % (vm.name, vm.host, " (moved by %s)" % way if way else ""))
    if vm.ordered and vm.wanted_host == wanted:
        waits = "%s is still on %s and waits for its move to %s" % (vm.name, vm.host, wanted or "another host")
        if record.idle:
            return Outcome(Progress.FAILED, "%s: %s" % (waits, record.idle))
        return Outcome(Progress.OPEN, ": ".join(filter(None, (waits, vm.tries.reason))))
    where = "it %s on %s" % ("runs" if vm.power is Power.ON else "is, and does not run,", vm.host)
    return Outcome(Progress.FAILED, "%s; %s" % (vm.refused or "%s: something else was asked of it since" % vm.name, where))


def _maintenance_on(command: Command, record: Record) -> Outcome:
    name = command.subject
    if not record.memory.host(name).wanted_maintenance:
        return Outcome(Progress.FAILED, "the maintenance of %s was called off" % name)
    left = [vm for vm in record.memory.vms if vm.host == name and (vm.power is Power.ON or record.on_its_way(vm))]
    if not left:
        return _in_maintenance_mode(name, record)
    stay = {vm.id: _why_it_stays(vm, record) for vm in left}
    if record.idle or all(stay.values()):
        reasons = list(filter(None, (record.idle, *dict.fromkeys(stay.values()))))
        return Outcome(Progress.FAILED, "%s is not empty: %s" % (name, "; ".join(reasons)))
    return Outcome(Progress.OPEN, "%s still has %s" % (name, ", ".join(sorted(vm.name for vm in left))))


def _in_maintenance_mode(name: str, record: Record) -> Outcome:
    """How it stands with a host on which no VM runs any more."""
    host = record.memory.host(name)
    empty = "no VM runs on %s any more" % name
    if host.maintenance or (host.mode is not None and host.mode.entered):
        return Outcome(Progress.DONE, "%s, and it is in maintenance mode" % empty)
    problem = record.idle or record.standing.get("maintenance_mode:%s" % name) or _silent(host)
    if problem:
        return Outcome(Progress.FAILED, "%s, but it is not in ESXi's maintenance mode: %s" % (empty, problem))
    return Outcome(Progress.OPEN, "%s; it enters maintenance mode" % empty)


def _silent(host: HostRecord) -> str:
    """Why a host cannot be asked for anything; empty when it can."""
    works = bool(host.verdict) and Verdict(host.verdict).works and not host.fenced
    return "" if works else "it is %s" % ("fenced" if host.fenced else host.verdict or "unknown")


def left_behind(command: Command, record: Record) -> list[str]:
    """Why VMs that run on the host that *command* wants emptied will stay there; empty for any other command."""
    if command.kind is not CommandKind.MAINTENANCE_ON:
        return []
    running = [vm for vm in record.memory.vms if vm.host == command.subject and vm.power is Power.ON]
    return list(filter(None, (_why_it_stays(vm, record) for vm in running)))


def _why_it_stays(vm: VmRecord, record: Record) -> str:
    """Empty when it is on its way, or will be."""
    if record.on_its_way(vm):
        return ""
    return record.standing.get("stays:%s" % vm.id) or record.standing.get("hold/move/%s" % vm.id, "")


def _maintenance_off(command: Command, record: Record) -> Outcome:
    if record.memory.host(command.subject).wanted_maintenance:
        return Outcome(Progress.FAILED, "%s is in maintenance: that was asked for since" % command.subject)
    host = record.memory.host(command.subject)
    if host.mode is None and not host.maintenance:
        problem = _silent(host)
        if not problem:
            return Outcome(Progress.DONE, "%s takes VMs again" % host.name)
        pending = host.verdict in ("", Verdict.UNKNOWN.value)  # it comes back, or will be judged
        return Outcome(Progress.OPEN if pending else Progress.FAILED, "%s takes no VM: %s" % (host.name, problem))
    problem = record.standing.get("maintenance_mode:%s" % host.name) or _silent(host)
    if record.idle or problem or host.mode is None:
        return Outcome(
            Progress.FAILED, "%s is in ESXi's maintenance mode: %s" % (host.name, record.idle or problem or "not entered from here")
        )
    return Outcome(Progress.OPEN, "%s leaves ESXi's maintenance mode" % host.name)


def _failback(command: Command, record: Record) -> Outcome:
    host = record.memory.host(command.subject)
    if not host.failback:
        if host.failback_left:
            return Outcome(Progress.FAILED, host.failback_left)
        return Outcome(Progress.DONE, "the VMs that belong on %s are there" % host.name)
    waits = "VMs that belong on %s are still elsewhere" % host.name
    return Outcome(Progress.FAILED, "%s: %s" % (waits, record.idle)) if record.idle else Outcome(Progress.OPEN, waits)


def _rejoin(command: Command, record: Record) -> Outcome:
    name = command.subject
    host = record.memory.host(name)
    waits = record.standing.get("rejoin:%s" % name, "%s is to be let in again" % name)
    if host.rejoin is not None:
        return Outcome(Progress.FAILED, "%s: %s" % (waits, record.idle)) if record.memory.disarmed else Outcome(Progress.OPEN, waits)
    if host.refused:
        return Outcome(Progress.FAILED, host.refused)
    if host.fenced or host.confirmed_off:
        return Outcome(Progress.FAILED, "%s is still fenced" % name)
    return Outcome(Progress.DONE, "%s is in, and its storage works" % name)


def _remove_host(command: Command, record: Record) -> Outcome:
    host = record.memory.host(command.subject)
    if host.removal is None:
        if host.refused:
            return Outcome(Progress.FAILED, host.refused)
        if host in record.memory.hosts:
            return Outcome(Progress.FAILED, "%s was let in again since" % host.name)
        return Outcome(Progress.DONE, "%s is out of the cluster, and forgotten" % host.name)
    if host.removal.done:
        return Outcome(Progress.DONE, "%s is locked out of every storage server; remove it from the inventory" % host.name)
    waits = "%s is to be locked out" % host.name
    return Outcome(Progress.FAILED, "%s: %s" % (waits, record.idle)) if record.memory.disarmed else Outcome(Progress.OPEN, waits)


def _failover(command: Command, record: Record) -> Outcome:
    name = command.subject
    host = record.memory.host(name)
    if not host.fenced and host.verdict and Verdict(host.verdict).works:
        return Outcome(Progress.FAILED, "%s is %s, so nothing is failed over" % (name, host.verdict))
    held = record.standing.get("held:%s" % name) or record.standing.get("verdict:%s" % name, "")
    if record.memory.disarmed or (held and not host.fenced):
        return Outcome(Progress.FAILED, held or "%s is not failed over: %s" % (name, record.idle))
    if not host.fenced:
        return Outcome(Progress.OPEN, "%s is not fenced yet" % name)
    down = [vm for vm in record.memory.vms if vm.host == name and (vm.down_since is not None or record.on_its_way(vm))]
    if not down:
        return Outcome(Progress.DONE, "%s is fenced, and its VMs run elsewhere" % name)
    nowhere = [record.standing.get("unplaced:%s" % vm.id) or record.standing.get("unprotected:%s" % vm.id, "") for vm in down]
    if all(nowhere):
        return Outcome(Progress.FAILED, "%s is fenced, but %s" % (name, "; ".join(nowhere)))
    return Outcome(Progress.OPEN, "%s is fenced, and %s do not run elsewhere yet" % (name, ", ".join(sorted(vm.name for vm in down))))


def _shutdown(command: Command, record: Record) -> Outcome:
    shutdown = record.memory.shutdown
    if shutdown is None or shutdown.ended:
        return Outcome(Progress.FAILED, "the shutdown is over: %s" % (shutdown.ended if shutdown is not None else "all is up again"))
    up = shutdown.hosts_up
    if shutdown.hosts_down and not up:
        return Outcome(Progress.DONE, "all hosts are down: %s" % ", ".join(shutdown.hosts_down))
    if not up:
        return Outcome(Progress.OPEN, "no look has been taken since")
    waits = "not down yet: %s" % ", ".join(up)
    running = sorted(vm.name for vm in record.memory.vms if vm.power is Power.ON and vm.host in up)
    waits += "; VMs that run: %s" % ", ".join(running) if running else ""
    if record.idle or len(shutdown.hindrances) == len(up):
        return Outcome(Progress.FAILED, "%s: %s" % (waits, record.idle or "; ".join(shutdown.hindrances)))
    return Outcome(Progress.OPEN, waits)


_JUDGES: dict[CommandKind, Callable[[Command, Record], Outcome]] = {
    CommandKind.MIGRATE: _migrate,
    CommandKind.MAINTENANCE_ON: _maintenance_on,
    CommandKind.MAINTENANCE_OFF: _maintenance_off,
    CommandKind.FAILBACK: _failback,
    CommandKind.REJOIN: _rejoin,
    CommandKind.CONFIRMED_RESTART: _rejoin,
    CommandKind.REMOVE_HOST: _remove_host,
    CommandKind.FAILOVER: _failover,
    CommandKind.SHUTDOWN: _shutdown,
}
