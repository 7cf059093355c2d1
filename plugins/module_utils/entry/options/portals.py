# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option ``portals`` of the modules that make a target."""

from __future__ import annotations

from typing import Any


def portal_spec() -> dict[str, Any]:
    return {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "default": 3260},
        "floating": {"type": "bool", "default": False},
    }
