# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks out of samples: every path to every host and storage server is asked at a pace of its own, and a look takes the newest of each.

So a host that is silent delays no look and no other host. What the age of a sample may prove is decide's business
(``decide/hosts/freshness.py``). What is kept here:

* No list of VMs, no power and nothing of a storage server in a look was asked for before the last act began or ended: they are asked anew,
  and the first look after the act waits for them a little. What has not come by then is not in it: such a host's VMs are not read, such
  a server was not asked.
* No sample in a look was asked for before the run began: the first look waits until everything has been asked once.
* Two lists of VMs that seem to contradict each other, because a VM was moved between the two readings, are asked anew (``_contradicts``).
* A host's VMs are asked for only while its API answers, and a list is in a look only as long as it is fresh (``confirm_after``).
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

from .. import clock
from ..access import HostAccess
from ..decide.answers import ApiAnswer, Evidence
from ..decide.observations import HostObservation, Observation, Power, SampleTimes, StorageObservation
from ..decide.storage_health.sensors import StorageHealth
from ..hypervisor.interface import HostUnavailable
from ..instant import Instant
from ..parallel import Late, Raised, StillWaiting
from ..stall_detector import LATE
from ..storage.server import ServerAccess
from .cluster import SERVER_SECONDS, look_at, read_health_of, seen_of
from .hosts import isolation_of, longest_timeout, look_up, observation_of, read_power, whole_look
from .layers import Heard, tcp
from .ping import ping, probe_isolation, resolve
from .pools import Pools
from .progress import ProgressReader, stands_still
from .sampler import Key, LastAnswer, Path, Sample, Sampler, SilenceProbe
from .vms import VmLook
from .vms import seen_of as vms_seen_of

API, PING, NAME, POWER, ISOLATION = 1.0, 1.0, 5.0, 5.0, 2.0  # s from one question to the next
VMS, VMS_SLOWEST = 5.0, 10.0  # s; the latter where a host takes long to list them
STORAGE, REMOTE_STORAGE = 1.0, 2.0  # s; each question to a remote server starts a program there
ROUNDS = 3  # in which lists of VMs are asked anew in one look
PATIENCE = 3.0  # s that a look waits for what must be newer than the last act
POWER_SECONDS = 30.0  # s after which a BMC is given up
BRIEF = 0.5  # s that a brief question waits for an answer (sampler.py)


@dataclass
class _Health:
    """Readings of the storage servers' own health: slow, rare, and each for one look."""

    under_way: set[str] = field(default_factory=set)
    read: list[StorageHealth] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, server: ServerAccess, smart: bool, state_file: str) -> None:
        with self.lock:
            if server.name in self.under_way:
                return
            self.under_way.add(server.name)
        threading.Thread(target=self._read, args=(server, smart, state_file), name="health of %s" % server.name, daemon=True).start()

    def take(self) -> tuple[StorageHealth, ...]:
        with self.lock:
            read, self.read = self.read, []
        return tuple(read)

    def _read(self, server: ServerAccess, smart: bool, state_file: str) -> None:
        found: list[StorageHealth] = []
        with contextlib.suppress(Exception):  # decide says when that has lasted for long
            found.append(read_health_of(server, smart, state_file))
        with self.lock:
            self.under_way.discard(server.name)
            self.read += found


