"""Builds esxsim when it is missing or older than its sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .errors import LabError

SOURCES = Path(__file__).resolve().parent.parent / "esxsim"
BINARY = SOURCES / "esxsim"
GO = SOURCES.parents[1] / "tools" / "go"


def outdated() -> bool:
    if not BINARY.exists():
        return True
    built = BINARY.stat().st_mtime
    kinds = (".go", ".mod", ".sum", ".c", ".h")
    return any(path.stat().st_mtime > built for path in SOURCES.rglob("*") if path.suffix in kinds and not path.name.endswith("_test.go"))


def build() -> bool:
    """Build if needed; whether it was. The first build compiles govmomi and takes a minute."""
    if not SOURCES.is_dir():
        raise LabError("The sources of esxsim are missing: %s. Is the checkout complete?" % SOURCES)
    if not outdated():
        return False
    done = subprocess.run(
        [str(GO), "build", "-o", "esxsim", "."],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        raise LabError("esxsim could not be built (it needs gcc and the Debian package libiscsi-dev):\n%s" % done.stderr.strip()[-4000:])
    return True
