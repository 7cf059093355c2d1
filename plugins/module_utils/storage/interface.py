# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One iSCSI target service on this machine, in the field's words.

A driver (``tgt``; LIO joins) only reads and changes the target. What *confirmed* means, the fence list and the
token are one piece of code for all drivers: ``storage/fencing.py``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable

from ..decide.observations import Session, TargetAccess
from ..errors import LibrehaError

NEW_SECRET = (
    "give a new random one (the playbook rejoin makes one where iscsi_target_initiators has the initiator's chap, or takes -e @FILE with "
    "libreha_chap_secret; iscsi_fence: chap_secret), and set the same in the inventory, and on the host where that was not done. "
    "The file of one that was refused is to be removed"
)
"""What to do where an initiator is admitted again without a new CHAP secret."""


class StorageTarget(ABC):
    """The target service. All methods raise LibrehaError with a remedy when the service cannot be asked."""

    driver: str

    @abstractmethod
    def require_fenceable(self) -> None:
        """Raises LibrehaError when this kind or release of the target must not be fenced with: its configuration would then mean another
        thing than the fence takes it to mean. Asked before a fence changes anything; what a running service cannot be asked passes."""

    @abstractmethod
    def up_for(self) -> float | None:
        """Seconds since the service started; None when it is not running."""

    @abstractmethod
    def sessions(self) -> list[Session]:
        """All sessions on all targets with their progress counters, ended ones that are still draining included."""

    @abstractmethod
    def access(self) -> list[TargetAccess]:
        """Whom each target (TPG) admits at run time."""

    @abstractmethod
    def saved_access(self) -> list[TargetAccess]:
        """Whom each target admits by the saved configuration, which the service loads at its next start."""

    @abstractmethod
    def revoke(self, initiator: str) -> bool:
        """Take the initiator's right away on every target, TPG and portal at run time; whether anything changed."""

    @abstractmethod
    def revoke_saved(self, initiator: str) -> bool:
        """The same in the saved configuration, durable when it returns (fsync of file and folder)."""

    @abstractmethod
    def end_sessions(self, initiator: str) -> int:
        """End all connections of the initiator; how many."""

    @abstractmethod
    def in_flight(self, initiator: str) -> int:
        """Commands of the initiator's sessions, ended ones included, that the back end has not finished."""

    @abstractmethod
    def logins(self) -> frozenset[str]:
        """Connections that are not (yet) of a listed session: logins under way, of whichever initiator. A login that
        passed the access check before the right was taken may complete after it, so a fence is confirmed only when all
        that were there after the revocation are gone. Empty for a target that checks again when a login completes."""

    @abstractmethod
    def end_logins(self, logins: frozenset[str]) -> int:
        """End these connections; how many were still there. An initiator that is alive logs in again by itself."""

    @abstractmethod
    def admit(self, initiator: str, targets: Iterable[str], chap_secret: str | None, spellings: Collection[str] = ()) -> bool:
        """Give the right back on *targets*, at run time and in the saved configuration; whether anything changed.

        *spellings* are how the targets had spelled the initiator's name, for a service that compares names letter by letter.

        A *chap_secret* becomes the one of the initiator's own CHAP account. It is required, and must be a new one,
        where the initiator has such an account."""

    @abstractmethod
    def has_own_secret(self, initiator: str, targets: Iterable[str]) -> bool:
        """Whether the initiator logs in to *targets* with a CHAP secret of its own, which ``admit`` replaces."""


_SECRET = re.compile(r"[A-Za-z0-9._/+-]{12,100}")


def initiator_name(initiator: str, host: str | None) -> str:
    """tgtd and targets.conf take the name in a line of text: a space or a comma in it would be another option."""
    name = initiator.strip()
    if not name.lower().startswith(("iqn.", "eui.", "naa.")) or any(character in name for character in ' \t\n,#"\\<>'):
        raise LibrehaError(
            "%r is no iSCSI initiator name" % initiator,
            host=host,
            remedy="give the name of the host's iSCSI adapter, such as iqn.1998-01.com.vmware:esx1",
        )
    return name


def chap_secret(secret: str | None, host: str | None) -> str | None:
    """The secret as the target takes it, None for none. Raises LibrehaError, without it, where a target could misread it."""
    if secret and not _SECRET.fullmatch(secret):
        raise LibrehaError(
            "chap_secret is not 12 to 100 letters, digits and ._/+-",
            host=host,
            remedy="tgt-admin passes it through a shell: make a new one of these characters",
        )
    return secret or None
