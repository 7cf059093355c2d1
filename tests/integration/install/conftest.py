from __future__ import annotations

from pathlib import Path

import pytest
from new_user import Playing


@pytest.fixture
def playing(tmp_path: Path) -> Playing:
    return Playing(tmp_path)
