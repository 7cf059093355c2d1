# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps that change a target. Their number is their place in a run: what goes comes before what takes its place, rights
come before the portals through which they are used, and a TPG is opened last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Act(Enum):
    """(place in a run, words). In the words %(tag)d, %(subject)s, %(number)d and %(key)s stand for the step's own; never a secret."""

    DISABLE = (10, "disable TPG %(tag)d")
    REMOVE_ACL = (20, "TPG %(tag)d: revoke %(subject)s")
    UNMAP = (25, "TPG %(tag)d: take LUN %(number)d from %(subject)s")
    REMOVE_PORTAL = (30, "TPG %(tag)d: close portal %(subject)s")
    REMOVE_LUN = (35, "TPG %(tag)d: remove LUN %(number)d (%(subject)s)")
    REMOVE_TPG = (40, "remove TPG %(tag)d")
    REMOVE_TARGET = (41, "remove target %(subject)s")
    REMOVE_BACKSTORE = (45, "remove %(subject)s, its data stays")
    MAKE_FOLDER = (48, "make %(subject)s, where the kernel keeps persistent reservations")
    CREATE_BACKSTORE = (50, "create %(subject)s")
    GROW = (51, "grow %(subject)s")
    SET_BACKSTORE = (52, "%(subject)s: set %(key)s")
    CREATE_TPG = (60, "create TPG %(tag)d")
    SET_TPG = (61, "TPG %(tag)d: set %(key)s")
    SET_PARAMETER = (62, "TPG %(tag)d: set parameter %(key)s")
    ADD_LUN = (65, "TPG %(tag)d: add LUN %(number)d (%(subject)s)")
    CREATE_ACL = (70, "TPG %(tag)d: admit %(subject)s")
    MAP = (71, "TPG %(tag)d: give %(subject)s LUN %(number)d")
    PROTECT = (72, "TPG %(tag)d: change write protection of LUN %(number)d for %(subject)s")
    SET_ACL = (73, "TPG %(tag)d: set %(key)s for %(subject)s")
    SET_CHAP = (74, "TPG %(tag)d: set CHAP for %(subject)s")
    ADD_PORTAL = (80, "TPG %(tag)d: open portal %(subject)s")
    ENABLE = (90, "enable TPG %(tag)d")


@dataclass(frozen=True)
class Step:
    """``subject`` is a backstore's place, an initiator, a portal; ``item`` what is to be made or set (may be a secret)."""

    act: Act
    tag: int = 0
    subject: str = ""
    number: int = -1
    key: str = ""
    item: Any = None

    def __str__(self) -> str:
        return self.act.value[1] % {"tag": self.tag, "subject": self.subject, "number": self.number, "key": self.key}
