# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``esxi_settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configure.esxi_settings import POLICIES, Wanted, set_up
from ..errors import LibrehaError
from .options.hosts import read_single_host, single_host_spec


def argument_spec() -> dict[str, Any]:
    return {
        **single_host_spec(),
        "autostart": {"type": "bool"},
        "ntp_servers": {"type": "list", "elements": "str"},
        "options": {"type": "dict", "default": {}},
        "path_policy": {"type": "str", "choices": sorted(POLICIES)},
        "targets": {"type": "list", "elements": "str", "default": []},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError; details say what was done before."""
    targets = frozenset(target.lower() for target in params["targets"] or ())
    if params["path_policy"] and not targets:
        raise LibrehaError("path_policy is given, and no targets", remedy="name the iSCSI targets whose LUNs it is for")
    wanted = Wanted(
        autostart=params["autostart"],
        ntp_servers=None if params["ntp_servers"] is None else tuple(params["ntp_servers"]),
        options=params["options"] or {},
        path_policy=POLICIES[params["path_policy"]] if params["path_policy"] else None,
        targets=targets,
    )
    return set_up(read_single_host(params).connection, wanted, check_mode)
