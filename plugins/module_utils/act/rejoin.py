# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One step of letting a fenced host in again. decide orders the steps (``decide/hosts/rejoin.py``), each after a look that saw
the one before.

power_on, power_cycle
    Its BMC switches it, inside the lease. Whether it started afresh, its own uptime tells later; an act that only believes
    so proves nothing.
unregister
    VMs that another host has by now leave its inventory. **Before** it is let in (docs/safety.md, "Unfence"): what a host without storage
    has registered it cannot start, and a VM whose files it cannot read can be unregistered all the same. After it the registration would be
    live: autostart, or a person at its console, could start there what runs elsewhere, with nothing but the lock of VMFS in between.
    Nothing is switched off here and no file is removed; a VM that runs is left alone, and the step fails.
unfence
    What the look saw may be some seconds old, so the host is read once more: its uptime, which the storage server compares with the age
    of its fence, and its list, in which no VM may run. Remote storage servers come first, this machine's own last: as long as one
    of them lists the host, the next look fences it again at all of them, so where one refuses, the others need not be opened for that.
    A run that dies in between leaves a host half let in; that look finds it, too.
    Where a server has replaced the secret with which the host logs in, the host is given it last. A host that works with another storage
    server keeps its own, since an adapter has one secret for all. Where the host does not take it, the journal asks for a person.
rescan
    It looks for its storage. Whether that works, the next looks see at the target.

Every act is under the lease with its token, and the kernel ends the process at the deadline (lease/deadman.py). Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..access import HostAccess
from ..decide.decision import RejoinAction
from ..decide.hosts.stale import registered
from ..decide.machine import Machine
from ..decide.observations import HostObservation, Power, VmObservation
from ..errors import LibrehaError, as_outcome
from ..fence.interface import PowerDevice
from ..fence.power_state import fence_power
from ..hypervisor.iscsi_adapter import IscsiAdapter
from ..hypervisor.setup import HostSetup
from ..lease.deadman import Permit
from ..lease.keeper import LeaseKeeper
from ..record.database import StateDatabase
from ..record.journal import JournalEntry
from ..storage.remote import unfence_remote
from ..storage.server import ServerAccess, UnfenceRequest, unfence_here
from .fence import PER_LEVEL, Run
from .runtime import Runtime, Threads
from .vm_power import LOOK_TIMEOUTS, REAL_HOSTS, Guard, HostWorld

UNREGISTER = 5.0  # s that taking one VM out of an inventory may take
RESCAN = 120.0  # s; a host asks every target before it answers
SECRET_REQUESTS = 8  # of a host's timeout: log in, its managers, its adapter, its ports, the secret, log out


@dataclass(frozen=True)
class Rejoined:
    """How a step went: whether it changed anything, and why it is not done."""

    changed: bool = False
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class RejoinWorld:
    """What a step works on: real storage servers, power devices and hosts, or simulated ones.

    ``let_in`` lets the host in at one storage server and returns the outcome, with ``changed`` and ``chap_renewed``. It is called in the
    main thread for this machine's own server, and in a worker for a remote one. ``switch`` returns what ``fence_power`` does for the state
    ``on`` or ``cycled``.
    ``renew_secret`` does what ``IscsiAdapter.renew_chap_secret`` does, and calls the guard before it changes the host.
    """

    let_in: Callable[[ServerAccess, UnfenceRequest, Permit], Mapping[str, Any]]
    switch: Callable[[Sequence[PowerDevice], str, Permit, Machine], Mapping[str, Any]]
    renew_secret: Callable[[HostAccess, str, Guard], bool]
    hosts: HostWorld
    runtime: Runtime


def _let_in(server: ServerAccess, request: UnfenceRequest, permit: Permit) -> Mapping[str, Any]:
    return (unfence_here if server.ssh is None else unfence_remote)(server, request, permit)


def _switch(devices: Sequence[PowerDevice], state: str, permit: Permit, machine: Machine) -> Mapping[str, Any]:
    return fence_power(devices, state, permit, timeout=PER_LEVEL, machine=machine)


