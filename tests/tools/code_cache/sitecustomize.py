"""For every Python below tests/tools/lanes, by PYTHONPATH: what a module's zip file holds is compiled once a machine and not at each of the
thousand module runs of `make test`, as in the lab's guests (lab_code_cache), by the hash of each source. Nothing else of a run is kept.
"""

import os
import sys

SHARED = os.path.join(os.path.dirname(__file__), "../../lab/liblab/qemu/image/root/usr/lib/python3/dist-packages")

if os.environ.get("LIBREHA_CODE_CACHE") and sys.version_info[:2] == (3, 11):  # the guests' Python, which lab_code_cache is written for
    sys.path.append(SHARED)
    import lab_code_cache

    sys.path.remove(SHARED)
    lab_code_cache.FOLDER = os.environ["LIBREHA_CODE_CACHE"]
