"""The resident monitor, with the real loop and a database file, over a small cluster in simulated time: see cycle/scene.py."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cycle"))

from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.lease.lock import LeaseLock
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.service.log import Log
from ansible_collections.libreha.vmware.plugins.module_utils.service.resident import ResidentMonitor, Setup
from ansible_collections.libreha.vmware.plugins.module_utils.service.systemd import Notifier
from decide_world import World
from scene import Scene


class Said(Notifier):
    """What systemd is told."""

    def __init__(self) -> None:
        super().__init__({"NOTIFY_SOCKET": "@nobody"})
        self.messages: list[str] = []

    def _send(self, message: str) -> None:
        self.messages.append(message)


@dataclass
class Cluster:
    """The world of the resident monitor, and its hands and eyes: a Scene, in which time passes while it waits.

    ``then``: at so many seconds of the scene something happens; the last of them ends the monitor.
    """

    scene: Scene
    policy: Policy = field(init=False)
    runs: list[Run] = field(default_factory=list)
    locks: list[Optional[LeaseLock]] = field(default_factory=list)
    then: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)
    refuses: Optional[Exception] = None  # the database, when it is opened
    looked_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state_url = self.scene.url
        self.policy = read_policy(self.scene.world.full_policy())
        self.scene.while_waiting = self._happen
        self.clock = self.scene.world.at

    def open_database(self) -> StateDatabase:
        if self.refuses is not None:
            raise self.refuses
        return StateDatabase.open(self.state_url, clock=self.clock, sleep=self.sleep)

    def observer(self) -> Cluster:
        return self

    def look(self, *arguments: Any) -> Any:
        self.looked_at.append(self.scene.world.now)
        return self.scene.look(*arguments)

    def news(self) -> bool:
        return self.scene.news()

    def highest_token(self) -> int:
        return self.scene.highest_token()

    def executor(self, run: Run, lock: Optional[LeaseLock]) -> Scene:
        self.runs.append(run)
        self.locks.append(lock)
        return self.scene

    def equip(self, executor: Any) -> None:
        assert executor is self.scene

    def sleep(self, seconds: float) -> None:
        self.scene.world.now += seconds
        self._happen()

    def at(self, after: float, what: Callable[[], Any]) -> None:
        self.then.append((self.scene.world.now + after, what))

    def _happen(self) -> None:
        due = [what for when, what in self.then if when <= self.scene.world.now]
        self.then = [(when, what) for when, what in self.then if when > self.scene.world.now]
        for what in due:
            what()


@dataclass
class Service:
    """A resident monitor over a cluster."""

    cluster: Cluster
    log: io.StringIO = field(default_factory=io.StringIO)
    said: Said = field(default_factory=Said)
    rereads: list[Any] = field(default_factory=list)
    incidents: str = ""
    monitor: ResidentMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.monitor = ResidentMonitor(Setup(self.cluster), self._reread, Log(self.log), self.said, self.cluster.sleep, self.incidents)

    def _reread(self) -> Setup:
        found = self.rereads.pop(0)
        if isinstance(found, Exception):
            raise found
        return Setup(found)

    def run(self, seconds: float) -> None:
        """So long, then SIGTERM."""
        self.cluster.at(seconds, self.monitor.stop)
        self.monitor.run()

    @property
    def world(self) -> World:
        return self.cluster.scene.world

    @property
    def scene(self) -> Scene:
        return self.cluster.scene

    def begun(self) -> list[Order]:
        return self.scene.begun
