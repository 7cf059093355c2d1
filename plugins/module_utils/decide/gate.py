# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be carried out now: the mode, a person's yes, and whether the cluster is armed.

Invariant: repeating a fence that stands already is carried out in every case but ``mode: observe`` - it takes nothing from anybody
that was not taken before, and leaving it open would let a fenced host write (safety.md, "The fence"). Nothing else passes
while the cluster is disarmed, and with ``mode: ask`` only what a person asked for or said yes to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from .decision import (
    Action,
    Alarm,
    Cause,
    FailoverAction,
    FenceAction,
    MoveAction,
    RejoinAction,
    ResetAction,
    RestartAction,
    Severity,
    StopAction,
)
from .memory import Approval, Memory, VmRecord
from .observations import Power
from .policy import Mode
from .state import HostState

ASKED_FOR = (Cause.OPERATOR, Cause.MAINTENANCE, Cause.RETURN)
FOR_WHAT_WORKS = (MoveAction, ResetAction)  # what is done about hosts that work and VMs that run


def sort_out(
    actions: Iterable[Action], memory: Memory, mode: Mode, hosts: Mapping[str, HostState], able: Collection[str]
) -> tuple[tuple[Action, ...], tuple[Action, ...], list[Alarm]]:
    """Actions to carry out, actions only proposed, and what the operator should know about that.

    *able* are the kinds of action that whoever asks can carry out.
    """
    allowed: list[Action] = []
    proposed: list[Action] = []
    for action in actions:
        approved = {item.subject for item in memory.approved if not item.works or isinstance(action, FOR_WHAT_WORKS)}
        if mode is Mode.OBSERVE or action.kind not in able:
            proposed.append(action)
        elif isinstance(action, FenceAction) and hosts[action.host].is_fenced:
            allowed.append(action)
        elif memory.disarmed:
            proposed.append(action)
        elif mode is Mode.ACT or action.host in approved or isinstance(action, (StopAction, RejoinAction)):
            allowed.append(action)
        else:
            yes, no = _split(action, approved)
            allowed += yes
            proposed += no
    return tuple(allowed), tuple(proposed), _alarms(proposed, memory, mode)


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


def _split(action: Action, approved: Collection[str]) -> tuple[list[Action], list[Action]]:
    """The part of a plan that somebody asked for or said yes to, and the rest."""
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


def _alarms(proposed: Iterable[Action], memory: Memory, mode: Mode) -> list[Alarm]:
    found = []
    waiting = sorted({"%s %s" % (action.kind, action.host) for action in proposed})
    if memory.disarmed:
        text = "the cluster is disarmed (%s)" % memory.disarmed
        text += "; not done: %s" % ", ".join(waiting) if waiting else ""
        found.append(Alarm("disarmed", Severity.CRITICAL if waiting else Severity.WARNING, "cluster", text))
    elif waiting and mode is Mode.ASK:
        text = "waits for a person's yes: %s" % ", ".join(waiting)
        found.append(Alarm("ask", Severity.CRITICAL, "cluster", text))
    return found
