# mypy: ignore-errors
"""Python code in a zip file is compiled once, not at each start: Ansible sends each module as one, and most of its time here is compiling.

Kept as Python keeps hash-based .pyc files (PEP 552), below /var/cache/lab-code: the name in the zip, and the hash of the source.
"""

import _imp
import marshal
import os
import zipimport
from _frozen_importlib_external import _RAW_MAGIC_NUMBER

FOLDER = "/var/cache/lab-code"
compile_source = zipimport._compile_source


def kept(path, source):
    """The code of *source*, which has *path*: that of the zip file, and behind it the name in there."""
    name = path.partition(".zip/")[2].replace("/", "-")
    where = "%s/%s.%s" % (FOLDER, name, _imp.source_hash(_RAW_MAGIC_NUMBER, source).hex())
    try:
        with open(where, "rb") as file:
            code = marshal.loads(file.read())  # faster by far than marshal.load
        _imp._fix_co_filename(code, path)
        return code
    except (OSError, EOFError, ValueError):
        pass
    code = compile_source(path, source)
    if name and os.geteuid() == 0:
        unfinished = "%s.%d" % (where, os.getpid())
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        with open(unfinished, "wb") as file:
            marshal.dump(code, file)
        os.rename(unfinished, where)
    return code


zipimport._compile_source = kept
