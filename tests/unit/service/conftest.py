"""A service for the tests of the resident monitor: see resident_scene.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cycle"))

from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from decide_world import three_hosts
from resident_scene import Cluster, Service
from scene import LEASE, Scene


@pytest.fixture
def service(tmp_path: Path) -> Service:
    world = three_hosts(lease=LEASE)
    url = "sqlite:///%s/state.db" % tmp_path
    scene = Scene(world, StateDatabase.open(url, clock=world.at, sleep=lambda seconds: None), url)
    return Service(Cluster(scene), incidents=str(tmp_path / "incidents"))
