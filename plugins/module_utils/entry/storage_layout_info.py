# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``storage_layout_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..storage.layout_reading import read_layout


def argument_spec() -> dict[str, Any]:
    return {
        "disks": {"type": "list", "elements": "path", "default": []},
        "kernel_modules": {"type": "list", "elements": "str", "default": []},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    return {"changed": False, "layout": read_layout(params["disks"], params["kernel_modules"])}
