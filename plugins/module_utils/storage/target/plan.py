# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the target that is found to the one that is wanted: the steps, in order, and what forbids them.

The rules, which the module promises to its user:

* Data is never touched: no file and no volume is removed or made smaller.
* A backstore is not taken away from the hosts unless ``remove_backstores`` names it, and never made anew under them: what differs
  and cannot be changed in place is an error.
* A step that ends an initiator's sessions, or takes a LUN from it while it has one, needs its name in ``disrupt``. No
  step touches another initiator's sessions.
* A fenced initiator is not admitted (:func:`without_fenced`), and what it loses needs no word: it has lost it already.

Everything is looked at before the first step: with one refusal nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Callable

from .model import Acl, Backstore, MappedLun, Model, Tpg
from .names import derived_serial
from .steps import Act, Step


@dataclass(frozen=True)
class Situation:
    """What the plan must know beside the model.

    Args:
        sessions: (TPG, initiator) of the target that have one.
        exported_elsewhere: Places of backstores that other targets export.
        remove_backstores: Names of backstores that may be taken away.
        disrupt: Initiators whose sessions may be ended.
        same_path: Whether two paths lead to the same disk or file.
    """

    sessions: frozenset[tuple[int, str]] = frozenset()
    exported_elsewhere: frozenset[str] = frozenset()
    remove_backstores: frozenset[str] = frozenset()
    disrupt: frozenset[str] = frozenset()
    same_path: Callable[[str, str], bool] = lambda one, other: one == other


@dataclass
class TargetPlan:
    steps: list[Step] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def with_serials(wanted: Model, *known: Mapping[str, Backstore]) -> Model:
    """Each backstore's serial: the one that is given, or that it has (*known*: at run time, then saved), or the derived one."""
    stores = {}
    for place, store in wanted.backstores.items():
        there = [backstores[place].serial for backstores in known if place in backstores]
        stores[place] = replace(store, serial=store.serial or next(filter(None, there), "") or derived_serial(wanted.name, store.name))
    return replace(wanted, backstores=stores)


def without_fenced(wanted: Model, fenced: frozenset[str]) -> tuple[Model, dict[tuple[int, str], Acl]]:
    """The model without the ACLs of fenced initiators, and these ACLs by (TPG, initiator)."""
    aside = {(tag, name): acl for tag, tpg in wanted.tpgs.items() for name, acl in tpg.acls.items() if name in fenced}
    tpgs = {tag: replace(tpg, acls={name: acl for name, acl in tpg.acls.items() if name not in fenced}) for tag, tpg in wanted.tpgs.items()}
    return replace(wanted, tpgs=tpgs), aside


def make_plan(wanted: Model, found: Model, situation: Situation, fenced: frozenset[str] = frozenset()) -> TargetPlan:
    """*wanted* without fenced initiators, with serials. An empty model that does not exist means: remove the target."""
    plan = TargetPlan()
    away = _removals(wanted, found, situation, fenced, plan)
    for store in wanted.backstores.values():
        _backstore(store, found, situation, plan)
        _contradiction(store, situation, plan)
    for tag, tpg in wanted.tpgs.items():
        _tpg(tpg, found.tpgs.get(tag), away, situation, plan)
    plan.steps.sort(key=lambda step: step.act.value[0])  # stable: within one kind in the order of the model
    return plan


def _removals(wanted: Model, found: Model, situation: Situation, fenced: frozenset[str], plan: TargetPlan) -> set[tuple[int, int]]:
    """What the target has and should not have. Returns the (TPG, LUN) that go: their mappings go with them."""
    gone: set[tuple[int, int]] = set()
    lost: set[str] = set()
    for tag, tpg in found.tpgs.items():
        keeping = wanted.tpgs.get(tag, Tpg(tag))
        for name in tpg.acls:
            if name not in keeping.acls:
                _must_be_free(name, tag, "its ACL is not in the model", situation, plan, fenced)
                plan.steps.append(Step(Act.REMOVE_ACL, tag, name))
        for number, place in tpg.luns.items():
            if keeping.luns.get(number) == place:
                continue
            name = place.rpartition("/")[2]
            if wanted.exists and name not in situation.remove_backstores:
                instead = keeping.luns.get(number, "nothing").rpartition("/")[2]
                plan.refusals.append(
                    "TPG %d exports backstore %s as LUN %d, the model has %s there. To take it away from the hosts (its data stays), "
                    "name it in remove_backstores" % (tag, name, number, instead)
                )
            gone.add((tag, number))
            lost.add(place)
            plan.steps.append(Step(Act.REMOVE_LUN, tag, name, number))
        for portal in sorted(tpg.portals - keeping.portals, key=str):
            plan.steps.append(Step(Act.REMOVE_PORTAL, tag, str(portal), item=portal))
        if tag not in wanted.tpgs:
            plan.steps.append(Step(Act.REMOVE_TPG, tag))
    if found.exists and not wanted.exists:
        plan.steps.append(Step(Act.REMOVE_TARGET, subject=found.name))
    lost |= {place for place, store in found.backstores.items() if store.name in situation.remove_backstores}
    for place in sorted(lost & set(found.backstores)):
        still = place in situation.exported_elsewhere or any(
            place == other and (tag, number) not in gone for tag, tpg in found.tpgs.items() for number, other in tpg.luns.items()
        )
        if place not in wanted.backstores and not still:
            plan.steps.append(Step(Act.REMOVE_BACKSTORE, subject=place))
    return gone