class PacedObserver:
    """The look of ``cycle/ports.py``, for one run. The samplers are those of *pools*, and go on after it."""

    def __init__(
        self,
        accesses: Sequence[HostAccess],
        isolation_addresses: Sequence[str],
        servers: Sequence[ServerAccess],
        pools: Pools,
        confirm_after: float,
        state_file: str = "",
    ) -> None:
        """*confirm_after*: the policy's, in seconds. A list of VMs says nothing after it, and silence that lasts for it is looked for."""
        self._accesses = list(accesses)
        self._isolation = tuple(isolation_addresses)
        self._servers = list(servers)
        self._pools = pools
        self._confirm_after = confirm_after
        self._state_file = state_file
        self._since: Optional[Instant] = None  # the run's first look
        self._samplers: dict[Key, Sampler] = {}
        self._waited_for: Optional[Instant] = None  # the last act
        self._registered: dict[str, frozenset[str]] = {}  # host -> the VMs of its list in the last look
        self._twice: frozenset[str] = frozenset()  # the VMs that were running by several lists in the last look
        self._health = _Health()

    def news(self) -> bool:
        return self._pools.samplers.news.is_set()

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        """See ``cycle/ports.py``. Raises LibrehaError for what no host or server can be blamed for."""
        self._pools.sessions.keep_only([access.connection for access in self._accesses])
        self._pools.samplers.news.clear()
        self._pools.events_after.update(events_after)
        for server in self._servers:
            if server.name in health:
                self._health.begin(server, server.name in disks, self._state_file)
        self._ask()
        if self._since is None:
            self._since = clock.now()
            self._wait(list(self._samplers), self._since, whole_look(self._accesses))
        if self._waited_for != after:
            self._waited_for = after
            self._wait([key for key in self._samplers if _changes_with_acts(key)], after, PATIENCE)
        for _round in range(ROUNDS):
            read_before = self._contradicts(after)
            if read_before is None:
                break
            self._wait([key for key in self._samplers if key[0] == "vms"], read_before, PATIENCE)
        return self._observation(after, clock.now())

    def _contradicts(self, after: Instant) -> Optional[Instant]:
        """Since when all lists of VMs must be asked for, because somebody may have moved a VM between two of them: it runs by two lists, or
        is gone from one and in no other. What the lists say then is so. None: nothing of that is new."""
        samples = {key: self._sample(key, after) for key in self._samplers}
        lists = {name: look.vms or [] for name, look in self._lists(samples, clock.now()).items()}
        running = Counter(vm.id for vms in lists.values() for vm in vms if vm.power is Power.ON)
        twice = frozenset(identity for identity, count in running.items() if count > 1)
        registered = {name: frozenset(vm.id for vm in vms) for name, vms in lists.items()}
        somewhere = frozenset(identity for ids in registered.values() for identity in ids)
        gone = {name for name, ids in registered.items() if self._registered.get(name, ids) - somewhere}
        doubled = {name for name, vms in lists.items() if any(vm.id in twice - self._twice for vm in vms)}
        self._registered.update(registered)
        self._twice = twice
        return max((samples["vms", name].began for name in gone | doubled), key=lambda at: at.seconds, default=None)

    def _wait(self, keys: Sequence[Key], after: Instant, seconds: float) -> None:
        def ready() -> bool:
            answering = {access.name for access in self._accesses if _answers(self._pools, access)}
            missing = [key for key in keys if (key[0] != "vms" or key[1] in answering) and not self._samplers[key].hurry(after)]
            return not missing

        self._pools.samplers.wait(ready, seconds)

    # What is asked

    def _ask(self) -> None:
        self._samplers = self._pools.samplers.keep(dict(self._paths()))

    def _paths(self) -> Iterator[tuple[Key, tuple[Any, Path]]]:
        """Each path with what it depends on in the configuration: when that changes, it is asked by another sampler."""
        limit = whole_look(self._accesses)
        for access in self._accesses:
            connection = access.connection
            yield ("name", access.name), ((connection, limit), Path(partial(look_up, connection), NAME, limit))
            asked = (connection, limit, self._confirm_after)  # the same for both: they share the last answer
            answer = LastAnswer()
            yield ("api", access.name), (asked, _api_path(self._pools, access, limit, self._confirm_after, answer))
            yield ("ping", access.name), (asked, _ping_path(access, self._confirm_after, answer))
            yield ("vms", access.name), ((connection, limit), _vms_path(self._pools, access, limit))
            for number, device in enumerate(access.bmc):
                yield ("power %d" % number, access.name), (device, Path(partial(read_power, device), POWER, POWER_SECONDS, essence=_power))
        if self._isolation:
            timeout = longest_timeout(self._accesses)
            path = Path(partial(probe_isolation, self._isolation, timeout), ISOLATION, timeout + 2.0, essence=_itself)
            yield ("isolation", ""), ((self._isolation, timeout), path)
        for server in self._servers:
            pace = STORAGE if server.ssh is None else REMOTE_STORAGE
            path = Path(ProgressReader(look_at(server)), pace, SERVER_SECONDS, essence=partial(_storage, self._confirm_after))
            yield ("storage", server.name), ((server, self._confirm_after), path)

    # What is seen

    def _observation(self, after: Instant, now: Instant) -> Observation:
        samples = {key: self._sample(key, after) for key in self._samplers}
        outcomes = {key: sample.outcome for key, sample in samples.items()}
        looks = self._lists(samples, now)
        seen = vms_seen_of(looks, dict.fromkeys(looks))
        return Observation(
            taken_at=now,
            hosts=tuple(self._host(access, samples, outcomes, now) for access in self._accesses),
            isolation=tuple(isolation_of(outcomes.get(("isolation", ""), []), self._isolation)),
            storage=tuple(seen_of(server.name, samples["storage", server.name].outcome) for server in self._servers),
            storage_health=self._health.take(),
            vms=seen.vms,
            vms_read=seen.vms_read,
            events=seen.events,
            event_gaps=seen.event_gaps,
        )

    def _sample(self, key: Key, after: Instant) -> Sample:
        """The newest one, if this run asked for it, and since the last act where that may have changed it."""
        sample = self._samplers[key].newest()
        since = self._since or after
        if sample is None or not sample.asked_after(since):
            return Sample(Raised(StillWaiting("not asked yet")), since, since)
        if _changes_with_acts(key) and not sample.asked_after(after):
            return Sample(Raised(StillWaiting("no answer since the last act")), after, after)
        return sample

    def _host(self, access: HostAccess, samples: Mapping[Key, Sample], outcomes: Mapping[Key, Any], now: Instant) -> HostObservation:
        name = access.name
        api, probe = samples["api", name], samples["ping", name]
        power = [samples["power %d" % number, name].began for number in range(len(access.bmc))]
        # A name service that is slow right now is why the API was not read in time, before its own question is given up.
        resolving = self._samplers["name", name].waiting()
        if resolving > LATE or samples["name", name].was_not_asked:
            outcomes = {**outcomes, ("name", name): Late(resolving)}
        times = SampleTimes(api.began, api.ended, probe.began, probe.ended, min(power, key=lambda at: at.seconds, default=now))
        return replace(observation_of(access, outcomes, now, api.delay, probe.delay), sampled=times)

    def _lists(self, samples: Mapping[Key, Sample], now: Instant) -> dict[str, VmLook]:
        looks: dict[str, VmLook] = {}
        for access in self._accesses:
            sample, api = samples["vms", access.name], samples["api", access.name]
            age = now.since(sample.began)
            fresh = age is not None and age <= self._confirm_after
            if fresh and isinstance(sample.outcome, VmLook) and isinstance(api.outcome, HostObservation):
                looks[access.name] = sample.outcome
        return looks


