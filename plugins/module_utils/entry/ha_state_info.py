# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_state_info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LibrehaError
from ..record.database import StateDatabase
from ..record.journal_text import journal_lines
from .options.state import state_spec


def argument_spec() -> dict[str, Any]:
    filters = {
        "since": {"type": "int"},
        "kinds": {"type": "list", "elements": "str"},
        "subject": {"type": "str"},
        "limit": {"type": "int", "default": 20},
        "text": {"type": "bool", "default": False},
    }
    parts = ["lease", "hosts", "vms", "transactions", "alarms", "journal"]
    return dict(
        state_spec(),
        include={"type": "list", "elements": "str", "choices": [*parts, "commands", "memory"], "default": parts},
        journal={"type": "dict", "options": filters},
        transactions={"type": "dict", "options": {"source": {"type": "str"}, "limit": {"type": "int", "default": 20}}},
    )


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result, for *params* (the module's, complete). Raises LibrehaError."""
    filters = {"limit": 20, **(params["journal"] or {})}
    failovers = {"limit": 20, **(params["transactions"] or {})}
    for name, given in (("journal", filters), ("transactions", failovers)):
        for option in ("limit", "since"):
            if (given.get(option) or 0) < 0:
                raise LibrehaError("%s.%s is %d" % (name, option, given[option]), remedy="give 0 or more")
    with StateDatabase.open(params["state_url"], create=False) as database:
        found = database.snapshot(
            journal_limit=filters["limit"],
            closed_limit=failovers["limit"],
            source=failovers.get("source") or "",
            since=filters.get("since"),
            kinds=filters.get("kinds") or (),
            subject=filters.get("subject") or "",
        )
    wanted = set(params["include"])
    if "memory" in wanted:
        wanted.add("memory_version")
    result = {"changed": False, **{name: value for name, value in found.items() if name in wanted}}
    if filters.get("text") and "journal" in result:
        result["journal_text"] = journal_lines(result.pop("journal"))
    return result
