# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs made as they are described. The plan is pure (``make_plan``), so check mode shows exactly what a run would do.

Invariant: no second VM is made of one that is there. A VM of a cluster moves between its hosts, so a VM is looked for on all of them and,
by its folder, on its datastore, where it also lies while no host has it registered. When one host does not answer, nothing is created.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import clock
from ..access import HostAccess
from ..decide.observations import HostObservation, Power, VmObservation, split_path
from ..errors import LibrehaError, as_outcome
from ..hypervisor.interface import Guest, PowerOnOutcome
from ..hypervisor.vm_creation import Shape, VmCreator
from ..parallel import Late, Raised, in_parallel

LOOK_SECONDS = 120.0  # for reading one host, its datastores' folders included
POLL_SECONDS = 1.0
WAITS = ("power", "tools", "address")


@dataclass(frozen=True)
class Disk:
    """``size`` in GiB, 0: as large as the image; ``image``: the disk that it is a copy of, "" for a blank one."""

    size: int = 0
    image: str = ""

    @property
    def text(self) -> str:
        size = "%d GiB" % self.size if self.size else ""
        return "%s, a copy of %s" % (size or "a disk", self.image) if self.image else "a blank one of %s" % size


@dataclass(frozen=True)
class Wanted:
    """One VM as it is described. ``host`` "": the one with most memory left."""

    shape: Shape
    host: str = ""
    disks: tuple[Disk, ...] = ()
    powered_on: bool = True

    @property
    def name(self) -> str:
        return self.shape.name


@dataclass(frozen=True)
class Limits:
    """How far the VMs must be (one of WAITS), and how long that, a disk's copy and a power-on may take, in seconds."""

    wait_for: str = "power"
    wait: float = 300.0
    copy: float = 1800.0
    power_on: float = 60.0


@dataclass(frozen=True)
class HostView:
    """What one host told: itself, its VMs, and which of the described VMs' folders are on its datastores (datastore, folder)."""

    seen: HostObservation
    vms: tuple[VmObservation, ...] = ()
    folders: frozenset[tuple[str, str]] = frozenset()

    def offers(self, wanted: Wanted) -> str:
        """Why the VM cannot be created here; empty when it can."""
        shape = wanted.shape
        if shape.datastore not in {store.name for store in self.seen.datastores if store.accessible}:
            return "has no datastore %s that is accessible" % shape.datastore
        missing = [name for name in shape.networks if name not in self.seen.networks]
        if missing:
            return "has no network %s" % ", ".join(missing)
        return "is in maintenance mode" if self.seen.maintenance else ""


@dataclass(frozen=True)
class Step:
    text: str
    act: Callable[[VmCreator, str], str] = field(repr=False)  # (host, the VM's reference, "" before it is created) -> its reference


@dataclass(frozen=True)
class VmPlan:
    """What is done for one VM, and on which host. ``differences`` are described and not done."""

    name: str
    host: str
    moid: str = ""
    steps: tuple[Step, ...] = ()
    differences: tuple[str, ...] = ()


def make_plan(
    wanted: Sequence[Wanted], views: Mapping[str, HostView], copy_seconds: float, power_seconds: float
) -> tuple[list[VmPlan], list[str]]:
    """(a plan for each VM, what keeps all of them from being begun). *views* has every host."""
    plans, refusals = [], []
    promised: dict[str, int] = dict.fromkeys(views, 0)  # MiB, by host
    for one in wanted:
        found = [vm for view in views.values() for vm in view.vms if vm.name == one.name]
        if len({vm.id for vm in found}) > 1:
            refusals.append(
                "%s is the name of several VMs (%s)" % (one.name, ", ".join(sorted("%s on %s" % (vm.path, vm.host) for vm in found)))
            )
        elif found:
            running = sorted(found, key=lambda vm: (vm.power is not Power.ON, vm.host))
            plans.append(_complete(one, running[0], copy_seconds, power_seconds))
        elif any((one.shape.datastore, one.name) in view.folders for view in views.values()):
            text = "[%s] has a folder %s, and no host has such a VM registered: register it, or remove the folder if nobody needs it"
            refusals.append(text % (one.shape.datastore, one.name))
        else:
            host = _choose(one, views, promised, refusals)
            if host:
                promised[host] += one.shape.memory
                plans.append(_create(one, host, copy_seconds, power_seconds))
    return plans, refusals


