"""Builds esxsim when it is missing or older than its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .errors import LabError

SOURCES = Path(__file__).resolve().parent.parent / "esxsim"
BINARY = SOURCES / "esxsim"


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
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        raise LabError("Go is needed to build esxsim and is not installed. Install Go 1.24 or newer (https://go.dev/dl), then try again.")
    done = subprocess.run(
        [go, "build", "-o", "esxsim", "."],
        cwd=SOURCES,
        env={**os.environ, "CGO_ENABLED": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        raise LabError("esxsim could not be built (it needs gcc and the Debian package libiscsi-dev):\n%s" % done.stderr.strip()[-4000:])
    return True
