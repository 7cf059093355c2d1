# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person asks for, put into the memory: the next look acts on it, in the same machine as everything else.

Invariant: a command changes only what is *wanted*. It starts, stops, moves and fences nothing by itself, so no command
passes a guard that the brain's own wishes do not pass. A command that cannot be understood is refused and changes nothing;
one that turns out to be impossible when the cluster is looked at is dropped there, with an alarm that says why.

A command is given once, in the state database, and applied once (``record/commands.py``): what happens after a person spoke is not
covered by what the person said.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Callable

from ..instant import Instant
from .decision import KINDS
from .memory import Approval, Desired, HostRecord, Memory, RejoinRecord, RemovalRecord, ShutdownRecord, Tries, VmRecord
from .observations import Power
from .policy import Policy
from .switch_offs import begin, end_of
from .verdict import Verdict


class CommandKind(str, Enum):
    MIGRATE = "migrate"
    START = "start"
    STOP = "stop"
    IGNORE = "ignore"
    MANAGE = "manage"
    MAINTENANCE_ON = "maintenance_on"
    MAINTENANCE_OFF = "maintenance_off"
    FAILBACK = "failback"
    REJOIN = "rejoin"
    CONFIRMED_RESTART = "confirmed_restart"
    CONFIRMED_OFF = "confirmed_off"
    REMOVE_HOST = "remove_host"
    FAILOVER = "failover"
    RELEASE_BRAKE = "release_brake"
    APPROVE = "approve"
    DISARM = "disarm"
    ARM = "arm"
    REBALANCE = "rebalance"
    SHUTDOWN = "shutdown"
    CANCEL_SHUTDOWN = "cancel_shutdown"


@dataclass(frozen=True)
class Command:
    """``subject`` is the VM (name or id) or the host that it is about, empty for the cluster; ``host`` where to migrate, empty for the host
    that suits the VM best; ``holds`` the seconds for which something is switched off, 0 for what the policy says."""

    kind: CommandKind
    subject: str = ""
    host: str = ""
    by: str = ""
    reason: str = ""
    holds: float = 0.0
    way: str = ""  # of a migration: a value of ``decision.Way``; empty: the best one that both hosts allow


class CommandRefused(ValueError):
    """The command cannot be understood; the message says what to write instead."""


NEEDS = {
    CommandKind.MIGRATE: "move",
    CommandKind.REBALANCE: "move",
    CommandKind.FAILBACK: "move",
    CommandKind.STOP: "stop",
    CommandKind.SHUTDOWN: "shutdown",
    CommandKind.FAILOVER: "failover",
    CommandKind.REJOIN: "rejoin",
    CommandKind.CONFIRMED_RESTART: "rejoin",
    CommandKind.REMOVE_HOST: "fence",
}
"""The kind of action without which a command would be remembered for ever and never done."""
SWITCH_OFFS = (CommandKind.DISARM, CommandKind.MAINTENANCE_ON, CommandKind.IGNORE, CommandKind.SHUTDOWN)
"""What stands until it ends: each has a person, a reason and an end (``switch_offs``)."""


def apply_command(policy: Policy, memory: Memory, command: Command, now: Instant, able: Collection[str] = KINDS) -> tuple[Memory, str]:
    """The memory with the command in it, and what changed in words; empty when nothing did. *able*: as in :func:`decide.decide`.

    Raises CommandRefused, with nothing changed.
    """
    needed = NEEDS.get(command.kind)
    if needed is not None and needed not in able:
        raise CommandRefused("nobody carries out a %s here; do it by hand" % needed)
    return _COMMANDS[command.kind](policy, memory, command, now)


_Command = Callable[[Policy, Memory, Command, Instant], "tuple[Memory, str]"]


