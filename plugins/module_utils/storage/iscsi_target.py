# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LIO's target made as it is described.

The fence list's lock is held from the first look to the last byte saved. So no fence happens in between: an ACL that the
plan creates is of an initiator that is not fenced at that moment either. A fence that comes meanwhile waits for the lock, and
after LOCK_SECONDS it ends this process (fence_list.py), which is right: the fence matters more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable

from .. import clock
from ..errors import LibrehaError
from ..instant import Instant
from ..lease.deadman import Permit
from .fence_list import DEFAULT_FENCE_LIST, FenceList
from .lio import configfs, library, saved
from .lio.fenced_acls import Acl as KeptAcl
from .lio.fenced_acls import FencedAcls, beside
from .lio.saved import Saved
from .target import preflight
from .target.dump_reading import dump_acl, read_acl, read_found
from .target.executor import StepExecutor
from .target.model import Acl, Model, Portal, description
from .target.names import naa_name
from .target.plan import Situation, TargetPlan, make_plan, with_serials, without_fenced
from .target.steps import Act, Step

LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class TargetRequest:
    """How the target shall be, and what may be given up for it.

    Args:
        wanted: The target; with ``exists`` False it is to go.
        saved_config: The service's saved configuration; empty: the usual one.
        remove_backstores: Names of backstores that go with it.
        disrupt: Initiators, in lower case, whose sessions may be ended.
        may_have_data: Names of backstores that a person said may be exported with what is on them.
    """

    wanted: Model
    saved_config: str = ""
    fence_list: str = DEFAULT_FENCE_LIST
    remove_backstores: frozenset[str] = frozenset()
    disrupt: frozenset[str] = frozenset()
    may_have_data: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """What is there before a run, or after it."""

    found: Model
    running: Saved
    saved: Saved
    situation: Situation
    open_portals: frozenset[Portal]

    @property
    def own(self) -> Model:
        """The target with the backstores that it exports."""
        places = {place for tpg in self.found.tpgs.values() for place in tpg.luns.values()}
        return replace(self.found, backstores={place: store for place, store in self.found.backstores.items() if place in places})


def set_up(request: TargetRequest, check_mode: bool = False, *, now: Callable[[], Instant] = clock.now) -> dict[str, Any]:
    """Make the target so. What was changed, as the module iscsi_target returns it; ``warnings`` in it are for the user.

    Raises LibrehaError, and says whether something was changed.
    """
    if check_mode:
        library.need_modules()
    else:
        library.need_kernel()
    fence_list = FenceList(request.fence_list, now=now)
    lock = contextlib.nullcontext() if check_mode else fence_list.locked(Permit(now().seconds + LOCK_SECONDS, now=now))
    with lock:
        return _Run(request, fence_list, check_mode).result()


