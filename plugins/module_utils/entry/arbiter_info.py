# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``arbiter_info``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import Any

from .. import libraries


def argument_spec() -> dict[str, Any]:
    return {option: {"type": "bool", "default": False} for option in libraries.OPTIONS}


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; nothing is changed."""
    found = libraries.look(option for option in libraries.OPTIONS if params[option])
    lacking = [finding for finding in found if finding.problem]
    return {
        "changed": False,
        "python": {"executable": sys.executable, "version": platform.python_version()},
        "libraries": [finding.to_dict() for finding in found],
        "problems": [finding.problem for finding in lacking],
        "to_install": [finding.library.requirement() for finding in lacking],
        "remedy": libraries.remedy(*(finding.library.module for finding in lacking)) if lacking else "",
    }
