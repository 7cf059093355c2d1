"""Lets every test import ``ansible_collections.libreha.vmware`` from this checkout, whatever else is installed.

The checkout need not lie in a folder of that name: a link below .cache/ does (``make setup`` makes the same one).
"""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parent
COLLECTIONS = ROOT / ".cache" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "libreha" / "vmware"
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(os.path.relpath(ROOT, LINK.parent))
_AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)

# `make test` tries the same examples each time, so that a change is judged and not the dice; `make prove` tries new ones.
hypothesis.settings.register_profile("test", derandomize=True, deadline=None)
hypothesis.settings.register_profile("prove", print_blob=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
