# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``iscsi_session_info``."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from ..decide.json_form import to_dict
from ..storage.observing import observe_storage
from .options.storage import read_storage, storage_spec


def argument_spec() -> dict[str, Any]:
    return {**storage_spec(), "name": {"type": "str"}}


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    target, fence_list = read_storage(params)
    return {"changed": False, "storage": to_dict(observe_storage(params["name"] or socket.gethostname(), target, fence_list))}
