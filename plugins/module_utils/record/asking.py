# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give a command and wait for what becomes of it: the one way of the module ``ha_command`` and of ``libreha command``."""

from __future__ import annotations

from typing import Any

from .. import clock
from ..decide.commands import Command
from ..errors import LibrehaError
from .commands import REFUSED, VALID_FOR, WAITING
from .database import StateDatabase

POLL = 0.5  # s


def require_times(wait: float, valid_for: float) -> None:
    """Raises LibrehaError for times that make no sense."""
    if wait < 0 or valid_for <= 0:
        raise LibrehaError("wait is %g and valid_for %g" % (wait, valid_for), remedy="give 0 or more, and more than 0 seconds")


def give_and_wait(database: StateDatabase, command: Command, wait: float = 0.0, valid_for: float = VALID_FOR) -> dict[str, Any]:
    """Give *command* and wait up to *wait* seconds until a run has taken it up; returns its row (``record/commands.py``), which is
    waiting only when *wait* is 0.

    Raises LibrehaError, with the row in its details, when it is refused, and when no run took it up in time: then it is withdrawn.
    """
    require_times(wait, valid_for)
    (number,) = database.give_commands([command], max(wait, valid_for))
    until = clock.now().seconds + wait
    (row,) = database.commands([number])
    while row["state"] == WAITING and clock.now().seconds < until:
        clock.sleep(POLL)
        (row,) = database.commands([number])
    if wait and row["state"] == WAITING and database.withdraw_command(number):
        raise LibrehaError(
            "no run of the monitor took the command up within %g s; it is withdrawn" % wait,
            remedy="start the resident monitor, or run the playbook monitor, or see why it does not work; then give the command again",
            details={"command": database.commands([number])[0]},
        )
    (row,) = database.commands([number])
    if row["state"] == REFUSED:
        raise LibrehaError(
            "%s is refused: %s" % (command.kind.value, row["outcome"]),
            remedy="nothing was changed; correct the command",
            details={"command": row},
        )
    return row
