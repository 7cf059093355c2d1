# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict table: what the evidence about one host says, and nothing else.

The table is safety.md's, row for row; the first row that matches counts, and the last one matches always, so every
combination has exactly one verdict. What makes it safe is what it does *not* conclude: a host is ``dead`` only when
its power is proved off or the storage target, which sees every write, has seen none; silence of the management
network alone never is enough, and a missing piece of evidence ends in ``unknown``, which changes nothing. A host that the
observer could not ask (no name service, no route, too busy) has not failed to answer.

Time is not in here: a verdict becomes a reason to act only in ``confirm``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Callable, Optional

from ..observations import Evidence, Power


class Verdict(str, Enum):
    OBSERVER_ISOLATED = "observer_isolated"  # the observer is cut off, not the hosts
    DEAD = "dead"
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # lives and works, but its hardware or one of its targets does not
    STORAGE_LOST = "storage_lost"
    STORAGE_PARTLY_LOST = "storage_partly_lost"  # works, but has lost some of its targets: row 6 for those alone
    AGENT_HUNG = "agent_hung"
    ISOLATED = "isolated"
    FENCING = "fencing"  # on the fence list, the fence not confirmed everywhere yet
    FENCED = "fenced"

    @property
    def works(self) -> bool:
        """Its VMs run and its word about them counts."""
        return self in (Verdict.HEALTHY, Verdict.DEGRADED, Verdict.STORAGE_PARTLY_LOST)


@dataclass(frozen=True)
class Facts:
    """One line of evidence as the table's conditions read it."""

    api: Evidence
    ping: Evidence
    storage: Evidence
    power: Power
    observer_isolated: bool = False
    accessible: Optional[bool] = None  # what the host itself says of its datastores; None: it does not say


@dataclass(frozen=True)
class Row:
    number: int
    verdict: Verdict
    meaning: str
    matches: Callable[[Facts], bool]


@dataclass(frozen=True)
class Judgement:
    """The verdict, the row of the table that gave it (0: none, the fence list did), and its meaning in words."""

    verdict: Verdict
    row: int
    reason: str
    certain: bool = False  # needs no confirmation time (power proved off)


OK, FAILED, OFF = Evidence.OK, Evidence.FAILED, Power.OFF

TABLE: tuple[Row, ...] = (
    Row(1, Verdict.OBSERVER_ISOLATED, "no isolation address and no unfenced host answers the observer", lambda f: f.observer_isolated),
    Row(
        2,
        Verdict.DEAD,
        "its power is off and it does nothing",
        lambda f: f.power is OFF and f.ping is not OK and f.storage is not OK,
    ),
    Row(3, Verdict.UNKNOWN, "its BMC says off but it is active; is the BMC another host's?", lambda f: f.power is OFF),
    Row(4, Verdict.HEALTHY, "API and storage work", lambda f: f.api is OK and f.storage is OK),
    Row(5, Verdict.HEALTHY, "API works, no evidence from storage", lambda f: f.api is OK and f.storage is Evidence.UNKNOWN),
    Row(
        6,
        Verdict.STORAGE_LOST,
        "storage failed at the target and the host says its datastore is inaccessible",
        lambda f: f.api is OK and f.storage is FAILED and f.accessible is False,
    ),
    # A host that answers but does not say (its login was refused, say) belongs here too: what is missing is held.
    Row(
        7,
        Verdict.UNKNOWN,
        "storage failed at the target but the host does not say that its datastore is inaccessible; is there another path?",
        lambda f: f.api is OK and f.storage is FAILED,
    ),
    # From here on the API was asked and failed. A host that the observer could not ask is none of these, but the last row.
    Row(
        8,
        Verdict.DEAD,
        "storage failed, API does not answer, the address does",
        lambda f: f.api is FAILED and f.storage is FAILED and f.ping is OK,
    ),
    Row(9, Verdict.DEAD, "storage failed and nothing answers", lambda f: f.api is FAILED and f.storage is FAILED),
    Row(
        10,
        Verdict.AGENT_HUNG,
        "storage works, the address answers, API does not",
        lambda f: f.api is FAILED and f.storage is OK and f.ping is OK,
    ),
    Row(
        11,
        Verdict.ISOLATED,
        "storage works, nothing answers on the management network",
        lambda f: f.api is FAILED and f.storage is OK and f.ping is FAILED,
    ),
    Row(12, Verdict.UNKNOWN, "the evidence does not suffice", lambda f: True),
)


def judge(
    api: Evidence,
    ping: Evidence,
    storage: Evidence,
    power: Power,
    observer_isolated: bool = False,
    host_says_accessible: Optional[bool] = None,
) -> Judgement:
    """The first row of the table that matches this evidence about one host and one target."""
    facts = Facts(api, ping, storage, power, observer_isolated, host_says_accessible)
    row = next(row for row in TABLE if row.matches(facts))
    return Judgement(row.verdict, row.number, row.meaning, certain=row.number == 2)


def observer_isolated(isolation_answers: tuple[bool, ...], host_answers: tuple[bool, ...]) -> bool:
    """Whether row 1 holds: of the isolation addresses and the unfenced hosts (API or ping), nobody answers.

    Without isolation addresses the hosts alone tell; so a cluster that is silent as a whole is held, as it must be.
    """
    return not any(isolation_answers) and bool(host_answers) and not any(host_answers)
