# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Acts run in child processes of their own, forked from a warm server.

Why processes. An act ends with its lease because the kernel ends the process that acts (lease/deadman.py), which must cost neither
the monitor nor any other act anything; so does whatever a library does to its process. Why a server: it is forked before any
thread, database, session or socket is open, so a child inherits none of them, and it has imported everything before the first order
comes, so no act pays for imports.

    monitor  --fork-->  server (one thread, waits)  --fork for each order-->  child (acts, answers, ends)

Each order has a socket of its own between monitor and child, and brings the descriptor of its run's lock along (lease/lock.py). The
child's answer comes back on the socket; its end without an answer says that the child died. The other direction says that the child
should come to an end: the monitor asked for it, or is gone.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..errors import ENDS_THE_RUN, LibrehaError, unexpected
from ..lease.lock import act_under

Work = Callable[[Any, Callable[[], bool]], Any]
"""What a child does: order and ``stopping`` (whether it should come to an end) -> answer, which must survive pickle."""

_LENGTH = 8  # bytes before each pickle


@dataclass(frozen=True)
class Died:
    """In place of an answer: the child ended without one. Its deadline passed, or it was killed: what it was at is unknown."""

    text: str = "it ended without an answer: its time to act was over, or it was killed"


@dataclass(frozen=True)
class Failed:
    """In place of an answer: the act raised. ``ends_the_run``: LeaseLost or StaleToken."""

    error: LibrehaError
    ends_the_run: bool = False


class ForkServerGone(LibrehaError):
    """The process that starts the acts has ended; only a new monitor can start another."""


class Child:
    """One act under way, as the monitor holds it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = bytearray()
        self._answer: Any = None
        self._stopping = False
        self.ended = False

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def answer(self) -> Any:
        """What the child answered, :class:`Failed` or :class:`Died`; None while it is under way."""
        return self._answer

    def stop(self) -> None:
        """Ask it, once, to come to an end; what it has sent to a host goes on there."""
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):
                self._channel.send(b"s")

    def poll(self) -> bool:
        """Take in what there is, without waiting. Returns whether it has ended."""
        while not self.ended:
            try:
                part = self._channel.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                part = b""
            self._received += part
            if not part or self._is_whole():
                self._end()
        return True

    def abandon(self) -> None:
        """Wait for it no more: it sees that the monitor is gone, and comes to an end."""
        if not self.ended:
            self.ended, self._answer = True, Died("it did not come to its end in time, and is waited for no more")
            self._channel.close()

    def _is_whole(self) -> bool:
        return len(self._received) >= _LENGTH and len(self._received) - _LENGTH >= int.from_bytes(self._received[:_LENGTH], "big")

    def _end(self) -> None:
        self.ended = True
        self._answer = self._read() if self._is_whole() else Died()
        self._channel.close()

    def _read(self) -> Any:
        try:
            return pickle.loads(bytes(self._received[_LENGTH:]))
        except Exception as error:  # one act's answer costs the monitor nothing else
            return Died("its answer cannot be read: %s" % unexpected(error))


class ForkServer:
    """Forks a child for each order. Make it before any thread is started and anything is opened."""

    def __init__(self, work: Work, prepare: Callable[[], None] = lambda: None) -> None:
        """*prepare* imports, in the server, what *work* would import when it needs it."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            _in_the_server(self._channel, theirs, work, prepare)
        theirs.close()

    def start(self, order: Any, lock: Optional[int] = None) -> Child:
        """Begin to carry out *order*; *lock* is the descriptor of its run's lock. Raises ForkServerGone."""
        ours, childs = socket.socketpair()
        try:
            socket.send_fds(self._channel, [b"o"], [childs.fileno(), *([] if lock is None else [lock])])
            _send(ours, order)
        except OSError as error:
            ours.close()
            raise ForkServerGone(
                "the process that starts the acts is gone (%s)" % error, remedy="run it again: the next run completes what is open"
            ) from error
        finally:
            childs.close()
        return Child(ours)

    def close(self) -> None:
        """End the server. Children under way see that the monitor is gone, and come to an end."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _send(channel: socket.socket, value: Any) -> None:
    form = pickle.dumps(value)
    channel.sendall(len(form).to_bytes(_LENGTH, "big") + form)


def _receive(channel: socket.socket) -> Any:
    def exactly(count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            part = channel.recv(count - len(got))
            if not part:
                raise EOFError("the monitor is gone")
            got += part
        return bytes(got)

    return pickle.loads(exactly(int.from_bytes(exactly(_LENGTH), "big")))


def _in_the_server(monitors: socket.socket, channel: socket.socket, work: Work, prepare: Callable[[], None]) -> None:
    """Never returns. It keeps nothing of the monitor's open: whoever waits for the monitor's end must not wait for us."""
    code = 1
    try:
        monitors.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes the children's ends
        with contextlib.suppress(Exception):  # the act that needs it says what is missing
            prepare()
        while True:
            message, descriptors, _flags, _address = socket.recv_fds(channel, 1, 2)
            if not message:
                break
            if os.fork() == 0:
                channel.close()
                _in_the_child(descriptors, work)
            for descriptor in descriptors:
                os.close(descriptor)
        code = 0
    finally:
        os._exit(code)


def _in_the_child(descriptors: list[int], work: Work) -> None:
    """Never returns."""
    code = 1
    try:
        channel = socket.socket(fileno=descriptors[0])
        for lock in descriptors[1:]:
            act_under(lock)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # agents are its children, and it waits for them
        order = _receive(channel)

        def stopping() -> bool:
            return bool(select.select([channel], [], [], 0)[0])

        _send(channel, _answer_of(work, order, stopping))
        code = 0
    finally:
        os._exit(code)


def _answer_of(work: Work, order: Any, stopping: Callable[[], bool]) -> Any:
    try:
        return work(order, stopping)
    except LibrehaError as error:
        return Failed(error, isinstance(error, ENDS_THE_RUN))
    except Exception as error:
        return Failed(LibrehaError(unexpected(error), remedy="this was not foreseen: report it"))


def wait_for_any(children: list[Child], seconds: float) -> None:
    """Until one of *children* has something to say, at most *seconds*."""
    select.select(children, [], [], max(0.0, seconds))
