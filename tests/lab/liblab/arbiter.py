"""The arbiter's own disk: in memory, of a size of its own, so that it can be full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .errors import LabError, run
from .state import Lab

FILLER = "filler"
BLOCK = bytes(4096)


def make_disk(lab: Lab) -> None:
    """The folder, on a disk of its own if one was asked for."""
    lab.arbiter.mkdir(parents=True)
    if lab.options.arbiter_disk_mib:
        run(
            ["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700" % lab.options.arbiter_disk_mib, "tmpfs", str(lab.arbiter)],
            what="make the arbiter's disk",
        )


def remove_disk(path: Path) -> None:
    if os.path.ismount(path / "arbiter"):
        run(["umount", "--lazy", str(path / "arbiter")], what="take the arbiter's disk away")


def fill(lab: Lab) -> None:
    """Write until there is no room. Raises LabError where that would fill the machine's own disk."""
    if not os.path.ismount(lab.arbiter):
        raise LabError("The arbiter has no disk of its own that could be full; 'lab up --arbiter-disk-mib 64' gives it one.")
    with open(lab.arbiter / FILLER, "ab", buffering=0) as filler:
        try:
            while True:
                filler.write(BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def free(lab: Lab) -> str:
    (lab.arbiter / FILLER).unlink(missing_ok=True)
    return "arbiter: its disk has room again"
