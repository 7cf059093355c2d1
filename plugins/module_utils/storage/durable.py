# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replace a file so that a crash at any moment leaves either the old or the new content, and the new one for good
once the call has returned: temporary file in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ..errors import LibrehaError


def replace(path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Write *content* to *path* durably; owner, permissions and SELinux label of an existing file are kept, a new one
    gets *mode*. A symbolic link stays and its destination is replaced. Raises LibrehaError, and then the old content
    is untouched."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".%s." % os.path.basename(real), dir=folder)
        with os.fdopen(descriptor, "wb") as output:
            try:
                old = os.stat(real)
            except FileNotFoundError:
                os.fchmod(output.fileno(), mode)
            else:
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(output.fileno(), old.st_uid, old.st_gid)
                os.fchmod(output.fileno(), old.st_mode & 0o7777)
                with contextlib.suppress(OSError):
                    os.setxattr(output.fileno(), "security.selinux", os.getxattr(real, "security.selinux"))
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        os.rename(temporary, real)
        temporary = ""
        sync_folder(folder)
    except OSError as error:
        raise LibrehaError(
            "cannot write %s durably: %s" % (path, error.strerror or error),
            remedy="make room on that file system, or make it writable, then run this again",
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def make_folder(path: str) -> None:
    """Make the folder *path*, readable by root only, and those above it that are missing; durable on return. Raises OSError."""
    above = os.path.dirname(path)
    if not os.path.isdir(above):
        make_folder(above)
    with contextlib.suppress(FileExistsError):  # another run was faster
        os.mkdir(path, mode=0o700)
    sync_folder(above)


def sync_folder(folder: str) -> None:
    """Make the folder's entries durable: without it a rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sparse_file(path: str, size: int) -> None:
    """Make the file, readable by root only, or make it longer; nothing in it is written. Durable on return. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.closing(os.fdopen(descriptor, "r+b", buffering=0)):
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
    sync_folder(os.path.dirname(path))
