# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the cluster stands, as the resident monitor answers it on its socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..cycle.judge import Judged, result_of
from ..cycle.ports import Order
from ..decide.json_form import to_dict
from ..instant import Instant


def status_of(
    judged: Optional[Judged],
    under_way: Sequence[Order],
    *,
    now: Instant,
    started_at: Instant,
    holder: str,
    token: Optional[int],
    look_ended_at: Optional[Instant],
    state: str,
    problem: str,
) -> dict[str, Any]:
    """The answer, from the monitor's memory alone. *judged* is None before the first look and while another run holds the lease."""
    age = now.since(look_ended_at) if look_ended_at is not None else None
    service = {"state": state, "problem": problem, "holder": holder, "token": token, "up_for": now.since(started_at)}
    look = {} if judged is None else dict(to_dict(result_of(judged)))
    return {"at": to_dict(now), "service": service, "look_age": age, "under_way": [str(order) for order in under_way], **look}
