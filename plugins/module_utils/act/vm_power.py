# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``vm_power`` does: stop VMs of hosts that answer, all hosts and VMs at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import clock
from ..arguments.hosts import HostAccess, read_hosts
from ..decide.observations import Power, VmObservation
from ..errors import LibrehaError
from ..hypervisor.registry import open_hypervisor
from ..observe.parallel import Late, Raised, in_parallel
from ..record.database import StateDatabase
from .deadman import Deadman
from .keeper import LeaseKeeper


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError naming every VM that was not stopped."""
    accesses = read_hosts(params)
    if check_mode:
        return _stop_all(accesses, params, None, check_mode=True)
    with StateDatabase.open(params["state_url"], create=False) as database:
        deadman = Deadman()
        keeper = LeaseKeeper(database, params["holder"], params["token"], params["lease"], clock.now, deadman)
        try:
            return _stop_all(accesses, params, keeper.guard, check_mode=False)
        finally:
            deadman.disarm()


def _stop_all(
    accesses: Sequence[HostAccess], params: Mapping[str, Any], guard: Callable[[], None] | None, check_mode: bool
) -> dict[str, Any]:
    timeout = params["stop_timeout"]
    looks = {access.name: _stopper(access, params["vms"], timeout, guard, check_mode) for access in accesses}
    slowest = max((access.connection.timeout for access in accesses), default=0.0)
    stopped: list[dict[str, str]] = []
    failed: list[str] = []
    for host, outcome in in_parallel(looks, timeout + 3 * slowest).items():
        if isinstance(outcome, Late):
            failed.append("%s: no answer within %.0f s" % (host, outcome.after))
        elif isinstance(outcome, Raised):
            if not isinstance(outcome.error, LibrehaError):
                raise outcome.error
            failed.append(str(outcome.error))
        else:
            stopped += [{"host": host, "name": vm.name, "id": vm.id} for vm, reason in outcome if not reason]
            failed += ["%s: %s: %s" % (host, vm.name, reason) for vm, reason in outcome if reason]
    result = {"changed": bool(stopped), "vms": stopped, "diff": _diff(stopped)}
    if failed:
        raise LibrehaError(
            "not stopped: %s" % "; ".join(failed),
            remedy="stop them at the host, or switch the host off",
            details={**result, "failed_vms": failed},
        )
    return result


def _stopper(
    access: HostAccess, wanted: Sequence[str], timeout: float, guard: Callable[[], None] | None, check_mode: bool
) -> Callable[[], list[tuple[VmObservation, str]]]:
    def stop() -> list[tuple[VmObservation, str]]:
        with open_hypervisor(access.connection, guard) as hypervisor:
            running = [vm for vm in hypervisor.virtual_machines() if vm.power is not Power.OFF and _is_wanted(vm, wanted)]
            if check_mode or not running:
                return [(vm, "") for vm in running]
            outcome = hypervisor.power_off([vm.moid for vm in running], timeout)
            return [(vm, outcome[vm.moid]) for vm in running]

    return stop


def _is_wanted(vm: VmObservation, wanted: Sequence[str]) -> bool:
    """By id; a host without its datastore may not know the id of a VM any more, then the path inside it decides."""
    if not wanted or vm.id in wanted:
        return True
    return not vm.accessible and any(vm.path.endswith(identity.partition(":")[2]) for identity in wanted)


def _diff(stopped: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {"before": {vm["name"]: "on" for vm in stopped}, "after": {vm["name"]: "off" for vm in stopped}}
