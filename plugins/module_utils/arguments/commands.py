# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option by which persons are heard, for every module that decides (doc fragment ``libreha.vmware.commands``)."""

from __future__ import annotations

from typing import Any

from ..decide.commands import CommandKind


def command_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    options = {
        "kind": {"type": "str", "required": True, "choices": [kind.value for kind in CommandKind]},
        "subject": {"type": "str", "default": ""},
        "to": {"type": "str", "default": ""},
        "by": {"type": "str", "default": "an operator"},
        "reason": {"type": "str", "default": ""},
    }
    return {"commands": {"type": "list", "elements": "dict", "default": [], "options": options}}
