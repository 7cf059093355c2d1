# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that say until when a run may act, for every module that acts (doc fragment ``libreha.vmware.deadline``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ... import clock
from ...errors import LibrehaError
from ...instant import Instant
from ...lease.deadman import Permit

DEFAULT = 60.0


def deadline_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {"lease_remaining": {"type": "float"}, "deadline": {"type": "dict"}}


def read_permit(params: Mapping[str, Any], *, host: str | None = None, now: Callable[[], Instant] = clock.now) -> Permit:
    """The permit that *params* give, the earlier of the two. Raises LibrehaError when only a deadline is given that was
    taken on another machine or boot, with which this clock cannot be compared."""
    present = now()
    ends = []
    if params.get("lease_remaining") is not None:
        ends.append(present.seconds + float(params["lease_remaining"]))
    if params.get("deadline"):
        try:
            deadline = Instant.from_dict(params["deadline"])
        except (KeyError, TypeError, ValueError) as error:
            raise LibrehaError(
                "deadline is no point in time: %s" % error, host=host, remedy="give lease.deadline as ha_state returns it"
            ) from error
        if deadline.boot_id == present.boot_id:
            ends.append(deadline.seconds)
        elif not ends:
            raise LibrehaError(
                "deadline was taken on another machine or before a restart, this clock cannot be compared with it",
                host=host,
                remedy="give lease_remaining, or have the state database on this machine",
            )
    return Permit(min(ends) if ends else present.seconds + DEFAULT, now=now, host=host)
