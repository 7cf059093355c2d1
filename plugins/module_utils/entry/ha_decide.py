# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_decide``: one look, given by the caller, is judged and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..cycle.judge import Asker, Judged, events_seen, judge, live_hosts, result_of, wait_after
from ..decide.json_form import to_dict
from ..decide.observations import Observation
from ..errors import LibrehaError
from ..policy.reader import read_policy
from ..record.database import StateDatabase


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError."""
    policy = read_policy(params["policy"])
    if params["validate_only"]:
        return {"changed": False, "mode": policy.mode.value}
    observation = _read(params["observation"])
    asker = Asker(params["holder"] or "", params["token"] or 0, params["carries_out"], clock.now, params["host"] or "")
    with StateDatabase.open(params["state_url"], create=False) as database:
        if not check_mode:
            database.renew_lease(params["holder"], params["token"], policy.lease)
        judged = judge(database, policy, observation, asker, commit=not check_mode)
        seq = max((entry["seq"] for entry in database.read_journal(limit=1)), default=0)
    return {**result_of(judged), **_next_step(judged), "journal_seq": seq}


def _next_step(judged: Judged) -> dict[str, Any]:
    """What the caller needs to carry the decision out and to look again."""
    decision = judged.decision
    actions = to_dict(decision.actions)
    return {
        "actions": actions,
        "plan": [vm for action in actions if action["kind"] in ("failover", "restart") for vm in action["vms"]],
        "live_hosts": live_hosts(judged),
        "open_transactions": len(judged.open_transactions),
        "events_seen": events_seen(decision.memory),
        "next_sample_in": wait_after(judged),
        "report": list(judged.news),
    }


def _read(raw: Mapping[str, Any]) -> Observation:
    try:
        return Observation.from_dict(raw)
    except ValueError as error:
        raise LibrehaError(str(error), remedy="pass what the *_info modules returned, untouched") from None
