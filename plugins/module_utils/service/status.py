# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the cluster stands, as one value: what the resident monitor answers on its socket, and what every reader shows.

:class:`Status` is the shape, :func:`status_of` makes it from the last look's decision. Where no monitor answers,
:func:`recorded_status` makes the same shape from the state database, so that people and programs read one form. Pure: the caller
gives the time. Nothing in it is a secret: names, verdicts, and sentences that the journal has too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..cycle.judge import HOLD, Judged
from ..cycle.ports import FailoverOrder, FenceOrder, MaintenanceOrder, MoveOrder, Order, PowerOrder, ShutdownOrder
from ..decide.authorization import is_empty
from ..decide.decision import Decision, HostVerdict, Proposed, Severity
from ..decide.json_form import to_dict
from ..decide.memory import Desired, Memory, VmRecord
from ..decide.observations import Power
from ..decide.verdict import Verdict
from ..instant import Instant

VERSION = 1  # of the shape; a field that is added makes no new one
ABSENT = "absent"  # the state of a service that did not answer
LOOKING, STANDBY, STARTING, STOPPING = "looking", "standby", "starting", "stopping"
LISTED = 200  # VMs at risk and holds that are listed; the counts are of all
PROPOSED = "proposed/"  # begins the key of what is only proposed


@dataclass(frozen=True)
class ServiceStatus:
    """The monitor itself. ``state``: looking, standby (another run holds the lease), starting, stopping, absent (it did not answer)."""

    state: str
    problem: str = ""  # what keeps it from its work, in words; empty: nothing
    holder: str = ""  # of the lease, as far as is known
    token: Optional[int] = None  # of the lease; None: it has none
    started_at: Optional[Instant] = None
    up_for: Optional[float] = None  # s


@dataclass(frozen=True)
class LastLook:
    """The last look that was judged. ``taken_at`` is when it began; ``age`` are the seconds since it ended, None where the clocks
    cannot be compared (the machine restarted since)."""

    taken_at: Instant
    age: Optional[float]


@dataclass(frozen=True)
class HostStatus:
    """What is held true of one host. Evidence is ``ok``, ``failed`` or ``unknown``; storage has one entry a target, "IQN: ok"."""

    name: str
    verdict: str
    confirmed: bool  # it is acted on; false: it is only suspected
    why: str  # "esx1 dead since 12:00:15 (api timed out, ping failed, storage failed 16 s, 4 samples)"
    since: Optional[Instant] = None  # since when the verdict has been the same
    lasts: Optional[float] = None  # s since then
    api: str = "unknown"
    ping: str = "unknown"
    power: str = "unknown"
    storage: tuple[str, ...] = ()
    fenceable: bool = True
    maintenance: bool = False
    running: int = 0  # VMs that are recorded as running there

    @property
    def works(self) -> bool:
        return _works(self.verdict)


@dataclass(frozen=True)
class VmAtRisk:
    """A VM that is down, may be, or would not survive the loss of a host; ``reasons`` are sentences."""

    id: str
    name: str
    host: str  # where it is recorded
    down: bool  # it should run and is known not to
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class AlarmStatus:
    key: str
    severity: str  # info, warning, critical
    subject: str
    text: str
    since: Optional[Instant] = None  # None: not told here, the record has it


@dataclass(frozen=True)
class ActStatus:
    """An order under way: ``what`` in words ("fence esx1"), its kind (fence, start, move, stop, reset,
    rejoin, maintenance, shutdown), hosts and names of VMs."""

    what: str
    kind: str
    hosts: tuple[str, ...]
    vms: tuple[str, ...] = ()
    since: Optional[Instant] = None


@dataclass(frozen=True)
class HeldStatus:
    """What would be done but for ``reason``; ``subject`` is the name of the host or VM."""

    what: str
    subject: str
    reason: str


@dataclass(frozen=True)
class Status:
    """Everything. Before the first look hosts, VMs and alarms are empty and ``last_look`` is None."""

    version: int
    at: Instant
    service: ServiceStatus
    last_look: Optional[LastLook] = None
    mode: str = ""  # observe, ask, act; empty: not known
    disarmed: str = ""  # who disarmed the cluster, and why; empty: it is armed
    settled: bool = False  # nothing is being judged and nothing is to be done
    hosts: tuple[HostStatus, ...] = ()
    vms_known: int = 0
    vms_running: int = 0
    vms_down: int = 0  # that should run
    vms_at_risk: int = 0  # those that are down among them
    at_risk: tuple[VmAtRisk, ...] = ()  # the first LISTED, those that are down first
    alarms: tuple[AlarmStatus, ...] = ()  # the worst first
    in_progress: tuple[ActStatus, ...] = ()
    held: tuple[HeldStatus, ...] = ()  # the first LISTED
    proposed: tuple[str, ...] = ()  # what would be done in another mode, in words
    admission: str = ""  # what the cluster can lose, in words
    near_misses: tuple[str, ...] = ()  # suspicions of late that ended without a fence, and what they say of confirm_after, in words


