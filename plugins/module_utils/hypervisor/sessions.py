# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One API session for each host, which stays open from look to look.

On ESXi each login is an event, and a host keeps few of those: two logins a look push everything else out of its list.

Invariants:

* A session that is kept open is no evidence. Each question is a request of its own, which the host answers now or does not; nothing that
  it answered before is used again.
* That the session, or its connection, has ended since the last question says nothing against the host: the host, or something on the way,
  may end either at any time. The question is then asked once more, on a new connection, in a new session if need be; what becomes of
  that is the host's answer. No answer in time is an answer: the time for this question is over.
* A session belongs to the process that opened it. Acts run in children of a server that was forked before any session was opened
  (act/worker.py); in a child of any other kind, nothing is asked here and nothing is ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from typing import Optional, TypeVar

from ..decide.answers import ApiAnswer
from ..errors import LibrehaError
from ..parallel import in_parallel
from .interface import Connection, HostUnavailable, Hypervisor
from .registry import open_hypervisor

Result = TypeVar("Result")
Question = Callable[[Hypervisor], Result]

CLOSE_SECONDS = 3.0  # for logging out everywhere; what is not ended by then, the host ends when it has idled


class _Host:
    """The session of one host. ``login`` is held while one is opened, so that two threads do not open two."""

    def __init__(self) -> None:
        self.login = threading.Lock()
        self.opening: Optional[Hypervisor] = None
        self.opened: Optional[Hypervisor] = None
        self.over = False  # no session is opened here any more

    def usable(self) -> Optional[Hypervisor]:
        opened = self.opened
        return opened if opened is not None and opened.usable else None


class HostSessions:
    """Opened when they are first needed, for each connection one. May be used by several threads at once."""

    def __init__(self) -> None:
        self._hosts: dict[Connection, _Host] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def ask(self, connection: Connection, question: Question[Result]) -> Result:
        """What *question* returns of the host; it may be called three times. Raises what it raises, and HostUnavailable when the host does
        not let us in."""
        host = self._host(connection)
        try:
            return self._ask(connection, host, question)
        except HostUnavailable:
            if host.over:  # we ended it ourselves, maybe for another question: that says nothing against the host
                raise _given_up(connection) from None
            raise

    def _ask(self, connection: Connection, host: _Host, question: Question[Result]) -> Result:
        session = host.usable()
        if session is None:
            return question(self._open(connection, host))
        for on_a_new_connection in (False, True):
            try:
                return question(session)
            except HostUnavailable as error:
                if not session.usable:
                    break
                if on_a_new_connection or error.answer is not ApiAnswer.BROKEN:
                    raise
        return question(self._open(connection, host))

    def cut_off(self, connection: Connection) -> None:
        """Have every question to this host that is still under way end with an error; the next one is asked in a new session."""
        with self._lock:
            host = self._hosts.pop(connection, None)
        if host is not None:
            host.over = True
            for session in (host.opening, host.opened):
                if session is not None:
                    session.cut_off()

    def keep_only(self, connections: Collection[Connection]) -> None:
        """End the sessions of all others: their hosts, or how these are reached, are no longer in the configuration."""
        with self._lock:
            gone = [self._hosts.pop(connection) for connection in set(self._hosts) - set(connections)]
        _end(gone)

    def close(self) -> None:
        """End all sessions, in a few seconds, and open none any more; one that does not answer is left to its host."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            hosts, self._hosts = list(self._hosts.values()), {}
        _end(hosts)

    def __enter__(self) -> HostSessions:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _host(self, connection: Connection) -> _Host:
        if os.getpid() != self._process:
            raise LibrehaError("a session with a host is not used by another process than the one that opened it")
        with self._lock:
            if self._closed:
                raise _given_up(connection)
            return self._hosts.setdefault(connection, _Host())

    def _open(self, connection: Connection, host: _Host) -> Hypervisor:
        """The host's session; a new one, unless another thread has opened one meanwhile. Raises HostUnavailable."""
        with host.login:
            current = host.usable()
            if current is not None:
                return current
            host.opening = open_hypervisor(connection)
            try:
                if host.over:
                    raise _given_up(connection)
                opened = host.opening.__enter__()
                if host.over:
                    opened.__exit__(None, None, None)
                    raise _given_up(connection)
                host.opened = opened
            finally:
                host.opening = None
            return opened


def _given_up(connection: Connection) -> HostUnavailable:
    return HostUnavailable("the question was given up", answer=ApiAnswer.NOT_ASKED, host=connection.name)


def _end(hosts: Collection[_Host]) -> None:
    for host in hosts:
        host.over = True
    sessions = [host.opened for host in hosts if host.opened is not None]
    in_parallel({number: _ended(session) for number, session in enumerate(sessions)}, CLOSE_SECONDS)


def _ended(session: Hypervisor) -> Callable[[], None]:
    return lambda: session.__exit__(None, None, None)
