# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``host_health_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..decide.json_form import to_dict
from ..observe.hosts import observe_hosts
from .options.hosts import hosts_spec, read_hosts


def argument_spec() -> dict[str, Any]:
    return {**hosts_spec(), "isolation_addresses": {"type": "list", "elements": "str", "default": []}}


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    taken_at = clock.now()
    hosts, isolation = observe_hosts(read_hosts(params), params["isolation_addresses"], taken_at)
    return {"changed": False, "taken_at": to_dict(taken_at), "hosts": to_dict(hosts), "isolation": to_dict(isolation)}
