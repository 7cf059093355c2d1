"""Writes the generated parts of docs/safety.md anew: ``python tests/unit/docs/write_safety.py``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    importlib.import_module("conftest")  # makes the collection importable
    generated = importlib.import_module("generated")
    generated.PAGE.write_text(generated.render(generated.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
