# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One VMFS on one LUN, created by the first host, mounted by all.

The invariant: **a LUN is formatted only when everything that could speak against it was asked and denied it.** The parties are
every host (its partition table, VMFS that is mounted or a copy, another datastore of that name) and the storage server, which reads the
bytes (``lun_content_info``). A party that was not asked, does not answer, or says another thing than the others stops the run with
nothing changed. ``judge`` is that decision and does no I/O. Directly before the format the first host is asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..access import HostAccess
from ..decide.observations import Lun
from ..errors import LibrehaError, as_outcome
from ..hypervisor.setup import HostSetup
from ..hypervisor.vmfs import LunView, Vmfs, Volume
from ..parallel import Late, Raised, in_parallel
from ..storage.lun_content import LunContent

TO_BLANK_IT = (
    "nothing was formatted. If nobody needs its content, blank it on the storage server, its first 16 MiB and its last MiB at least "
    "(blkdiscard --zeroout, or dd from /dev/zero)"
)
SETTLE_SECONDS = 3.0  # after a rescan, until the host lists what it found
FORMAT_SECONDS = 400.0  # for formatting or a resignature, on one host


@dataclass(frozen=True)
class Wanted:
    name: str
    lun: Lun
    create: bool
    resignature: str  # UUID of the copy that may be given an identity of its own; empty: none


@dataclass(frozen=True)
class DatastorePlan:
    """What is to be done, or why it is not."""

    create_on: str = ""  # host
    resignature_on: str = ""  # host
    mount_on: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def steps(self) -> list[str]:
        steps = []
        if self.create_on:
            steps.append("create the datastore on %s" % self.create_on)
        if self.resignature_on:
            steps.append("resignature the copy on %s" % self.resignature_on)
        return steps + ["mount it on %s" % host for host in self.mount_on]


def judge(wanted: Wanted, views: Mapping[str, LunView], contents: Sequence[LunContent]) -> DatastorePlan:
    """*views* in the order of the hosts; the first creates."""
    where = "LUN %d of %s" % (wanted.lun.lun, wanted.lun.target)
    blind = [host for host, view in views.items() if not view.disk]
    refusals = ["%s does not see %s: set up its iSCSI adapter (esxi_iscsi) and the LUN's export to it" % (host, where) for host in blind]
    refusals += [
        "%s has another datastore %s, on %s: give this one another name" % (host, wanted.name, view.elsewhere)
        for host, view in views.items()
        if view.elsewhere
    ]
    disks = {view.disk for view in views.values() if view.disk}
    if len(disks) > 1:
        refusals.append("%s is not the same disk for all hosts: %s" % (where, ", ".join(sorted(disks))))
    if refusals:
        return DatastorePlan(refusals=tuple(refusals))
    volumes = {view.volume for view in views.values() if view.volume is not None}
    copies = {view.copy.volume for view in views.values() if view.copy is not None}
    if volumes:
        return _mounting(wanted, views, volumes, copies)
    if copies:
        return _resignaturing(wanted, views, copies)
    return _creating(wanted, views, contents, where)


def _mounting(wanted: Wanted, views: Mapping[str, LunView], volumes: set[Volume], copies: set[Volume]) -> DatastorePlan:
    if len(volumes) > 1 or copies:
        seen = sorted("%s (%s)" % (volume.name, volume.uuid) for volume in volumes | copies)
        return DatastorePlan(refusals=("the hosts do not agree which VMFS is on it: %s. Rescan their storage, and look" % ", ".join(seen),))
    volume = next(iter(volumes))
    if volume.name != wanted.name:
        return DatastorePlan(
            refusals=(
                "it holds the datastore %s (VMFS %s), which is never formatted or renamed: use that name, or another LUN"
                % (volume.name, volume.uuid),
            )
        )
    return DatastorePlan(mount_on=tuple(host for host, view in views.items() if not (view.volume and view.accessible)))


