# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which tgt this is, and whether a fence at it means what it says.

**Whom tgtd admits** (``login_start`` in usr/iscsi/iscsid.c, ``ip_acl`` and ``iqn_acl`` in usr/iscsi/target.c; both tried, 1.0.80 and
1.0.85):

* since 1.0.83: an initiator whose name *or* address is on the target's list;
* before: an initiator whose address is on the list *and*, if the list has any name, whose name is on it too. So a target that admits by
  name alone (with :data:`~.reading.NOBODY_ADDRESS`) locks every host out, and a target that loses its last name admits every name.

There is no guard line that is right under both rules. ``ALL`` beside the names would do before 1.0.83, and the same file
admits everybody, fenced hosts included, on the day on which the package is upgraded. So an older tgt is refused.

Both count: the running daemon, asked through ``/proc/PID/exe``, and the program on disk, which loads the saved configuration at the next
start. After an upgrade or a downgrade without a restart they differ.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache

from ...errors import LibrehaError

OLDEST = (1, 0, 83)
REMEDY = (
    "install tgt 1.0.83 or newer (Debian 12, Ubuntu 24.04) and restart it, having seen that every target has the line "
    "initiator-address 255.255.255.255; or use the kernel's target (driver lio)"
)
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SECONDS = 5.0
_DELETED = " (deleted)"  # proc(5), exe: after an upgrade
_ALSO = "/usr/local/sbin:/usr/sbin:/sbin"  # where a login without a shell of its own does not look


def lacking(version: str) -> str:
    """Why a tgt of this *version* cannot be fenced with; "" when it can."""
    match = _VERSION.match(version)
    if match is None:
        return "it cannot be told which release of tgt this is (it says %r), and before 1.0.83 a fence locks every host out" % version
    if tuple(int(part) for part in match.groups()) >= OLDEST:
        return ""
    return (
        "this is tgt %s, which admits an initiator only if both its name and its address match: what fences a host would lock every host "
        "out at tgt's next start" % version
    )


def running(pid: int) -> str:
    """The version of the tgtd that runs as process *pid*, "" when it does not tell."""
    return _version_of("/proc/%d/exe" % pid)


def next_start(pid: int) -> str | None:
    """The version of the program from which process *pid* was started, as it is on disk now; None as with :func:`installed`."""
    try:
        path = os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return installed()
    path = "/proc/%d/root%s" % (pid, path[: -len(_DELETED)] if path.endswith(_DELETED) else path)  # a container's is not ours
    return _version_of(path) if os.path.exists(path) else installed()


def installed() -> str | None:
    """The version of the tgtd on this machine's usual paths, None when there is none."""
    path = shutil.which("tgtd", path="%s:%s" % (os.environ.get("PATH", ""), _ALSO))
    return None if path is None else _version_of(path)


def require(version: str) -> None:
    """Raises LibrehaError when *version* cannot be fenced with."""
    why = lacking(version)
    if why:
        raise LibrehaError("nothing was changed: %s" % why, remedy=REMEDY)


def _version_of(program: str) -> str:
    try:
        found = os.stat(program)
        return _ask(program, found.st_dev, found.st_ino, found.st_mtime_ns)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


@lru_cache(maxsize=8)
def _ask(program: str, _device: int, _inode: int, _changed: int) -> str:
    """The same file is asked once; one that did not answer is asked again. Raises OSError, ValueError, SubprocessError."""
    answer = subprocess.run([program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=True)
    return answer.stdout.strip()[:40]
