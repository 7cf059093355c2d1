# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fencing one host: on every storage server, then its power, then, where it still answers, its VMs.

The storage servers come first, all at the same time: they end its writes for certain. Its power and its own API prove besides that its
VMs do not execute. A level that fails keeps no other back; what is missing, the next look finds, and orders it again.
Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from ..access import HostAccess
from ..decide.decision import FenceAction
from ..decide.machine import Machine
from ..errors import as_outcome
from ..fence.interface import PowerDevice
from ..fence.power_state import fence_power
from ..lease.deadman import Permit
from ..record.database import StateDatabase
from ..storage.remote import fence_remote
from ..storage.server import FenceRequest, ServerAccess, fence_here
from .runtime import Runtime, Threads
from .vm_power import REAL_HOSTS, HostWorld, PowerRequest, power_vms

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


@dataclass(frozen=True)
class FenceWorld:
    """What a fence works on: real storage servers, power devices and hosts, or simulated ones.

    ``at_server`` fences at one storage server and returns its outcome, with ``changed``. It is called in the main thread for this
    machine's own server, and in a worker for a remote one. ``switch_off`` returns what ``fence_power`` does.
    """

    at_server: Callable[[ServerAccess, FenceRequest, Permit], Mapping[str, Any]]
    switch_off: Callable[[Sequence[PowerDevice], Permit, Machine], Mapping[str, Any]]
    hosts: HostWorld
    runtime: Runtime


def _at_server(server: ServerAccess, request: FenceRequest, permit: Permit) -> Mapping[str, Any]:
    return (fence_here if server.ssh is None else fence_remote)(server, request, permit)


def _switch_off(devices: Sequence[PowerDevice], permit: Permit, machine: Machine) -> Mapping[str, Any]:
    return fence_power(devices, "off", permit, timeout=PER_LEVEL, machine=machine)


REAL = FenceWorld(_at_server, _switch_off, REAL_HOSTS, Threads())


def fence_host(
    action: FenceAction,
    access: Optional[HostAccess],
    servers: Mapping[str, ServerAccess],
    database: StateDatabase,
    run: Run,
    world: FenceWorld = REAL,
) -> Fenced:
    """Carry out *action*. Raises LeaseLost or StaleToken; whatever else goes wrong is in the result."""
    devices = access.bmc if access is not None and action.power else ()
    levels = len({device.level for device in devices})
    lease = database.renew_lease(run.holder, run.token, run.lease + PER_LEVEL * levels)
    permit = Permit(lease.expires.seconds, now=world.hosts.clock, host=action.host, deadman=world.hosts.deadman())
    changed, failed = _fence_storage(action, [servers[name] for name in action.storage if name in servers], permit, run.token, world)
    failed += ["%s is not among the storage servers of this run" % name for name in action.storage if name not in servers]
    off = False
    if action.power:
        try:
            result = world.switch_off(devices, permit, action.machine)
            off = bool(result["confirmed_off"])
            changed = changed or bool(result["changed"])
        except Exception as error:
            failed.append(str(as_outcome(error, "switching it off", action.host)))
    if action.stop and not off and access is not None:
        request = PowerRequest("powered_off", tuple(action.vms), stop_timeout=STOP_TIMEOUT)
        try:
            stopped = power_vms({access.name: access}, request, database, run.holder, run.token, run.lease, world.hosts)
            changed = changed or bool(stopped["changed"])
        except Exception as error:
            failed.append(str(as_outcome(error, "stopping its VMs", action.host)))
    return Fenced(changed, tuple(failed))


def _fence_storage(
    action: FenceAction, servers: Sequence[ServerAccess], permit: Permit, token: int, world: FenceWorld
) -> tuple[bool, list[str]]:
    """At the remote servers in workers, meanwhile at this machine's own in the main thread, where the deadman is exact."""
    request = FenceRequest(action.host, tuple(action.initiators), token, "; ".join(action.reasons))
    calls = {server.name: partial(world.at_server, server, request, permit) for server in servers}
    remote = [server.name for server in servers if server.ssh is not None]
    ended: dict[str, Callable[[], Mapping[str, Any]]] = {}
    with world.runtime.workers(max(1, len(remote))) as workers:
        for name in remote:
            ended[name] = workers.submit(calls[name]).result
        ended.update((name, _attempt(call)) for name, call in calls.items() if name not in remote)
    changed = False
    failed: list[str] = []
    for server in servers:
        try:
            changed = bool(ended[server.name]()["changed"]) or changed
        except Exception as error:
            failed.append("%s: %s" % (server.name, as_outcome(error, "fencing %s" % action.host, action.host)))
    return changed, failed


def _attempt(call: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
    """Call it now; what it returned or raised comes when the result is asked for, as from a worker."""
    future: Future[Mapping[str, Any]] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future.result
