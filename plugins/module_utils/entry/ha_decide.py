# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_decide``: one look, given by the caller, is judged and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..cycle.judge import Asker, judge, result_of
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
    asker = Asker(
        params["holder"] or "", params["token"] or 0, params["carries_out"], clock.now, params["host"] or "", params["commands"] or ()
    )
    with StateDatabase.open(params["state_url"], create=False) as database:
        if not check_mode:
            database.renew_lease(params["holder"], params["token"], policy.lease)
        return result_of(judge(database, policy, observation, asker, commit=not check_mode))


def _read(raw: Mapping[str, Any]) -> Observation:
    try:
        return Observation.from_dict(raw)
    except ValueError as error:
        raise LibrehaError(str(error), remedy="pass what the *_info modules returned, untouched") from None
