# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fencing one host: on every storage server, then its power, then, where it still answers, its VMs.

The storage servers come first, all at the same time: they end its writes for certain. Its power and its own API prove besides that its
VMs do not execute. Its power is switched off as soon as every storage server has made the fence durable, or has failed to: beside the
verification, not after it. What makes that safe is what makes the order of the levels safe. A host that gets its power back finds its
right gone, whatever becomes of this process meanwhile; that the fence is verified is needed for starting its VMs, and nothing is
started here. A level that fails keeps no other back; what is missing, the next look finds, and orders it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from ..access import HostAccess
from ..decide.decision import FenceAction
from ..decide.machine import Machine
from ..errors import ENDS_THE_RUN, as_outcome
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
    machine's own server, and in a worker for a remote one; it may call its last argument once the fence is durable there. ``switch_off``
    returns what ``fence_power`` does, and is called in a worker.
    """

    at_server: Callable[[ServerAccess, FenceRequest, Permit, Callable[[], None]], Mapping[str, Any]]
    switch_off: Callable[[Sequence[PowerDevice], Permit, Machine], Mapping[str, Any]]
    hosts: HostWorld
    runtime: Runtime


def _at_server(server: ServerAccess, request: FenceRequest, permit: Permit, durable: Callable[[], None]) -> Mapping[str, Any]:
    return fence_here(server, request, permit, durable) if server.ssh is None else fence_remote(server, request, permit)


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
    switch_off = partial(world.switch_off, devices, permit, action.machine) if action.power else None
    known = [servers[name] for name in action.storage if name in servers]
    at_servers, power = _in_levels(action, known, switch_off, permit, run.token, world)
    changed, failed = _changed_at(at_servers, action.host)
    failed += ["%s is not among the storage servers of this run" % name for name in action.storage if name not in servers]
    off = False
    if power is not None:
        try:
            result = power()
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


class _PowerLevel:
    """Begun once none of the storage servers is waited for any more."""

    def __init__(self, servers: Sequence[ServerAccess], begin: Callable[[], None]) -> None:
        self._waited_for = {server.name for server in servers}
        self._begin = begin
        self._lock = threading.Lock()
        if not servers:
            begin()

    def wait_no_more_for(self, server: str) -> None:
        """The fence is durable there, or has failed."""
        with self._lock:
            waited = server in self._waited_for
            self._waited_for.discard(server)
            if waited and not self._waited_for:
                self._begin()


Result = Callable[[], Mapping[str, Any]]
"""What a call returned, or raises what it raised."""


def _in_levels(
    action: FenceAction,
    servers: Sequence[ServerAccess],
    switch_off: Optional[Result],
    permit: Permit,
    token: int,
    world: FenceWorld,
) -> tuple[dict[str, Result], Optional[Result]]:
    """At the remote servers in workers, meanwhile at this machine's own in the main thread, where the deadman is exact; then its power.
    Returns the results by storage server, and that of switching it off where it came to that: not in a run that was replaced."""
    request = FenceRequest(action.host, tuple(action.initiators), token, "; ".join(action.reasons))
    remote = [server for server in servers if server.ssh is not None]
    ended: dict[str, Result] = {}
    power: list[Result] = []
    with world.runtime.workers(len(remote) + 1) as workers:

        def begin() -> None:
            if switch_off is not None:
                power.append(workers.submit(switch_off).result)

        level = _PowerLevel(servers, begin)

        def at_server(server: ServerAccess) -> Mapping[str, Any]:
            durable = partial(level.wait_no_more_for, server.name)
            try:
                outcome = world.at_server(server, request, permit, durable)
            except ENDS_THE_RUN:
                raise
            except Exception:
                durable()
                raise
            durable()
            return outcome

        asked = {server.name: workers.submit(at_server, server) for server in remote}
        ended.update((name, future.result) for name, future in asked.items())
        ended.update((server.name, _attempt(partial(at_server, server))) for server in servers if server.ssh is None)
        waiting = set(asked.values())
        while waiting:  # the last of them begins the next level, for which this block must be open
            waiting -= set(workers.wait(waiting, 1.0))
    return ended, power[0] if power else None


def _changed_at(servers: Mapping[str, Result], host: str) -> tuple[bool, list[str]]:
    """Whether anything was changed at the storage servers, and why each that failed did. Raises what ends the run."""
    changed = False
    failed: list[str] = []
    for name, result in servers.items():
        try:
            changed = bool(result()["changed"]) or changed
        except Exception as error:
            failed.append("%s: %s" % (name, as_outcome(error, "fencing %s" % host, host)))
    return changed, failed


def _attempt(call: Result) -> Result:
    """Call it now; what it returned or raised comes when the result is asked for, as from a worker."""
    future: Future[Mapping[str, Any]] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future.result
