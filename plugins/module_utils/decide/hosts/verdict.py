# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict table: what the evidence about one host says, and nothing else.

The table stands in docs/safety.md, rendered from here; the first row that matches counts, and the last one matches always, so every
combination has exactly one verdict. What makes it safe is what it does *not* conclude: a host is ``dead`` only when
its power is proved off or the storage target, which sees every write, has seen none; silence of the management
network alone never is enough, and a missing piece of evidence ends in ``unknown``, which changes nothing. A host that the
observer could not ask (no name service, no route, too busy) has not failed to answer.

Time is not in here: a verdict becomes a reason to act only in ``confirm``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..answers import Evidence
from ..observations import Power
from ..verdict import Judgement, Verdict


@dataclass(frozen=True)
class Facts:
    """One line of evidence as the table's conditions read it."""

    api: Evidence
    ping: Evidence
    storage: Evidence
    power: Power
    observer_isolated: bool = False
    accessible: Optional[bool] = None  # what the host itself says of its datastores; None: it does not say


OK, FAILED, OFF = Evidence.OK, Evidence.FAILED, Power.OFF
NOT_OK = (Evidence.FAILED, Evidence.UNKNOWN)


@dataclass(frozen=True)
class Row:
    """One row. It matches when each of the :class:`Facts` has one of the values that the row names for it; one that it does not
    name may have any. Rows are data and no functions, so that the table of docs/safety.md can be rendered from them."""

    number: int
    verdict: Verdict
    meaning: str
    certain: bool = False  # no later look can contradict it: it needs no confirmation time
    api: tuple[Evidence, ...] = tuple(Evidence)
    ping: tuple[Evidence, ...] = tuple(Evidence)
    storage: tuple[Evidence, ...] = tuple(Evidence)
    power: tuple[Power, ...] = tuple(Power)
    observer_isolated: tuple[bool, ...] = (False, True)
    accessible: tuple[Optional[bool], ...] = (None, False, True)

    def matches(self, facts: Facts) -> bool:
        return (
            facts.api in self.api
            and facts.ping in self.ping
            and facts.storage in self.storage
            and facts.power in self.power
            and facts.observer_isolated in self.observer_isolated
            and facts.accessible in self.accessible
        )


TABLE: tuple[Row, ...] = (
    Row(1, Verdict.OBSERVER_ISOLATED, "no isolation address and no unfenced host answers the observer", observer_isolated=(True,)),
    Row(2, Verdict.DEAD, "its power is off and it does nothing", certain=True, power=(OFF,), ping=NOT_OK, storage=NOT_OK),
    Row(3, Verdict.UNKNOWN, "its BMC says off but it is active; is the BMC another host's?", power=(OFF,)),
    Row(4, Verdict.HEALTHY, "API and storage work", api=(OK,), storage=(OK,)),
    Row(5, Verdict.HEALTHY, "API works, no evidence from storage", api=(OK,), storage=(Evidence.UNKNOWN,)),
    Row(
        6,
        Verdict.STORAGE_LOST,
        "storage failed at the target and the host says its datastore is inaccessible",
        api=(OK,),
        storage=(FAILED,),
        accessible=(False,),
    ),
    # A host that answers but does not say (its login was refused, say) belongs here too: what is missing is held.
    Row(
        7,
        Verdict.UNKNOWN,
        "storage failed at the target but the host does not say that its datastore is inaccessible; is there another path?",
        api=(OK,),
        storage=(FAILED,),
    ),
    # From here on the API was asked and failed. A host that the observer could not ask is none of these, but the last row.
    Row(8, Verdict.DEAD, "storage failed, API does not answer, the address does", api=(FAILED,), storage=(FAILED,), ping=(OK,)),
    Row(9, Verdict.DEAD, "storage failed and nothing answers", api=(FAILED,), storage=(FAILED,)),
    Row(10, Verdict.AGENT_HUNG, "storage works, the address answers, API does not", api=(FAILED,), storage=(OK,), ping=(OK,)),
    Row(11, Verdict.ISOLATED, "storage works, nothing answers on the management network", api=(FAILED,), storage=(OK,), ping=(FAILED,)),
    Row(12, Verdict.UNKNOWN, "the evidence does not suffice"),
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
    return Judgement(row.verdict, row.number, row.meaning, row.certain)


def observer_isolated(isolation_answers: tuple[bool, ...], host_answers: tuple[bool, ...]) -> bool:
    """Whether row 1 holds: of the isolation addresses and the unfenced hosts (API or ping), nobody answers.

    Without isolation addresses the hosts alone tell; so a cluster that is silent as a whole is held, as it must be.
    """
    return not any(isolation_answers) and bool(host_answers) and not any(host_answers)
