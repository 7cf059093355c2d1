"""The tables of docs/host-privileges.md, from the list that the module grants and preflight judges by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.privileges import ADDITIONAL, GRANTED, OF_EVERY_ROLE, Privilege

PAGE = Path(__file__).resolve().parents[3] / "docs/host-privileges.md"
BEGIN = "<!-- privileges: written by tests/unit/docs/write_privileges.py -->"
END = "<!-- end of privileges -->"


def render(page: str) -> str:
    """*page* with the tables as the code has them now."""
    before, begun, rest = page.partition(BEGIN)
    _old, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError("docs/host-privileges.md must have the block of privileges")
    parts = [
        before + BEGIN,
        *_table("needed", GRANTED),
        "",
        *_table("every role has", OF_EVERY_ROLE),
        "",
        "Only where somebody names them (`additional_privileges`), since each allows more than reading:",
        "",
        *_table("additional", ADDITIONAL),
        END + after,
    ]
    return "\n".join(parts)


def _table(head: str, privileges: Iterable[Privilege]) -> list[str]:
    rows = ["| `%s` | %s | %s |" % (one.name, ", ".join("`%s`" % call for call in one.calls), one.purpose) for one in privileges]
    return ["| %s | calls | what for |" % head, "| --- | --- | --- |", *rows]
