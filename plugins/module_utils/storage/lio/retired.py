# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CHAP secrets that a fence has retired: remembered so that nobody sets one again, and kept so that nobody can read them.

A fenced host that was never restarted still knows its old secret and tries to log in with it for ever. The new secret of an unfence is
what keeps it out (docs/safety.md, "Unfence"); an inventory that still has the old one would let it in with the next run of iscsi_target.

A keyed digest suffices: the file is root's alone and lies beside those that hold the living secrets in clear text, and what it protects
is no longer worth anything at this target. The salt only keeps equal secrets of two initiators from looking equal.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_SALT_OCTETS = 16


@dataclass(frozen=True)
class RetiredSecrets:
    """By initiator (in case-folded form) its salt and the digests, both in hexadecimal."""

    by_initiator: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def has(self, initiator: str, secret: str) -> bool:
        salt, digests = self.by_initiator.get(initiator.casefold(), ("", ()))
        return bool(digests) and any(hmac.compare_digest(_digest(salt, secret), one) for one in digests)

    def plus(self, initiator: str, secrets: Iterable[str]) -> RetiredSecrets:
        """With these as well; the same object when it has them all."""
        fresh = [secret for secret in dict.fromkeys(secrets) if secret and not self.has(initiator, secret)]
        if not fresh:
            return self
        name = initiator.casefold()
        salt, digests = self.by_initiator.get(name) or (os.urandom(_SALT_OCTETS).hex(), ())
        return RetiredSecrets({**self.by_initiator, name: (salt, (*digests, *(_digest(salt, secret) for secret in fresh)))})

    def to_list(self) -> list[dict[str, Any]]:
        return [{"initiator": name, "salt": salt, "digests": list(digests)} for name, (salt, digests) in sorted(self.by_initiator.items())]

    @staticmethod
    def from_list(content: Iterable[Mapping[str, Any]]) -> RetiredSecrets:
        """Raises KeyError, TypeError, ValueError or AttributeError when *content* is not what :meth:`to_list` gives."""
        found = {}
        for item in content:
            bytes.fromhex(item["salt"])
            found[item["initiator"].casefold()] = (item["salt"], tuple(str(digest) for digest in item["digests"]))
        return RetiredSecrets(found)


def _digest(salt: str, secret: str) -> str:
    return hmac.new(bytes.fromhex(salt), secret.encode(), "sha256").hexdigest()
