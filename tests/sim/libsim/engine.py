"""Simulated time: a queue of what happens next, and processes written as generators.

Nothing sleeps and nothing runs at the same time: between two entries of the queue time jumps. Entries of one instant
are taken in the order in which they were made, so the same input always gives the same run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from typing import Any, Optional, Union

MOST_IN_ONE_INSTANT = 100000


class StandingStill(Exception):
    """Something in the simulation itself waits without letting time pass."""


class Engine:
    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def at(self, time: float, what: Callable[..., None], *arguments: Any, last: bool = False) -> None:
        """Call *what* at *time*; with *last* after everything else of that instant."""
        self._made += 1
        heapq.heappush(self._queue, (max(time, self.now), int(last), self._made, what, arguments))

    def after(self, seconds: float, what: Callable[..., None], *arguments: Any, last: bool = False) -> None:
        self.at(self.now + seconds, what, *arguments, last=last)

    def run(self, until: float) -> None:
        """Raises StandingStill instead of never coming to an end."""
        in_one_instant = 0
        while self._queue and self._queue[0][0] <= until:
            time, _last, _made, what, arguments = heapq.heappop(self._queue)
            in_one_instant = in_one_instant + 1 if time == self.now else 0
            if in_one_instant > MOST_IN_ONE_INSTANT:
                raise StandingStill("time stands still at %r s: %r goes on for ever" % (time, what))
            self.now = time
            what(*arguments)
        self.now = until


class RunEnds(Exception):
    """Raised by a process that must not go on: its whole group ends."""


class Task:
    """Something that ends with a value; processes wait for it."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self._waiting: list[Callable[[], None]] = []

    def end(self, value: Any = None) -> None:
        if self.done:
            return
        self.done, self.value = True, value
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def when_done(self, wake: Callable[[], None]) -> None:
        if self.done:
            wake()
        else:
            self._waiting.append(wake)


Wait = Union[float, Task, tuple[Task, float], Sequence[Task]]
Steps = Generator[Wait, None, Any]


class Group:
    """The threads of one operating system process: killed and frozen together."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.frozen = False
        self.killed = False
        self._processes: list[Process] = []
        self._held_back: list[Callable[[], None]] = []
        self.when_ended: Callable[[], None] = lambda: None  # called when it ended itself

    def start(self, steps: Steps) -> Process:
        process = Process(self, steps)
        self._processes.append(process)
        self.engine.after(0.0, process.resume, process.turn)
        return process

    def kill(self) -> None:
        """At once, wherever it is; what was sent to others before goes on there."""
        self.killed = True
        for process in self._processes:
            process.kill()
        self._processes.clear()
        self._held_back.clear()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held_back, self._held_back = self._held_back, []
        for wake in held_back:
            self.engine.after(0.0, wake)

    def hold_back(self, wake: Callable[[], None]) -> None:
        self._held_back.append(wake)


class Process(Task):
    """A generator that yields what it waits for: seconds, a task, (task, seconds at most), or several tasks."""

    def __init__(self, group: Group, steps: Steps) -> None:
        super().__init__()
        self._group = group
        self._steps: Optional[Steps] = steps
        self.turn = 0  # a wake-up of an earlier wait is none

    def kill(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None and not getattr(steps, "gi_running", False):
            steps.close()

    def resume(self, turn: int) -> None:
        if self._steps is None or turn != self.turn:
            return
        if self._group.frozen:
            self._group.hold_back(lambda: self.resume(turn))
            return
        self.turn += 1
        steps = self._steps
        try:
            wait = next(steps)
        except RunEnds:
            self._steps = None
            self._group.kill()
            self._group.when_ended()
            return
        except StopIteration as end:
            self._steps = None
            self.end(end.value)
            return
        if self._steps is None:  # it ended its own group
            steps.close()
            return
        self._wait(wait)

    def _wait(self, wait: Wait) -> None:
        turn, engine = self.turn, self._group.engine

        def wake() -> None:
            engine.after(0.0, self.resume, turn)

        if isinstance(wait, (int, float)):
            engine.after(max(0.0, wait), self.resume, turn)
        elif isinstance(wait, Task):
            wait.when_done(wake)
        elif isinstance(wait, tuple):
            task, seconds = wait
            task.when_done(wake)
            engine.after(seconds, self.resume, turn)
        else:
            open_ones = [task for task in wait if not task.done]
            left = len(open_ones)
            if not left:
                wake()
                return

            def one_done() -> None:
                nonlocal left
                left -= 1
                if not left:
                    wake()

            for task in open_ones:
                task.when_done(one_done)
