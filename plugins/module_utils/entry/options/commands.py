# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which people are heard: of one command (doc fragment ``commands.one``), and of several (``commands``)."""

from __future__ import annotations

from typing import Any

from ...decide.commands import CommandKind
from ...decide.decision import Way


def command_options() -> dict[str, Any]:
    """One command, as part of an argument_spec."""
    return {
        "kind": {"type": "str", "required": True, "choices": [kind.value for kind in CommandKind]},
        "subject": {"type": "str", "default": ""},
        "to": {"type": "str", "default": ""},
        "by": {"type": "str", "default": "an operator"},
        "reason": {"type": "str", "default": ""},
        "holds": {"type": "float", "default": 0},
        "way": {"type": "str", "choices": ["auto", *(way.value for way in Way)], "default": "auto"},
    }


def command_spec() -> dict[str, Any]:
    """Several commands, as part of an argument_spec."""
    return {"commands": {"type": "list", "elements": "dict", "default": [], "options": command_options()}}
