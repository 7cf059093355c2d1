# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_state``, for each of its states; every function returns the task's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..errors import LibrehaError
from ..record import schema
from ..record.database import Lease, LeaseHeld, StateDatabase
from ..service.client import DEFAULT_SOCKET, STEP_DOWN, STEPS_DOWN, NotAnswered, ask
from .options.state import state_spec

Result = dict[str, Any]
GRANTS = 1000  # entries about one holder's leases that are looked through; a holder is one run, which has a few


def argument_spec() -> dict[str, Any]:
    entry = {
        "text": {"type": "str", "required": True},
        "kind": {"type": "str", "default": "person"},
        "subject": {"type": "str", "default": ""},
        "data": {"type": "dict", "default": {}},
    }
    return dict(
        state_spec(),
        state={"type": "str", "choices": ["present", "leased", "released", "journaled"], "default": "present"},
        holder={"type": "str"},
        token={"type": "int", "no_log": False},
        lease={"type": "float", "default": 60},
        above={"type": "int", "default": 0},
        wait={"type": "float", "default": 0},
        step_down={"type": "bool", "default": False},
        socket={"type": "path", "default": DEFAULT_SOCKET},
        entries={"type": "list", "elements": "dict", "options": entry},
    )


REQUIRED_IF = [
    ("state", "leased", ["holder"]),
    ("state", "released", ["holder", "token"]),
    ("state", "journaled", ["entries"]),
]


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """Carry out *params* (the module's, complete); raises LibrehaError."""
    return {"present": _present, "leased": _leased, "released": _released, "journaled": _journaled}[params["state"]](params, check_mode)


def _present(params: Mapping[str, Any], check_mode: bool) -> Result:
    url = params["state_url"]
    if check_mode:
        before, backup = StateDatabase.examine(url), ""
    else:
        with StateDatabase.open(url) as database:
            opened = database.opened
        before = None if opened.created else (opened.migrated_from or schema.SCHEMA_VERSION)
        backup = opened.backup
    changed = before != schema.SCHEMA_VERSION
    result: Result = {
        "changed": changed,
        "schema_version": schema.SCHEMA_VERSION,
        "diff": _diff(before, schema.SCHEMA_VERSION, "schema_version"),
    }
    if before is not None and changed:
        result["migrated_from"] = before
    if backup:
        result["backup"] = backup
    return result


def _leased(params: Mapping[str, Any], check_mode: bool) -> Result:
    holder, token, seconds = params["holder"], params["token"], params["lease"]
    if params["wait"] < 0:
        raise LibrehaError("wait is %g" % params["wait"], remedy="give 0 or more seconds")
    if check_mode:
        return _would_lease(params)
    with StateDatabase.open(params["state_url"]) as database:
        before = database.lease()
        lease = database.renew_lease(holder, token, seconds) if token is not None else _acquired(database, params)
    return {"changed": lease.new, **_granted(lease), "diff": _diff(_who(before), {"holder": holder, "token": lease.token}, "lease")}


def _acquired(database: StateDatabase, params: Mapping[str, Any]) -> Lease:
    def acquire(wait: float) -> Lease:
        return database.acquire_lease(params["holder"], params["lease"], above=params["above"], wait=wait)

    try:
        return acquire(params["wait"])
    except LeaseHeld as held:
        if not params["step_down"]:
            raise
        _have_the_monitor_step_down(params["socket"], held)
    return acquire(max(params["wait"], STEPS_DOWN))


def _have_the_monitor_step_down(path: str, held: LeaseHeld) -> None:
    """Ask until it does: it does not while it judges a host. Raises *held* where no resident monitor listens, and what it says where it
    goes on refusing."""
    until = clock.now().seconds + STEPS_DOWN
    while True:
        try:
            ask(path, {"request": STEP_DOWN})
            return
        except NotAnswered:
            raise held from None
        except LibrehaError as refused:
            if clock.now().seconds >= until:
                remedy = "see libreha status; run it again when nothing is to be done any more"
                raise LibrehaError(refused.said, remedy=remedy, details=held.details) from None
        clock.sleep(1.0)


