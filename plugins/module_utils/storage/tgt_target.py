# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""tgt's target made as it is described.

The fence list's lock is held from the first look to the last byte saved, as in iscsi_target.py and for the same reason. The file is
rendered with its fences in it and replaced as a whole, so there is no moment at which it admits whoever is fenced.

First tgtd, then the file: what tgtd refuses is never saved for the next start. A run that is killed in between is finished by the next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from .. import clock
from ..errors import LibrehaError
from ..instant import Instant
from ..lease.deadman import Permit
from . import durable
from .fence_list import DEFAULT_FENCE_LIST, FenceList
from .iscsi_target import LOCK_SECONDS
from .target import preflight
from .target.model import Backstore, Model
from .target.names import derived_serial
from .target.steps import Act
from .target.steps import Step as TargetStep
from .tgt import release, targets_conf
from .tgt.control import NO_TARGET, Control, Mode, NotServing, Op
from .tgt.difference import Running, Step, TgtPlan, Wanted, make_plan
from .tgt.driver import DEFAULT_SAVED_CONFIG
from .tgt.export import Export, Unit, Written, derived_tid, read_written, render, without_secrets
from .tgt.reading import read_accounts, read_portals, read_targets

DEFAULT_FILE = "/etc/tgt/conf.d/libreha.conf"


@dataclass(frozen=True)
class TgtRequest:
    """How the target shall be, and what may be given up for it.

    Args:
        wanted: The target, with one TPG.
        spellings: Initiator in lower case -> its name as described: tgtd compares letter by letter.
        nops: Seconds between two NOPs, and how many may be unanswered.
        disrupt: Initiators, in lower case, whose sessions may be ended.
        may_have_data: Names of LUNs that a person said may be exported with what is on them.
        file: What tgt loads of it at its start; ``saved_config`` includes it.
    """

    wanted: Model
    spellings: Mapping[str, str]
    nops: tuple[int, int]
    disrupt: frozenset[str] = frozenset()
    may_have_data: frozenset[str] = frozenset()
    file: str = DEFAULT_FILE
    saved_config: str = DEFAULT_SAVED_CONFIG
    fence_list: str = DEFAULT_FENCE_LIST
    control_port: int = 0
    timeout: float = 5.0


def set_up(request: TgtRequest, check_mode: bool = False, *, now: Callable[[], Instant] = clock.now) -> dict[str, Any]:
    """Make the target so. What was changed, as the module tgt_target returns it; ``warnings`` in it are for the user.

    Raises LibrehaError, and says whether something was changed.
    """
    fence_list = FenceList(request.fence_list, now=now)
    lock = contextlib.nullcontext() if check_mode else fence_list.locked(Permit(now().seconds + LOCK_SECONDS, now=now))
    with lock:
        return _Run(request, fence_list, check_mode).result()


@dataclass(frozen=True)
class _Look:
    running: Running
    written: Written


