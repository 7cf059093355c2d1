"""Guests of their own for these tests, in a state folder of their own: others on this machine are not disturbed.

They are booted once for the tests that share them. Each module of tests begins with guests that are on, have all cables in, no target,
no session and empty disks (``Lio.clean``), whatever the module before left.

Who works on these tests does not want to wait for the boot each time: $LIBREHA_QEMU_LAB names a folder whose guests stay up. Remove them
with ``LIBREHA_LAB_DIR=FOLDER tests/lab/lab down``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KEPT = "LIBREHA_QEMU_LAB"
INTEGRATION = Path(__file__).resolve().parents[1]
for folder in (INTEGRATION.parent / "lab", INTEGRATION / "conformance"):
    sys.path.insert(0, str(folder))

from liblab.qemu import Guests  # noqa: E402
from lio import Lio  # noqa: E402


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a module of tests with guests of its own, because it changes more on them than ``Lio.clean`` takes back."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ[KEPT]) if os.environ.get(KEPT) else tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def booted(shared_folder: Path) -> Iterator[Guests]:
    """The storage server and one initiator, booted."""
    assert os.geteuid() == 0, "building the guests' image needs root: run the tests as root"
    found = Guests(shared_folder)
    try:
        found.up(["storage", "node1"])
        yield found
    finally:
        if not os.environ.get(KEPT):
            found.down()


@pytest.fixture(scope="module")
def guests(booted: Guests, shared_folder: Path) -> Guests:
    """The same, with nothing on them."""
    Lio(booted, shared_folder).clean()
    return booted


@pytest.fixture(scope="module")
def rig(guests: Guests, shared_folder: Path) -> Lio:
    """Modules on the storage guest, and what node1 sees of it."""
    return Lio(guests, shared_folder)
