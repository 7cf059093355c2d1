"""Observers that keep a pace of their own: in one look each part of it has another age, as the resident monitor's observers give it.

Which sample is new and which one serves another look is drawn, so that no order of them is spared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import (
    HostObservation,
    Observation,
    SampleTimes,
    Session,
    StorageObservation,
)
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

from .blocking import wait
from .looking import SimulatedObserver
from .names import instant
from .observe import QUICK
from .parts import Parts

PACE = 1.0  # s from one reading of a target to the next, those between two looks too
OLDEST = {"api": 8.0, "ping": 4.0, "power": 9.0, "vms": 8.0, "storage": 4.0}  # s


class AgedObserver(SimulatedObserver):
    def __init__(self, parts: Parts, ages: random.Random) -> None:
        super().__init__(parts)
        self._ages = ages
        self._samples: dict[tuple[str, str], tuple[Instant, Any]] = {}

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        parts, observer = self._parts, self._parts.observer
        at = observer.instant()
        hosts = tuple(self._host(name, at) for name in parts.world.hosts)
        vms, read, events = [], [], []
        for host in hosts:
            if host.api_answer is not ApiAnswer.ANSWERED:
                continue
            _began, listed = self._sample("vms", host.name, lambda name=host.name: observer.vms((name,), events_after), after)  # type: ignore[misc]
            vms.extend(listed[0])
            read.extend(listed[1])
            events.extend(listed[2])
        seen = [self._read_between(server) for server in observer.storage()]
        storage = tuple(self._sample("storage", server.name, lambda server=server: server, after)[1] for server in seen)
        isolation = observer.isolation(parts.policy.isolation_addresses)
        wait(QUICK + parts.slow)
        observation = Observation(at, hosts, tuple(vms), tuple(read), tuple(events), storage, isolation=isolation)
        parts.looks.append((parts.engine.now, observation))
        return self._late(observation)

    def _host(self, name: str, at: Instant) -> HostObservation:
        now = self._parts.observer.host(name)
        api_at, told = self._sample("api", name, lambda: now)
        ping_at, pinged = self._sample("ping", name, lambda: (now.ping, now.ping_reason))
        power_at, power = self._sample("power", name, lambda: (now.power, now.power_reason))
        sampled = SampleTimes(api_at, api_at, ping_at, ping_at, power_at)
        return replace(told, taken_at=at, ping=pinged[0], ping_reason=pinged[1], power=power[0], power_reason=power[1], sampled=sampled)

    def _read_between(self, server: StorageObservation) -> StorageObservation:
        """With the readings between this look and the one before: the first one after a host wrote last dates that."""
        if server.sessions is None:
            return server
        sessions = self._parts.world.targets[server.name].sessions
        written = {session.sid: session.written_at(self._parts.engine.now) for session in sessions.values()}
        return replace(server, sessions=tuple(self._first_read(session, written[session.sid]) for session in server.sessions))

    def _first_read(self, session: Session, written: Optional[float]) -> Session:
        now = self._parts.engine.now
        read = None if written is None else written + self._ages.random() * PACE
        if read is None or read > now or self._ages.random() < 0.2:  # this reading is the first, or none came in between
            return session
        world, observer = self._parts.world, self._parts.observer
        return replace(session, still_since=instant(read, observer.wall_offset, world.arbiter_boots))

    def _sample(self, kind: str, name: str, ask: Callable[[], Any], after: Optional[Instant] = None) -> tuple[Instant, Any]:
        """The sample that serves this look: the one before, if it is young enough and asked for after *after*, or a new one."""
        now = self._parts.observer.instant()
        kept = self._samples.get((kind, name))
        if kept is not None:
            age = now.since(kept[0])
            since_act = 0.0 if after is None else kept[0].since(after)
            allowed = since_act is not None and since_act >= 0
            if age is not None and 0 <= age <= OLDEST[kind] and allowed and self._ages.random() < 0.6:
                return kept
        self._samples[kind, name] = (now, ask())
        return self._samples[kind, name]