class _Run:
    """One run, under the lock."""

    def __init__(self, request: TgtRequest, fence_list: FenceList, check_mode: bool) -> None:
        self._request = request
        self._model = request.wanted
        self._check_mode = check_mode
        self._control = Control(request.control_port, request.timeout)
        self._listed = {entry.initiator.casefold(): entry.host for entry in fence_list.read().entries}
        self._described = request.spellings
        self._disrupt = request.disrupt
        self._before = self._look()
        # A line that is marked and not on the list: a list that was lost. The mark is the evidence that is left, so it holds.
        self._fenced = frozenset(self._listed) | self._before.written.masked
        self._wanted = self._settled()

    def result(self) -> dict[str, Any]:
        before, export = self._before, self._wanted.export
        plan = make_plan(self._wanted, before.running, before.written, self._fenced, self._disrupt)
        growing = self._growing()
        refusals = self._misplaced() + plan.refusals + self._impossible(plan)
        if refusals:
            raise LibrehaError("nothing was changed. %s" % " -- ".join(refusals), details={"refusals": refusals})
        text = render(export)
        steps = ["grow %s" % store.path for store in growing] + [str(step) for step in plan.steps]
        to_save = text != before.written.text or before.written.mode != 0o600
        if not self._check_mode:
            self._act(plan, growing)
            if to_save:
                self._save(text)
        return {
            "changed": bool(steps) or to_save,
            "steps": steps + (["write %s" % self._request.file] if to_save else []),
            "naa": {unit.name: "naa.%s" % unit.scsi_id for unit in export.units.values()},
            "fenced": sorted(export.masked),
            "file": self._request.file,
            "diff": {
                "before": without_secrets(before.written.text, export.secrets),
                "after": without_secrets(text, before.written.secrets),
            },
            "warnings": self._warnings(),
        }

    def _look(self) -> _Look:
        return _Look(self._running(), read_written(self._request.file, self._model.name))

    def _running(self) -> Running:
        ask, must = self._control.ask, self._control.must
        try:
            show = ask(Mode.TARGET, Op.SHOW)
            release.require(release.running(show.pid))
            release.require(release.next_start(show.pid) or "")
            return Running(
                read_targets(must("list its targets", show).text),
                read_portals(must("list its portals", ask(Mode.PORTAL, Op.SHOW)).text),
                read_accounts(must("list its accounts", ask(Mode.ACCOUNT, Op.SHOW)).text),
            )
        except NotServing:
            if self._check_mode:  # what a play would start before
                next_one = release.installed()
                if next_one is not None:
                    release.require(next_one)
                return Running()
            raise

    def _settled(self) -> Wanted:
        """With the target's number, with serials, with fences."""
        model, written, running = self._model, self._before.written, self._before.running
        tpg = model.tpgs[1]
        there = running.target(model.name)
        units = {}
        for number, place in tpg.luns.items():
            store = model.backstores[place]
            units[number] = Unit(number, store.path, store.serial or derived_serial(model.name, store.name), store.name)
        masked = frozenset(tpg.acls) & self._fenced
        owners = {acl.chap.user: name for name, acl in tpg.acls.items() if acl.chap.user}
        # A fenced initiator's account stays as it is: its unfence asks for another secret than this one.
        secrets = {
            user: written.secrets.get(user, tpg.acls[name].chap.secret) if name in masked else tpg.acls[name].chap.secret
            for user, name in owners.items()
        }
        tid = there.tid if there else derived_tid(model.name, (target.tid for target in running.targets))
        names = tuple(spelling for name in tpg.acls for spelling in dict.fromkeys((self._described[name], *self._spellings(name))))
        export = Export(model.name, tid, units, secrets, names, masked)
        return Wanted(export, tpg.portals, self._request.nops, owners)

    def _spellings(self, name: str) -> list[str]:
        """How an initiator spells its name as far as is known: as it says it in its sessions, or where it has none, as it is admitted.

        tgtd compares letter by letter, so each of them is admitted beside the one that is described: a wrong description must not lock
        out a host that works. To iSCSI they are one name (RFC 7143, 4.2.7.1), so nobody else gets in by it.
        """
        there = self._before.running.target(self._model.name)
        live = [nexus.initiator for nexus in there.nexuses] if there else []
        admitted = [*(there.names if there else ()), *self._before.written.spellings]
        found = [[one for one in names if one.casefold() == name] for names in (live, admitted)]
        return sorted(set(found[0] or found[1]))

    def _misplaced(self) -> list[str]:
        """The file must be what tgt loads at its start, and the target in no other, under no other spelling either."""
        file, config = self._request.file, self._request.saved_config
        served = {*(target.name for target in self._before.running.targets), *targets_conf.read(config).targets}
        twins = sorted(name for name in served if name != self._model.name and name.casefold() == self._model.name)
        if twins:
            return [
                "there is a target %s, whose name differs from it in case only: hosts would find both. Give this one another name, or take "
                "that one out of tgt" % ", ".join(twins)
            ]
        if not targets_conf.includes(config, file):
            return ["%s does not include %s, so tgt would not load it. Add the line: include %s" % (config, file, file)]
        other = targets_conf.read(config).targets.get(self._model.name)
        places = sorted({place.path for place in (other.ends if other else ())} - {file})
        return ["the target is in %s as well. Take it out there; this module writes it to %s" % (", ".join(places), file)] if places else []

    def _growing(self) -> list[Backstore]:
        """Files that are to be longer than they are, or are not there: those of new LUNs and of old ones."""
        stores = [store for store in self._model.backstores.values() if store.kind == "fileio"]
        return [store for store in stores if not os.path.exists(store.path) or os.path.getsize(store.path) < (store.size or 0)]

    def _impossible(self, plan: TgtPlan) -> list[str]:
        new = {unit.name for unit in plan.new_units}
        steps = [
            TargetStep(Act.CREATE_BACKSTORE if store.name in new else Act.GROW, item=store)
            for store in self._model.backstores.values()
            if store.name in new or store.kind == "fileio"
        ]
        found = [text.replace("backstore ", "LUN ", 1) for text in preflight.problems(steps, self._request.may_have_data)]
        for portal in plan.new_portals:  # not the port: tgtd itself may have it on all addresses
            found += preflight.address_problems(portal, foreseeing=self._check_mode)
        return found

    def _act(self, plan: TgtPlan, growing: list[Backstore]) -> None:
        done: list[str] = []
        try:
            for store in growing:
                durable.sparse_file(store.path, store.size or 0)
                done.append("grow %s" % store.path)
            for step in plan.steps:
                self._carry_out(step)
                done.append(str(step))
        except LibrehaError as error:
            message = "%s (done before: %s)" % (error.message, ", ".join(done) or "nothing")
            raise LibrehaError(message, remedy=error.remedy, details={"steps": done}) from error
        except OSError as error:
            raise LibrehaError(
                "cannot make a LUN's file: %s" % error, remedy="make room on its file system", details={"steps": done}
            ) from error
        after = make_plan(self._wanted, self._running(), self._before.written, self._fenced, self._disrupt) if plan.steps else TgtPlan()
        # which secret an account has cannot be asked
        left = [str(step) for step in after.steps if not step.words.startswith("set the CHAP account")]
        if left:
            raise LibrehaError(
                "tgtd did not take: %s" % ", ".join(left),
                remedy="see its journal (journalctl --unit tgt), and which program has the port (ss -ltnp)",
                details={"steps": done},
            )

    def _carry_out(self, step: Step) -> None:
        for request in step.requests:
            tid = self._wanted.export.tid if request.of_target else NO_TARGET
            answer = self._control.ask(request.mode, request.op, tid=tid, lun=request.lun, parameters=request.parameters)
            self._control.must(step.words, answer, *request.allowed)

    def _save(self, text: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self._request.file, 0o600)  # it holds secrets
        durable.replace(self._request.file, text.encode())

    def _warnings(self) -> list[str]:
        masked = sorted(self._wanted.export.masked)
        found = [
            "%s (host %s) is fenced and was not admitted. Its unfence (iscsi_fence) gives its right back" % (name, self._listed[name])
            for name in masked
            if name in self._listed
        ]
        found += [
            "%s is marked as fenced in %s and is not on the fence list %s, so it was not admitted. If it may write, see that the list is "
            "the right one, take the mark %s out by hand, and run this again"
            % (name, self._request.file, self._request.fence_list, targets_conf.MASK.strip())
            for name in masked
            if name not in self._listed
        ]
        for name, described in self._described.items():
            others = [spelling for spelling in self._spellings(name) if spelling != described]
            if others:
                found.append(
                    "initiator %s is described, and the host or the target spells it %s. tgt compares letter by letter, so all are "
                    "admitted. Describe it as the host spells it (on ESXi: esxcli iscsi adapter get)" % (described, ", ".join(others))
                )
        there = self._before.running.target(self._model.name)
        for number, unit in sorted(there.units.items() if there else ()):
            size = _size(unit.path)
            if size and abs(size / 1e6 - unit.megabytes) > 1:
                found.append(
                    "LUN %d is served with %d MB, and %s has %d: tgtd looks at a size only when it starts. Restart tgt when the hosts can "
                    "do without their disks for some seconds" % (number, unit.megabytes, unit.path, size // 1000000)
                )
        return found


def _size(path: str) -> int:
    """Of a disk or file in bytes, 0 when it cannot be told."""
    try:
        with open(path, "rb") as source:
            return source.seek(0, os.SEEK_END)
    except OSError:
        return 0