def _resignaturing(wanted: Wanted, views: Mapping[str, LunView], copies: set[Volume]) -> DatastorePlan:
    copy = next(iter(copies))
    if len(copies) > 1 or wanted.resignature != copy.uuid or any(view.copy is None for view in views.values()):
        found = " and ".join(sorted("the VMFS %s (%s)" % (one.uuid, one.name) for one in copies))
        return DatastorePlan(
            refusals=(
                "it holds %s, which was made on another disk (a snapshot, a replica, or the LUN's identity changed)" % found,
                "it is neither mounted nor formatted. To make a datastore of its own of it, which changes its UUID, give resignature=%s"
                % copy.uuid,
            )
        )
    first, *others = views
    return DatastorePlan(resignature_on=first, mount_on=tuple(others))


def _creating(wanted: Wanted, views: Mapping[str, LunView], contents: Sequence[LunContent], where: str) -> DatastorePlan:
    refusals = [
        "%s sees %s on it" % (host, ", ".join(view.partitions) or "an empty partition table (%s)" % view.table)
        for host, view in views.items()
        if view.partitions or view.table
    ]
    evidence = [one for one in contents if (one.target.lower(), one.lun) == (wanted.lun.target, wanted.lun.lun)]
    if len(evidence) != 1:
        refusals.append(
            "its storage server was %s: give lun_contents as lun_content_info returns it there"
            % ("not asked what is on %s" % where if not evidence else "asked by more than one, which do not name the same %s" % where)
        )
    for one in evidence:
        if not one.blank:
            refusals.append("the storage server says of it (%s): %s" % (one.path or where, one.content or "not proved to be blank"))
        sizes = {view.size for view in views.values()}
        if sizes != {one.size}:
            refusals.append(
                "it has %s bytes on the hosts and %d on the storage server: not the same LUN, or a host needs a rescan"
                % (" and ".join(map(str, sorted(sizes))), one.size)
            )
    if refusals:
        return DatastorePlan(refusals=(*refusals, TO_BLANK_IT))
    if not wanted.create:
        return DatastorePlan(refusals=("it is blank, and create is false",))
    first, *others = views
    return DatastorePlan(create_on=first, mount_on=tuple(others))


# Carrying it out


def set_up(
    accesses: Sequence[HostAccess], wanted: Wanted, contents: Sequence[LunContent], seconds: float, check_mode: bool
) -> dict[str, Any]:
    """The module's result; a host has *seconds* for a rescan. Raises LibrehaError: nothing was changed where it says so, otherwise details
    have the steps."""
    views = _on_all(accesses, partial(_look, wanted, not check_mode, seconds), "reading what is on the LUN", 2 * seconds)
    plan = judge(wanted, views, contents)
    if plan.refusals:
        raise LibrehaError(
            "datastore %s: %s" % (wanted.name, " -- ".join(plan.refusals)),
            remedy="nothing was changed; put right what is named, and run this again",
            details={"refusals": list(plan.refusals), "steps": []},
        )
    after = views if check_mode else _carry_out(wanted, accesses, views, plan, seconds)
    volume = next((view.volume for view in after.values() if view.volume is not None), None)
    mounted = [access.name for access in accesses] if check_mode else [name for name, view in after.items() if view.accessible]
    before = _shown(
        next((view.volume for view in views.values() if view.volume), None), [name for name, one in views.items() if one.accessible]
    )
    return {
        "changed": bool(plan.steps),
        "steps": plan.steps,
        "datastore": {
            "name": wanted.name,
            "uuid": volume.uuid if volume is not None else "",
            "disk": next(iter(views.values())).disk,
            "hosts": mounted,
        },
        "diff": {"before": before, "after": _shown(volume or Volume("(new)", wanted.name), mounted)},
    }


def _shown(volume: Volume | None, hosts: Sequence[str]) -> dict[str, Any]:
    return {"name": volume.name, "uuid": volume.uuid, "hosts": list(hosts)} if volume is not None else {}