def status_of(
    judged: Optional[Judged],
    in_progress: Sequence[Order],
    *,
    now: Instant,
    started_at: Instant,
    holder: str,
    token: Optional[int],
    look_ended_at: Optional[Instant],
    state: str,
    problem: str,
) -> dict[str, Any]:
    """The JSON form of :class:`Status`, from the monitor's memory alone: no database, no host is asked.

    Args:
        judged: The last look that was judged; None before the first one, or while another run holds the lease.
        in_progress: Orders that have begun and not ended.
        started_at: When the service started.
        look_ended_at: When the last look was complete, on the clock of *now*.
        state: ``looking``, ``standby``, ``starting`` or ``stopping``.
        problem: What keeps the service from its work, in words; empty: nothing.
    """
    service = ServiceStatus(state, problem, holder, token, started_at, now.since(started_at))
    memory = judged.decision.memory if judged is not None else Memory()
    acts = tuple(_act(order, memory) for order in in_progress)
    if judged is None:
        return dict(to_dict(Status(VERSION, now, service, in_progress=acts)))
    decision, running = judged.decision, _running(memory)
    ended = look_ended_at if look_ended_at is not None else decision.taken_at
    risks = _risks(
        memory.vms,
        {vm.id: vm.reason for vm in decision.down},
        {host.host: host.text for host in decision.hosts if not host.verdict.works},
        [(alarm.key, alarm.text) for alarm in decision.alarms],
        _shortfalls(decision),
    )
    status = Status(
        version=VERSION,
        at=now,
        service=service,
        last_look=LastLook(judged.observation.taken_at, now.since(ended)),
        mode=decision.mode.value,
        disarmed=memory.disarmed,
        settled=decision.settled,
        hosts=tuple(_host(host, memory, running, now) for host in decision.hosts),
        vms_known=len(memory.vms),
        vms_running=sum(running.values()),
        vms_down=len(decision.down),
        vms_at_risk=len(risks),
        at_risk=tuple(risks[:LISTED]),
        alarms=_worst_first(AlarmStatus(alarm.key, alarm.severity.value, alarm.subject, alarm.text) for alarm in decision.alarms),
        in_progress=acts,
        held=tuple(HeldStatus(item.what, _name(memory, item.subject), item.reason) for item in decision.held[:LISTED]),
        proposed=tuple(_proposal(item) for item in decision.proposed if not is_empty(item.action)),
        admission=decision.admission.text if decision.admission is not None else "",
    )
    return dict(to_dict(status))


def recorded_status(snapshot: Mapping[str, Any], memory: Memory, now: Instant, problem: str) -> dict[str, Any]:
    """The same form from the state database (*snapshot* as ``StateDatabase.snapshot`` returns it, *memory* read from it): what was true
    at the last look that anybody recorded. *problem*: why no service was asked, in words."""
    lease, rows, running = snapshot["lease"], snapshot["hosts"], _running(memory)
    standing = [alarm for alarm in snapshot["alarms"] if not alarm["key"].startswith((HOLD, PROPOSED))]
    holds = [alarm for alarm in snapshot["alarms"] if alarm["key"].startswith(HOLD)]
    fenced = {row["name"] for row in rows if row["verdict"] in (Verdict.FENCED.value, Verdict.FENCING.value)}
    down = {vm.id: _down(vm) for vm in memory.vms if _is_down(vm, fenced)}
    broken = {row["name"]: _why(row) for row in rows if not _works(row["verdict"])}
    risks = _risks(memory.vms, down, broken, [(alarm["key"], alarm["text"]) for alarm in standing], {})
    status = Status(
        version=VERSION,
        at=now,
        service=ServiceStatus(ABSENT, problem, lease["holder"], lease["token"] if lease["alive"] else None),
        last_look=LastLook(memory.looked_at, now.since(memory.looked_at)) if memory.looked_at is not None else None,
        disarmed=memory.disarmed,
        hosts=tuple(_recorded_host(row, memory, running, now) for row in rows),
        vms_known=len(memory.vms),
        vms_running=sum(running.values()),
        vms_down=len(down),
        vms_at_risk=len(risks),
        at_risk=tuple(risks[:LISTED]),
        alarms=_worst_first(map(_recorded_alarm, standing)),
        in_progress=tuple(_recorded_act(row) for row in snapshot["transactions"] if not row["closed"]),
        held=tuple(HeldStatus(hold["key"].split("/")[1], _name(memory, hold["subject"]), hold["text"]) for hold in holds[:LISTED]),
        proposed=tuple(alarm["text"] for alarm in snapshot["alarms"] if alarm["key"].startswith(PROPOSED)),
    )
    return dict(to_dict(status))


# VMs at risk


