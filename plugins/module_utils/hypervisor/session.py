# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A logged-in session on one host: two round trips to log in, one to log out, none hidden in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Callable

from ..decide.answers import ApiAnswer
from ..libraries import unusable
from .faults import host_unavailable, hypervisor_fault
from .interface import Connection, HostUnavailable
from .pyvmomi import PROBLEM, vim
from .transport import HostStub, exchange_answer

SILENT = (ApiAnswer.TIMED_OUT, ApiAnswer.UNREACHABLE)


class Session:
    """Connects, logs in, and turns whatever goes wrong into this collection's errors."""

    def __init__(self, connection: Connection) -> None:
        if PROBLEM:
            raise unusable("pyVmomi", PROBLEM)
        self.connection = connection
        self.stub = HostStub(connection)
        self.content: Any = None  # vim.ServiceInstanceContent
        self._answers = True
        self._ended = False  # by the host

    @property
    def usable(self) -> bool:
        return self.content is not None and not self._ended and not self.stub.is_cut_off

    def login(self) -> None:
        """Raises HostUnavailable."""
        connection = self.connection
        try:
            with self.reading("asking for the API's entry points"):
                content = vim.ServiceInstance("ServiceInstance", self.stub).RetrieveContent()
            if not isinstance(content, vim.ServiceInstanceContent) or content.sessionManager is None:
                raise HostUnavailable(
                    "%s port %s answers, but not as a vSphere API" % (connection.hostname, connection.port),
                    answer=ApiAnswer.BROKEN,
                    host=connection.name,
                    remedy="check hostname and port",
                )
            self.stub.speak(content.about.apiVersion or "")
            with self.reading("logging in as %s" % connection.username):
                content.sessionManager.Login(connection.username, connection.password, None)
        except BaseException:
            self.stub.DropConnections()
            raise
        self.content = content

    def logout(self) -> None:
        """Ends the session on the host too, unless it stopped answering or is ended there: then asking once more would gain nothing."""
        usable, content, self.content = self.usable, self.content, None
        # The work is done: a session that could not be ended expires on the host.
        with contextlib.suppress(Exception):
            if usable and self._answers:
                content.sessionManager.Logout()
        self.stub.DropConnections()

    @contextlib.contextmanager
    def reading(self, tried: str) -> Iterator[None]:
        """Errors of what is read inside become HostUnavailable."""
        try:
            yield
            self._answers = True  # also if it did not a moment ago
        except Exception as error:
            self._note(error)
            unavailable = host_unavailable(error, tried, self.connection)
            if unavailable is None or unavailable is error:
                raise
            raise unavailable from None

    @contextlib.contextmanager
    def acting(self, tried: str) -> Iterator[None]:
        """Errors of what is done inside become HypervisorFault."""
        try:
            yield
        except Exception as error:
            self._note(error)
            fault = hypervisor_fault(error, tried, self.connection)
            if fault is None:
                raise
            raise fault from None

    @contextlib.contextmanager
    def writing(self, tried: str, before_write: Callable[[], None] | None) -> Iterator[None]:
        """Around exactly one request that changes something: *before_write* is asked now, and once more when the
        connection stands and only the bytes remain to be sent."""
        if before_write is not None:
            before_write()
        self.stub.before_bytes = before_write
        try:
            with self.acting(tried):
                yield
        finally:
            self.stub.before_bytes = None

    @contextlib.contextmanager
    def patiently(self, seconds: float) -> Iterator[None]:
        """Requests inside may take *seconds* to be answered (a rescan asks every target before it does). Connecting may not."""
        self.stub.patience = seconds
        try:
            yield
        finally:
            self.stub.patience = None

    def _note(self, error: Exception) -> None:
        """That the connection was closed ends no session: the next request opens another one."""
        if isinstance(error, vim.fault.NotAuthenticated):
            self._ended = True
        answer = exchange_answer(error)
        if answer is not None and answer[0] in SILENT:
            self._answers = False
