# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The node ACLs of fenced initiators, kept beside the fence list: what they get back when they are let in again.

A fence deletes the ACL, and with it the CHAP account, the attributes and the mapped LUNs. The module iscsi_target
changes what is kept here, and not the target, as long as an initiator is fenced. The file holds CHAP secrets: mode 0600.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ...errors import LibrehaError
from .. import durable
from .saved import same

SCHEMA = 1
Acl = dict[str, Any]
"""A node ACL as rtslib dumps it."""


class KeptAcls:
    """The file. Only to be changed under the fence list's lock."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> list[tuple[str, int, Acl]]:
        """(IQN, tag of the portal group, ACL) of each. Raises LibrehaError when the file is there and cannot be understood."""
        try:
            with open(self.path, encoding="utf-8") as source:
                content = json.load(source)
            if content["schema"] != SCHEMA:
                raise ValueError("its schema is %r" % content["schema"])
            return [(str(item["target"]), int(item["tag"]), dict(item["acl"])) for item in content["acls"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LibrehaError("cannot read %s: %s" % (self.path, error.strerror), remedy="run the task as root (become: true)") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LibrehaError(
                "the ACLs of fenced initiators in %s cannot be understood: %s" % (self.path, error),
                remedy="remove that file; fenced hosts stay fenced, and get their ACLs from the next run of the module iscsi_target",
            ) from error

    def of(self, initiator: str, targets: Iterable[str] | None = None) -> list[tuple[str, int, Acl]]:
        wanted = None if targets is None else set(targets)
        return [item for item in self.read() if same(item[2]["node_wwn"], initiator) and (wanted is None or item[0] in wanted)]

    def keep(self, acls: Iterable[tuple[str, int, Acl]]) -> bool:
        """Keep *acls*, each in place of an older one of the same portal group and name; durable on return."""
        before = self.read()
        after = list(before)
        for iqn, tag, acl in acls:
            after = [item for item in after if not (item[:2] == (iqn, tag) and same(item[2]["node_wwn"], acl["node_wwn"]))]
            after.append((iqn, tag, acl))
        return self._write(before, after)

    def forget(self, initiator: str, targets: Iterable[str]) -> bool:
        gone = set(targets)
        before = self.read()
        return self._write(before, [item for item in before if not (same(item[2]["node_wwn"], initiator) and item[0] in gone)])

    def _write(self, before: list[tuple[str, int, Acl]], after: list[tuple[str, int, Acl]]) -> bool:
        after = sorted(after, key=lambda item: (item[0], item[1], item[2]["node_wwn"]))
        if after == before:
            return False
        content = {"schema": SCHEMA, "acls": [{"target": iqn, "tag": tag, "acl": acl} for iqn, tag, acl in after]}
        durable.replace(self.path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
        return True