def _look(wanted: Wanted, may_rescan: bool, seconds: float, access: HostAccess) -> LunView:
    """A host that does not see a mounted VMFS is asked after a rescan: another may have created it meanwhile."""
    with HostSetup(access.connection) as setup:
        vmfs = Vmfs(setup, wanted.lun, wanted.name)
        view = vmfs.read()
        if may_rescan and not view.accessible:
            vmfs.rescan(seconds)
            view = vmfs.wait_for(lambda seen: seen.accessible, SETTLE_SECONDS)
        return view


def _carry_out(
    wanted: Wanted, accesses: Sequence[HostAccess], views: Mapping[str, LunView], plan: DatastorePlan, seconds: float
) -> dict[str, LunView]:
    done: list[str] = []
    try:
        first = plan.create_on or plan.resignature_on
        after = dict(views)
        if first:
            access = next(one for one in accesses if one.name == first)
            act = _create if plan.create_on else _resignature
            after.update(_on_all([access], partial(act, wanted, views[first]), "making the datastore", FORMAT_SECONDS))
            done.append(plan.steps[0])
        others = [one for one in accesses if one.name in plan.mount_on]
        after.update(_on_all(others, partial(_mount, wanted, seconds), "mounting the datastore", 2 * seconds))
    except LibrehaError as error:
        raise LibrehaError(
            "%s (done before: %s)" % (error.message, ", ".join(done) or "nothing"),
            host=error.host,
            remedy=error.remedy or "look at the host's storage, and run this again: what is done already stays",
            details={"steps": done},
        ) from error
    return after


def _create(wanted: Wanted, seen: LunView, access: HostAccess) -> LunView:
    with HostSetup(access.connection) as setup:
        vmfs = Vmfs(setup, wanted.lun, wanted.name)
        now = vmfs.read()
        if now != seen:
            raise LibrehaError(
                "what is on the disk has changed since it was judged", host=access.name, remedy="nothing was formatted; run this again"
            )
        vmfs.create(now.disk)
        return _mounted(vmfs, wanted, access.name, 30.0)


def _resignature(wanted: Wanted, seen: LunView, access: HostAccess) -> LunView:
    with HostSetup(access.connection) as setup:
        vmfs = Vmfs(setup, wanted.lun, wanted.name)
        if seen.copy is not None:
            vmfs.resignature(seen.copy)
        return _mounted(vmfs, wanted, access.name, 30.0)


def _mount(wanted: Wanted, seconds: float, access: HostAccess) -> LunView:
    with HostSetup(access.connection) as setup:
        vmfs = Vmfs(setup, wanted.lun, wanted.name)
        vmfs.rescan(seconds)
        return _mounted(vmfs, wanted, access.name, 30.0)


def _mounted(vmfs: Vmfs, wanted: Wanted, host: str, seconds: float) -> LunView:
    def right(view: LunView) -> bool:
        return view.accessible and view.volume is not None and view.volume.name == wanted.name

    view = vmfs.wait_for(right, seconds)
    if not right(view):
        raise LibrehaError(
            "the datastore %s is not mounted %g s after the rescan" % (wanted.name, seconds),
            host=host,
            remedy="look at the host's storage: the paths to the disk, and whether somebody unmounted it by hand",
        )
    return view


def _on_all(accesses: Sequence[HostAccess], act: Callable[[HostAccess], LunView], tried: str, seconds: float) -> dict[str, LunView]:
    """In the order of the hosts. One that fails fails the run: what it has to say is not known."""
    found: dict[str, LunView] = {}
    failed: list[LibrehaError] = []
    outcomes = in_parallel({access.name: partial(act, access) for access in accesses}, seconds + 30.0)
    for access in accesses:
        outcome = outcomes[access.name]
        if isinstance(outcome, Late):
            failed.append(LibrehaError("%s: no answer within %g s" % (tried, outcome.after), host=access.name))
        elif isinstance(outcome, Raised):
            failed.append(as_outcome(outcome.error, tried, access.name))
        else:
            found[access.name] = outcome
    if failed:
        raise LibrehaError(
            "; ".join("%s: %s" % (error.host, error.message) if error.host else error.message for error in failed),
            remedy=next((error.remedy for error in failed if error.remedy), "look at the host, and run this again"),
        )
    return found