def _risks(
    vms: Iterable[VmRecord],
    down: Mapping[str, str],
    broken: Mapping[str, str],
    alarms: Iterable[tuple[str, str]],
    shortfalls: Mapping[str, str],
) -> list[VmAtRisk]:
    """The VMs that are down (id -> why), run on a host that does not work (*broken*: host -> why), have an alarm of their own (its key
    ends with their id), or would stay down after the loss of a host (*shortfalls*: id -> how). Those that are down first."""
    texts: dict[str, list[str]] = {}
    for key, text in alarms:
        texts.setdefault(key.partition(":")[2], []).append(text)
    found = []
    for vm in vms:
        reasons = [down[vm.id]] if vm.id in down else []
        if not reasons and vm.power is Power.ON and not vm.ignored and vm.host in broken:
            reasons.append(broken[vm.host])
        reasons += texts.get(vm.id, ())
        if vm.id in shortfalls:
            reasons.append(shortfalls[vm.id])
        if reasons:
            found.append(VmAtRisk(vm.id, vm.name, vm.host, vm.id in down, tuple(dict.fromkeys(reasons))))
    return sorted(found, key=lambda item: (not item.down, item.name, item.id))


def _shortfalls(decision: Decision) -> dict[str, str]:
    admission = decision.admission
    if admission is None:
        return {}
    return {item.id: "it would stay down if %s were lost: %s" % (" and ".join(item.lost), item.reason) for item in admission.shortfalls}


def _is_down(vm: VmRecord, fenced: Collection[str]) -> bool:
    """As far as the record tells: it should run, and is off or cut off from its disks by the fence of its host."""
    if vm.desired is not Desired.STARTED or vm.ignored:
        return False
    return vm.power in (Power.OFF, Power.SUSPENDED) or (vm.power is Power.ON and vm.host in fenced)


def _down(vm: VmRecord) -> str:
    return "its host %s is fenced" % vm.host if vm.power is Power.ON else "it is %s on %s" % (vm.power.value, vm.host)


# Hosts


def _host(host: HostVerdict, memory: Memory, running: Counter[str], now: Instant) -> HostStatus:
    return HostStatus(
        name=host.host,
        verdict=host.verdict.value,
        confirmed=host.confirmed or host.verdict.works,
        why=host.text,
        since=host.since,
        lasts=now.since(host.since),
        api=host.api.value,
        ping=host.ping.value,
        power=host.power.value,
        storage=tuple("%s: %s" % (item.target or item.server, item.state.value) for item in host.storage),
        fenceable=host.fenceable,
        maintenance=memory.host(host.host).maintenance,
        running=running[host.host],
    )


def _recorded_host(row: Mapping[str, Any], memory: Memory, running: Counter[str], now: Instant) -> HostStatus:
    record = memory.host(row["name"])
    return HostStatus(
        name=row["name"],
        verdict=row["verdict"],
        confirmed=bool(row["detail"].get("confirmed")),
        why=_why(row),
        since=record.since,
        lasts=now.since(record.since),
        maintenance=record.maintenance,
        running=running[row["name"]],
    )


def _why(row: Mapping[str, Any]) -> str:
    return "%s %s%s" % (row["name"], row["verdict"], ": %s" % row["reason"] if row["reason"] else "")


def _running(memory: Memory) -> Counter[str]:
    """Host -> how many VMs are recorded as running there."""
    return Counter(vm.host for vm in memory.vms if vm.power is Power.ON)


def _works(verdict: str) -> bool:
    try:
        return Verdict(verdict).works
    except ValueError:  # of another release
        return False


# Alarms, acts, names


def _recorded_alarm(row: Mapping[str, Any]) -> AlarmStatus:
    severity = str(row["data"].get("severity") or Severity.WARNING.value)
    return AlarmStatus(row["key"], severity, row["subject"], row["text"], Instant.from_dict(row["since"]))


def _worst_first(alarms: Iterable[AlarmStatus]) -> tuple[AlarmStatus, ...]:
    ranks = {severity.value: -severity.rank for severity in Severity}
    return tuple(sorted(alarms, key=lambda alarm: (ranks.get(alarm.severity, 0), alarm.key)))


def _act(order: Order, memory: Memory) -> ActStatus:
    hosts = tuple(dict.fromkeys(act.host for act in order.acts))
    return ActStatus(str(order), _kind(order), hosts, tuple(_name(memory, act.vm) for act in order.acts if act.vm))


def _kind(order: Order) -> str:
    if isinstance(order, PowerOrder):
        return order.kind
    kinds = {FenceOrder: "fence", FailoverOrder: "start", MoveOrder: "move", MaintenanceOrder: "maintenance", ShutdownOrder: "shutdown"}
    return next((word for kind, word in kinds.items() if isinstance(order, kind)), "rejoin")


def _recorded_act(row: Mapping[str, Any]) -> ActStatus:
    what = "%s: %s on %s, last step %s" % (
        row["vm_name"],
        "start" if row["power_on"] else "register",
        row["destination"],
        row["step"],
    )
    return ActStatus(what, "start", (row["destination"],), (row["vm_name"],), Instant.from_dict(row["opened_at"]))


def _proposal(item: Proposed) -> str:
    return "%s %s: %s (%s)" % (item.action.kind, item.action.host, "; ".join(item.action.reasons), item.why_not)


def _name(memory: Memory, subject: str) -> str:
    """A VM's name for its id; what is no VM's id stays."""
    vm = memory.vm(subject)
    return vm.name if vm is not None else subject
