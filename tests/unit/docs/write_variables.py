"""Writes docs/variables.md: ``python tests/unit/docs/write_variables.py``."""

from __future__ import annotations

from variables_page import PAGE, render

if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
