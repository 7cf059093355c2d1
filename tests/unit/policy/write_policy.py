"""Writes docs/policy.schema.json and docs/policy.md anew: ``python tests/unit/policy/write_policy.py``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    importlib.import_module("conftest")  # makes the collection importable
    policy_docs = importlib.import_module("policy_docs")
    policy_docs.SCHEMA.write_text(policy_docs.schema_text(), encoding="utf-8")
    policy_docs.PAGE.write_text(policy_docs.page(), encoding="utf-8")
