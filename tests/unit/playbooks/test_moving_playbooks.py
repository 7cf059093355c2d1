"""What migrate, host_add and host_remove refuse before anything is asked for, on a cluster of which nothing is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from test_exit_status import inventory, play  # noqa: F401


def commands(folder: Path) -> list[Any]:
    with StateDatabase.open("sqlite:///%s" % (folder / "state.db"), create=False) as database:
        return list(database.snapshot()["commands"])


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("migrate", {"vm": "mail,web"}, ["no VM mail is known", "no VM web is known"]),
        ("migrate", {"vm": ["mail"], "host": "esx9"}, ["host is esx9; give one of esx1"]),
        ("host_add", {"host": "esx9"}, ["Put esx9 into the inventory first"]),
        ("host_remove", {"host": "esx1"}, ["missing required arguments: reason"]),
    ],
)
def test_what_speaks_against_it_is_said_and_nothing_is_asked_for(
    inventory: Path,  # noqa: F811
    name: str,
    given: dict[str, Any],
    words: list[str],
) -> None:
    StateDatabase.open("sqlite:///%s" % (inventory.parent / "state.db")).close()
    done = play(name, inventory, **given)
    assert done.returncode != 0
    for word in words:
        assert word in done.stdout, done.stdout
    assert commands(inventory.parent) == []
