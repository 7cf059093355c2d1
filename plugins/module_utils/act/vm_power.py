# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Switch off, shut down or reset VMs of hosts that answer, all hosts and VMs at the same time.

It looks first, writes into the journal what it is about to do, does it, and writes how each VM ended. The brain counts on
the latter: a reset that failed may be tried again (``decide/vms/vm_monitoring.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from .. import clock
from ..access import HostAccess
from ..decide.observations import Act, Power, VmObservation
from ..decide.vms.vm_monitoring import ALIVE
from ..errors import LibrehaError
from ..hypervisor.interface import Hypervisor
from ..hypervisor.registry import open_hypervisor
from ..instant import Instant
from ..lease.deadman import Deadman
from ..lease.keeper import LeaseKeeper
from ..parallel import failure_of, in_parallel
from ..record.database import EndedAct, StateDatabase
from ..record.journal import JournalEntry
from .stopping import GUEST_TIMEOUT, STOP_TIMEOUT, stop_in_order

JOURNAL_KIND = "power"
LOOK_TIMEOUTS = 3  # of a host's timeout: log in, read, log out


@dataclass(frozen=True)
class PowerRequest:
    """What to do with which VMs (ids); no ids: all of the hosts, only with state ``powered_off``. Times in seconds."""

    state: str
    vms: tuple[str, ...] = ()
    only_without_heartbeat: bool = False
    stop_timeout: float = STOP_TIMEOUT
    guest_timeout: float = GUEST_TIMEOUT


@dataclass(frozen=True)
class Ended:
    """One VM and how its act ended; ``reason`` is empty when it was done."""

    host: str
    vm: VmObservation
    done: str = ""  # what was done, in words
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What there is to do: host -> its VMs; VMs that are left alone and why; hosts and VMs of which nothing can be done."""

    todo: Mapping[str, Sequence[VmObservation]]
    left_alone: Sequence[Ended]
    failed: Sequence[str]


Guard = Callable[[], None]


@dataclass(frozen=True)
class HostWorld:
    """What an act on VMs works on: real hosts, or simulated ones. ``open`` connects to one, with what is to be called directly before each
    request that changes something; ``at_once`` is ``parallel.in_parallel``."""

    open: Callable[[HostAccess, Optional[Guard]], AbstractContextManager[Hypervisor]]
    at_once: Callable[[Mapping[str, Callable[[], Any]], float], Mapping[str, Any]]
    clock: Callable[[], Instant]
    deadman: Callable[[], Deadman]


def _open(access: HostAccess, guard: Optional[Guard]) -> AbstractContextManager[Hypervisor]:
    return open_hypervisor(access.connection, guard)


REAL_HOSTS = HostWorld(_open, in_parallel, clock.now, Deadman)


@dataclass(frozen=True)
class Kind:
    """One value of the option ``state``."""

    act: Act
    words: str  # of what is to be done
    failed: str
    remedy: str
    after: str  # the VM's state afterwards, for the diff


KINDS = {
    "powered_off": Kind(Act.STOP, "power-off", "not stopped", "stop them at the host, or switch the host off", "off"),
    "stopped": Kind(Act.STOP, "stop", "not stopped", "stop them at the host", "off"),
    "reset": Kind(Act.RESET, "reset", "not reset", "look at their consoles, and reset them at the host", "reset"),
}


def power_vms(
    accesses: Mapping[str, HostAccess],
    request: PowerRequest,
    database: StateDatabase,
    holder: str,
    token: int,
    lease: float,
    world: HostWorld = REAL_HOSTS,
) -> dict[str, Any]:
    """Carry *request* out on the hosts *accesses*; the module's result. Raises LibrehaError naming every VM with which it was not done."""
    # The acts take their time without this thread, so the lease is taken for all of them at once.
    with LeaseKeeper(database, holder, token, lease + _longest(accesses, request), world.clock, world.deadman()) as keeper:
        found = _find(accesses, request, world)
        ended = _carry_out(accesses, found, request, database, keeper, world) if found.todo else []
    return _result(request.state, found, ended)


def would_power(accesses: Mapping[str, HostAccess], request: PowerRequest, world: HostWorld = REAL_HOSTS) -> dict[str, Any]:
    """What :func:`power_vms` would return, if everything were done with success. Nothing is changed."""
    found = _find(accesses, request, world)
    return _result(request.state, found, [Ended(host, vm) for host, vms in found.todo.items() for vm in vms])


def _longest(accesses: Mapping[str, HostAccess], request: PowerRequest) -> float:
    """Seconds for acting, at most."""
    guests = request.guest_timeout if request.state == "stopped" else 0.0
    return float(
        guests + request.stop_timeout + LOOK_TIMEOUTS * max((access.connection.timeout for access in accesses.values()), default=0.0)
    )


# Looking


def _find(accesses: Mapping[str, HostAccess], request: PowerRequest, world: HostWorld) -> Found:
    looks = {name: partial(_read, access, world) for name, access in accesses.items()}
    slowest = max((access.connection.timeout for access in accesses.values()), default=0.0)
    todo: dict[str, list[VmObservation]] = {}
    left_alone: list[Ended] = []
    seen: set[str] = set()
    failed: list[str] = []
    for host, outcome in world.at_once(looks, LOOK_TIMEOUTS * slowest).items():
        if not isinstance(outcome, list):
            failed.append(str(failure_of(outcome, "reading its VMs", host)))
            continue
        for vm in outcome:
            if not _runs(vm, request.state) or not _is_wanted(vm, request.vms):
                continue
            seen.add(vm.id)
            if request.only_without_heartbeat and vm.heartbeat in ALIVE:
                left_alone.append(Ended(host, vm, reason="its guest has a heartbeat"))
            else:
                todo.setdefault(host, []).append(vm)
    if request.state == "reset" and not failed:
        failed += ["%s runs on none of the hosts" % identity for identity in request.vms if identity not in seen]
    return Found(todo, left_alone, failed)


def _read(access: HostAccess, world: HostWorld) -> list[VmObservation]:
    with world.open(access, None) as hypervisor:
        return hypervisor.virtual_machines()


def _runs(vm: VmObservation, state: str) -> bool:
    """Switching off ends a suspended VM too; shutting down or resetting one would throw away what it was suspended with."""
    return vm.power is not Power.OFF if state == "powered_off" else vm.power is Power.ON


def _is_wanted(vm: VmObservation, wanted: Sequence[str]) -> bool:
    """By id; a host without its datastore may not know the id of a VM any more, then the path inside it decides."""
    if not wanted or vm.id in wanted:
        return True
    return not vm.accessible and any(vm.path.endswith(identity.partition(":")[2]) for identity in wanted)


# Acting


def _carry_out(
    accesses: Mapping[str, HostAccess],
    found: Found,
    request: PowerRequest,
    database: StateDatabase,
    keeper: LeaseKeeper,
    world: HostWorld,
) -> list[Ended]:
    kind = KINDS[request.state]
    database.journal([_before(kind, host, vm) for host, vms in found.todo.items() for vm in vms], keeper.token)
    acts = {host: partial(_act, accesses[host], vms, request, keeper.guard, world) for host, vms in found.todo.items()}
    ended: list[Ended] = []
    for host, outcome in world.at_once(acts, _longest(accesses, request)).items():
        if isinstance(outcome, list):
            ended += outcome
        else:
            reason = str(failure_of(outcome, kind.words, host))
            ended += [Ended(host, vm, reason=reason) for vm in found.todo[host]]
    with database.change(keeper.token) as change:
        change.journal([_after(kind, item) for item in ended])
        change.results([EndedAct(item.vm.id, item.host, kind.act, not item.reason, item.reason) for item in ended])
    return ended


def _act(access: HostAccess, vms: Sequence[VmObservation], request: PowerRequest, guard: Guard, world: HostWorld) -> list[Ended]:
    moids = [vm.moid for vm in vms]
    without_lock: set[str] = set()
    with world.open(access, guard) as hypervisor:
        hypervisor.on_answer = lambda moid, _question: without_lock.add(moid)
        if request.state == "reset":
            reasons = hypervisor.reset(moids, request.stop_timeout)
            done = dict.fromkeys(moids, "reset")
        elif request.state == "stopped":
            reasons, done = stop_in_order(hypervisor, vms, request.guest_timeout, request.stop_timeout)
        else:
            reasons = hypervisor.power_off(moids, request.stop_timeout)
            done = dict.fromkeys(moids, "switched off")
    done.update(dict.fromkeys(without_lock, "ended by the answer that its lost lock is seen"))
    return [Ended(access.name, vm, done[vm.moid], reasons[vm.moid]) for vm in vms]


# Telling


def _before(kind: Kind, host: str, vm: VmObservation) -> JournalEntry:
    text = "%s of %s on %s begins" % (kind.words, vm.name, host)
    return JournalEntry(JOURNAL_KIND, text, subject=vm.id, data={"phase": "before", "act": kind.act.value, "vm": vm.id, "host": host})


def _after(kind: Kind, item: Ended) -> JournalEntry:
    words = "%s of %s on %s failed: %s" % (kind.words, item.vm.name, item.host, item.reason)
    text = words if item.reason else "%s on %s was %s" % (item.vm.name, item.host, item.done)
    data = {"phase": "after", "act": kind.act.value, "vm": item.vm.id, "host": item.host, "ok": not item.reason, "reason": item.reason}
    return JournalEntry(JOURNAL_KIND, text, subject=item.vm.id, data=data)


def _result(state: str, found: Found, ended: Sequence[Ended]) -> dict[str, Any]:
    kind = KINDS[state]
    done = [item for item in ended if not item.reason]
    failed = [*found.failed, *("%s: %s: %s" % (item.host, item.vm.name, item.reason) for item in ended if item.reason)]
    result = {
        "changed": bool(done),
        "vms": [{"host": item.host, "name": item.vm.name, "id": item.vm.id, "done": item.done} for item in done],
        "left_alone": [{"host": item.host, "name": item.vm.name, "id": item.vm.id, "reason": item.reason} for item in found.left_alone],
        "diff": {"before": {item.vm.name: "on" for item in done}, "after": {item.vm.name: kind.after for item in done}},
    }
    if failed:
        raise LibrehaError(
            "%s: %s" % (kind.failed, "; ".join(failed)),
            remedy=kind.remedy,
            details={**result, "failed_vms": failed},
        )
    return result
