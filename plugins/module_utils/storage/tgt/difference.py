# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what tgtd serves to what is described: the requests to its control socket, in order, and what forbids them. Pure.

The rules, which the module tgt_target promises to its user:

* Only what is missing is added, by requests that touch no session. ``tgt-admin --update`` is not used: it leaves a target with sessions
  alone, or with ``--force`` deletes it with all of them and makes it anew.
* What can only be done by taking something from the hosts (a LUN, a right, CHAP, another disk under a number) is refused.
* Whoever is fenced is not admitted. A CHAP secret that is in force is not replaced without the initiator's name in
  ``disrupt``: after an unfence it is what keeps out a host that was not restarted, and the description may still have the old one.
* Rights come after accounts and before portals, so nobody gets in without CHAP for a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..target.model import Portal
from .control import Code, Mode, Op
from .export import Export, Unit, Written
from .reading import NOBODY_ADDRESS, TargetReading

WRITE_CACHE_OFF = "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0"
"""The caching mode page with WCE 0, as tgt-admin sets it for ``write-cache off``: tgtd syncs each write before it answers."""


@dataclass(frozen=True)
class Request:
    """To the control socket (control.py). ``parameters`` may hold a secret."""

    mode: Mode
    op: Op
    parameters: str = field(default="", repr=False)
    lun: int = 0
    of_target: bool = True
    allowed: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Step:
    words: str
    requests: tuple[Request, ...]

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Running:
    """What tgtd says. ``portals`` as text, ``accounts`` are all CHAP users of this tgtd."""

    targets: Sequence[TargetReading] = ()
    portals: Sequence[str] = ()
    accounts: Sequence[str] = ()

    def target(self, name: str) -> TargetReading | None:
        return next((target for target in self.targets if target.name == name), None)


@dataclass(frozen=True)
class Wanted:
    """``owners``: CHAP user -> the initiator that has it. ``nop``: seconds between two questions, and how many may be unanswered."""

    export: Export
    portals: frozenset[Portal]
    nop: tuple[int, int]
    owners: Mapping[str, str]


@dataclass
class TgtPlan:
    steps: list[Step] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    new_units: list[Unit] = field(default_factory=list)
    new_portals: list[Portal] = field(default_factory=list)


def make_plan(wanted: Wanted, running: Running, written: Written, fenced: frozenset[str], disrupt: frozenset[str]) -> TgtPlan:
    """*fenced*: those that may lose a right without a word, they have lost it already."""
    plan = TgtPlan()
    export = wanted.export
    there = running.target(export.name)
    if there is None:
        plan.steps.append(Step("create target %s" % export.name, (Request(Mode.TARGET, Op.NEW, "targetname=%s" % export.name),)))
        there = TargetReading(export.tid, export.name)
    closing = _portals(wanted, running, plan)
    _settings(wanted, there, plan)
    _units(export, there, written, plan)
    _accounts(wanted, there, running, written, disrupt, plan)
    _rights(export, there, written, fenced, plan)
    plan.steps[:0] = closing
    for portal in plan.new_portals:
        plan.steps.append(Step("open portal %s" % portal, (_listen(Op.NEW, str(portal)),)))
    return plan


def _portals(wanted: Wanted, running: Running, plan: TgtPlan) -> list[Step]:
    """Portals belong to tgtd and all its targets. To close one ends no session."""
    described = {str(portal): portal for portal in wanted.portals}
    plan.new_portals = [portal for text, portal in sorted(described.items()) if text not in running.portals]
    others = [target.name for target in running.targets if target.name != wanted.export.name]
    extra = [text for text in running.portals if text not in described]
    if extra and others:
        plan.refusals.append(
            "tgtd listens at %s, which is not described, and serves other targets there: %s. Portals belong to all targets of one tgtd: "
            "describe it too, or move those targets to another machine" % (", ".join(extra), ", ".join(others))
        )
    return [Step("close portal %s" % text, (_listen(Op.DELETE, text),)) for text in extra]


def _listen(op: Op, portal: str) -> Request:
    return Request(Mode.PORTAL, op, "portalOps portal=%s," % portal, of_target=False)


def _settings(wanted: Wanted, there: TargetReading, plan: TgtPlan) -> None:
    for key, value, now in (("nop_interval", wanted.nop[0], there.nop_interval), ("nop_count", wanted.nop[1], there.nop_count)):
        if value != now:
            plan.steps.append(Step("set %s" % key, (Request(Mode.TARGET, Op.UPDATE, "%s=%d" % (key, value)),)))


