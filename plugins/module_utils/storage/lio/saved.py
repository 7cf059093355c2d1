# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LIO's saved configuration (``saveconfig.json``), which ``targetctl restore`` loads at boot: who is admitted by it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from ...decide.observations import TargetAccess
from ...errors import LibrehaError
from .. import durable

CANDIDATES = ("/etc/rtslib-fb-target/saveconfig.json", "/etc/target/saveconfig.json")
"""Debian's package, and everybody else's."""


def default_path() -> str:
    """The file of this machine: the one that exists, or whose folder does."""
    for exists in (os.path.isfile, lambda path: os.path.isdir(os.path.dirname(path))):
        for path in CANDIDATES:
            if exists(path):
                return path
    return CANDIDATES[0]


def read(path: str) -> dict[str, Any]:
    """The whole configuration; an empty one where the file does not exist. Raises LibrehaError when it cannot be understood."""
    try:
        with open(path, encoding="utf-8") as source:
            content = json.load(source)
    except FileNotFoundError:
        return {"fabric_modules": [], "storage_objects": [], "targets": []}
    except OSError as error:
        raise LibrehaError("cannot read %s: %s" % (path, error.strerror), remedy="run the task as root (become: true)") from error
    except ValueError as error:
        raise LibrehaError(
            "%s is not JSON (%s)" % (path, error),
            remedy="restore one of the copies beside it (folder backup), or save the running target anew: targetcli saveconfig",
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("targets", []), list):
        raise LibrehaError("%s is no saved configuration of LIO" % path, remedy="save the running target anew: targetcli saveconfig")
    return content


def write(path: str, content: dict[str, Any]) -> None:
    """Durable on return; mode 0600, since it holds CHAP secrets."""
    durable.replace(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def portal_groups(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(IQN, TPG) of all iSCSI targets."""
    for target in content.get("targets", []):
        if target.get("fabric") == "iscsi":
            for tpg in target.get("tpgs", []):
                yield str(target.get("wwn")), tpg


def access(path: str) -> list[TargetAccess]:
    found: dict[str, TargetAccess] = {}
    for iqn, tpg in portal_groups(read(path)):
        open_to_all = bool(int(tpg.get("attributes", {}).get("generate_node_acls", 0)))
        names = tuple(str(acl.get("node_wwn")) for acl in tpg.get("node_acls", []))
        luns = tuple(int(lun["index"]) for lun in tpg.get("luns", []))
        merge(found, iqn, names, open_to_all, luns)
    return list(found.values())


def merge(found: dict[str, TargetAccess], iqn: str, names: Iterable[str], open_to_all: bool, luns: Iterable[int]) -> None:
    """Add what one portal group admits to what its target admits."""
    before = found.get(iqn, TargetAccess(iqn, (), False, "", ()))
    found[iqn] = TargetAccess(
        target=iqn,
        initiators=tuple(dict.fromkeys((*before.initiators, *names))),
        anybody=before.anybody or open_to_all,
        reason=before.reason or ("demo mode (generate_node_acls=1)" if open_to_all else ""),
        luns=tuple(sorted({*before.luns, *luns})),
    )


def take_acls(content: dict[str, Any], initiator: str) -> list[tuple[str, int, dict[str, Any]]]:
    """Take the initiator's ACLs out of *content*; returns (IQN, tag of the portal group, ACL) of each."""
    taken = []
    for iqn, tpg in portal_groups(content):
        for acl in list(tpg.get("node_acls", [])):
            if same(acl.get("node_wwn", ""), initiator):
                tpg["node_acls"].remove(acl)
                taken.append((iqn, int(tpg["tag"]), acl))
    return taken


def put_acl(content: dict[str, Any], iqn: str, tag: int, acl: dict[str, Any]) -> bool:
    """Put an ACL where it was, in place of one of the same name; whether anything changed."""
    for name, tpg in portal_groups(content):
        if name == iqn and int(tpg["tag"]) == tag:
            others = [other for other in tpg.get("node_acls", []) if not same(other.get("node_wwn", ""), acl["node_wwn"])]
            after = [*others, acl]
            changed = after != tpg.get("node_acls", [])
            tpg["node_acls"] = after
            return changed
    return False


def same(one: str, other: str) -> bool:
    """iSCSI names are compared without regard to case (RFC 7143, 4.2.7.2: they are normalized to lower case)."""
    return str(one).casefold() == str(other).casefold()
