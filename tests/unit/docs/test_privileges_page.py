"""docs/host-privileges.md has the privileges that the code grants."""

from __future__ import annotations

from privileges_page import PAGE, render


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == render(page), "write it anew: python tests/unit/docs/write_privileges.py"


def test_a_table_that_is_edited_by_hand_is_noticed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    edited = page.replace("VirtualMachine.UnregisterVM", "VirtualMachine.Unregister")
    assert edited != page and render(edited) == page
