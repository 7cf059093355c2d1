# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps, carried out on the kernel's target through rtslib-fb."""

from __future__ import annotations

from typing import Any, Callable

from ...errors import LibrehaError
from .. import durable
from ..lio import library
from .dump_reading import dump_acl
from .model import Backstore, Chap
from .steps import Act, Step


class StepExecutor:
    """Acts on one target. Each step may raise LibrehaError that names it; those before it are done, and running again
    goes on from there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rtslib = library.need_library()
        self._do: dict[Act, Callable[[Step], None]] = {
            Act.DISABLE: lambda step: self._enable(step, False),
            Act.REMOVE_ACL: lambda step: self._acl(step).delete(),
            Act.UNMAP: lambda step: self._mapped(step).delete(),
            Act.REMOVE_PORTAL: lambda step: self._portal(step, "lookup").delete(),
            Act.REMOVE_LUN: lambda step: self._tpg(step).lun(step.number).delete(),
            Act.REMOVE_TPG: lambda step: self._tpg(step).delete(),
            Act.REMOVE_TARGET: lambda _step: self._target("lookup").delete(),
            Act.REMOVE_BACKSTORE: lambda step: self._backstore(step.subject).delete(),
            Act.MAKE_FOLDER: lambda step: durable.make_folder(step.subject),
            Act.CREATE_BACKSTORE: self._create_backstore,
            Act.GROW: self._grow,
            Act.SET_BACKSTORE: lambda step: self._backstore(step.subject).set_attribute(step.key, step.item),
            Act.CREATE_TPG: self._create_tpg,
            Act.SET_TPG: lambda step: self._tpg(step).set_attribute(step.key, step.item),
            Act.SET_PARAMETER: lambda step: self._tpg(step).set_parameter(step.key, step.item),
            Act.ADD_LUN: lambda step: self._tpg(step).lun(step.number, self._backstore(step.subject)),
            Act.CREATE_ACL: lambda step: library.set_up_acl(self._tpg(step), dump_acl(step.item)),
            Act.MAP: lambda step: self._acl(step).mapped_lun(step.number, step.item.lun, step.item.write_protect),
            Act.PROTECT: lambda step: setattr(self._mapped(step), "write_protect", step.item.write_protect),
            Act.SET_ACL: lambda step: self._acl(step).set_attribute(step.key, step.item),
            Act.SET_CHAP: lambda step: self._chap(self._acl(step), step.item),
            Act.ADD_PORTAL: lambda step: self._portal(step, "any"),
            Act.ENABLE: lambda step: self._enable(step, True),
        }

    def carry_out(self, step: Step) -> None:
        with library.words(str(step)):
            self._do[step.act](step)

    def _target(self, mode: str) -> Any:
        return self._rtslib.Target(self._rtslib.FabricModule("iscsi"), self._name, mode)

    def _tpg(self, step: Step) -> Any:
        return self._rtslib.TPG(self._target("lookup"), step.tag, "lookup")

    def _create_tpg(self, step: Step) -> None:
        self._rtslib.TPG(self._target("any"), step.tag, "any")

    def _enable(self, step: Step, value: bool) -> None:
        self._tpg(step).enable = value

    def _portal(self, step: Step, mode: str) -> Any:
        return self._tpg(step).network_portal(step.item.bracketed, step.item.port, mode)

    def _acl(self, step: Step) -> Any:
        acl = library.node_acl(self._tpg(step), step.subject)
        if acl is None:
            raise LibrehaError("the ACL of %s is gone" % step.subject, remedy="something else changes this target: stop it, run this again")
        return acl

    def _mapped(self, step: Step) -> Any:
        return self._rtslib.MappedLUN(self._acl(step), step.number)

    def _backstore(self, place: str) -> Any:
        for store in self._rtslib.RTSRoot().storage_objects:
            if place == "/backstores/%s/%s" % (store.plugin, store.name):
                return store
        raise LibrehaError("backstore %s is gone" % place, remedy="something else changes this target: stop it, run this again")

    @staticmethod
    def _chap(acl: Any, chap: Chap) -> None:
        acl.chap_userid, acl.chap_password = chap.user, chap.secret
        acl.chap_mutual_userid, acl.chap_mutual_password = chap.mutual_user, chap.mutual_secret

    def _create_backstore(self, step: Step) -> None:
        store: Backstore = step.item
        if store.kind == "block":
            made = self._rtslib.BlockStorageObject(store.name, dev=store.path, wwn=store.serial)
        else:
            durable.sparse_file(store.path, store.size or 0)
            made = self._rtslib.FileIOStorageObject(
                store.name, dev=store.path, size=store.size, wwn=store.serial, write_back=store.write_back
            )
        try:
            for key, value in store.attributes.items():
                made.set_attribute(key, value)
        except (self._rtslib.RTSLibError, OSError):
            made.delete()
            raise

    def _grow(self, step: Step) -> None:
        """First the file, then what LIO reports of it: never more than there is. The hosts see it after a rescan."""
        store: Backstore = step.item
        durable.sparse_file(store.path, store.size or 0)
        self._backstore(step.subject)._control("fd_dev_size=%d" % (store.size or 0))
