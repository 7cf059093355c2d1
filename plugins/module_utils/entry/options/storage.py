# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that name the target service and the fence list of a storage server, for every module that runs there
(doc fragment ``libreha.vmware.storage``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import LibrehaError
from ...storage.fence_list import DEFAULT_FENCE_LIST, FenceList
from ...storage.interface import StorageTarget
from ...storage.registry import DRIVERS, open_storage


def storage_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {
        "driver": {"type": "str", "default": "tgt", "choices": list(DRIVERS)},
        "control_port": {"type": "int", "default": 0},
        "saved_config": {"type": "path"},
        "fence_list": {"type": "path", "default": DEFAULT_FENCE_LIST},
        "timeout": {"type": "float", "default": 5.0},
    }


def read_storage(params: Mapping[str, Any]) -> tuple[StorageTarget, FenceList]:
    """The target service and fence list that *params* name. Raises LibrehaError that names the option."""
    require_control(params)
    require_absolute(params, "saved_config", "fence_list")
    target = open_storage(
        params["driver"],
        control_port=params["control_port"],
        saved_config=params["saved_config"] or "",
        fence_list=params["fence_list"],
        chap_user=params.get("chap_user") or "",
        timeout=params["timeout"],
    )
    return target, FenceList(params["fence_list"])


def require_control(params: Mapping[str, Any]) -> None:
    """Raises LibrehaError for a control port that tgtd cannot have, or no time to wait for an answer."""
    if not 0 <= params["control_port"] <= 32767:
        raise LibrehaError(
            "control_port %s is none of tgtd's" % params["control_port"], remedy="give the number after tgtd -C, or leave it out"
        )
    if params["timeout"] <= 0:
        raise LibrehaError("timeout is %s" % params["timeout"], remedy="give the seconds to wait for an answer, such as 5")


def require_absolute(params: Mapping[str, Any], *options: str) -> None:
    """Raises LibrehaError for the first of these options that is given and is not an absolute path."""
    for option in options:
        if params[option] and not params[option].startswith("/"):
            raise LibrehaError("%s is not an absolute path: %s" % (option, params[option]), remedy="give the whole path")