def _renew_secret(access: HostAccess, secret: str, guard: Guard) -> bool:
    with HostSetup(access.connection) as setup:
        return IscsiAdapter(setup, guard).renew_chap_secret(secret)


REAL = RejoinWorld(_let_in, _switch, _renew_secret, REAL_HOSTS, Threads())


@dataclass(frozen=True)
class Rejoining:
    """One step under way: what is ordered, of which host, under which lease, and the new CHAP secret where one was given."""

    action: RejoinAction
    access: HostAccess
    servers: Mapping[str, ServerAccess]
    database: StateDatabase
    run: Run
    chap_secret: str = field(default="", repr=False)
    world: RejoinWorld = REAL

    def permit(self, seconds: float) -> Permit:
        """To act for *seconds* and the lease's own time."""
        lease = self.database.renew_lease(self.run.holder, self.run.token, self.run.lease + seconds)
        hosts = self.world.hosts
        return Permit(lease.expires.seconds, now=hosts.clock, host=self.action.host, deadman=hosts.deadman())

    def keeper(self, seconds: float) -> LeaseKeeper:
        """For requests to the host that take *seconds* in all, and the lease's own time."""
        hosts = self.world.hosts
        return LeaseKeeper(self.database, self.run.holder, self.run.token, self.run.lease + seconds, hosts.clock, hosts.deadman())


def rejoin_host(step: Rejoining) -> Rejoined:
    """Carry the step out. Raises LeaseLost or StaleToken, or LibrehaError when it is not done."""
    return _STEPS[step.action.step](step)


def _power(step: Rejoining) -> Rejoined:
    devices, state = step.access.bmc, "on" if step.action.step == "power_on" else "cycled"
    if not devices:
        raise LibrehaError("it has no BMC", host=step.action.host, remedy="start it by hand, or give libreha_bmc in the inventory")
    switches = len({device.level for device in devices}) * (1 if state == "on" else 2)
    result = step.world.switch(devices, state, step.permit(PER_LEVEL * switches), step.action.machine)
    return Rejoined(bool(result["changed"]))


def _unregister(step: Rejoining) -> Rejoined:
    host = step.action.host
    changed = False
    failed: list[str] = []
    seconds = UNREGISTER * len(step.action.stale) + LOOK_TIMEOUTS * step.access.connection.timeout
    with step.keeper(seconds) as keeper, step.world.hosts.open(step.access, keeper.guard) as hypervisor:
        listed = registered(hypervisor.virtual_machines(), [stale.id for stale in step.action.stale])
        for stale in step.action.stale:
            vm = listed.get(stale.id)
            if vm is None:
                continue
            if vm.power is Power.ON:
                failed.append("%s runs on %s, so it stays registered there; stop it at the host" % (stale.name, host))
                continue
            try:
                hypervisor.unregister(vm.moid)
            except Exception as error:
                failed.append(str(as_outcome(error, "unregistering %s" % stale.name, host)))
                continue
            changed = True
            _journal(step, "%s was unregistered on %s; %s has it by now" % (stale.name, host, stale.host), vm=stale.id)
    return Rejoined(changed, tuple(failed))


def _unfence(step: Rejoining) -> Rejoined:
    unknown = [name for name in step.action.storage if name not in step.servers]
    if unknown:
        remedy = "give all storage servers of the inventory"
        raise LibrehaError("%s is not among the storage servers of this run" % ", ".join(unknown), host=step.action.host, remedy=remedy)
    with step.world.hosts.open(step.access, None) as hypervisor:
        seen = hypervisor.health()
        vms = hypervisor.virtual_machines()
    request = _request(step, seen, vms)
    permit = step.permit(0.0)
    servers = [step.servers[name] for name in step.action.storage]
    remote = [server for server in servers if server.ssh is not None]
    with step.world.runtime.workers(max(1, len(remote))) as workers:
        asked = [(server, workers.submit(_open, step, server, request, permit).result) for server in remote]
    opened = _opened(step, asked, request)
    if not opened.failed:
        own = [(server, partial(_open, step, server, request, permit)) for server in servers if server.ssh is None]
        opened = opened.and_then(_opened(step, own, request))
    if opened.renewed:
        _give_secret(step)
    return Rejoined(opened.changed, opened.failed)


