"""tgt, configured as the lab's, against libiscsi's conformance program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from iscsi_test_cu import INITIATORS, argv
from run import SECONDS, debian_version, judge

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "storage"))

from real_storage import TARGET, Storage  # noqa: E402

pytestmark = pytest.mark.prove  # it judges tgt, which no change of ours touches


def test_tgt_does_no_worse_than_recorded(tmp_path: Path) -> None:
    assert os.geteuid() == 0, "tgtd needs root"
    for command in ("tgtd", "tgtadm", "tgt-admin", "iscsi-test-cu"):
        assert shutil.which(command), "%s is missing: install tgt and libiscsi-bin" % command
    storage = Storage(tmp_path)
    storage.save(list(INITIATORS))
    try:
        storage.start()
        url = "iscsi://%s/%s/1" % (storage.portal, TARGET)
        began = time.monotonic()
        done = subprocess.run(argv(url, url), capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
        seconds = time.monotonic() - began
    finally:
        storage.end()
    about = {
        "version": "tgt %s" % debian_version("tgt"),
        "configured": "`targets.conf` as the lab writes it: one file, write cache off, initiators by name",
        "program": "libiscsi %s" % debian_version("libiscsi-bin"),
        "seconds": "%.0f" % seconds,
    }
    judge("tgt", done.stdout, about)