def _choose(wanted: Wanted, views: Mapping[str, HostView], promised: Mapping[str, int], refusals: list[str]) -> str:
    if wanted.host and wanted.host not in views:
        refusals.append("%s: %s is none of the hosts (%s)" % (wanted.name, wanted.host, ", ".join(sorted(views))))
        return ""
    candidates = [wanted.host] if wanted.host else sorted(views)
    reasons = {name: views[name].offers(wanted) for name in candidates}
    fitting = [name for name in candidates if not reasons[name]]
    if not fitting:
        refusals.append("%s: %s" % (wanted.name, "; ".join("%s %s" % entry for entry in reasons.items())))
        return ""
    return min(fitting, key=lambda name: (promised[name] - (views[name].seen.memory_free or 0), name))


def _create(wanted: Wanted, host: str, copy_seconds: float, power_seconds: float) -> VmPlan:
    shape = wanted.shape
    text = "create it on %s with %d CPU, %d MiB, %s" % (host, shape.cpu, shape.memory, ", ".join(shape.networks) or "no network")
    steps = [Step(text, lambda creator, _moid: creator.create(shape)), *_add_disks(wanted.disks, copy_seconds)]
    return VmPlan(wanted.name, host, "", (*steps, *_power(wanted, power_seconds)))


def _complete(wanted: Wanted, vm: VmObservation, copy_seconds: float, power_seconds: float) -> VmPlan:
    """What a VM lacks that is there: an earlier run may have been interrupted, or the description has grown. Nothing is taken from it."""
    shape, differences = wanted.shape, []
    steps: list[Step] = []
    if (vm.cpu, vm.memory) != (shape.cpu, shape.memory):
        text = "set %d CPU and %d MiB" % (shape.cpu, shape.memory)
        steps.append(Step(text, _unchanged(lambda creator, moid: creator.resize(moid, shape.cpu, shape.memory))))
    networks = [name for name in shape.networks if name not in vm.networks]
    if networks:
        text = "add network cards to %s" % ", ".join(networks)
        steps.append(Step(text, _unchanged(lambda creator, moid: creator.add_cards(moid, networks))))
    steps += _add_disks(wanted.disks[sum(backing.kind == "disk" for backing in vm.backings) :], copy_seconds)
    if split_path(vm.path)[0] != shape.datastore:
        differences.append("it lies on %s" % vm.path)
    if steps and (vm.power is not Power.OFF or not vm.accessible):
        state = "is %s" % vm.power.value if vm.accessible else "has files that its host cannot read"
        differences += ["%s (not done: it %s)" % (step.text, state) for step in steps]
        steps = []
    if vm.power is not Power.ON:
        steps += _power(wanted, power_seconds)
    return VmPlan(wanted.name, vm.host, vm.moid, tuple(steps), tuple(differences))


def _add_disks(disks: Sequence[Disk], seconds: float) -> list[Step]:
    return [Step("add a disk, %s" % disk.text, _unchanged(partial(_add_disk, disk, seconds))) for disk in disks]


def _add_disk(disk: Disk, seconds: float, creator: VmCreator, moid: str) -> None:
    if disk.image:
        creator.add_copy(moid, disk.image, disk.size, seconds)
    else:
        creator.add_disk(moid, disk.size)


def _power(wanted: Wanted, seconds: float) -> list[Step]:
    return [Step("power it on", _unchanged(partial(_power_on, wanted.name, seconds)))] if wanted.powered_on else []


def _power_on(name: str, seconds: float, creator: VmCreator, moid: str) -> None:
    outcome, question = creator.power_on(moid, seconds)
    if outcome is PowerOnOutcome.QUESTION and question is not None:
        raise LibrehaError(
            "%s asks: %s" % (name, question.text), host=creator.connection.name, remedy="answer it in the host client, and run this again"
        )