class _Run:
    """One run, under the lock."""

    def __init__(self, request: TargetRequest, fence_list: FenceList, check_mode: bool) -> None:
        self._request = request
        self._check_mode = check_mode
        self._saved_config = request.saved_config or saved.default_path()
        self._kept = FencedAcls(beside(request.fence_list))
        self._hosts = {entry.initiator.casefold(): entry.host for entry in fence_list.read().entries}
        self._fenced = frozenset(self._hosts)
        self._before = self._look(request.wanted.name)
        self._wanted = self._settled(request.wanted)

    def result(self) -> dict[str, Any]:
        before, wanted = self._before, self._wanted
        admitted, aside = without_fenced(wanted, self._fenced)
        plan = make_plan(admitted, before.found, before.situation, self._fenced)
        reservations = library.reservations_folder(os.path.dirname(saved.default_path()))
        if wanted.exists and not os.path.isdir(reservations):
            plan.steps.insert(0, Step(Act.MAKE_FOLDER, subject=reservations))
        refusals = plan.refusals + self._retired(admitted) + self._impossible(plan)
        if refusals:
            raise LibrehaError("nothing was changed. %s" % " -- ".join(refusals), details={"refusals": refusals})
        kept = self._to_keep(aside)
        changed = bool(plan.steps) or kept != self._kept.of_target(wanted.name)
        if self._check_mode:
            changed |= not saved.same(self._to_save(before), before.saved)
        else:
            changed |= self._act(plan, admitted, kept)
        return {
            "changed": changed,
            "steps": [str(step) for step in plan.steps],
            "target": description(wanted, wanted),
            "naa": {store.name: naa_name(store.serial) for store in wanted.backstores.values()},
            "fenced": sorted({name for _tag, name in aside}),
            "saved_config": self._saved_config,
            "diff": {"before": description(before.own, admitted), "after": description(admitted, admitted)},
            "warnings": preflight.warnings(wanted.backstores.values()) + self._fence_warnings(aside),
        }

    def _impossible(self, plan: TargetPlan) -> list[str]:
        return preflight.problems(plan.steps, self._exportable(), self._before.open_portals, foreseeing=self._check_mode)

    def _act(self, plan: TargetPlan, admitted: Model, kept: dict[tuple[int, str], KeptAcl]) -> bool:
        """Whether the saved configuration was written anew."""
        self._kept.replace_target(admitted.name, kept)
        executor = StepExecutor(admitted.name)
        for number, step in enumerate(plan.steps):
            try:
                executor.carry_out(step)
            except LibrehaError as error:
                done = [str(one) for one in plan.steps[:number]]
                raise LibrehaError(
                    "%s (done before: %s)" % (error.message, ", ".join(done) or "nothing"), remedy=error.remedy, details={"steps": done}
                ) from error
        after = self._look(admitted.name)
        left = make_plan(admitted, after.found, after.situation, self._fenced).steps if plan.steps else []
        if left:
            raise LibrehaError(
                "the kernel's target did not take: %s" % ", ".join(map(str, left)),
                remedy="see the kernel's log (dmesg), and whether these options have values that it knows",
            )
        content = self._to_save(after)
        if saved.same(content, after.saved):
            return False
        saved.write(self._saved_config, content)
        return True

    def _look(self, name: str) -> Look:
        running, content = library.dump(), saved.read(self._saved_config)
        found = read_found(name, running["targets"], running["storage_objects"])
        tpgs = configfs.read_tpgs()
        elsewhere = {
            lun["storage_object"]
            for target in running["targets"]
            for tpg in (target.get("tpgs", []) if target["wwn"] != name else ())
            for lun in tpg.get("luns", [])
        }
        situation = Situation(
            sessions=frozenset((tpg.tag, acl.initiator) for tpg in tpgs for acl in tpg.acls if tpg.target == name and acl.session),
            exported_elsewhere=frozenset(elsewhere),
            remove_backstores=self._request.remove_backstores,
            disrupt=self._request.disrupt,
            same_path=preflight.same_path,
        )
        addresses = [portal.rpartition(":") for tpg in tpgs for portal in tpg.portals]
        return Look(found, running, content, situation, frozenset(Portal(one[0].strip("[]"), int(one[2])) for one in addresses))

    def _settled(self, wanted: Model) -> Model:
        """With serials, and UNMAP where it is not said and the disk can."""
        wanted = with_serials(wanted, self._before.found.backstores, self._saved_stores(wanted.name).backstores)
        stores = {
            place: replace(store, attributes={"emulate_tpu": str(int(preflight.discards(store))), **store.attributes})
            for place, store in wanted.backstores.items()
        }
        return replace(wanted, backstores=stores)

    def _saved_stores(self, name: str) -> Model:
        return read_found(name, (), self._before.saved.get("storage_objects", []))

    def _exportable(self) -> frozenset[str]:
        """Backstores that may have content: by the user's word, or because the saved configuration has them with that path."""
        ours = self._saved_stores("").backstores
        known = {
            store.name
            for place, store in self._wanted.backstores.items()
            if place in ours and preflight.same_path(store.path, ours[place].path)
        }
        return self._request.may_have_data | known

    def _to_save(self, look: Look) -> saved.Saved:
        places = {*self._wanted.backstores, *self._before.own.backstores}
        places |= {place for place in self._before.found.backstores if place.rpartition("/")[2] in self._request.remove_backstores}
        return saved.with_target(look.saved, self._wanted.name, look.running, frozenset(places))

    def _to_keep(self, aside: Mapping[tuple[int, str], Acl]) -> dict[tuple[int, str], KeptAcl]:
        """What shall be kept of this target: for each fenced initiator the ACL that it is to have, None for none."""
        kept = {place: acl for place, acl in self._kept.of_target(self._wanted.name).items() if place[1] in self._fenced}
        after: dict[tuple[int, str], KeptAcl] = dict.fromkeys(kept)
        for place, acl in aside.items():
            old = kept.get(place)
            wish = dump_acl(acl)
            if old is not None and _covers(read_acl(old), acl):
                wish = old
            after[place] = wish
        return after

    def _retired(self, admitted: Model) -> list[str]:
        """Secrets that a fence has retired: a host that was not restarted since would log in with its own, and its old writes land."""
        retired = self._kept.retired()
        names = {name for tpg in admitted.tpgs.values() for name, acl in tpg.acls.items() if retired.has(name, acl.chap.secret)}
        return [
            "the CHAP secret of %s is one that its fence has retired. Give its ACL the one that it was unfenced with (iscsi_fence, "
            "chap_secret), or a new random one and set the same on the host" % name
            for name in sorted(names)
        ]

    def _fence_warnings(self, aside: Mapping[tuple[int, str], Acl]) -> list[str]:
        return [
            "%s (host %s) is fenced and was not admitted. What is configured for it is kept and is given to it by its unfence (iscsi_fence)"
            % (name, self._hosts[name])
            for name in sorted({name for _tag, name in aside})
        ]


def _covers(old: Acl, wish: Acl) -> bool:
    return (old.luns, old.chap) == (wish.luns, wish.chap) and all(
        old.attributes.get(key) == value for key, value in wish.attributes.items()
    )
