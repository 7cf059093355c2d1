"""Plain blocking code in simulated time: production code that waits is a greenlet.

Production code waits through ports (act/runtime.py, the clock of the database, cycle/ports.py). Their simulated halves call :func:`wait`,
which hands the wait to the engine and comes back when it is over. So the code between two waits is exactly what runs on an arbiter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from .engine import Group, Task, Wait

T = TypeVar("T")


class Blocking:
    """A call as the steps of an engine's process: iterating runs it to its next wait."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._greenlet = greenlet(call)
        self.closing = False

    def __next__(self) -> Wait:
        mine = self._greenlet
        mine.parent = getcurrent()
        mine.blocking = self  # type: ignore[attr-defined]
        found = mine.switch()
        if mine.dead:
            raise StopIteration(found)
        waits: Wait = found
        return waits

    @property
    def gi_running(self) -> bool:
        return getcurrent() is self._greenlet

    def close(self) -> None:
        """End it where it waits; it runs nothing more but what leaves its contexts."""
        self.closing = True
        if self._greenlet and not self._greenlet.dead and getcurrent() is not self._greenlet:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw()


def wait(what: Wait) -> None:
    """Wait for seconds, a task, or (task, seconds at most). In a :class:`Blocking` call only."""
    mine = getcurrent()
    if mine.blocking.closing:
        raise GreenletExit
    mine.parent.switch(what)
    if mine.blocking.closing:
        raise GreenletExit


def drive(steps: Generator[Wait, None, T]) -> T:
    """Run a generator of waits from blocking code."""
    while True:
        try:
            what = next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        wait(what)


class Simulated:
    """act/runtime.py's Runtime in one simulated operating system process."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def sleep(self, seconds: float) -> None:
        wait(max(seconds, 0.001))

    @contextmanager
    def workers(self, most: int) -> Iterator[_Workers]:
        workers = _Workers(self._group, most)
        yield workers
        while workers.busy:  # not when this was ended: GreenletExit leaves without
            wait((workers.news(), 1.0))


class _Workers:
    """As many calls at a time as there are workers; the rest waits in its order."""

    def __init__(self, group: Group, most: int) -> None:
        self._group = group
        self._free = most
        self._queue: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._news = Task()

    @property
    def busy(self) -> bool:
        return bool(self._queue) or self._running > 0

    _running = 0

    def news(self) -> Task:
        """Ends when the next call does."""
        if self._news.done:
            self._news = Task()
        return self._news

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        self._queue.append((future, call, arguments))
        self._begin()
        return future

    def wait(self, futures: Collection[Future[T]], seconds: float) -> Collection[Future[T]]:
        if futures and not any(future.done() for future in futures):
            wait((self.news(), seconds))
        return [future for future in futures if future.done()]

    def _begin(self) -> None:
        while self._queue and self._free > 0:
            self._free -= 1
            self._running += 1
            future, call, arguments = self._queue.pop(0)
            self._group.start(Blocking(lambda f=future, c=call, a=arguments: self._carry_out(f, c, a)))  # type: ignore[misc]

    def _carry_out(self, future: Future[Any], call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        finally:
            self._free += 1
            self._running -= 1
        news = self._news
        self._begin()
        news.end()
