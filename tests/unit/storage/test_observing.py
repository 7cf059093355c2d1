"""What a look at a storage server says when the machine itself is kept from looking."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Session, StorageObservation
from ansible_collections.libreha.vmware.plugins.module_utils.stall_detector import LATE
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList
from ansible_collections.libreha.vmware.plugins.module_utils.storage.interface import StorageTarget
from ansible_collections.libreha.vmware.plugins.module_utils.storage.observing import observe_storage

SESSION = Session("iqn.1998-01.com.vmware:esx1", "iqn.2026-01.com.example:storage1", "1", commands_done=5, bytes_done=5)


def look(folder: Path, stops: bool) -> StorageObservation:
    """A look by a process of its own, which is stopped in the middle of reading the sessions, and goes on later."""
    ours, childs = multiprocessing.Pipe()

    def sessions() -> list[Session]:
        childs.send("reads")
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        return [SESSION]

    def observe() -> None:
        target: Any = create_autospec(StorageTarget, driver="tgt", instance=True)
        target.up_for.return_value = 1000.0
        target.access.return_value = target.saved_access.return_value = []
        target.sessions.side_effect = sessions
        childs.send(observe_storage("san", target, FenceList(str(folder / "fences.json"))))

    observer = multiprocessing.get_context("fork").Process(target=observe)
    observer.start()
    assert observer.pid is not None
    assert ours.recv() == "reads"
    if stops:
        clock.sleep(LATE + 1.0)
        os.kill(observer.pid, signal.SIGCONT)
    seen: StorageObservation = ours.recv()
    observer.join(30)
    return seen


def test_counters_that_were_read_nobody_knows_when_are_not_told(tmp_path: Path) -> None:
    assert look(tmp_path, stops=False).sessions == (SESSION,)
    late = look(tmp_path, stops=True)
    assert (late.serving, late.sessions) == (True, None)
    assert "this machine itself was" in late.reason
