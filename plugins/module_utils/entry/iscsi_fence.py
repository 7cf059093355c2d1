# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``iscsi_fence``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from .. import clock
from ..decide.hosts.fresh_start import MARGIN
from ..errors import LibrehaError
from ..instant import Instant
from ..storage.fencing import Fencer, Outcome
from ..storage.interface import chap_secret, initiator_name
from ..storage.unfencing import FreshStart, unfence
from ..storage.verification import look_once
from .options.deadline import deadline_spec, read_permit
from .options.storage import read_storage, storage_spec

STATES = ("fenced", "unfenced", "reapplied")


def argument_spec() -> dict[str, Any]:
    return {
        **storage_spec(),
        **deadline_spec(),
        "state": {"type": "str", "choices": list(STATES), "default": "fenced"},
        "host": {"type": "str"},
        "initiators": {"type": "list", "elements": "str", "default": []},
        "token": {"type": "int", "no_log": False},
        "reason": {"type": "str"},
        "wait": {"type": "float", "default": 10.0},
        "uptime": {"type": "float"},
        "uptime_age": {"type": "float"},
        "uptime_read_at": {"type": "dict"},
        "margin": {"type": "float", "default": MARGIN},
        "power_cycled": {"type": "bool", "default": False},
        "force": {"type": "str"},
        "running_vms": {"type": "list", "elements": "str", "default": []},
        "chap_user": {"type": "str"},
        "chap_secret": {"type": "str", "no_log": True},
    }


REQUIRED_IF = [
    ("state", "fenced", ("host", "initiators", "token", "reason")),
    ("state", "unfenced", ("host", "token")),
]


def run(params: Mapping[str, Any], check_mode: bool = False, *, now: Callable[[], Instant] = clock.now) -> dict[str, Any]:
    """The module's result. Raises LibrehaError."""
    state, host = params["state"], params["host"]
    _required(params)
    target, fence_list = read_storage(params)
    fencer = Fencer(target, fence_list, read_permit(params, host=host, now=now), now)
    initiators = [initiator_name(initiator, host) for initiator in params["initiators"]]
    before = _rights(fencer)
    if state == "fenced":
        outcome = fencer.fence(host, initiators, params["token"], params["reason"], wait=params["wait"], check_mode=check_mode)
    elif state == "reapplied":
        outcome = fencer.reapply(wait=params["wait"], check_mode=check_mode)
    else:
        outcome = _unfence(fencer, params, initiators, check_mode, now)
    result = outcome.to_dict()
    result["diff"] = {"before": before, "after": _foreseen(before, outcome, fencer, initiators, state) if check_mode else _rights(fencer)}
    if state == "unfenced":
        result.pop("confirmed")
    return result


def _required(params: Mapping[str, Any]) -> None:
    """Ansible lets an explicit null, and an empty text, pass as given."""
    for state, value, options in REQUIRED_IF:
        for option in options if params[state] == value else ():
            if params[option] is None or params[option] == "" or params[option] == []:
                raise LibrehaError("%s is empty, state %s needs it" % (option, value), host=params["host"], remedy="give it")
    if params["token"] is not None and params["token"] < 0:
        raise LibrehaError("token is %d" % params["token"], host=params["host"], remedy="give the token of the run's lease")
    if params["wait"] < 0:
        raise LibrehaError("wait is %g" % params["wait"], host=params["host"], remedy="give 0 or more seconds")


def _unfence(fencer: Fencer, params: Mapping[str, Any], initiators: list[str], check_mode: bool, now: Callable[[], Instant]) -> Outcome:
    start = FreshStart(
        uptime=params["uptime"],
        age=_age(params, now()),
        power_cycled=params["power_cycled"],
        force=params["force"] or "",
        reason=params["reason"] or "",
    )
    if params["margin"] < 0:
        raise LibrehaError("margin is %s" % params["margin"], host=params["host"], remedy="give seconds, such as %d" % MARGIN)
    return unfence(
        fencer,
        params["host"],
        initiators,
        params["token"],
        start,
        running_vms=params["running_vms"],
        chap_secret=chap_secret(params["chap_secret"], params["host"]),
        margin=params["margin"],
        check_mode=check_mode,
    )


def _age(params: Mapping[str, Any], present: Instant) -> float | None:
    """Seconds since the uptime was read, None where that is not known."""
    if params["uptime_age"] is not None:
        return float(params["uptime_age"])
    if not params["uptime_read_at"]:
        return None
    try:
        return present.since(Instant.from_dict(params["uptime_read_at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LibrehaError(
            "uptime_read_at is no point in time: %s" % error,
            host=params["host"],
            remedy="give taken_at of the host as host_health_info returns it, or uptime_age",
        ) from error


def _rights(fencer: Fencer) -> dict[str, Any]:
    """Who is admitted where, for the diff; what cannot be read is left out, the acts will say why."""
    reading = look_once(fencer.target)
    try:
        fenced = sorted(entry.initiator for entry in fencer.fence_list.read().entries)
    except LibrehaError:
        fenced = []
    return {
        "admitted": {access.target: sorted(access.initiators) for access in reading.access},
        "saved": {access.target: sorted(access.initiators) for access in reading.saved},
        "fenced": fenced,
    }


def _foreseen(before: dict[str, Any], outcome: Outcome, fencer: Fencer, initiators: list[str], state: str) -> dict[str, Any]:
    """The diff's second half in check mode."""
    if not outcome.changed:
        return before
    entries = fencer.fence_list.read().entries
    if state == "unfenced":
        back = [entry for entry in entries if entry.initiator.casefold() in {name.casefold() for name in outcome.initiators}]
        after: dict[str, Any] = {"fenced": sorted(set(before["fenced"]) - {entry.initiator for entry in back})}
        for kind in ("admitted", "saved"):
            after[kind] = {
                target: sorted(
                    {*names, *(one for entry in back if target in entry.targets for one in entry.spellings or [entry.initiator])}
                )
                for target, names in before[kind].items()
            }
        return after
    gone = {name.casefold() for name in (*initiators, *(entry.initiator for entry in entries))}
    left = {
        kind: {target: [name for name in names if name.casefold() not in gone] for target, names in before[kind].items()}
        for kind in ("admitted", "saved")
    }
    return {**left, "fenced": sorted({*before["fenced"], *initiators})}
