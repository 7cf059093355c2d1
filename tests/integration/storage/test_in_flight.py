"""No session means nothing in flight: a write that hangs in the back end keeps the fence unconfirmed until it has landed."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from real_storage import ESX1, HANG, until


@pytest.fixture
def slow(new_storage):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    library = new_storage.folder / "slow_disk.so"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    gate = new_storage.folder / "the disk hangs"
    new_storage.environment = {"LD_PRELOAD": str(library), "SLOW_DISK": str(gate)}
    new_storage.gate = gate
    try:
        yield new_storage.start()
    finally:
        gate.unlink(missing_ok=True)


def in_flight(storage) -> int:
    return storage.target().in_flight(ESX1)


def test_a_write_that_hangs_in_the_back_end_is_not_forgotten_with_its_connection(slow):
    writer = slow.write().running()
    slow.gate.touch()
    until(lambda: in_flight(slow) == 1, "a write hangs in the disk")
    landed = slow.landed()
    with pytest.raises(LibrehaError, match="NOT confirmed") as error:
        slow.fence(wait=1.0)
    assert "write" in writer.ended(), "the connection is gone"
    assert "1 of its commands are in flight" in str(error.value)
    assert slow.landed() == landed
    slow.gate.unlink()
    outcome = slow.fence()
    assert outcome.confirmed
    assert slow.landed() == landed + 1, "the write of before the fence has landed before the fence was confirmed"


def test_the_fence_waits_for_the_write_and_confirms_after_it(slow):
    slow.write().running()
    slow.gate.touch()
    until(lambda: in_flight(slow) == 1, "a write hangs in the disk")
    landed = slow.landed()
    timer = threading.Timer(1.0, slow.gate.unlink)
    timer.start()
    assert slow.fence(wait=HANG).confirmed
    assert slow.landed() == landed + 1
