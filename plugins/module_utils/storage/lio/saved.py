# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The saved configuration of LIO: rtslib's saveconfig.json, which the target service restores at its start.

It is JSON in the form of rtslib's RTSRoot.dump(). rtslib's own save_to_file copies over the old file in place, so that a crash in
the middle leaves half a file and no fsync of the folder follows; it is written here through durable.replace instead.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from ...decide.observations import TargetAccess
from ...errors import LibrehaError
from .. import durable
from .configfs import open_rules

PLACES = ("/etc/rtslib-fb-target/saveconfig.json", "/etc/target/saveconfig.json")
"""Where rtslib saves on Debian and Ubuntu, and on the RHEL family."""

Saved = dict[str, Any]


def default_path() -> str:
    """The first place whose folder exists."""
    return next((path for path in PLACES if os.path.isdir(os.path.dirname(path))), PLACES[0])


def read(path: str) -> Saved:
    """The content; that of an empty target when there is no file. Raises LibrehaError when it cannot be understood."""
    try:
        with open(path, encoding="utf-8") as source:
            content = json.load(source)
        for target, tpg in _tpgs(content):  # look at everything that is used below
            if not isinstance(target["wwn"], str) or not all(isinstance(acl["node_wwn"], str) for acl in tpg.get("node_acls", [])):
                raise ValueError("a name in target %r is not text" % (target.get("wwn"),))
        return content
    except FileNotFoundError:
        return {"fabric_modules": [], "storage_objects": [], "targets": []}
    except OSError as error:
        raise LibrehaError(
            "cannot read the saved configuration %s: %s" % (path, error.strerror), remedy="run the task as root (become: true)"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LibrehaError(
            "the saved configuration %s cannot be understood: %s: %s" % (path, type(error).__name__, error),
            remedy="restore it from its folder backup/, or write it anew from what runs: targetcli saveconfig",
        ) from error


def write(path: str, content: Saved) -> None:
    """Durable on return; readable by root only, since it holds CHAP secrets. Raises LibrehaError."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise LibrehaError("there is no folder %s for the saved configuration" % folder, remedy="create it, or correct saved_config")
    durable.replace(path, (json.dumps(content, sort_keys=True, indent=2) + "\n").encode(), mode=0o600)


def _tpgs(content: Saved) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for target in content.get("targets", []):
        if target["fabric"] == "iscsi":
            for tpg in target.get("tpgs", []):
                yield target, tpg


def access(path: str) -> list[TargetAccess]:
    """Whom each saved target will admit at the next start."""
    found: dict[str, TargetAccess] = {}
    for target, tpg in _tpgs(read(path)):
        attributes = {key: str(value) for key, value in tpg.get("attributes", {}).items()}
        this = TargetAccess(
            target=target["wwn"],
            initiators=tuple(acl["node_wwn"] for acl in tpg.get("node_acls", [])),
            reason="; ".join(open_rules(int(tpg.get("tag", 1)), attributes)),
            luns=tuple(sorted(int(lun["index"]) for lun in tpg.get("luns", []))),
        )
        found[target["wwn"]] = merged(found.get(target["wwn"]), this)
    return list(found.values())


def merged(one: TargetAccess | None, other: TargetAccess) -> TargetAccess:
    """The access to a target by two of its TPGs. It admits anybody when a reason says so."""
    reasons = [access.reason for access in (one, other) if access is not None and access.reason]
    return TargetAccess(
        target=other.target,
        initiators=tuple(dict.fromkeys((one.initiators if one else ()) + other.initiators)),
        anybody=bool(reasons),
        reason="; ".join(reasons),
        luns=tuple(sorted({*(one.luns if one else ()), *other.luns})),
    )


def acls_of(content: Saved, initiator: str) -> dict[tuple[str, int], dict[str, Any]]:
    """(target, TPG) -> ACL of the initiator."""
    wanted = initiator.casefold()
    return {
        (target["wwn"], int(tpg.get("tag", 1))): acl
        for target, tpg in _tpgs(content)
        for acl in tpg.get("node_acls", [])
        if acl["node_wwn"].casefold() == wanted
    }


def revoke(path: str, initiator: str, keep: Callable[[dict[tuple[str, int], dict[str, Any]]], object]) -> bool:
    """Take the initiator's ACLs out, after they were given to *keep*; durable on return. Whether anything changed.

    When *keep* fails the right is taken all the same, and then its error is raised: a fence matters more than its way back.
    """
    content = read(path)
    found = acls_of(content, initiator)
    if not found:
        return False
    trouble: LibrehaError | None = None
    try:
        keep(found)
    except LibrehaError as error:
        trouble = error
    wanted = initiator.casefold()
    for _target, tpg in _tpgs(content):
        tpg["node_acls"] = [acl for acl in tpg.get("node_acls", []) if acl["node_wwn"].casefold() != wanted]
    write(path, content)
    if trouble is not None:
        raise trouble
    return True


def admit(path: str, acls: dict[tuple[str, int], dict[str, Any]]) -> bool:
    """Put the ACLs into the TPGs that are in the saved configuration, replacing those of the same initiator; durable on
    return. Whether anything changed."""
    content = read(path)
    before = copy.deepcopy(content)
    for target, tpg in _tpgs(content):
        acl = acls.get((target["wwn"], int(tpg.get("tag", 1))))
        if acl is not None:
            others = [other for other in tpg.get("node_acls", []) if other["node_wwn"].casefold() != acl["node_wwn"].casefold()]
            tpg["node_acls"] = [*others, acl]
    if content == before:
        return False
    write(path, content)
    return True


def with_target(content: Saved, name: str, running: Saved, stores: frozenset[str]) -> Saved:
    """*content* with the iSCSI target *name* and the backstores at the places *stores* as they are *running*, which both are
    taken out when they do not run. Other targets and backstores stay as they were saved."""

    def ours(store: dict[str, Any]) -> bool:
        return "/backstores/%s/%s" % (store["plugin"], store["name"]) in stores

    def this(target: dict[str, Any]) -> bool:
        return bool(target["fabric"] == "iscsi" and target["wwn"] == name)

    return {
        **content,
        "storage_objects": [store for store in content.get("storage_objects", []) if not ours(store)]
        + [store for store in running["storage_objects"] if ours(store)],
        "targets": [target for target in content.get("targets", []) if not this(target)]
        + [target for target in running["targets"] if this(target)],
    }


def same(one: Saved, other: Saved) -> bool:
    """Whether both restore to the same, in whatever order rtslib listed it."""
    return _in_order(one) == _in_order(other)


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_in_order(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value
