# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_drill``: ask ``what_if``, with what the state database remembers, and change nothing.

It takes no lease and writes no memory and no journal, so it may run beside a monitor at work. Without a state database it starts
from a fresh memory; all that is lost with it is what only time can tell, such as VMs that an operator stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..decide.decide import decide
from ..decide.forecast.what_if import RUN, UnknownHost, drill
from ..decide.json_form import from_dict, to_dict
from ..decide.memory import Memory
from ..decide.observations import ActResult, Observation
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..instant import Instant
from ..policy.reader import read_policy
from ..record import near_misses
from ..record.database import StateDatabase
from .drill_report import picture_lines, report_lines, summary_line
from .options.look import look_spec
from .options.state import state_spec

Result = dict[str, Any]


def argument_spec() -> dict[str, Any]:
    return {
        **look_spec(),
        "earlier": {"type": "list", "elements": "dict", "default": []},
        "hosts_lost": {"type": "list", "elements": "str", "default": []},
        **state_spec(),
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError. It is the same in check mode."""
    if params["observation"] is None:
        raise LibrehaError("observation is missing", remedy="look with host_health_info, vm_health_info and iscsi_session_info first")
    policy = read_policy(params["policy"])
    earlier = [_read(raw, "earlier[%d]" % number) for number, raw in enumerate(params["earlier"])]
    observation = _read(params["observation"], "observation")
    memory, results, missed = _remembered(params["state_url"])
    remembered = memory != Memory()
    for look in earlier:
        memory = decide(policy, memory, look, _complete_at(look), RUN).memory
    result = _result(policy, memory, _with(observation, results), tuple(params["hosts_lost"]), remembered)
    return {**result, "near_misses": missed, "picture": result["picture"] + missed}


def _read(raw: Mapping[str, Any], place: str) -> Observation:
    try:
        observation: Observation = from_dict(Observation, raw, place)
    except ValueError as error:
        raise LibrehaError(str(error), remedy="pass what the *_info modules returned, untouched") from None
    return observation


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


def _with(observation: Observation, results: Iterable[ActResult]) -> Observation:
    return Observation(**{**observation.__dict__, "results": tuple(results)})


def _result(policy: Policy, memory: Memory, observation: Observation, lost: tuple[str, ...], remembered: bool) -> Result:
    try:
        found = drill(policy, memory, observation, _complete_at(observation), lost)
    except UnknownHost as error:
        raise LibrehaError(
            "hosts_lost: %s" % error,
            remedy="name hosts of the inventory, or none to ask for each of them in turn",
            details={"known_hosts": error.known},
        ) from None
    form = to_dict(found)
    return {
        "changed": False,
        "judged": found.judged,
        "remembered": remembered,
        "next_sample_in": round(found.now.next_sample_in, 1),
        "hosts": form["now"]["hosts"],
        "storage": form["now"]["storage"],
        "admission": form["admission"],
        "unprotected": form["unprotected"],
        "unfenceable": form["unfenceable"],
        "cases": [{"summary": summary_line(case), "report": report_lines(case), **to_dict(case)} for case in found.cases],
        "picture": picture_lines(found),
        "summary": [summary_line(case) for case in found.cases],
    }
