# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The monitor that stays: one run after the other (cycle/run.py), each for as long as its lease lasts.

Invariants:

* It never acts without a lease, and never repeats what an earlier run committed: each run has a lease and a token of its own, looks
  anew, and completes the transactions that it finds open.
* What ends a run ends no more than the run: a lost lease, a stale token, a database that does not answer, a look that failed. Its acts come
  to their end, or are handed over: they hold the lock of *their* run, so that the next run, of this process too, waits for them.
* The watchdog is told only that a look was committed, or that another run holds the lease and the database says so. A monitor that does
  neither for WatchdogSec is started anew by systemd.

Standby: while another run holds the lease (``ha_run``, another monitor), it tries again twice a second and does nothing else. It steps down
to one when root asks for that and nothing is to be done: for STEPS_DOWN seconds it leaves the lease alone. From then on it is a standby as
ever, so whatever becomes of the asker, it is back when the asker's lease has ended.
"""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Optional

from .. import clock
from ..act.worker import ForkServerGone
from ..cycle.follow import JournalFollower
from ..cycle.judge import Judged, wait_after
from ..cycle.ports import Order
from ..cycle.run import LeasedRun, TokenFloor, World, new_holder
from ..errors import ENDS_THE_RUN, LibrehaError, unexpected
from ..instant import Instant
from ..record.database import StateDatabase
from ..record.lease import LeaseHeld
from .client import STEPS_DOWN
from .heartbeat import Heartbeat
from .incidents import Incidents
from .log import ERROR, INFO, NOTICE, WARNING, Log
from .status import status_of
from .systemd import Notifier

STARTING, LOOKING, STANDBY, STOPPING = "starting", "looking", "standby", "stopping"
SUSPECT_EVERY = 1.0  # s from look to look while a verdict is not confirmed
TICK = 0.5  # s in which a signal is heeded; between two tries of a standby for the lease
NEWS_TICK = 0.2  # s in which it is noticed that what was seen has changed
RETRY = 1.0  # s from the end of a failed run to the next one
PATIENCE = 25.0  # s that acts have for coming to their end, when their run ends


@dataclass(frozen=True)
class Setup:
    """What a configuration says: the cluster, and where signs of life go (service/heartbeat.py)."""

    world: World
    heartbeat: str = ""


@dataclass(frozen=True)
class _View:
    """How it stands, for other threads: replaced as a whole, never changed."""

    state: str = STARTING
    problem: str = ""
    holder: str = ""
    token: Optional[int] = None
    judged: Optional[Judged] = None
    look_ended_at: Optional[Instant] = None
    in_progress: tuple[Order, ...] = ()


class ResidentMonitor:
    """Args:
    setup: What it begins with.
    reread: Reads the configuration anew; raises LibrehaError for one that is wrong.
    sleep: The waiter, where there is nothing else to wait for.
    incidents: The folder for recordings of incidents; empty: none are kept.
    """

    def __init__(
        self,
        setup: Setup,
        reread: Callable[[], Setup],
        log: Log,
        notifier: Notifier,
        sleep: Callable[[float], None] = clock.sleep,
        incidents: str = "",
    ) -> None:
        self._world = setup.world
        self._reread = reread
        self._log = log
        self._notifier = notifier
        self._sleep = sleep
        self._heartbeat = self._heartbeat_to(setup.heartbeat)
        self._follower = JournalFollower(log.entry)
        self._incidents = Incidents(incidents, lambda text: log.say(NOTICE, text))
        self._started_at = setup.world.clock()
        self._view = _View()
        self._stopping = False
        self._reload_asked = False
        self._stepped_down: Optional[Instant] = None  # when it was last asked to

    # For signal handlers and other threads

    def stop(self) -> None:
        """Have :meth:`run` return: its acts end or are handed over, and the lease is freed."""
        self._stopping = True

    def reload(self) -> None:
        """Have the configuration read anew, soon."""
        self._reload_asked = True

    def step_down(self) -> dict[str, Any]:
        """Have the run end, and leave the lease to others for a while. Raises LibrehaError while that would leave something undone."""
        view = self._view
        if view.state != LOOKING or view.judged is None:
            raise LibrehaError("it has no lease to leave (%s)" % (view.state if view.state != LOOKING else "its run has only begun"))
        doing = "under way: %s" % _words(view.in_progress) if view.in_progress else ""
        if doing or not view.judged.decision.settled:
            raise LibrehaError("not now, %s" % (doing or "a host is being judged, or something is to be done"))
        self._stepped_down = self._world.clock()
        return {"seconds": STEPS_DOWN}

    def status(self) -> dict[str, Any]:
        """How it stands, from memory alone."""
        view = self._view
        return status_of(
            view.judged,
            view.in_progress,
            now=self._world.clock(),
            started_at=self._started_at,
            holder=view.holder,
            token=view.token,
            look_ended_at=view.look_ended_at,
            state=STOPPING if self._stopping else view.state,
            problem=view.problem,
        )

    def recording(self) -> dict[str, Any]:
        """The newest looks (service/looks.py), as base64 in one field."""
        return {"recording": base64.b64encode(self._incidents.recording()).decode()}

    # The loop

    def run(self) -> None:
        """Until :meth:`stop`. Raises ForkServerGone: then only a new process can act."""
        self._notifier.ready()
        while not self._stopping:
            try:
                with self._world.open_database() as database, self._follower.following(database):
                    self._use(database)
            except ForkServerGone:
                raise
            except Exception as error:
                self._run_failed(error)
                self._idle(RETRY)
        self._incidents.end()
        self._incidents.finish()
        self._notifier.stopping("stopped")

    def _use(self, database: StateDatabase) -> None:
        """One run, until it is to be another database or the end. Raises what ends the run."""
        url = self._world.state_url
        run = self._begin(database, url)
        if run is None:
            return
        with self._ending(run):
            while self._goes_on(url) and not self._leaves_the_lease():
                judged = run.monitor.run_once()
                run.keep_bound()
                self._looked(run, judged)
                self._pause(run, judged, url)

    def _begin(self, database: StateDatabase, url: str) -> Optional[LeasedRun]:
        """A run that has the lease, as soon as it is to be had; None when it is not wanted any more."""
        holder = new_holder()
        floor = TokenFloor(self._world)
        while self._goes_on(url):
            if self._leaves_the_lease():
                self._stand_by("steps down for %.0f s, as it was asked to" % STEPS_DOWN)
                self._idle(TICK)
                continue
            try:
                run = LeasedRun.begin(self._world, database, holder, floor.current())
            except LeaseHeld as held:
                holder_now = str(held.details.get("lease_holder") or "another run")
                self._stand_by("%s holds the lease" % holder_now, holder_now)
                self._idle(TICK)
                continue
            self._view = _View(LOOKING, self._view.problem, run.holder, run.token)
            return run
        return None

    @contextlib.contextmanager
    def _ending(self, run: LeasedRun) -> Iterator[None]:
        with run.ending_within(PATIENCE):
            try:
                yield
            finally:
                if self._stopping:
                    self._notifier.stopping("acts under way come to their end")
                    self._log.say(NOTICE, "stopping; under way: %s" % _words(run.executor.in_progress()))
        left = run.executor.in_progress()
        if left:
            self._log.say(WARNING, "handed over to the next run: %s" % _words(left))

    def _goes_on(self, url: str) -> bool:
        """Whether to go on with the database at *url*."""
        return not self._stopping and self._world.state_url == url

    def _leaves_the_lease(self) -> bool:
        since = self._world.clock().since(self._stepped_down)
        return since is not None and since < STEPS_DOWN

    def _looked(self, run: LeasedRun, judged: Judged) -> None:
        if self._view.problem:
            self._log.say(NOTICE, "at work again")
        in_progress = tuple(run.executor.in_progress())
        self._view = _View(LOOKING, "", run.holder, run.token, judged, self._world.clock(), in_progress)
        self._notifier.alive()
        self._notifier.status(_summary(judged, in_progress))
        self._heartbeat.beat()
        self._incidents.looked(judged)

    def _pause(self, run: LeasedRun, judged: Judged, url: str) -> None:
        """Until the next look is due, an act ends, what was seen changes, or a signal came."""
        until = self._world.clock().seconds + pause_after(judged)
        while True:
            self._heed_reload(run)
            left = until - self._world.clock().seconds
            if (
                left <= 0
                or not self._goes_on(url)
                or self._leaves_the_lease()
                or run.executor.wait(min(NEWS_TICK, left))
                or run.monitor.news()
            ):
                return

    def _idle(self, seconds: float) -> None:
        """Wait, outside a run."""
        until = self._world.clock().seconds + seconds
        while not self._stopping:
            self._heed_reload(None)
            left = until - self._world.clock().seconds
            if left <= 0:
                return
            self._sleep(min(TICK, left))

    def _stand_by(self, why: str, holder: str = "") -> None:
        if (self._view.state, self._view.problem, self._view.holder) != (STANDBY, "" if holder else why, holder):
            self._log.say(NOTICE, "standby: %s" % why)
        self._view = _View(STANDBY, "" if holder else why, holder)
        self._notifier.alive()
        self._notifier.status("standby: %s" % why)

    def _run_failed(self, error: Exception) -> None:
        problem = str(error) if isinstance(error, LibrehaError) else unexpected(error)
        if problem != self._view.problem:
            what = "%s; a new run begins" % problem if isinstance(error, ENDS_THE_RUN) else problem
            self._log.say(WARNING if isinstance(error, ENDS_THE_RUN) else ERROR, what)
        self._view = replace(self._view, state=STARTING, problem=problem, holder="", token=None, in_progress=())
        self._notifier.status(problem)

    # Configuration

    def _heed_reload(self, run: Optional[LeasedRun]) -> None:
        """Take a new configuration, as a whole or not at all. What is under way is not touched."""
        if not self._reload_asked:
            return
        self._reload_asked = False
        self._notifier.reloading()
        try:
            setup = self._reread()
        except LibrehaError as error:
            self._log.say(ERROR, "the new configuration is refused, the old one stays: %s" % error)
        else:
            if setup.world.state_url != self._world.state_url:
                self._follower = JournalFollower(self._log.entry)
            elif run is not None:
                run.reconfigure(setup.world)
            self._world = setup.world
            self._heartbeat = self._heartbeat_to(setup.heartbeat)
            self._log.say(INFO, "the configuration was read anew")
        self._notifier.ready()

    def _heartbeat_to(self, to: str) -> Heartbeat:
        return Heartbeat(to, lambda why: self._log.say(WARNING, why))


def pause_after(judged: Judged) -> float:
    """Seconds to wait after a look; while a host is suspect, looks begin SUSPECT_EVERY apart, or as soon as the one before is over."""
    if all(host.confirmed or host.verdict.works for host in judged.decision.hosts):
        return wait_after(judged)
    took = judged.decision.taken_at.since(judged.observation.taken_at) or 0.0
    return min(wait_after(judged), max(0.0, SUSPECT_EVERY - took))


def _summary(judged: Judged, in_progress: tuple[Order, ...]) -> str:
    decision = judged.decision
    verdicts = Counter(host.verdict.value for host in decision.hosts)
    words = ["%d hosts %s" % (count, verdict) for verdict, count in sorted(verdicts.items())]
    words += ["%d VMs down" % len(decision.down), "%d alarms" % len(decision.alarms), "under way: %s" % _words(in_progress)]
    return ", ".join(words)


def _words(orders: Any) -> str:
    return ", ".join(map(str, orders)) or "nothing"
