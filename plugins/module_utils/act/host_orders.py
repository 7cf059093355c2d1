# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host enters ESXi's maintenance mode, leaves it, or shuts down. decide orders it (``decide/hosts/maintenance_mode.py``,
``decide/hosts/shutdown.py``).

What the look saw may be some seconds old, so the host is read once more: one on which a VM runs is asked neither to enter nor to shut down.
Without that the one request would wait there until the VM is stopped by whomever, and the other would cut its power. Where the host is in
the mode already, nothing is asked, and nothing is journaled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from ..access import HostAccess
from ..decide.decision import MaintenanceAction, ShutdownAction
from ..decide.observations import Power
from ..errors import LibrehaError
from ..hypervisor.interface import Hypervisor
from ..lease.keeper import LeaseKeeper
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from .fence import Run
from .vm_power import LOOK_TIMEOUTS, REAL_HOSTS, HostWorld

WITHIN = 15.0  # s; an empty host needs one or two


@dataclass(frozen=True)
class HostOrder:
    """What is ordered, of which host, under which lease."""

    action: Union[MaintenanceAction, ShutdownAction]
    access: HostAccess
    database: StateDatabase
    run: Run
    hosts: HostWorld = REAL_HOSTS

    @contextlib.contextmanager
    def opened(self) -> Iterator[Hypervisor]:
        """The host, for acting on it inside the lease."""
        seconds = self.run.lease + WITHIN + LOOK_TIMEOUTS * self.access.connection.timeout
        keeper = LeaseKeeper(self.database, self.run.holder, self.run.token, seconds, self.hosts.clock, self.hosts.deadman())
        with keeper, self.hosts.open(self.access, keeper.guard) as hypervisor:
            yield hypervisor

    def journal(self, kind: str, done: str) -> None:
        text = "%s %s: %s" % (self.action.host, done, "; ".join(self.action.reasons))
        self.database.journal([JournalEntry(kind, text, subject=self.action.host)], self.run.token)


def set_maintenance_mode(order: HostOrder, enter: bool) -> bool:
    """Carry it out; whether that changed anything. Raises LeaseLost or StaleToken, or LibrehaError when it is not done."""
    with order.opened() as hypervisor:
        if hypervisor.health().maintenance is enter:
            return False
        if enter:
            _refuse_if_vms_run(order, hypervisor, "it does not enter maintenance mode", "evacuate it again")
        hypervisor.set_maintenance_mode(enter, WITHIN)
    order.journal("maintenance", "%s maintenance mode" % ("entered" if enter else "left"))
    return True


def shut_down_host(order: HostOrder) -> bool:
    """Ask the host to shut down. Raises as :func:`set_maintenance_mode`."""
    with order.opened() as hypervisor:
        _refuse_if_vms_run(order, hypervisor, "it is not shut down", "the VMs are stopped, and it is tried again")
        hypervisor.shut_down_host(WITHIN)
    order.journal("shutdown", "is shutting down")
    return True


def _refuse_if_vms_run(order: HostOrder, hypervisor: Hypervisor, what: str, remedy: str) -> None:
    running = sorted(vm.name for vm in hypervisor.virtual_machines() if vm.power is Power.ON)
    if running:
        raise LibrehaError("%s: %s runs there" % (what, ", ".join(running)), host=order.action.host, remedy=remedy)
