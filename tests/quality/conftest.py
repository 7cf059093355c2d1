"""Lets the tests import what lies beside them; the collection itself is found through the repository's conftest.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
