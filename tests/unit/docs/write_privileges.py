"""Writes the tables of docs/host-privileges.md anew: ``python tests/unit/docs/write_privileges.py``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    importlib.import_module("conftest")  # makes the collection importable
    written = importlib.import_module("privileges_page")
    written.PAGE.write_text(written.render(written.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
