# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stopping VMs in order: the guests that can hear it shut down, what still runs then is switched off."""

from __future__ import annotations

from collections.abc import Sequence

from ..decide.observations import VmObservation
from ..hypervisor.interface import Hypervisor

GUEST_TIMEOUT = 120.0  # s that guests have for shutting down
SUSPEND_TIMEOUT = 600.0  # s that a host has for writing a VM's memory to its datastore
STOP_TIMEOUT = 10.0  # s that a host has for switching VMs off


def stop_in_order(
    hypervisor: Hypervisor, vms: Sequence[VmObservation], guest_timeout: float, stop_timeout: float
) -> tuple[dict[str, str], dict[str, str]]:
    """By VM reference: "" or why it still runs, and how it was stopped."""
    guests = [vm.moid for vm in vms if vm.guest_listens]
    asked = hypervisor.shut_down(guests, guest_timeout) if guests else {}
    done = {vm.moid: "shut down by its guest" if asked.get(vm.moid) == "" else "switched off" for vm in vms}
    rest = [moid for moid, how in done.items() if how == "switched off"]
    off = hypervisor.power_off(rest, stop_timeout) if rest else {}
    return {vm.moid: off.get(vm.moid, "") for vm in vms}, done
