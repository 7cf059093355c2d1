# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal as text: what on a line, why below it."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_state_info import run
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal_text import journal_lines, what_and_why


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("taken by run-1 with token 3 for 60 s", "taken by run-1 with token 3 for 60 s", []),
        ("ordered: fence esx1: dead (api failed; ping failed); alone", "ordered: fence esx1", ["dead (api failed; ping failed)", "alone"]),
        ("cleared: vm1 is down: no host", "cleared: vm1 is down", ["no host"]),
        ("suspect: esx1 dead since 00:02:43 (api: timed out)", "suspect: esx1 dead since 00:02:43 (api: timed out)", []),
        ("ordered: ", "ordered: ", []),
        ("a ) stray bracket: why", "a ) stray bracket", ["why"]),
    ],
)  # fmt: skip
def test_reasons_are_told_from_what_happened(text: str, what: str, why: list[str]) -> None:
    assert what_and_why(text) == (what, why)


def test_an_entry_is_a_line_whatever_is_in_its_text() -> None:
    entries = [{"wall": "2026-11-29T03:56:11.123+00:00", "kind": "step", "text": "vm1: failed\nbecause of this; and that"}]
    assert journal_lines(entries) == ["2026-11-29 03:56:11Z  step      vm1", "    failed because of this", "    and that"]


def test_ha_state_info_returns_text_in_place_of_entries(sqlite_url: str) -> None:
    with StateDatabase.open(sqlite_url) as database:
        database.acquire_lease("run-1", 60)
    asked = {"state_url": sqlite_url, "include": ["journal"], "transactions": None, "journal": {"text": True, "limit": 5}}
    found = run(asked, False)
    (line,) = found["journal_text"]
    assert line.endswith("Z  lease     taken by run-1 with token 1 for 60 s") and "journal" not in found
    assert "journal_text" not in run({**asked, "journal": None}, False)
