"""How the monitor looks at the simulated world: everything is asked for the look, and the look takes its time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

from .blocking import wait
from .observe import QUICK
from .parts import Parts


class SimulatedObserver:
    """cycle/ports.py: Observer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stale: Optional[float] = None

    def show_stale(self, seconds: float) -> None:
        self._stale = seconds

    def highest_token(self) -> int:
        asked = [target for target in self._parts.world.targets.values() if self._parts.observer.reaches_server(target)]
        return max((target.highest_token for target in asked), default=0)

    def news(self) -> bool:
        return False

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        parts, observer = self._parts, self._parts.observer
        at = observer.instant()
        hosts = observer.hosts()
        isolation = observer.isolation(parts.policy.isolation_addresses)
        wait(observer.takes() + parts.slow / 2)
        answered = tuple(host.name for host in hosts if host.api_answer is ApiAnswer.ANSWERED)
        vms, read, events = observer.vms(answered, events_after)
        wait(QUICK)
        storage = observer.storage()
        if parts.slow:
            wait(parts.slow / 2)
        observation = Observation(at, hosts, vms, read, events, storage, isolation=isolation)
        parts.looks.append((parts.engine.now, observation))
        return self._late(observation)

    def _late(self, observation: Observation) -> Observation:
        """A message that was under way for long: an older look in place of this one."""
        if self._stale is None:
            return observation
        before = self._parts.engine.now - self._stale
        self._stale = None
        old = [look for at, look in self._parts.looks if at <= before]
        return old[-1] if old else observation
