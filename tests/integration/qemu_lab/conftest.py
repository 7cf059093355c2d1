"""Guests of their own for these tests, in a state folder of their own: others on this machine are not disturbed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from liblab.qemu import Guests  # noqa: E402


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def guests(state_folder: Path) -> Iterator[Guests]:
    """The storage server and one initiator, booted."""
    assert os.geteuid() == 0, "building the guests' image needs root: run the tests as root"
    found = Guests(state_folder)
    try:
        found.up(["storage", "node1"])
        yield found
    finally:
        found.down()
