# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock that shows that a dead run acts no more, so that its lease need not run out.

A lease may be taken before its end only when nothing acts under it. That its monitor is gone does not show it: what acts are processes of
their own. So all of them hold one flock(2), on a file beside an SQLite state database.

Invariant: while any process may send a request to a host under a *bound* lease, the flock of that lease is held. Kept by:

* Linux ties a flock to the open file description, not to a process, and frees it when the last descriptor of that description is closed.
  Nobody unlocks it. Each run opens the file anew, so the lock of an earlier run of this very process counts as somebody else's.
* The monitor's descriptor is open for as long as its run. Each order takes a duplicate along to the fork server (SCM_RIGHTS); an order
  that is in the socket's queue holds the description too. The child keeps it until the kernel ends the child; a child that is frozen keeps
  it. Fence agents, with the launcher before them, inherit it (``inherited``). So there is no moment in which an act has no descriptor.
* A lease is bound by its holder only, while it has the lock: the file then says holder, token, boot and the file's own inode.

So whoever wins the lock, finds in *this* file the (holder, token) of the lease row, and is on the boot that both were written on, knows
that whatever could act under that lease has ended, and takes it with a higher token. In every other case the lease's own end is waited
for: the lock is held (also by a child that is frozen), the file was replaced or copied, the row belongs to a playbook that keeps a lease
between two modules, the database was restored, the machine restarted (then the boot id says that the holder is gone), or the database is
PostgreSQL, whose clients may be on other machines.

What the lock does not wait for, and why that is safe:

* A request that a host has received already. It is an act of before the end, as with any lease; the successor reads the host first, and
  register and power on are idempotent there (``decide/vms/transaction.py``, invariants 2 and 3).
* A fence request under way to a remote storage server. It ends at its deadline on that server's clock, is refused once a higher token
  was seen there, and can only fence: that costs availability and never data.
* The moment in which the kernel kills an agent's children after the agent (``fence/agent_launcher.py``). They can only switch off a host.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import NamedTuple, Optional

from .. import clock
from ..errors import LibrehaError

SUFFIX = ".lease"  # of the file, beside the database's
_INHERITED: list[int] = []


class Bound(NamedTuple):
    """The lease that a lock file belongs to."""

    holder: str
    token: int
    boot_id: str


class LeaseLock:
    """The lock of one run. ``descriptor`` is what whoever acts in this run must hold.

    Args:
        path: The lock file; it is made if it is missing, for the same user as the database beside it.

    Raises:
        LibrehaError: The file cannot be opened for writing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.held = False
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LibrehaError(
                "the lock of the lease, %s, cannot be opened: %s" % (path, error.strerror),
                remedy="run as the owner of the state database, or correct the owner and mode of that file",
            ) from error

    @classmethod
    def beside(cls, database: str) -> LeaseLock:
        """The lock of the SQLite *database* (its path)."""
        lock = cls(database + SUFFIX)
        if os.geteuid() == 0:
            with contextlib.suppress(OSError):  # the database is gone: its next use says so
                owner = os.stat(database)
                os.fchown(lock.descriptor, owner.st_uid, owner.st_gid)
        return lock

    def take(self) -> bool:
        """Whether this run has the lock, now or from now on. It does not wait."""
        if not self.held:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.held = True
            except BlockingIOError:
                return False
        return self._is_the_file()

    def ended(self) -> Optional[Bound]:
        """The lease that was bound to this file by a run that has ended with all that acted in it. None when that cannot be known."""
        if not self.take():
            return None
        try:
            content = json.loads(os.pread(self.descriptor, 4096, 0))
            if content["inode"] != os.fstat(self.descriptor).st_ino:  # a copy of the file: its lock is another one
                return None
            return Bound(str(content["holder"]), int(content["token"]), str(content["boot_id"]))
        except (OSError, ValueError, KeyError, TypeError):  # new, or its writer was killed in the middle
            return None

    def bind(self, holder: str, token: int) -> bool:
        """Say that the lease with *token* is *holder*'s and that whatever acts under it holds this lock. False when the lock is not to be
        had, or the file not to be written: then the lease ends by its time alone."""
        if not self.take():
            return False
        bound = Bound(holder, token, clock.read_boot_id())
        content = json.dumps({**bound._asdict(), "inode": os.fstat(self.descriptor).st_ino}).encode()
        try:
            os.ftruncate(self.descriptor, 0)
            return os.pwrite(self.descriptor, content, 0) == len(content)
        except OSError:  # the disk is full: what is left there proves nothing
            return False

    def close(self) -> None:
        """This process has done with it; what acts still holds it until its own end."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self.held = -1, False

    def _is_the_file(self) -> bool:
        """Whether others would open the same file: one that was removed or replaced locks nobody out."""
        try:
            there, here = os.stat(self.path), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def act_under(descriptor: int) -> None:
    """From here on this process acts for the run whose lock this is a descriptor of; it is never closed."""
    _INHERITED.append(descriptor)


def inherited() -> tuple[int, ...]:
    """The descriptors that a program must inherit that acts for this process."""
    return tuple(_INHERITED)
