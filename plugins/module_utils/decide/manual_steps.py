# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person can do by hand about an action that whoever asked for the decision cannot carry out.

Nothing waits for such an action. The alarm says what should be done and how, and ends when it is done.
"""

from __future__ import annotations

from .decision import Action, Alarm, MaintenanceAction, MoveAction, PlannedMove, RejoinAction, Severity, ShutdownAction

NAMED = 5  # VMs in one text


def manual_step(action: Action) -> str:
    """How a person does it."""
    if isinstance(action, MoveAction):
        vm = action.vms[0]
        return "run the playbook migrate, -e vm='%s' -e host=%s" % (vm.name, vm.destination)
    if isinstance(action, RejoinAction):
        return "run the playbook rejoin, -e host=%s (docs/bringing-a-host-back.md)" % action.host
    if isinstance(action, MaintenanceAction):
        return "vim-cmd hostsvc/maintenance_mode_%s on the host" % ("enter" if action.enter else "exit")
    if isinstance(action, ShutdownAction):
        return "esxcli system shutdown poweroff, or the host's own console"
    return "whoever asked for this decision carries out no %s; the playbook monitor does" % action.kind


def manual_step_alarm(action: Action) -> Alarm:
    """Critical when a VM is down until somebody does it."""
    down = isinstance(action, MoveAction) and any(vm.power_on and not vm.running for vm in action.vms)
    what = _moves(action.vms) if isinstance(action, MoveAction) else "; ".join(action.reasons)
    text = "%s %s is left to a person: %s. By hand: %s" % (action.kind, action.host, what, manual_step(action))
    return Alarm("by_hand:%s:%s" % (action.kind, action.host), Severity.CRITICAL if down else Severity.WARNING, action.host, text)


def _moves(vms: tuple[PlannedMove, ...]) -> str:
    named = ["%s as %s on %s (%s)" % (vm.name, vm.vmx, vm.destination, vm.reasons[0]) for vm in vms[:NAMED]]
    return "; ".join(named) + ("; and %d VMs more" % (len(vms) - NAMED) if len(vms) > NAMED else "")
