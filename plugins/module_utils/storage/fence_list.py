# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fence list: which initiators must not write, kept durably on the storage server beside the target.

It is one JSON file. It is changed only under an exclusive flock(2) on a lock file beside it (the list itself is replaced by
rename, so a lock on it would be on a file that is gone), and it keeps the highest fencing token it has seen: an act
with a lower one is refused, because a newer run has taken over (docs/safety.md, "The token").

A list that cannot be understood, or was written by a newer release, is refused and never taken for an empty one:
an empty list would let everybody back in at the next boot. Only a file that does not exist is an empty list.

The lock's holder writes its process and its deadline into the lock file. Its own timer (lease/deadman.py) ends it at
that deadline, but a frozen process cannot die of a timer and would hold the lock for ever. So whoever waits
for the lock kills a holder whose deadline has passed: it was condemned by its own timer already, and can do
nothing right any more. Process id *and* start time must match, on this boot, so that no other process is hit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Callable

from .. import clock
from ..errors import LibrehaError, StaleToken
from ..instant import Instant
from ..lease.deadman import Permit
from . import durable

DEFAULT_FENCE_LIST = "/var/lib/libreha/fences.json"
SCHEMA = 1
_POLL = 0.05


@dataclass(frozen=True)
class Entry:
    """One fenced initiator. ``targets`` are those that its right was taken from, so that exactly they admit it again, and ``spellings``
    are how they spelled its name: tgtd compares letter by letter, and the inventory may spell it another way than the host."""

    host: str
    initiator: str
    token: int
    at: Instant  # when its right was last taken from it
    reason: str = ""
    targets: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()

    def names(self, initiator: str) -> bool:
        return self.initiator.casefold() == initiator.casefold()


@dataclass(frozen=True)
class Fences:
    """The list's content. ``released`` are (host, initiator) that were fenced once and let in again: by these a host that needs no
    unfence any more is told from a name that was never here."""

    highest_token: int = 0
    entries: tuple[Entry, ...] = ()
    released: tuple[tuple[str, str], ...] = ()

    def of(self, initiator: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.names(initiator)), None)

    def of_host(self, host: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.host == host)

    def knows(self, host: str, initiator: str | None = None) -> bool:
        """Whether *host* (with that *initiator*) is fenced, or was once."""
        seen = [(entry.host, entry.initiator) for entry in self.entries] + list(self.released)
        return any(name == host and (initiator is None or one.casefold() == initiator.casefold()) for name, one in seen)

    def require(self, token: int, host: str, act: str) -> None:
        """Raises StaleToken when a run with a higher token has acted here."""
        if token < self.highest_token:
            raise StaleToken(
                "not done, token %d is older than %d, the highest that the fence list has seen: %s" % (token, self.highest_token, act),
                host=host,
                remedy="another run has taken over; take a new lease, with a token above %d" % self.highest_token,
                details={"token": token, "highest_token": self.highest_token},
            )

    def with_token(self, token: int) -> Fences:
        return replace(self, highest_token=max(token, self.highest_token))

    def with_entry(self, entry: Entry) -> Fences:
        others = tuple(other for other in self.entries if not other.names(entry.initiator))
        released = tuple(pair for pair in self.released if not entry.names(pair[1]))
        return replace(self, entries=tuple(sorted((*others, entry), key=lambda one: (one.host, one.initiator))), released=released)

    def without(self, initiators: Iterable[str]) -> Fences:
        """Let them in: off the list of fences, and among the released."""
        gone = {initiator.casefold() for initiator in initiators}
        left = tuple(entry for entry in self.entries if entry.initiator.casefold() not in gone)
        let_in = {(entry.host, entry.initiator) for entry in self.entries if entry not in left}
        return replace(self, entries=left, released=tuple(sorted({*self.released, *let_in})))


