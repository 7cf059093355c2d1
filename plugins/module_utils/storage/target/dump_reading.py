# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rtslib dumps of a target, at run time or in its save file, read into a model, and an ACL back into its form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .model import Acl, Backstore, Chap, MappedLun, Model, Portal, Tpg

Dump = Mapping[str, Any]


def read_found(name: str, targets: Iterable[Dump], storage_objects: Iterable[Dump]) -> Model:
    """The iSCSI target *name* with all backstores there are, its own or not. ``exists`` tells whether the target was found."""
    stores = {store.place: store for store in map(_backstore, storage_objects)}
    for target in targets:
        if target.get("fabric") == "iscsi" and target["wwn"] == name:
            tpgs = [_tpg(tpg) for tpg in target.get("tpgs", [])]
            return Model(name, stores, {tpg.tag: tpg for tpg in tpgs})
    return Model(name, stores, {}, exists=False)


def read_acl(dump: Dump) -> Acl:
    return Acl(
        initiator=dump["node_wwn"],
        luns={int(lun["index"]): MappedLun(int(lun["tpg_lun"]), bool(lun.get("write_protect"))) for lun in dump.get("mapped_luns", [])},
        chap=Chap(
            user=dump.get("chap_userid", ""),
            secret=dump.get("chap_password", ""),
            mutual_user=dump.get("chap_mutual_userid", ""),
            mutual_secret=dump.get("chap_mutual_password", ""),
        ),
        attributes=_texts(dump.get("attributes", {})),
    )


def dump_acl(acl: Acl) -> dict[str, Any]:
    """The form that rtslib's NodeACL.setup takes."""
    dump: dict[str, Any] = {
        "node_wwn": acl.initiator,
        "attributes": dict(acl.attributes),
        "mapped_luns": [
            {"index": number, "tpg_lun": mapped.lun, "write_protect": mapped.write_protect} for number, mapped in sorted(acl.luns.items())
        ],
    }
    for key, value in (
        ("chap_userid", acl.chap.user),
        ("chap_password", acl.chap.secret),
        ("chap_mutual_userid", acl.chap.mutual_user),
        ("chap_mutual_password", acl.chap.mutual_secret),
    ):
        if value:
            dump[key] = value
    return dump


def _tpg(dump: Dump) -> Tpg:
    acls = [read_acl(acl) for acl in dump.get("node_acls", [])]
    return Tpg(
        tag=int(dump.get("tag", 1)),
        enabled=bool(dump.get("enable", True)),
        portals=frozenset(Portal(one["ip_address"].strip("[]"), int(one["port"])) for one in dump.get("portals", [])),
        luns={int(lun["index"]): lun["storage_object"] for lun in dump.get("luns", [])},
        acls={acl.initiator: acl for acl in acls},
        attributes=_texts(dump.get("attributes", {})),
        parameters=_texts(dump.get("parameters", {})),
    )


def _backstore(dump: Dump) -> Backstore:
    """Also of a kind that this module does not make (pscsi, user, ramdisk): it may be in the way."""
    size = dump.get("size") if dump["plugin"] == "fileio" else None
    return Backstore(
        name=dump["name"],
        kind=dump["plugin"],
        path=str(dump.get("dev") or ""),
        size=int(size) if size is not None else None,
        serial=str(dump.get("wwn") or "").lower(),
        write_back=bool(dump.get("write_back")) if dump["plugin"] == "fileio" else False,
        attributes=_texts(dump.get("attributes", {})),
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}
