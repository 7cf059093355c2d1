"""One run of iscsi-test-cu in a test: kept for `make conformance`, and compared with the record."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import warnings
from pathlib import Path

from iscsi_test_cu import RECORDS, Record, read

SECONDS = 900.0  # a hang guard: 20 s on tgt, some minutes in emulated guests


def debian_version(package: str) -> str:
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=True).stdout


def judge(target: str, text: str, about: dict[str, str]) -> None:
    """Fails when *target* does worse than recorded; warns when it does better. $LIBREHA_CONFORMANCE names a folder to keep the run in,
    and then nothing is judged: the record is made from it."""
    seen = read(text)
    keep = os.environ.get("LIBREHA_CONFORMANCE")
    if keep:
        folder = Path(keep)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("%s.txt" % target.lower())).write_text(text)
        (folder / ("%s.json" % target.lower())).write_text(json.dumps({**about, "date": datetime.date.today().isoformat()}))
        return
    record = Record.load(RECORDS[target])
    for line in record.better(seen):
        warnings.warn("%s does better than recorded, run `make conformance`: %s" % (target, line), stacklevel=2)
    worse = record.worse(seen)
    assert not worse, "%s does worse than recorded:\n%s" % (target, "\n".join(worse))
