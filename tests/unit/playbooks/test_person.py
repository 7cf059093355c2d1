"""Who asked for something is on record by the name that AWX knows: there, every job runs as root."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from test_exit_status import StateDatabase, inventory, play

__all__ = ["inventory"]


def test_a_persons_yes_is_recorded_under_the_name_that_awx_gives(inventory: Path) -> None:
    database = inventory.parent / "state.db"
    StateDatabase.open("sqlite:///%s" % database).close()
    said = play("monitor", inventory, approve="esx1", reason="I saw it burn", awx_user_name="alice", libreha_max_looks=1)
    with sqlite3.connect(database) as connection:
        rows = [row for row in connection.iterdump() if "I saw it burn" in row]
    assert rows and all("alice" in row for row in rows), said.stdout
