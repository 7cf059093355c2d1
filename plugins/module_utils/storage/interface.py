# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One iSCSI target service on this machine, in the field's words.

A driver (``tgt``; LIO joins) only reads and changes the target. What *confirmed* means, the fence list and the
token are one piece of code for all drivers: ``storage/fencing.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..decide.observations import Session, TargetAccess


@dataclass(frozen=True)
class Connections:
    """The connections of one session, as the driver needs them to end it."""

    target: str  # IQN
    sid: str
    cids: tuple[str, ...]
    initiator: str


class StorageTarget(ABC):
    """The target service. All methods raise LibrehaError with a remedy when the service cannot be asked."""

    @abstractmethod
    def up_for(self) -> float | None:
        """Seconds since the service started; None when it is not running."""

    @abstractmethod
    def sessions(self) -> list[Session]:
        """All sessions on all targets with their progress counters."""

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
    def admit(self, initiator: str, chap_secret: str | None) -> bool:
        """Give the right back at run time and in the saved configuration; whether anything changed."""