def _must_be_free(initiator: str, tag: int, why: str, situation: Situation, plan: TargetPlan, fenced: frozenset[str] = frozenset()) -> None:
    if (tag, initiator) in situation.sessions and initiator not in situation.disrupt and initiator not in fenced:
        plan.refusals.append(
            "%s has a session at TPG %d, and %s. To end it, name the initiator in disrupt; stop its VMs first" % (initiator, tag, why)
        )


def _contradiction(store: Backstore, situation: Situation, plan: TargetPlan) -> None:
    if store.name in situation.remove_backstores:
        plan.refusals.append("backstore %s is in backstores and in remove_backstores. Leave it in one of them" % store.name)


def _backstore(store: Backstore, found: Model, situation: Situation, plan: TargetPlan) -> None:
    there = found.backstores.get(store.place)
    if there is None:
        for other in found.backstores.values():
            if other.path and situation.same_path(store.path, other.path):
                plan.refusals.append(
                    "backstore %s would have the same data as %s, which is there already: %s. Two of them know nothing of each other's "
                    "locks. Use that name, or another path" % (store.name, other.place, other.path)
                )
        plan.steps.append(Step(Act.CREATE_BACKSTORE, subject=store.place, item=store))
        return
    differs = []
    if not situation.same_path(store.path, there.path):
        differs.append("its path is %s, the model says %s" % (there.path, store.path))
    if store.write_back != there.write_back and store.kind == "fileio":
        differs.append("its write_back is %s, the model says %s" % (there.write_back, store.write_back))
    if store.serial != there.serial:
        differs.append("its serial is %s, the model says %s (hosts would take it for another disk)" % (there.serial, store.serial))
    if differs:
        plan.refusals.append(
            "backstore %s cannot be changed in place: %s. Correct the model; or move its VMs away, take it out of the model, name it in "
            "remove_backstores, run this, and put it back" % (store.name, "; ".join(differs))
        )
    if store.size is not None and there.size is not None and store.size < there.size:
        plan.refusals.append(
            "backstore %s has %d bytes, the model says %d. It is never made smaller" % (store.name, there.size, store.size)
        )
    elif store.size is not None and store.size != there.size:
        plan.steps.append(Step(Act.GROW, subject=store.place, item=store))
    for key, value in store.attributes.items():
        if there.attributes.get(key) != value:
            plan.steps.append(Step(Act.SET_BACKSTORE, subject=store.place, key=key, item=value))


def _tpg(tpg: Tpg, there: Tpg | None, away: set[tuple[int, int]], situation: Situation, plan: TargetPlan) -> None:
    if there is None:
        plan.steps.append(Step(Act.CREATE_TPG, tpg.tag))
        there = Tpg(tpg.tag, enabled=False)
    for key, value in tpg.attributes.items():
        if there.attributes.get(key) != value:
            plan.steps.append(Step(Act.SET_TPG, tpg.tag, key=key, item=value))
    for key, value in tpg.parameters.items():
        if there.parameters.get(key) != value:
            plan.steps.append(Step(Act.SET_PARAMETER, tpg.tag, key=key, item=value))
    for number, place in sorted(tpg.luns.items()):
        if there.luns.get(number) != place:
            plan.steps.append(Step(Act.ADD_LUN, tpg.tag, place, number))
    for portal in sorted(tpg.portals - there.portals, key=str):
        plan.steps.append(Step(Act.ADD_PORTAL, tpg.tag, str(portal), item=portal))
    for name, acl in tpg.acls.items():
        _acl(acl, there.acls.get(name), tpg.tag, away, situation, plan)
    if tpg.enabled != there.enabled:
        for _tag, name in sorted(one for one in situation.sessions if one[0] == tpg.tag and not tpg.enabled):
            _must_be_free(name, tpg.tag, "the TPG is to be disabled", situation, plan)
        plan.steps.append(Step(Act.ENABLE if tpg.enabled else Act.DISABLE, tpg.tag))


def _acl(acl: Acl, there: Acl | None, tag: int, away: set[tuple[int, int]], situation: Situation, plan: TargetPlan) -> None:
    if there is None:
        plan.steps.append(Step(Act.CREATE_ACL, tag, acl.initiator, item=acl))
        return
    mapped = {number: one for number, one in there.luns.items() if (tag, one.lun) not in away}
    for number, one in sorted(mapped.items()):
        wish = acl.luns.get(number)
        if wish is None or wish.lun != one.lun:
            what = "is to be %s" % ("taken from it" if wish is None else "LUN %d of the TPG instead of %d" % (wish.lun, one.lun))
            _must_be_free(acl.initiator, tag, "its LUN %d %s" % (number, what), situation, plan)
            plan.steps.append(Step(Act.UNMAP, tag, acl.initiator, number))
        elif wish.write_protect != one.write_protect:
            if wish.write_protect:
                _must_be_free(acl.initiator, tag, "its LUN %d is to become read only" % number, situation, plan)
            plan.steps.append(Step(Act.PROTECT, tag, acl.initiator, number, item=wish))
    for number, wish in sorted(acl.luns.items()):
        if mapped.get(number, MappedLun(-1)).lun != wish.lun:
            plan.steps.append(Step(Act.MAP, tag, acl.initiator, number, item=wish))
    for key, value in acl.attributes.items():
        if there.attributes.get(key) != value:
            plan.steps.append(Step(Act.SET_ACL, tag, acl.initiator, key=key, item=value))
    if acl.chap != there.chap:
        plan.steps.append(Step(Act.SET_CHAP, tag, acl.initiator, item=acl.chap))
