"""Storage servers for the tests: real ones, on loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from real_storage import Storage


@pytest.fixture
def new_storage(tmp_path) -> Iterator[Storage]:
    """Not started yet, so that a test can write its own saved configuration."""
    for command in ("tgtd", "tgtadm", "tgt-admin", "iscsi-inq"):
        if shutil.which(command) is None:
            pytest.skip("%s is missing: install tgt and libiscsi-bin" % command)
    if os.geteuid() != 0:
        pytest.skip("tgtd needs root")
    storage = Storage(tmp_path)
    try:
        yield storage
    finally:
        storage.end()


@pytest.fixture
def storage(new_storage: Storage) -> Storage:
    return new_storage.start()