def _would_lease(params: Mapping[str, Any]) -> Result:
    """Check mode promises no token: nobody may act under a lease that was not taken."""
    holder, url = params["holder"], params["state_url"]
    before: dict[str, Any] = {"holder": "", "token": 0, "alive": False}
    if StateDatabase.examine(url) is not None:
        with StateDatabase.open(url, create=False) as database:
            before = database.lease()
            if params["token"] is not None:
                remaining = database.check_lease(params["token"])
                return {"changed": False, "token": params["token"], "remaining": round(remaining, 3), "lease": before}
    if before["alive"] and before["holder"] != holder and before["remaining"] > params["wait"]:
        raise LeaseHeld(
            "%s holds the lease (token %d) for %.1f s more" % (before["holder"], before["token"], before["remaining"]),
            remedy="another run is at work: let it end",
            details={"lease_holder": before["holder"], "lease_remaining": before["remaining"]},
        )
    changed = not (before["alive"] and before["holder"] == holder and before["token"] > params["above"])
    after = {"holder": holder, "token": max(before["token"], params["above"]) + 1} if changed else _who(before)
    return {"changed": changed, "diff": _diff(_who(before), after, "lease")}


def _released(params: Mapping[str, Any], check_mode: bool) -> Result:
    holder, token = params["holder"], params["token"]
    with StateDatabase.open(params["state_url"], create=False) as database:
        before = database.lease()
        held = before["holder"] == holder and before["token"] == token
        if not held:
            _require_former(database, holder, token, before)
        changed = held if check_mode else database.release_lease(holder, token)
    after = {"holder": "", "token": before["token"]} if changed else _who(before)
    return {"changed": changed, "diff": _diff(_who(before), after, "lease")}


def _require_former(database: StateDatabase, holder: str, token: int, lease: Mapping[str, Any]) -> None:
    """A lease that *holder* had with *token* is free; one that it never had is a mistake in the name or in the token."""
    granted = database.snapshot(journal_limit=GRANTS, kinds=["lease"], subject=holder)["journal"]
    if any((entry["holder"], entry["token"]) == (holder, token) for entry in granted):
        return
    who = "%s holds the lease with token %d" % (lease["holder"], lease["token"]) if lease["holder"] else "the lease is free"
    raise LibrehaError(
        "%r never had a lease with token %d, so nothing was released; %s" % (holder, token, who),
        remedy="give holder and token as state: leased returned them",
        details={"lease_holder": lease["holder"]},
    )


def _journaled(params: Mapping[str, Any], check_mode: bool) -> Result:
    entries = [{**entry, "subject": entry["subject"] or "", "data": entry["data"] or {}} for entry in params["entries"]]
    with StateDatabase.open(params["state_url"], create=False) as database:
        seq = database.journal(entries, params["token"], params["holder"] or "", write=not check_mode)
    result = {
        "changed": bool(entries),
        "diff": {"before": "", "after": "".join("%s %s: %s\n" % (e["kind"], e["subject"], e["text"]) for e in entries)},
    }
    return result if check_mode else {**result, "seq": seq}


def _granted(lease: Lease) -> Result:
    shown = lease.to_dict()
    return {"token": lease.token, "remaining": shown["remaining"], "deadline": shown["deadline"], "lease": shown}


def _who(lease: Mapping[str, Any]) -> dict[str, Any]:
    return {"holder": lease["holder"], "token": lease["token"]}


def _diff(before: Any, after: Any, header: str) -> dict[str, Any]:
    def shape(value: Any) -> Any:
        return value if isinstance(value, dict) else {header: value}

    return {"before": shape(before), "after": shape(after), "before_header": header, "after_header": header}
