# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simple tests of VMs on the storage.

Invariant: a check has passed only where something was seen that cannot be seen of a VM that does not work. Where that was not looked
for, or could not be, the result is "not tested" with the reason, never "passed"; and it has failed only where the contrary was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from .. import clock
from ..access import HostAccess
from ..decide.answers import Evidence
from ..decide.observations import Power, VmObservation
from ..hypervisor.interface import Connection, Guest, Writes
from ..hypervisor.io_reading import NOT_INSTALLED
from ..hypervisor.registry import open_hypervisor
from ..parallel import in_parallel
from .hosts import unavailable, whole_look
from .ping import ping

PORT = 22  # any port does: a refusal is an answer too
POLL_SECONDS = 2.0
CHECKS = ("power", "disk", "tools", "address", "restart", "failover")


class Result(str, Enum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    vm: str
    host: str
    check: str  # one of CHECKS
    result: Result
    detail: str


@dataclass(frozen=True)
class VmSeen:
    """What one VM's host told of it. ``ping``: what its first address answered; None where it has none."""

    vm: VmObservation
    guest: Guest = Guest()
    writes: Writes | None = None
    ping: tuple[Evidence, str] | None = None


@dataclass(frozen=True)
class Look:
    """``unread``: hosts that did not answer, with the reason; a VM that is not in ``vms`` may be there."""

    vms: Mapping[str, tuple[VmSeen, ...]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


Row = tuple[Result, str]


def judge(names: Sequence[str], look: Look, drill: Mapping[str, Any] | None, restarted: Sequence[str]) -> list[Check]:
    """The table, in the order of *names* and CHECKS. *drill* is what ``ha_drill`` returned, None where it was not asked."""
    rows = []
    for name in names:
        found = look.vms.get(name, ())
        running = [seen for seen in found if seen.vm.power is Power.ON]
        seen = running[0] if len(running) == 1 else found[0] if len(found) == 1 else None
        host = seen.vm.host if seen is not None else ""
        results = _not_there(found, look) if seen is None else _rows(seen, drill, restarted)
        rows += [Check(name, host, check, *results[check]) for check in CHECKS]
    return rows


def _not_there(found: Sequence[VmSeen], look: Look) -> dict[str, Row]:
    if found:
        first: Row = (Result.FAILED, "several VMs have this name, on %s" % ", ".join(sorted(seen.vm.host for seen in found)))
    elif look.unread:
        first = (Result.NOT_TESTED, "no host that answers has it; %s" % "; ".join(look.unread.values()))
    else:
        first = (Result.FAILED, "no host has a VM of this name registered")
    return {**dict.fromkeys(CHECKS, (Result.NOT_TESTED, "the VM was not found")), "power": first}


def _rows(seen: VmSeen, drill: Mapping[str, Any] | None, restarted: Sequence[str]) -> dict[str, Row]:
    vm = seen.vm
    failover = _failover(vm, drill)
    if vm.power is not Power.ON:
        rest: Row = (Result.NOT_TESTED, "the VM does not run")
        return {**dict.fromkeys(CHECKS, rest), "power": (Result.FAILED, "it is %s on %s" % (vm.power.value, vm.host)), "failover": failover}
    rows = {"power": (Result.PASSED, "it is on"), "disk": _disk(seen), "tools": _tools(vm), "address": _address(seen), "failover": failover}
    return {**rows, "restart": _restart(vm.name in restarted, rows)}


def _disk(seen: VmSeen) -> Row:
    if not seen.vm.accessible:
        return Result.FAILED, "its host cannot read its files"
    writes = seen.writes
    if writes is None:
        return Result.NOT_TESTED, "the host has no statistics of it yet"
    if writes.last is None:
        return Result.NOT_TESTED, "it wrote nothing in the last %d s" % writes.since
    return Result.PASSED, "a write was done in the 20 s that ended %d s ago" % max(writes.last, 0)


def _tools(vm: VmObservation) -> Row:
    if vm.tools == NOT_INSTALLED:
        return Result.NOT_TESTED, "no VMware Tools are installed"
    if vm.guest_listens and vm.heartbeat == "green":
        return Result.PASSED, "VMware Tools run, the heartbeat is green"
    return Result.FAILED, "VMware Tools: %s, heartbeat: %s" % (vm.tools or "unknown", vm.heartbeat or "unknown")


def _address(seen: VmSeen) -> Row:
    if seen.ping is None:
        return Result.NOT_TESTED, "no address of it is known"
    evidence, reason = seen.ping
    result = {Evidence.OK: Result.PASSED, Evidence.FAILED: Result.FAILED}.get(evidence, Result.NOT_TESTED)
    return result, "%s: %s" % (seen.guest.addresses[0], reason)


def _restart(restarted: bool, rows: Mapping[str, Row]) -> Row:
    """What came back after a reset. A VM of which nothing can be seen from outside proves nothing by being on."""
    if not restarted:
        return Result.NOT_TESTED, "not asked for"
    after = {check: rows[check] for check in ("tools", "address")}
    failed = ["%s: %s" % (check, detail) for check, (result, detail) in after.items() if result is Result.FAILED]
    if failed:
        return Result.FAILED, "after the reset: %s" % "; ".join(failed)
    back = [check for check, (result, _detail) in after.items() if result is Result.PASSED]
    if not back:
        return Result.NOT_TESTED, "it was reset and is on, and neither VMware Tools nor an address tell whether its guest came back"
    return Result.PASSED, "it came back after a reset (%s)" % ", ".join(back)


def _failover(vm: VmObservation, drill: Mapping[str, Any] | None) -> Row:
    """What the drill plans if the VM's host dies. Nothing is moved for it."""
    if drill is None:
        return Result.NOT_TESTED, "the drill was not asked"
    case = next((case for case in drill["cases"] if case["lost"] == [vm.host]), None)
    if not drill["judged"] or case is None:
        return Result.NOT_TESTED, "the drill had no complete look at the hosts"
    planned = [one for one in case["plan"] if one["id"] == vm.id]
    if planned and case["held"]:
        return Result.FAILED, "the drill: held, %s" % "; ".join(held["reason"] for held in case["held"])
    if planned and planned[0]["power_on"]:
        return Result.PASSED, "the drill: it would start on %s" % planned[0]["destination"]
    for one in (*case["unprotected"], *case["stays_down"]):
        if one["id"] == vm.id:
            return (Result.NOT_TESTED if one["chosen"] else Result.FAILED), "the drill: %s" % one["reason"]
    for one in case["unplaced"]:
        if one["id"] == vm.id:
            return Result.FAILED, "the drill: no host takes it (%s)" % "; ".join("%(host)s: %(reason)s" % why for why in one["reasons"])
    return Result.NOT_TESTED, "the drill would not start it, as it does not run now"


# Looking


def check_vms(
    accesses: Sequence[HostAccess], names: Sequence[str], drill: Mapping[str, Any] | None, restarted: Sequence[str], wait: float
) -> dict[str, Any]:
    """The module's result. Looks again, within *wait* seconds, while time alone may bring more to pass. Raises LibrehaError."""
    deadline = clock.now().seconds + wait
    while True:
        look = _look(accesses, frozenset(names))
        rows = judge(names, look, drill, restarted)
        if clock.now().seconds >= deadline or not any(_may_pass(row) for row in rows):
            break
        clock.sleep(POLL_SECONDS)
    listed = {name: look.vms[name][0].vm for name in names if len(look.vms.get(name, ())) == 1}
    return {
        "changed": False,
        "checks": [{**asdict(row), "result": row.result.value} for row in rows],
        "table": table(rows),
        "failed_checks": ["%s of %s: %s" % (row.check, row.vm, row.detail) for row in rows if row.result is Result.FAILED],
        "vms": [{"name": name, "id": vm.id, "host": vm.host, "power": vm.power.value} for name, vm in listed.items()],
    }


def _may_pass(row: Check) -> bool:
    """Whether time alone may change it: a guest that boots, statistics that are not there yet."""
    if not row.host or row.result is Result.PASSED:
        return False
    return row.check == "disk" or (row.check in ("power", "tools", "address") and row.result is Result.FAILED)


def table(rows: Sequence[Check]) -> list[str]:
    """For people, one line a check."""
    wide = [
        max((len(text) for text in column), default=0) for column in zip(*((row.vm, row.host, row.check, row.result.value) for row in rows))
    ]
    return [
        "  ".join([*(text.ljust(width) for text, width in zip((row.vm, row.host, row.check, row.result.value), wide)), row.detail])
        for row in rows
    ]


def _look(accesses: Sequence[HostAccess], names: frozenset[str]) -> Look:
    looks: dict[str, Callable[[], list[VmSeen]]] = {access.name: partial(_look_at, access.connection, names) for access in accesses}
    outcomes: dict[str, Any] = in_parallel(looks, whole_look(accesses))
    vms: dict[str, list[VmSeen]] = {}
    unread = {}
    for name, outcome in outcomes.items():
        failed = unavailable(outcome, name)
        if failed is not None:
            unread[name] = failed[1]
            continue
        for seen in outcome:
            vms.setdefault(seen.vm.name, []).append(seen)
    return Look({name: tuple(found) for name, found in vms.items()}, unread)


def _look_at(connection: Connection, names: frozenset[str]) -> list[VmSeen]:
    with open_hypervisor(connection) as host:
        vms = [vm for vm in host.virtual_machines() if vm.name in names]
        guests, writes = (host.guests(), host.writes(vms)) if vms else ({}, {})
    told = [VmSeen(vm, guests.get(vm.moid, Guest()), writes.get(vm.moid)) for vm in vms]
    answers = in_parallel(
        {seen.vm.id: partial(ping, seen.guest.addresses[0], PORT, connection.timeout / 2) for seen in told if seen.guest.addresses},
        connection.timeout / 2 + 1.0,
    )
    return [VmSeen(seen.vm, seen.guest, seen.writes, _answer(answers.get(seen.vm.id))) for seen in told]


def _answer(outcome: Any) -> tuple[Evidence, str] | None:
    if outcome is None or isinstance(outcome, tuple):
        return outcome
    return Evidence.UNKNOWN, "it was not probed in time"
