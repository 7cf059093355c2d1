"""Runs scenarios from this checkout: ``python tests/sim/simulate.py PATH``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".cache" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "libreha" / "vmware"


def import_path() -> None:
    """As conftest.py: the checkout need not lie in a folder of the collection's name."""
    if not LINK.exists():
        LINK.parent.mkdir(parents=True, exist_ok=True)
        LINK.symlink_to(os.path.relpath(ROOT, LINK.parent))
    sys.path[:0] = [str(COLLECTIONS), str(Path(__file__).resolve().parent)]


if __name__ == "__main__":
    import_path()
    from libsim.cli import main

    sys.exit(main(sys.argv[1:]))