def _unchanged(act: Callable[[VmCreator, str], None]) -> Callable[[VmCreator, str], str]:
    """*act* as a step's: the VM keeps its reference."""

    def step(creator: VmCreator, moid: str) -> str:
        act(creator, moid)
        return moid

    return step


# Carrying it out


def set_up(accesses: Sequence[HostAccess], wanted: Sequence[Wanted], limits: Limits, check_mode: bool) -> dict[str, Any]:
    """The module's result. Raises LibrehaError: nothing was changed where it says so, otherwise details have what was done."""
    views = _look(accesses, wanted)
    plans, refusals = make_plan(wanted, views, limits.copy, limits.power_on)
    if refusals:
        raise LibrehaError("; ".join(refusals), remedy="nothing was changed; put right what is named, and run this again")
    failed: dict[str, LibrehaError] = {}
    done: dict[str, list[str]] = {plan.name: [step.text for step in plan.steps] for plan in plans}
    guests: dict[str, Guest] = {}
    if not check_mode:
        failed, done = _carry_out(accesses, plans, limits)
        waiting = [plan for plan, one in zip(plans, wanted) if one.powered_on and plan.name not in failed]
        guests = _wait(accesses, waiting, limits.wait_for, limits.wait, failed)
    result = _result(plans, done, guests, views)
    if failed:
        raise LibrehaError(
            "; ".join("%s: %s" % (name, error.said) for name, error in failed.items()),
            remedy=next(
                (error.remedy for error in failed.values() if error.remedy), "look at the host, and run this again: what is done stays"
            ),
            details=result,
        )
    return result


def _result(
    plans: Sequence[VmPlan], done: Mapping[str, Sequence[str]], guests: Mapping[str, Guest], views: Mapping[str, HostView]
) -> dict[str, Any]:
    vms = [
        {
            "name": plan.name,
            "host": plan.host,
            "created": not plan.moid and bool(done[plan.name]),
            "steps": list(done[plan.name]),
            "differences": list(plan.differences),
            "addresses": list(guests.get(plan.name, Guest()).addresses),
        }
        for plan in plans
    ]
    before = {vm.name: _shown(vm) for view in views.values() for vm in view.vms if vm.name in {plan.name for plan in plans}}
    after = {plan.name: [*before.get(plan.name, ()), *done[plan.name]] for plan in plans}
    return {
        "changed": any(done.values()),
        "vms": vms,
        "diff": {"before": before, "after": {name: state for name, state in after.items() if state}},
        "warnings": ["%s: %s" % (plan.name, difference) for plan in plans for difference in plan.differences],
    }


def _shown(vm: VmObservation) -> list[str]:
    return ["%s on %s, %s, %d CPU, %d MiB, %s" % (vm.path, vm.host, vm.power.value, vm.cpu, vm.memory, ", ".join(vm.networks))]


def _look(accesses: Sequence[HostAccess], wanted: Collection[Wanted]) -> dict[str, HostView]:
    """Every host's view. One that does not answer stops the run: the VM may be there."""
    outcomes = in_parallel({access.name: partial(_look_at, access, wanted) for access in accesses}, LOOK_SECONDS)
    views = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, HostView)}
    failed = [
        LibrehaError("no answer within %g s" % outcome.after, host=name)
        if isinstance(outcome, Late)
        else as_outcome(outcome.error, "reading it", name)
        for name, outcome in outcomes.items()
        if isinstance(outcome, (Late, Raised))
    ]
    if failed:
        raise LibrehaError(
            "%s. A VM that is described may be there" % "; ".join(error.said for error in failed),
            remedy="nothing was changed; bring the host back, or leave it out of hosts if it is fenced and its VMs run elsewhere",
        )
    if not views:
        raise LibrehaError("hosts is empty", remedy="list all hosts of the cluster")
    return views


def _look_at(access: HostAccess, wanted: Collection[Wanted]) -> HostView:
    with VmCreator(access.connection) as creator:
        seen, vms = creator.health(), tuple(creator.virtual_machines())
        stores = {store.name for store in seen.datastores if store.accessible}
        known = {vm.name for vm in vms}
        asked = {(one.shape.datastore, one.name) for one in wanted if one.shape.datastore in stores and one.name not in known}
        return HostView(seen, vms, frozenset(place for place in sorted(asked) if creator.has_folder(*place)))


