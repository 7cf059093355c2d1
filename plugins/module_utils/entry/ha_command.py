# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_command``: a command becomes a row in the state database, and what became of it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import clock
from ..decide.commands import CommandRefused, apply_command
from ..decide.memory import Memory
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..record.asking import give_and_wait, require_times
from ..record.commands import VALID_FOR, read_command
from ..record.database import StateDatabase
from .options.commands import command_options
from .options.state import state_spec


def argument_spec() -> dict[str, Any]:
    return {
        **state_spec(),
        **command_options(),
        "wait": {"type": "float", "default": 0},
        "valid_for": {"type": "float", "default": VALID_FOR},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result; raises LibrehaError when the command is refused, or when no run took it up within ``wait``."""
    require_times(params["wait"], params["valid_for"])
    with StateDatabase.open(params["state_url"], create=False) as database:
        if check_mode:
            return _would_give(database.memory(), params)
        row = give_and_wait(database, read_command(params), params["wait"], params["valid_for"])
    return {"changed": True, "command": row}


def _would_give(memory: Memory, params: Mapping[str, Any]) -> dict[str, Any]:
    """Check mode: whether what the monitor remembers speaks against it; before its first look nothing can."""
    command = read_command(params)
    if memory.looked_at is not None:
        try:
            apply_command(Policy(), memory, command, clock.now())
        except CommandRefused as refused:
            raise LibrehaError("%s would be refused: %s" % (command.kind.value, refused), remedy="correct the command") from None
    return {"changed": True}
