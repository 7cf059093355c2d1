# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a runner needs of the machine under it: waiting, and workers. Real time and threads here, simulated ones in tests/sim.

A runner waits nowhere else: what it does between two waits is the same code in both worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from .. import clock

T = TypeVar("T")


class Workers(Protocol):
    """Carry calls out beside their caller."""

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a worker call *call*, as soon as one is free."""

    def wait(self, futures: Collection[Future[T]], seconds: float) -> Collection[Future[T]]:
        """Those of *futures* that are done, as soon as one is, or none after *seconds*. Returns at once when there are none."""


class Runtime(Protocol):
    def sleep(self, seconds: float) -> None:
        """Wait that long."""

    def workers(self, most: int) -> AbstractContextManager[Workers]:
        """*most* workers; leaving the context waits until all that was submitted is done."""


class Threads:
    """The real runtime."""

    def sleep(self, seconds: float) -> None:
        clock.sleep(seconds)

    @contextmanager
    def workers(self, most: int) -> Iterator[Workers]:
        with ThreadPoolExecutor(max_workers=most) as pool:
            yield _Pool(pool)


class _Pool:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._pool.submit(call, *arguments)

    def wait(self, futures: Collection[Future[T]], seconds: float) -> Collection[Future[T]]:
        return wait(futures, timeout=seconds, return_when=FIRST_COMPLETED).done