def _carry_out(
    accesses: Sequence[HostAccess], plans: Sequence[VmPlan], limits: Limits
) -> tuple[dict[str, LibrehaError], dict[str, list[str]]]:
    """Hosts side by side, a host's VMs one after the other. What fails with one VM costs the others nothing."""
    failed: dict[str, LibrehaError] = {}
    done: dict[str, list[str]] = {plan.name: [] for plan in plans}
    work = {
        access.name: partial(_on_one, access, [plan for plan in plans if plan.host == access.name and plan.steps], failed, done)
        for access in accesses
        if any(plan.host == access.name and plan.steps for plan in plans)
    }
    longest = sum(len(plan.steps) for plan in plans) * (limits.copy + limits.power_on + LOOK_SECONDS)
    for name, outcome in in_parallel(work, longest).items():
        if isinstance(outcome, (Late, Raised)):
            error = (
                LibrehaError("not done in time", host=name)
                if isinstance(outcome, Late)
                else as_outcome(outcome.error, "creating VMs", name)
            )
            failed.update({plan.name: error for plan in plans if plan.host == name and plan.steps and plan.name not in failed})
    return failed, done


def _on_one(access: HostAccess, plans: Sequence[VmPlan], failed: dict[str, LibrehaError], done: dict[str, list[str]]) -> None:
    with VmCreator(access.connection) as creator:
        for plan in plans:
            moid = plan.moid
            try:
                for step in plan.steps:
                    moid = step.act(creator, moid)
                    done[plan.name].append(step.text)
            except Exception as error:
                failed[plan.name] = as_outcome(error, "provisioning %s" % plan.name, access.name)


def _wait(
    accesses: Sequence[HostAccess], plans: Sequence[VmPlan], wait_for: str, seconds: float, failed: dict[str, LibrehaError]
) -> dict[str, Guest]:
    """What Tools tell of the VMs when all are as far as *wait_for* says; those that are not in time are *failed*."""
    by_host = {access.name: [plan.name for plan in plans if plan.host == access.name] for access in accesses}
    looks = {
        access.name: partial(_wait_on_one, access, by_host[access.name], wait_for, seconds) for access in accesses if by_host[access.name]
    }
    guests: dict[str, Guest] = {}
    for name, outcome in in_parallel(looks, seconds + LOOK_SECONDS).items():
        if isinstance(outcome, (Late, Raised)):
            error = LibrehaError("not read in time", host=name) if isinstance(outcome, Late) else as_outcome(outcome.error, "waiting", name)
            failed.update(dict.fromkeys(by_host[name], error))
            continue
        ready, late = outcome
        guests.update(ready)
        for vm, state in late.items():
            failed[vm] = LibrehaError(
                "%s after %g s" % (state, seconds),
                host=name,
                remedy="look at its console; a guest without VMware Tools tells no address (wait_for: power)",
            )
    return guests


def _wait_on_one(access: HostAccess, names: Sequence[str], wait_for: str, seconds: float) -> tuple[dict[str, Guest], dict[str, str]]:
    """(those that are ready, those that are not and how they stand)"""
    deadline = clock.now().seconds + seconds
    with VmCreator(access.connection) as creator:
        while True:
            vms = {vm.name: vm for vm in creator.virtual_machines() if vm.name in names}
            guests = creator.guests()
            ready = {name: guests.get(vm.moid, Guest()) for name, vm in vms.items()}
            late = {name: state for name in names if (state := _lacks(vms.get(name), ready.get(name, Guest()), wait_for))}
            if not late or clock.now().seconds >= deadline:
                return {name: guest for name, guest in ready.items() if name not in late}, late
            clock.sleep(POLL_SECONDS)


def _lacks(vm: VmObservation | None, guest: Guest, wait_for: str) -> str:
    if vm is None or vm.power is not Power.ON:
        return "it is not powered on"
    if wait_for != "power" and not vm.guest_listens:
        return "its VMware Tools do not run"
    return "it tells no address" if wait_for == "address" and not guest.addresses else ""
