# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_drill``: look at the cluster, ask what would happen, with what the state database remembers, and change nothing.

It takes no lease and writes no memory and no journal, so it may run beside a monitor at work. Without a state database it starts
from a fresh memory; all that is lost with it is what only time can tell, such as VMs that an operator stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import clock
from ..cycle.ports import Observer
from ..cycle.real import RealObserver
from ..decide.forecast.what_if import Present, UnknownHost, drill, present, require_known
from ..decide.json_form import to_dict
from ..decide.memory import Memory
from ..decide.observations import ActResult, Observation
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..instant import Instant
from ..observe.pools import Pools
from ..record import near_misses
from ..record.database import StateDatabase
from .drill_report import report_lines, standing_lines, summary_line
from .options.site import read_site, site_spec

Result = dict[str, Any]
MAX_LOOKS = 5


def argument_spec() -> dict[str, Any]:
    return {
        **site_spec(),
        "hosts_lost": {"type": "list", "elements": "str", "default": []},
        "max_looks": {"type": "int", "default": MAX_LOOKS},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError. It is the same in check mode."""
    site = read_site(params)
    try:
        require_known(params["hosts_lost"], site.policy.hosts)
    except UnknownHost as error:
        remedy = "name hosts of the inventory, or none to ask for each of them in turn"
        raise LibrehaError("hosts_lost: %s" % error, remedy=remedy, details={"known_hosts": error.known}) from None
    if params["max_looks"] < 1:
        raise LibrehaError("max_looks is %d" % params["max_looks"], remedy="give 1 or more; the default is %d" % MAX_LOOKS)
    with Pools() as pools:
        observer = RealObserver(site, pools)
        return ask(site.policy, observer, site.state_url, params["hosts_lost"], params["max_looks"], clock.sleep)


def ask(policy: Policy, observer: Observer, url: str, lost: Sequence[str], max_looks: int, sleep: Callable[[float], object]) -> Result:
    """Look until the storage evidence is there, *max_looks* times at most, and drill in the last look."""
    memory, results, missed = _remembered(url)
    remembered = memory != Memory()
    servers = list(policy.storage)
    look = observer.look({}, servers, servers, clock.now())  # with the storage servers' own health, which the memory has afterwards
    here = _judged(policy, memory, look, results)
    for _number in range(max_looks - 1):
        if here.judged:
            break
        took = here.at.since(look.taken_at) or 0.0
        sleep(max(0.0, here.decision.next_sample_in - took))
        look = observer.look({}, (), (), clock.now())
        here = _judged(policy, here.decision.memory, look, ())
    result = _result(here, lost, remembered)
    return {**result, "near_misses": missed, "standing": result["standing"] + missed}


def _judged(policy: Policy, memory: Memory, look: Observation, results: Sequence[ActResult]) -> Present:
    return present(policy, memory, replace(look, results=tuple(results)), _complete_at(look))


def _complete_at(look: Observation) -> Instant:
    """When the last part of the look was taken: the question is about that moment, however long asking it takes."""
    parts = [look.taken_at, *(host.taken_at for host in look.hosts), *(server.taken_at for server in look.storage)]
    return max((at for at in parts if at.boot_id == look.taken_at.boot_id), key=lambda at: at.seconds)


def _remembered(url: str) -> tuple[Memory, tuple[ActResult, ...], list[str]]:
    """The monitor's memory, how acts ended that it has not counted yet, and what near misses there were, in words; all empty where no
    monitor has run yet."""
    if StateDatabase.examine(url) is None:
        return Memory(), (), []
    with StateDatabase.open(url, create=False) as database:
        memory = database.memory()
        return memory, database.results(memory), near_misses.summary(near_misses.read(database))


def _result(here: Present, lost: Sequence[str], remembered: bool) -> Result:
    found = drill(here, lost)
    form = to_dict(found)
    return {
        "changed": False,
        "judged": found.judged,
        "remembered": remembered,
        "hosts": form["now"]["hosts"],
        "storage": form["now"]["storage"],
        "admission": form["admission"],
        "unprotected": form["unprotected"],
        "unfenceable": form["unfenceable"],
        "cases": [{"summary": summary_line(case), "report": report_lines(case), **to_dict(case)} for case in found.cases],
        "standing": standing_lines(found),
        "summary": [summary_line(case) for case in found.cases],
    }
