"""A cluster of guests for these tests, in a state folder of its own: storage on kernel LIO, and a host in each of two initiator guests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "lab"), str(TESTS / "integration")]

from cluster import Cluster  # noqa: E402

MakeCluster = Callable[[], Cluster]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Up, its VMs writing."""
    assert os.geteuid() == 0, "the guests need root: run the tests as root"
    monkeypatch.setenv("LIBREHA_LAB_DIR", str(tmp_path / "lab"))
    found = Cluster(tmp_path)
    try:
        found.up()
        yield found
    finally:
        found.down()
