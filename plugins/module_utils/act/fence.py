# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fencing one host: on every storage server, then its power, then, where it still answers, its VMs.

The storage servers come first, all at the same time: they end its writes for certain. Its power and its own API prove besides that its
VMs do not execute. A level that fails keeps no other back; what is missing, the next look finds, and orders it again.
Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from ..arguments.hosts import HostAccess
from ..decide.decision import FenceAction
from ..errors import as_outcome
from ..fence.power_state import fence_power
from ..record.database import StateDatabase
from ..storage.remote import fence_remote
from ..storage.server import FenceRequest, ServerAccess, fence_here
from .deadman import Permit
from .vm_power import PowerRequest, power_vms

PER_LEVEL = 60.0  # s that a BMC may take to switch a machine off
STOP_TIMEOUT = 10.0  # s for stopping VMs through the API; never a precondition of the fence


@dataclass(frozen=True)
class Run:
    """The run of the monitor under whose lease an act is done."""

    holder: str
    token: int
    lease: float  # seconds


@dataclass(frozen=True)
class Fenced:
    """How fencing a host went: whether anything was changed, and for each level that failed why."""

    changed: bool
    failed: tuple[str, ...] = ()


def fence_host(
    action: FenceAction, access: Optional[HostAccess], servers: Mapping[str, ServerAccess], database: StateDatabase, run: Run
) -> Fenced:
    """Carry out *action*. Raises LeaseLost or StaleToken; whatever else goes wrong is in the result."""
    devices = access.bmc if access is not None and action.power else ()
    levels = len({device.level for device in devices})
    lease = database.renew_lease(run.holder, run.token, run.lease + PER_LEVEL * levels)
    permit = Permit(lease.expires.seconds, host=action.host)
    changed, failed = _fence_storage(action, [servers[name] for name in action.storage if name in servers], permit, run.token)
    failed += ["%s is not among the storage servers of this run" % name for name in action.storage if name not in servers]
    off = False
    if action.power:
        try:
            result = fence_power(devices, "off", permit, timeout=PER_LEVEL, machine=action.machine)
            off = bool(result["confirmed_off"])
            changed = changed or bool(result["changed"])
        except Exception as error:
            failed.append(str(as_outcome(error, "switching it off", action.host)))
    if action.stop and not off and access is not None:
        request = PowerRequest("powered_off", tuple(action.vms), stop_timeout=STOP_TIMEOUT)
        try:
            stopped = power_vms({access.name: access}, request, database, run.holder, run.token, run.lease)
            changed = changed or bool(stopped["changed"])
        except Exception as error:
            failed.append(str(as_outcome(error, "stopping its VMs", action.host)))
    return Fenced(changed, tuple(failed))


def _fence_storage(action: FenceAction, servers: Sequence[ServerAccess], permit: Permit, token: int) -> tuple[bool, list[str]]:
    """At the remote servers in threads, meanwhile at this machine's own in the main thread, where the deadman is exact."""
    request = FenceRequest(action.host, tuple(action.initiators), token, "; ".join(action.reasons))
    changed = False
    failed: list[str] = []
    remote = [server for server in servers if server.ssh is not None]
    with ThreadPoolExecutor(max_workers=max(1, len(remote))) as pool:
        asked: list[tuple[ServerAccess, Optional[Future[Any]]]] = [
            (server, pool.submit(fence_remote, server, request, permit) if server.ssh is not None else None) for server in servers
        ]
        for server, future in sorted(asked, key=lambda item: item[1] is not None):
            try:
                outcome = future.result() if future is not None else fence_here(server, request, permit)
                changed = changed or bool(outcome["changed"])
            except Exception as error:
                failed.append("%s: %s" % (server.name, as_outcome(error, "fencing %s" % action.host, action.host)))
    return changed, failed
