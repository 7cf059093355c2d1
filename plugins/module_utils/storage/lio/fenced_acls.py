# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACLs that fences took away, kept so that an unfence gives back what was there: LUNs, attributes, CHAP.

LIO has no way to suspend an ACL: to fence is to delete it, at run time and in the saved configuration. So it is written here
before. The file lies beside the fence list, is readable by root only (it holds CHAP secrets) and is changed
only under the fence list's lock. What it holds lets nobody in.

The module iscsi_target writes here what is configured *now* for a fenced initiator, or that it is configured no more.

A fence also retires the initiator's CHAP secret (retired.py), in the same write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ...errors import LibrehaError
from .. import durable
from .retired import RetiredSecrets

SCHEMA = 1

Acl = Optional[dict[str, Any]]
"""A node ACL in the form of rtslib's dump; None for an initiator that is no longer configured there."""


def beside(fence_list: str) -> str:
    """Path of the kept ACLs that belong to a fence list: fences.json -> fences-acls.json."""
    stem, ending = os.path.splitext(fence_list)
    return "%s-acls%s" % (stem, ending)


@dataclass(frozen=True)
class _Content:
    """``acls``: (target, TPG, initiator) -> ACL."""

    acls: Mapping[tuple[str, int, str], Acl] = field(default_factory=dict)
    retired: RetiredSecrets = field(default_factory=RetiredSecrets)


class FencedAcls:
    """The file. A missing one holds nothing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def of(self, initiator: str) -> dict[tuple[str, int], Acl]:
        """(target, TPG) -> ACL. Raises LibrehaError when the file cannot be understood."""
        wanted = initiator.casefold()
        return {place: acl for (target, tag, name), acl in self._read().acls.items() if name == wanted for place in [(target, tag)]}

    def of_target(self, target: str) -> dict[tuple[int, str], Acl]:
        """(TPG, initiator) -> ACL."""
        return {(tag, name): acl for (place, tag, name), acl in self._read().acls.items() if place == target}

    def retired(self) -> RetiredSecrets:
        """The secrets that fences have retired. They stay so when the ACLs are given back."""
        return self._read().retired

    def keep(self, initiator: str, acls: Mapping[tuple[str, int], Acl]) -> bool:
        """What a fence takes away: it replaces what is kept of these places, and its CHAP secrets are retired. Durable on return.
        Whether anything changed."""
        before = self._read()
        after = _Content(
            {**before.acls, **{(target, tag, initiator.casefold()): acl for (target, tag), acl in acls.items()}},
            before.retired.plus(initiator, ((acl or {}).get("chap_password", "") for acl in acls.values())),
        )
        return self._write(before, after)

    def replace_target(self, target: str, acls: Mapping[tuple[int, str], Acl]) -> bool:
        """Let these be all that is kept of *target*; durable on return. Whether anything changed."""
        before = self._read()
        after = {place: acl for place, acl in before.acls.items() if place[0] != target}
        after.update({(target, tag, name.casefold()): acl for (tag, name), acl in acls.items()})
        return self._write(before, replace(before, acls=after))

    def drop(self, initiator: str, targets: Iterable[str]) -> bool:
        """Forget the initiator's ACLs in *targets*; durable on return. Whether anything changed."""
        gone = set(targets)
        before = self._read()
        after = {place: acl for place, acl in before.acls.items() if place[2] != initiator.casefold() or place[0] not in gone}
        return self._write(before, replace(before, acls=after))

    def _read(self) -> _Content:
        try:
            with open(self.path, encoding="utf-8") as source:
                content = json.load(source)
            if content["schema"] != SCHEMA:
                raise ValueError("its schema is %r" % content["schema"])
            acls = {(item["target"], int(item["tpg"]), item["initiator"].casefold()): item["acl"] for item in content["acls"]}
            return _Content(acls, RetiredSecrets.from_list(content.get("retired", [])))
        except FileNotFoundError:
            return _Content()
        except OSError as error:
            raise LibrehaError(
                "cannot read the kept ACLs %s: %s" % (self.path, error.strerror), remedy="run the task as root (become: true)"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LibrehaError(
                "the kept ACLs %s are damaged: %s" % (self.path, error),
                remedy="move it away and run the module iscsi_target, which writes it anew from the inventory; fences hold without it. "
                "Which CHAP secrets were retired is then forgotten: give hosts that were ever fenced new ones in the inventory",
            ) from error

    def _write(self, before: _Content, after: _Content) -> bool:
        if before == after:
            return False
        acls = [
            {"target": target, "tpg": tag, "initiator": name, "acl": after.acls[target, tag, name]}
            for target, tag, name in sorted(after.acls)
        ]
        content = {"schema": SCHEMA, "acls": acls, "retired": after.retired.to_list()}
        folder = os.path.dirname(os.path.realpath(self.path))
        if not os.path.isdir(folder):
            durable.make_folder(folder)
        durable.replace(self.path, (json.dumps(content, indent=2) + "\n").encode(), mode=0o600)
        return True
