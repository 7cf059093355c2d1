# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vm_health_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..decide.json_form import to_dict
from ..observe.vms import observe_vms
from .options.hosts import hosts_spec, read_events_after, read_hosts


def argument_spec() -> dict[str, Any]:
    return {
        **hosts_spec(),
        "events": {"type": "bool", "default": True},
        "events_after": {"type": "dict", "default": {}},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    taken_at = clock.now()
    accesses = read_hosts(params)
    seen = observe_vms(accesses, read_events_after(params["events_after"], accesses), params["events"])
    return {"changed": False, "taken_at": to_dict(taken_at), **to_dict(vars(seen))}