def _units(export: Export, there: TargetReading, written: Written, plan: TgtPlan) -> None:
    known = {number: (unit.path, unit.serial) for number, unit in written.units.items()}
    known.update({number: (unit.path, unit.serial) for number, unit in there.units.items()})
    for number, (path, serial) in sorted(known.items()):
        unit = export.units.get(number)
        if unit is None:
            plan.refusals.append(
                "LUN %d (%s) is exported and not described. tgt cannot take a LUN from one host after the other: describe it; or migrate "
                "its VMs, stop tgt, remove its block from the file, start tgt and run this again" % (number, path)
            )
        elif (unit.path, unit.serial) != (path, serial):
            plan.refusals.append(
                "LUN %d is %s with the serial %s, described is %s with %s: hosts would take it for another disk. "
                "Correct the description, or give the new disk another number" % (number, path, serial, unit.path, unit.serial)
            )
    for number, unit in sorted(export.units.items()):
        if number not in there.units:
            if number not in written.units:
                plan.new_units.append(unit)
            plan.steps.append(Step("add LUN %d (%s)" % (number, unit.path), _new_unit(unit)))


def _new_unit(unit: Unit) -> tuple[Request, ...]:
    settings = (WRITE_CACHE_OFF, "scsi_id=%s" % unit.scsi_id, "scsi_sn=%s" % unit.serial)
    return (
        Request(Mode.DEVICE, Op.NEW, "path=%s" % unit.path, lun=unit.number),
        *(Request(Mode.DEVICE, Op.UPDATE, "targetOps %s," % one, lun=unit.number) for one in settings),
    )


def _accounts(wanted: Wanted, there: TargetReading, running: Running, written: Written, disrupt: frozenset[str], plan: TgtPlan) -> None:
    secrets = wanted.export.secrets
    if not secrets and (there.accounts or written.secrets):
        plan.refusals.append("the target has CHAP, and no initiator is described with it. Describe chap: it is not taken away on line")
        return
    elsewhere = {user: target.name for target in running.targets if target.name != wanted.export.name for user in target.accounts}
    for user, secret in secrets.items():
        bind = Request(Mode.ACCOUNT, Op.BIND, "user=%s" % user, allowed=(Code.USER_EXIST,))
        same = written.secrets.get(user) == secret
        if user in running.accounts and same:
            if user not in there.accounts:
                plan.steps.append(Step("bind the CHAP account %s" % user, (bind,)))
            continue
        if user in elsewhere:
            plan.refusals.append(
                "the CHAP account %s belongs to target %s as well. Give the initiator a user of its own" % (user, elsewhere[user])
            )
        if user in written.secrets and not same and wanted.owners[user] not in disrupt:
            plan.refusals.append(
                "the CHAP secret of %s is not the one that is in force. If it was unfenced, describe the secret that it was given then (a "
                "host that was not restarted since its fence still knows the old one); to set a new one, name the initiator in disrupt, "
                "and set the same on the host" % wanted.owners[user]
            )
        old = Request(Mode.ACCOUNT, Op.DELETE, "user=%s" % user, of_target=False, allowed=(Code.NO_USER,))
        new = Request(Mode.ACCOUNT, Op.NEW, "user=%s,password=%s" % (user, secret), of_target=False)
        again = user in running.accounts  # tgtd cannot change a secret
        plan.steps.append(Step("set the CHAP account %s" % user, (*([old] if again else []), new, bind)))
    for user in there.accounts:
        if secrets and user not in secrets:
            plan.steps.append(Step("unbind the CHAP account %s" % user, (Request(Mode.ACCOUNT, Op.UNBIND, "user=%s" % user),)))


def _rights(export: Export, there: TargetReading, written: Written, fenced: frozenset[str], plan: TgtPlan) -> None:
    if there.open_rules:
        plan.refusals.append(
            "the target admits by address (%s), which is no identity. Take that away: tgtadm --lld iscsi --op unbind --mode target "
            "--tid %d --initiator-address ADDRESS" % (", ".join(there.open_rules), there.tid)
        )
    admitted = {name.casefold() for name in there.names} | written.names
    for name in sorted(admitted - {name.casefold() for name in export.initiators} - fenced):
        plan.refusals.append(
            "%s is admitted and not described. Describe it; or, to take its right, stop its VMs, fence its host (iscsi_fence) and run "
            "this again" % name
        )
    if NOBODY_ADDRESS not in there.acl:
        nobody = Request(Mode.TARGET, Op.BIND, "initiator-address=%s" % NOBODY_ADDRESS, allowed=(Code.ACL_EXIST,))
        plan.steps.append(Step("admit nobody by address", (nobody,)))
    for name in export.admitted:
        if name not in there.names:
            right = Request(Mode.TARGET, Op.BIND, "initiator-name=%s" % name, allowed=(Code.ACL_EXIST,))
            plan.steps.append(Step("admit %s" % name, (right,)))
