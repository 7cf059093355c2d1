"""A scene for the tests of the loop: see scene.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))

from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from decide_world import three_hosts
from scene import LEASE, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    world = three_hosts(lease=LEASE)
    url = "sqlite:///%s" % (tmp_path / "state.db")
    return Scene(world, StateDatabase.open(url, clock=world.at, sleep=lambda seconds: None), url)
