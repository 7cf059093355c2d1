"""Writes docs/policy.schema.json from the schema that the collection uses: ``python tests/unit/policy/write_schema.py``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    importlib.import_module("conftest")  # makes the collection importable
    from ansible_collections.libreha.vmware.plugins.module_utils.policy.schema import POLICY_SCHEMA

    (ROOT / "docs" / "policy.schema.json").write_text(json.dumps(POLICY_SCHEMA, indent=2) + "\n", encoding="utf-8")