def _changes_with_acts(key: Key) -> bool:
    return key[0] in ("vms", "storage") or key[0].startswith("power ")


def _answers(pools: Pools, access: HostAccess) -> bool:
    sample = pools.samplers.newest(("api", access.name))
    return sample is not None and isinstance(sample.outcome, HostObservation)


# What is asked. Samplers outlive the run that started them, so what they ask knows the pools and no run.


def _api_path(pools: Pools, access: HostAccess, limit: float, confirm_after: float, last_answer: LastAnswer) -> Path:
    connection = access.connection

    def ask() -> HostObservation:
        return pools.sessions.ask(connection, lambda host: host.health())

    def ask_briefly() -> HostObservation:
        """Where nobody accepts a connection, there is no API that might answer; where one is accepted, it has its whole time."""
        if connection.proxy_host is None:
            family, address = resolve(connection.hostname, connection.port)
            probe = tcp(address, family, connection.port, min(BRIEF, connection.timeout))
            if probe.heard is Heard.SILENCE:
                raise HostUnavailable("%s: %s" % (connection.hostname, probe.text), answer=ApiAnswer.TIMED_OUT, host=connection.name)
        return ask()

    def give_up() -> None:
        pools.sessions.cut_off(connection)

    return Path(ask, API, limit, give_up, _api, silence=SilenceProbe(_api_found, ask_briefly, confirm_after, last_answer))