class FenceList:
    """The file. Reading takes no lock (a rename is all or nothing); changing goes through :meth:`locked`."""

    def __init__(self, path: str = DEFAULT_FENCE_LIST, *, now: Callable[[], Instant] = clock.now) -> None:
        self.path = path
        self._now = now

    def read(self) -> Fences:
        """Raises LibrehaError when the list is there and cannot be understood."""
        try:
            with open(self.path, encoding="utf-8") as source:
                content = json.load(source)
        except FileNotFoundError:
            return Fences()
        except OSError as error:
            raise LibrehaError(
                "cannot read the fence list %s: %s" % (self.path, error.strerror),
                remedy="run the task as root (become: true)",
            ) from error
        except ValueError as error:
            raise self._damaged("it is not JSON (%s)" % error) from error
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise LibrehaError(
                "the fence list %s was written by a newer release (schema %d, this one knows %d)" % (self.path, schema, SCHEMA),
                remedy="use that release of libreha.vmware on the storage server",
            )
        if schema != SCHEMA:
            raise self._damaged("its schema is %r" % (schema,))
        try:
            return _fences(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged("%s: %s" % (type(error).__name__, error)) from error

    def write(self, fences: Fences) -> None:
        """Durable on return. Only under :meth:`locked`. Raises LibrehaError, and then the old list is untouched."""
        content = {
            "schema": SCHEMA,
            "highest_token": fences.highest_token,
            "fences": [
                {
                    "host": entry.host,
                    "initiator": entry.initiator,
                    "token": entry.token,
                    "at": entry.at.to_dict(),
                    "reason": entry.reason,
                    "targets": list(entry.targets),
                    "spellings": list(entry.spellings),
                }
                for entry in fences.entries
            ],
            "released": [{"host": host, "initiator": initiator} for host, initiator in fences.released],
        }
        durable.replace(self.path, (json.dumps(content, indent=2) + "\n").encode())

    @contextlib.contextmanager
    def locked(self, permit: Permit) -> Iterator[None]:
        """Hold the lock; wait for it no longer than *permit* lasts. Raises LibrehaError naming the holder."""
        descriptor = self._open_lock()
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    holder = self._holder()
                    if holder is not None and self._now().seconds > holder[2]:
                        _kill(holder[0], holder[1])
                    if permit.remaining() <= _POLL:
                        raise LibrehaError(
                            "another run holds the lock of the fence list %s%s"
                            % (self.path, " (process %d)" % holder[0] if holder else ""),
                            remedy="let it finish, then run this again",
                        ) from None
                    clock.sleep(_POLL)
            with contextlib.suppress(OSError):  # a full disk must not keep the runtime fence from being tried
                note = {"pid": os.getpid(), "started": _started(os.getpid()), "deadline": permit.deadline, "boot_id": self._now().boot_id}
                text = json.dumps(note).encode()
                os.pwrite(descriptor, text, 0)
                os.ftruncate(descriptor, len(text))
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        folder = os.path.dirname(os.path.realpath(self.path))
        try:
            if not os.path.isdir(folder):
                durable.make_folder(folder)
            return os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LibrehaError(
                "cannot open the lock of the fence list, %s.lock: %s" % (self.path, error.strerror),
                remedy="run the task as root (become: true); make room on that file system, or make it writable",
            ) from error

    def _holder(self) -> tuple[int, str, float] | None:
        """Process, start time and deadline of the lock's holder, as it wrote them on this boot."""
        try:
            with open(self.path + ".lock", encoding="ascii") as source:
                note = json.load(source)
            if note["boot_id"] != self._now().boot_id:
                return None
            return int(note["pid"]), str(note["started"]), float(note["deadline"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _damaged(self, why: str) -> LibrehaError:
        return LibrehaError(
            "the fence list %s is damaged: %s. Nothing was changed" % (self.path, why),
            remedy="restore it from a backup, or write it anew by hand with every host that must stay fenced; "
            "never just delete it: that lets fenced hosts back in",
        )


def _fences(content: dict[str, Any]) -> Fences:
    highest = content["highest_token"]
    if not isinstance(highest, int) or isinstance(highest, bool) or highest < 0:
        raise ValueError("highest_token is %r" % (highest,))
    entries = []
    for item in content["fences"]:
        for key, kind in (("host", str), ("initiator", str), ("reason", str), ("token", int), ("targets", list)):
            if not isinstance(item[key], kind):
                raise ValueError("%s is %r" % (key, item[key]))
        spellings = item.get("spellings", [])  # older lists have none
        if not isinstance(spellings, list):
            raise ValueError("spellings is %r" % (spellings,))
        entries.append(
            Entry(
                host=item["host"],
                initiator=item["initiator"],
                token=item["token"],
                at=Instant.from_dict(item["at"]),
                reason=item["reason"],
                targets=tuple(str(target) for target in item["targets"]),
                spellings=tuple(str(name) for name in spellings),
            )
        )
    released = content.get("released", [])  # older lists have none
    return Fences(highest, tuple(entries), tuple((str(item["host"]), str(item["initiator"])) for item in released))


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot (proc(5), stat field 22), "" when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as source:
            return source.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _kill(pid: int, started: str) -> None:
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return
    try:
        if started and _started(pid) == started:
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(process)
