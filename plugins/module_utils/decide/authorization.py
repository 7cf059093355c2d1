# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be carried out now: who can do it, the mode, a person's yes, and whether the cluster is armed.

Invariant: repeating a fence that stands already is carried out in every case but ``mode: observe`` - it takes nothing from anybody
that was not taken before, and leaving it open would let a fenced host write (docs/safety.md, "The fence"). Nothing else passes
while the cluster is disarmed, with ``mode: ask`` only what a person asked for or said yes to, and with ``mode: observe`` only the failover
and the return of a host that a person ordered by its name.

Nothing is remembered as ordered that was not authorised: whatever puts an order into the memory takes :class:`Orders`, and
only :func:`authorise` makes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .decision import (
    Action,
    Alarm,
    Cause,
    FailoverAction,
    FenceAction,
    MaintenanceAction,
    MoveAction,
    Proposed,
    RejoinAction,
    ResetAction,
    RestartAction,
    Severity,
    ShutdownAction,
    StopAction,
)
from .manual_steps import manual_step, manual_step_alarm
from .memory import Approval, Memory, VmRecord
from .observations import ActInProgress, Power
from .policy import Mode
from .state import HostState
from .switch_offs import end_of

ASKED_FOR = (Cause.OPERATOR, Cause.MAINTENANCE, Cause.RETURN, Cause.FAILBACK)
ASKED_OF_A_HOST = (StopAction, RejoinAction, MaintenanceAction, ShutdownAction)  # only ever by a person's command
FOR_WHAT_WORKS = (MoveAction, ResetAction)  # what is done about hosts that work and VMs that run
NOT_ABOUT_A_LOSS = (StopAction, ResetAction, ShutdownAction)  # whoever asks for the failover of a host asks for none of these

_Kind = TypeVar("_Kind", bound=Action)
_SEAL = object()