def _vms_path(pools: Pools, access: HostAccess, limit: float) -> Path:
    under_way: list[VmLook] = []

    def ask() -> VmLook:
        if not _answers(pools, access):
            raise StillWaiting("its API does not answer")
        look = VmLook(pools.sessions, access.connection, pools.events_after.get(access.name, 0), with_events=True)
        under_way[:] = [look]
        look.read()
        return look

    def give_up() -> Optional[VmLook]:
        """What was read by then: a host that is slow with its statistics keeps back nothing else."""
        pools.sessions.cut_off(access.connection)
        return next((look for look in under_way if look.vms is not None), None)

    return Path(ask, VMS, limit, give_up, _vms, VMS_SLOWEST)


def _ping_path(access: HostAccess, confirm_after: float, last_answer: LastAnswer) -> Path:
    name, port, timeout = access.connection.hostname, access.connection.port, access.connection.timeout
    silence = SilenceProbe(_ping_found, partial(ping, name, port, min(BRIEF, timeout)), confirm_after, last_answer)
    return Path(partial(ping, name, port, timeout), PING, timeout + 1.0, essence=_ping, silence=silence)


def _api_found(outcome: Any) -> Evidence:
    if isinstance(outcome, HostObservation):
        return Evidence.OK
    if isinstance(outcome, Raised) and isinstance(outcome.error, HostUnavailable):
        return outcome.error.answer.evidence
    return Evidence.FAILED if isinstance(outcome, Late) else Evidence.UNKNOWN


def _ping_found(outcome: Any) -> Evidence:
    return outcome[0] if isinstance(outcome, tuple) else Evidence.UNKNOWN


# What of an outcome is news


def _itself(outcome: Any) -> Any:
    return repr(outcome) if isinstance(outcome, list) else type(outcome)


def _ping(outcome: Any) -> Any:
    return outcome[0] if isinstance(outcome, tuple) else type(outcome)


def _power(outcome: Any) -> Any:
    return getattr(outcome, "power", type(outcome))


def _api(outcome: Any) -> Any:
    if isinstance(outcome, HostObservation):
        return outcome.maintenance, tuple((store.uuid, store.accessible) for store in outcome.datastores)
    if isinstance(outcome, Raised) and isinstance(outcome.error, HostUnavailable):
        return outcome.error.answer
    return ApiAnswer.TIMED_OUT if isinstance(outcome, Late) else type(outcome)


def _vms(outcome: Any) -> Any:
    if not isinstance(outcome, VmLook):
        return type(outcome)
    newest = max((event.key for event in outcome.events), default=0)
    return newest, frozenset((vm.id, vm.power, vm.question is None, vm.accessible) for vm in outcome.vms or ())


def _storage(confirm_after: float, outcome: Any) -> Any:
    if not isinstance(outcome, StorageObservation):
        return type(outcome)
    sessions = None
    if outcome.sessions is not None:
        sessions = frozenset((session.sid, stands_still(session, outcome.taken_at, confirm_after)) for session in outcome.sessions)
    return outcome.serving, sessions, frozenset((fence.host, fence.confirmed, fence.admitted) for fence in outcome.fences)
