# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host enters ESXi's maintenance mode, or leaves it. decide orders both (``decide/hosts/maintenance_mode.py``).

What the look saw may be some seconds old, so the host is read once more: one on which a VM runs is not asked to enter. Without that the
request would wait there until the VM is stopped by whomever. Where the host is so already, nothing is asked, and nothing is journaled.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..access import HostAccess
from ..decide.decision import MaintenanceAction
from ..decide.observations import Power
from ..errors import LibrehaError
from ..lease.keeper import LeaseKeeper
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from .fence import Run
from .vm_power import LOOK_TIMEOUTS, REAL_HOSTS, HostWorld

WITHIN = 15.0  # s; an empty host needs one or two


@dataclass(frozen=True)
class Maintenance:
    """What is ordered, of which host, under which lease."""

    action: MaintenanceAction
    access: HostAccess
    database: StateDatabase
    run: Run
    hosts: HostWorld = REAL_HOSTS

    def keeper(self) -> LeaseKeeper:
        seconds = self.run.lease + WITHIN + LOOK_TIMEOUTS * self.access.connection.timeout
        return LeaseKeeper(self.database, self.run.holder, self.run.token, seconds, self.hosts.clock, self.hosts.deadman())


def set_maintenance_mode(order: Maintenance) -> bool:
    """Carry it out; whether that changed anything. Raises LeaseLost or StaleToken, or LibrehaError when it is not done."""
    host, enter = order.action.host, order.action.enter
    with order.keeper() as keeper, order.hosts.open(order.access, keeper.guard) as hypervisor:
        if hypervisor.health().maintenance is enter:
            return False
        if enter:
            running = sorted(vm.name for vm in hypervisor.virtual_machines() if vm.power is Power.ON)
            if running:
                raise LibrehaError(
                    "it does not enter maintenance mode: %s runs there" % ", ".join(running), host=host, remedy="evacuate it again"
                )
        hypervisor.set_maintenance_mode(enter, WITHIN)
    text = "%s %s maintenance mode: %s" % (host, "entered" if enter else "left", "; ".join(order.action.reasons))
    order.database.journal([JournalEntry("maintenance", text, subject=host)], order.run.token)
    return True