def _give_secret(step: Rejoining) -> None:
    host, by_hand = step.action.host, ""
    if set(step.servers) - set(step.action.storage):
        by_hand = "it works with another storage server, which the secret of its adapter is for as well"
    else:
        with step.keeper(SECRET_REQUESTS * step.access.connection.timeout) as keeper:
            try:
                if step.world.renew_secret(step.access, step.chap_secret, keeper.guard):
                    _journal(step, "%s was given its new CHAP secret" % host)
            except Exception as error:
                by_hand = str(as_outcome(error, "setting the new CHAP secret", host))
    if by_hand:
        _journal(step, "%s was not given its new CHAP secret (%s): set it there by hand, for it logs in with no other" % (host, by_hand))


def _request(step: Rejoining, seen: HostObservation, vms: Sequence[VmObservation]) -> UnfenceRequest:
    host = step.action.host
    running = sorted(vm.name for vm in vms if vm.power is Power.ON)
    if running:
        remedy = "stop them there, and switch its autostart off"
        raise LibrehaError("not let in: it runs %s" % ", ".join(running), host=host, remedy=remedy)
    if seen.uptime is None:
        raise LibrehaError("not let in: it does not tell its uptime", host=host, remedy="give the user the right to read the host")
    return UnfenceRequest(host, step.run.token, seen.uptime, seen.taken_at.seconds, chap_secret=step.chap_secret)


@dataclass(frozen=True)
class Opened:
    """What came of letting the host in at some servers: whether any changed something, whether any has a new CHAP secret, and why others
    did not."""

    changed: bool = False
    renewed: bool = False
    failed: tuple[str, ...] = ()

    def and_then(self, other: Opened) -> Opened:
        return Opened(self.changed or other.changed, self.renewed or other.renewed, (*self.failed, *other.failed))


def _opened(step: Rejoining, calls: Sequence[tuple[ServerAccess, Callable[[], Mapping[str, Any]]]], request: UnfenceRequest) -> Opened:
    found = Opened()
    for server, call in calls:
        try:
            outcome = call()
        except Exception as error:
            refused = "%s: %s" % (server.name, as_outcome(error, "letting %s in" % request.host, request.host))
            found = found.and_then(Opened(failed=(refused,)))
            continue
        found = found.and_then(Opened(bool(outcome["changed"]), bool(outcome["chap_renewed"])))
        if outcome["changed"]:
            word = step.action.word if server.name in step.action.on_word else ""
            proof = "%s says that it was started after the fence" % word if word else "it has been running for %.0f s" % request.uptime
            _journal(step, "%s was let in again at %s: %s" % (request.host, server.name, proof))
    return found


def _open(step: Rejoining, server: ServerAccess, request: UnfenceRequest, permit: Permit) -> Mapping[str, Any]:
    word = step.action.word if server.name in step.action.on_word else ""
    return step.world.let_in(server, replace(request, word=word), permit)


def _rescan(step: Rejoining) -> Rejoined:
    with step.keeper(RESCAN) as keeper, step.world.hosts.open(step.access, keeper.guard) as hypervisor:
        hypervisor.rescan_storage(RESCAN)
    return Rejoined(True)


def _journal(step: Rejoining, text: str, **data: str) -> None:
    step.database.journal([JournalEntry("fence", text, subject=step.action.host, data=data)], step.run.token)


_STEPS: dict[str, Callable[[Rejoining], Rejoined]] = {
    "power_on": _power,
    "power_cycle": _power,
    "unregister": _unregister,
    "unfence": _unfence,
    "rescan": _rescan,
}
