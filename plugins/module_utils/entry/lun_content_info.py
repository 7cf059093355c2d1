# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``lun_content_info``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..storage.lun_content import read_contents, require_root


def argument_spec() -> dict[str, Any]:
    return {
        "driver": {"type": "str", "choices": ["lio", "tgt"], "default": "lio"},
        "control_port": {"type": "int", "default": 0},
        "timeout": {"type": "float", "default": 5.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result, the same in check mode; raises LibrehaError."""
    require_root()
    found = read_contents(params["driver"], params["control_port"], params["timeout"])
    return {"changed": False, "luns": [asdict(lun) for lun in found]}
