"""Lets every test import ``ansible_collections.libreha.vmware`` from this checkout, whatever else is installed.

The checkout need not lie in a folder of that name: a link below .cache/ does (``make setup`` makes the same one).
"""

from __future__ import annotations

import os
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parent
COLLECTIONS = ROOT / ".cache" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "libreha" / "vmware"
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(os.path.relpath(ROOT, LINK.parent))
_AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