def _migrate(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    vm = _vm(memory, command)
    if command.host:
        _host(policy, memory, command.host)
    if vm.ignored:
        raise CommandRefused("%s is ignored; put it back with manage first" % vm.name)
    if vm.host == command.host:
        stays = memory.with_vm(replace(vm, wanted_host=command.host, wanted_way="", ordered=False, refused="", failed_move=None, home=""))
        return _changed(memory, stays, "%s stays on %s", vm.name, command.host)
    wanted = replace(vm, wanted_host=command.host, wanted_way=command.way, ordered=True, refused="", failed_move=None, home="")
    return _changed(memory, memory.with_vm(wanted), "%s is to move to %s%s", vm.name, command.host or "another host", _said(command))


def _start(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    vm = _vm(memory, command)
    if vm.ignored:
        raise CommandRefused("%s is ignored; put it back with manage first" % vm.name)
    if vm.desired is Desired.STARTED and vm.power is Power.ON:
        return memory, ""
    started = replace(
        vm, desired=Desired.STARTED, stopping=False, clean_off=False, restart=True, asked=True, tries=Tries(last_key=vm.tries.last_key)
    )
    return _changed(memory, memory.with_vm(started), "%s is to be started%s", vm.name, _said(command))


def _stop(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    vm = _vm(memory, command)
    if vm.ignored:
        raise CommandRefused("%s is ignored; put it back with manage first" % vm.name)
    if vm.desired is not Desired.STARTED:
        return memory, ""
    stopped = replace(vm, desired=Desired.STOPPED, stopping=vm.power is Power.ON, restart=False, asked=False)
    return _changed(memory, memory.with_vm(stopped), "%s is to be stopped%s", vm.name, _said(command))


def _ignore(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    vm = _vm(memory, command)
    off = begin(vm.ignore, _who(command), command.holds or policy.switch_off.ignore, now)
    after = memory.with_vm(replace(vm, ignored=True, ignore=off, stopping=False, ordered=False))
    return _changed(memory, after, "%s is taken out of HA as it is until %s%s", vm.name, end_of(off), _said(command))


def _manage(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    vm = _vm(memory, command)
    return _changed(memory, memory.with_vm(replace(vm, ignored=False, ignore=None)), "%s is back in HA%s", vm.name, _said(command))


def _maintenance(wanted: bool) -> _Command:
    def command_of(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
        name = _host(policy, memory, command.subject)
        record = memory.host(name)
        if not wanted:
            after = memory.with_host(replace(record, wanted_maintenance=False, maintenance_order=None, maintenance_way=""))
            return _changed(memory, after, "maintenance of %s is over%s", name, _said(command))
        off = begin(record.maintenance_order, _who(command), command.holds or policy.switch_off.maintenance, now)
        emptied = replace(record, wanted_maintenance=True, maintenance_order=off, maintenance_way=command.way, failback=False)
        return _changed(
            memory, memory.with_host(emptied), "%s is to be emptied for maintenance until %s%s", name, end_of(off), _said(command)
        )

    return command_of


def _failback(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """The VMs that belong on a host come to it, also by being stopped for the move: a person says so for these, this once."""
    name = _host(policy, memory, command.subject)
    record = memory.host(name)
    if record.wanted_maintenance:
        raise CommandRefused("%s is in maintenance; end that first" % name)
    after = memory.with_host(replace(record, failback=True, failback_left=""))
    return _changed(memory, after, "the VMs that belong on %s are to come back to it%s", name, _said(command))


def _rejoin(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    name = _host(policy, memory, command.subject)
    record = memory.host(name)
    if memory.looked_at is None:
        raise CommandRefused("whether %s is fenced is not known before the first look; ask again" % name)
    # Of a host that no look has judged yet, the next one knows whether it is fenced.
    if not record.fenced and not record.confirmed_off and record in memory.hosts:
        return memory.with_host(replace(record, refused="")) if record.refused else memory, ""
    # Asked again, it boots from where the first wish has brought it.
    asked = replace(record.rejoin or RejoinRecord(now), asked_at=now, by=command.by)
    after = memory.with_host(replace(record, rejoin=asked, removal=None, refused=""))
    return _changed(memory, after, "%s is to be let in again%s", name, _said(command))


def _confirmed_restart(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """As rejoin, with a named person's word that the host was started after its fence, where no uptime can prove it."""
    if len(command.reason.strip()) < 4:
        raise CommandRefused("it needs a reason: how you know that %s was started after its fence" % command.subject)
    after, text = _rejoin(policy, memory, command, now)
    record = after.host(command.subject)
    if record.rejoin is None:
        return after, text
    said = after.with_host(replace(record, rejoin=replace(record.rejoin, word=_who(command))))
    return _changed(memory, said, "%s confirms that %s was restarted: %s", command.by, command.subject, command.reason)


def _confirmed_off(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """A named person's word that the host is off. Ends when the host is let in again."""
    name = _host(policy, memory, command.subject)
    after = memory.with_host(replace(memory.host(name), confirmed_off=_who(command)))
    return _changed(memory, after, "%s confirms that %s is off: %s", command.by, name, command.reason)


def _remove_host(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    name = _host(policy, memory, command.subject)
    record = memory.host(name)
    if not command.reason.strip():
        raise CommandRefused("it needs a reason: why %s is taken out of the cluster for good" % name)
    if record.gone:
        return _forget(policy, memory, command, record)
    if record.removal is not None and record.removal.done:
        return memory, ""
    if not (record.wanted_maintenance or record.fenced or record.confirmed_off):
        raise CommandRefused("%s is neither emptied for maintenance nor fenced; empty it first (playbook evacuate)" % name)
    after = memory.with_host(replace(record, removal=RemovalRecord(now, _who(command)), rejoin=None, refused=""))
    return _changed(memory, after, "%s is to be taken out of the cluster for good%s", name, _said(command))


def _forget(policy: Policy, memory: Memory, command: Command, record: HostRecord) -> tuple[Memory, str]:
    """A host that the inventory does not name any more: nobody can look at it, so only what leaves nothing open is forgotten."""
    vms = sorted(vm.name for vm in memory.vms if vm.host == record.name)
    others = {host.initiator.lower() for host in policy.hosts.values()}
    mine = {name.lower() for name in record.initiators} - others  # of a host that was renamed it is another's by now
    admitting = sorted(server.name for server in memory.storage if mine & {name.lower() for name in server.admits})
    against = ["%s recorded there" % ", ".join(vms)] if vms else []
    against += ["%s still admits its initiator %s" % (", ".join(admitting), ", ".join(sorted(mine)))] if admitting else []
    against += ["its fence is not confirmed"] if record.fenced and record.verdict != Verdict.FENCED.value else []
    if against:
        text = "%s is not in the inventory, so it cannot be looked at, and %s; put it back, and take it out with the playbook host_remove"
        raise CommandRefused(text % (record.name, "; ".join(against)))
    after = replace(memory, hosts=tuple(other for other in memory.hosts if other.name != record.name))
    return _changed(memory, after, "%s is forgotten: it is not in the inventory any more%s", record.name, _said(command))


def _failover(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """An order to fail one host over, in every mode. It ends when the host works: of one that does, at the look that takes this up."""
    name = _host(policy, memory, command.subject)
    others = tuple(item for item in memory.approved if item.subject != name)
    after = replace(memory, approved=(*others, Approval(name, command.by, failover=True)))
    return _changed(memory, after, "%s is to be failed over%s", name, _said(command))


def _release_brake(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """The hosts that the brake held at the last look are let through, and no others: those the person can have known of."""
    if not memory.brake.held:
        return memory, "%s releases the brake, which holds no host: nothing changes (%s)" % (command.by, command.reason)
    counted = {item.host for item in memory.brake.counted} - set(memory.brake.released)
    released = tuple(sorted({*memory.brake.released, *counted}))
    after = replace(memory, brake=replace(memory.brake, released=released, released_by=_who(command)))
    return _changed(memory, after, "%s releases the brake for %s: %s", command.by, ", ".join(sorted(counted)), command.reason)


def _approve(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    known = {vm.id: vm for vm in memory.vms}
    known.update({vm.name: vm for vm in memory.vms})
    vm = known.get(command.subject)
    subject = vm.id if vm else _host(policy, memory, command.subject)
    verdict = memory.host(vm.host if vm else subject).verdict
    works = bool(verdict) and Verdict(verdict).works and (vm is None or vm.power is Power.ON)
    others = tuple(item for item in memory.approved if item.subject != subject)
    failover = any(item.failover for item in memory.approved if item.subject == subject)
    after = replace(memory, approved=(*others, Approval(subject, command.by, works, failover)))
    return _changed(memory, after, "what is proposed for %s is approved%s", command.subject, _said(command))


def _disarm(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    off = begin(memory.disarm, _who(command), command.holds or policy.switch_off.disarm, now)
    after = replace(memory, disarmed=_who(command) or "an operator", disarm=off)
    return _changed(memory, after, "the cluster is disarmed until %s%s", end_of(off), _said(command))


def _arm(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    return _changed(memory, replace(memory, disarmed="", disarm=None), "the cluster is armed%s", _said(command))


def _rebalance(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    after = replace(memory, rebalance=_who(command) or "an operator")
    return _changed(memory, after, "the load is to be balanced%s", _said(command))


def _shutdown(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """Given again, it is prolonged, and its time in which things go in order begins anew."""
    off = begin(None, _who(command), command.holds or policy.switch_off.shutdown, now)
    after = replace(memory, shutdown=ShutdownRecord(off), hosts=tuple(replace(host, shut_down=None) for host in memory.hosts))
    if memory.shutdown is not None and memory.goes_down:
        after = replace(memory, shutdown=replace(memory.shutdown, order=off))
    return _changed(memory, after, "everything is shut down, until %s at most%s", end_of(off), _said(command))


def _cancel_shutdown(policy: Policy, memory: Memory, command: Command, now: Instant) -> tuple[Memory, str]:
    """What was switched off starts again, in start order; of a shutdown that is over already nothing is left to call off."""
    if memory.shutdown is None or not memory.goes_down:
        return memory, ""
    ended = "called off by %s" % (_who(command) or "an operator")
    return _changed(memory, replace(memory, shutdown=replace(memory.shutdown, ended=ended)), "the shutdown is called off%s", _said(command))


_COMMANDS: dict[CommandKind, _Command] = {
    CommandKind.MIGRATE: _migrate,
    CommandKind.START: _start,
    CommandKind.STOP: _stop,
    CommandKind.IGNORE: _ignore,
    CommandKind.MANAGE: _manage,
    CommandKind.MAINTENANCE_ON: _maintenance(True),
    CommandKind.MAINTENANCE_OFF: _maintenance(False),
    CommandKind.FAILBACK: _failback,
    CommandKind.REJOIN: _rejoin,
    CommandKind.CONFIRMED_RESTART: _confirmed_restart,
    CommandKind.CONFIRMED_OFF: _confirmed_off,
    CommandKind.REMOVE_HOST: _remove_host,
    CommandKind.FAILOVER: _failover,
    CommandKind.RELEASE_BRAKE: _release_brake,
    CommandKind.APPROVE: _approve,
    CommandKind.DISARM: _disarm,
    CommandKind.ARM: _arm,
    CommandKind.REBALANCE: _rebalance,
    CommandKind.SHUTDOWN: _shutdown,
    CommandKind.CANCEL_SHUTDOWN: _cancel_shutdown,
}


def _vm(memory: Memory, command: Command) -> VmRecord:
    found = [vm for vm in memory.vms if command.subject in (vm.id, vm.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandRefused(
            "%s VMs are called %s; name the one by its id: %s" % (len(found), command.subject, ", ".join(vm.id for vm in found))
        )
    raise CommandRefused("no VM %s is known; the known ones: %s" % (command.subject, _some(sorted(vm.name for vm in memory.vms))))


def _host(policy: Policy, memory: Memory, name: str) -> str:
    known = {*policy.hosts, *(record.name for record in memory.hosts)}
    if name not in known:
        raise CommandRefused("no host %s is known; the known ones: %s" % (name or "without a name", _some(sorted(known))))
    return name


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (" and %d more" % (len(names) - 20) if len(names) > 20 else "") or "none yet"


def _who(command: Command) -> str:
    return ": ".join(part for part in (command.by, command.reason) if part)


def _said(command: Command) -> str:
    who = _who(command)
    return " (%s)" % who if who else ""


def _changed(before: Memory, after: Memory, text: str, *words: str) -> tuple[Memory, str]:
    return (after, text % words) if after != before else (before, "")