class Orders:
    """Actions that are carried out now, in their order."""

    def __init__(self, actions: Iterable[Action], seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only authorise() gives orders: what was not authorised must not be remembered as ordered")
        self.actions = tuple(actions)

    def of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        return tuple(action for action in self.actions if isinstance(action, kind))


@dataclass(frozen=True)
class Caller:
    """Who asks for the decision: ``able`` are the kinds of action that it carries out, ``host`` the one host that it asks about
    (empty: all)."""

    able: Collection[str]
    host: str = ""


@dataclass(frozen=True)
class Authorised:
    orders: Orders
    proposed: tuple[Proposed, ...]
    alarms: tuple[Alarm, ...]  # what the operator should know about that


def authorise(actions: Iterable[Action], memory: Memory, mode: Mode, hosts: Mapping[str, HostState], caller: Caller) -> Authorised:
    """Sort planned actions into those to carry out and those that are only proposed, each of the latter with the reason."""
    allowed: list[Action] = []
    proposed: list[Proposed] = []
    waiting: list[Action] = []  # for the cluster to be armed, or for a yes
    unable: list[Action] = []
    for action in actions:
        why = _out_of_reach(action, memory, mode, hosts, caller)
        if why:
            proposed.append(Proposed(action, why))
            unable += [action] if action.kind not in caller.able else []
        elif isinstance(action, FenceAction) and hosts[action.host].is_fenced:
            allowed.append(action)
        elif memory.disarmed:
            proposed.append(Proposed(action, "the cluster is disarmed (%s)" % memory.disarmed))
            waiting.append(action)
        elif mode is Mode.ACT or isinstance(action, ASKED_OF_A_HOST) or _ordered_by_name(action, memory):
            allowed.append(action)
        else:
            yes, no = _by_a_yes(action, memory)
            allowed += yes
            proposed += [Proposed(part, "mode: ask, waits for a person's yes") for part in no]
            waiting += no
    return Authorised(Orders(allowed, _SEAL), tuple(proposed), (*_alarms(waiting, memory), *map(manual_step_alarm, unable)))


def _out_of_reach(action: Action, memory: Memory, mode: Mode, hosts: Mapping[str, HostState], caller: Caller) -> str:
    """Why no yes and no arming would have *action* carried out by this caller; empty when they would."""
    repeated = isinstance(action, FenceAction) and hosts[action.host].is_fenced
    if caller.host and not repeated and (action.host != caller.host or isinstance(action, NOT_ABOUT_A_LOSS)):
        return "this run is only about the loss of %s" % caller.host
    if action.kind not in caller.able:
        return manual_step(action)
    return "mode: observe" if mode is Mode.OBSERVE and not _ordered_by_name(action, memory) else ""


def _ordered_by_name(action: Action, memory: Memory) -> bool:
    if isinstance(action, FenceAction) and action.by_name:
        return True
    if isinstance(action, (FenceAction, FailoverAction, RestartAction)):
        return any(item.failover and item.subject == action.host for item in memory.approved)
    return isinstance(action, RejoinAction)


def may_start(vm: str, host: str, memory: Memory, mode: Mode) -> bool:
    """Whether the start of a VM that was recorded on *host* would be carried out, as far as the mode and what people said go."""
    if mode is Mode.ACT:
        return True
    heard = [item for item in memory.approved if not item.works and item.subject in (vm, host)]
    return any(item.failover or mode is Mode.ASK for item in heard)


def not_in_progress(actions: Iterable[Action], acts: Iterable[ActInProgress]) -> list[Action]:
    """*actions* without what is being carried out already: nothing is ordered twice."""
    acts = tuple(acts)
    hosts = {act.host for act in acts if not act.vm and not act.mode}
    modes = {act.host for act in acts if act.mode}
    ids = {act.vm for act in acts if act.vm}
    if not acts:
        return list(actions)
    left: list[Action] = []
    for action in actions:
        if isinstance(action, (FenceAction, RejoinAction)):
            left += [] if action.host in hosts else [action]
        elif isinstance(action, (MaintenanceAction, ShutdownAction)):
            left += [] if action.host in hosts | modes else [action]
        elif not any(vm.id in ids for vm in action.vms):
            left.append(action)
        else:
            rest: Any = tuple(vm for vm in action.vms if vm.id not in ids)
            left += [replace(action, vms=rest)] if rest else []
    return left


def still_approved(
    memory: Memory, hosts: Mapping[str, HostState], vms: Mapping[str, VmRecord], planned: Iterable[Action]
) -> tuple[Approval, ...]:
    """A yes holds until its host works again or its VM runs; about one that worked when it was given, while something is planned for it."""
    if not memory.approved:
        return ()
    subjects = {name for action in planned if isinstance(action, FOR_WHAT_WORKS) for name in (action.host, *(vm.id for vm in action.vms))}

    def works(host: str) -> bool:
        return host in hosts and hosts[host].verdict.works

    def holds(item: Approval) -> bool:
        if item.works:
            return item.subject in subjects
        if item.subject in hosts:
            return not works(item.subject)
        vm = vms.get(item.subject)
        return vm is not None and not (vm.power is Power.ON and works(vm.host))

    return tuple(item for item in memory.approved if holds(item))


def _by_a_yes(action: Action, memory: Memory) -> tuple[list[Action], list[Action]]:
    """The part of a plan that somebody asked for or said yes to, and the rest."""
    approved = {item.subject for item in memory.approved if not item.works or isinstance(action, FOR_WHAT_WORKS)}
    if action.host in approved:
        return [action], []
    if isinstance(action, MoveAction):
        moves = [vm for vm in action.vms if vm.cause in ASKED_FOR or vm.id in approved]
        others = [vm for vm in action.vms if vm not in moves]
        return (
            [replace(action, vms=tuple(moves))] if moves else [],
            [replace(action, vms=tuple(others))] if others else [],
        )
    if isinstance(action, ResetAction):
        resets = [target for target in action.vms if target.id in approved]
        waiting = [target for target in action.vms if target not in resets]
        return (
            [replace(action, vms=tuple(resets))] if resets else [],
            [replace(action, vms=tuple(waiting))] if waiting else [],
        )
    if isinstance(action, (FailoverAction, RestartAction)):
        starts = [vm for vm in action.vms if vm.id in approved]
        later = [vm for vm in action.vms if vm not in starts]
        return (
            [replace(action, vms=tuple(starts))] if starts else [],
            [replace(action, vms=tuple(later))] if later or not starts else [],
        )
    return [], [action]


def _alarms(waiting: Iterable[Action], memory: Memory) -> list[Alarm]:
    """*waiting* wait for the cluster to be armed, or else for a yes."""
    names = sorted({"%s %s" % (action.kind, action.host) for action in waiting if not is_empty(action)})
    if memory.disarmed:
        until = " until %s" % end_of(memory.disarm) if memory.disarm is not None else ""
        text = "the cluster is disarmed%s (%s)" % (until, memory.disarmed)
        text += "; not done: %s" % ", ".join(names) if names else ""
        return [Alarm("disarmed", Severity.CRITICAL if names else Severity.WARNING, "cluster", text)]
    if names:
        text = "waits for a person's yes: %s; give it with the playbook monitor, -e approve=NAME of the host or VM" % ", ".join(names)
        return [Alarm("ask", Severity.CRITICAL, "cluster", text)]
    return []


def is_empty(action: Action) -> bool:
    """A plan in which no VM finds a place: there is nothing in it to carry out, or to say yes to."""
    return isinstance(action, (FailoverAction, RestartAction)) and not action.vms
