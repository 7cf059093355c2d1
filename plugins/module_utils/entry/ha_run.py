# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_run``: one run of the monitor, from the lease to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from .. import clock
from ..act.fence import PER_LEVEL
from ..cycle.asked import Asked, Waiter, alarms_about, failures, foresee, foreseen, half_done, said_of, would_fail
from ..cycle.follow import JournalFollower, line_of
from ..cycle.judge import Judged, RunContext, ordered_in, result_of
from ..cycle.monitor import ABLE, MAX_LOOKS, RunSummary, moved_in
from ..cycle.ports import PowerOrder
from ..cycle.real import RealObserver, RealWorld, Site, fork_server
from ..cycle.run import new_holder
from ..decide.outcome import is_planned_work
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..observe.pools import Pools
from ..record.commands import APPLIED, read_command
from ..record.database import StateDatabase
from ..service.client import CHAP_SECRET, DEFAULT_SOCKET, ask
from .options.commands import command_spec
from .options.site import read_site, site_spec

Result = dict[str, Any]


def argument_spec() -> dict[str, Any]:
    return {
        **site_spec(),
        "holder": {"type": "str"},
        "host": {"type": "str"},
        **command_spec(),
        "all_or_none": {"type": "bool", "default": False},
        "chap_secrets": {"type": "dict", "default": {}, "no_log": True},
        "wait": {"type": "float", "default": 0},
        "max_looks": {"type": "int", "default": MAX_LOOKS},
        "progress": {"type": "path"},
        "socket": {"type": "path", "default": DEFAULT_SOCKET},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError, with the result in it where the run came to its end, and LeaseHeld when another run is
    at work and nothing was asked of it. With ``all_or_none`` it looks before anything is asked for, and if anything speaks against
    any of the commands, it raises LibrehaError with all of that."""
    site = replace(read_site(params), chap_secrets=dict(params["chap_secrets"]))
    if check_mode:
        with Pools() as pools:
            return _look_only(site, params, pools)
    with contextlib.ExitStack() as held:
        server = held.enter_context(fork_server())  # before any thread is started and anything is opened
        pools = held.enter_context(Pools())
        held.enter_context(_logging_out_at_sigterm(pools))
        database = held.enter_context(StateDatabase.open(site.state_url, create=False))
        say = held.enter_context(_shown(database, params["progress"]))
        if params["all_or_none"]:
            _require_all(_foreseen(site, params, pools)[0]["commands"])
        return _run(RealWorld(site, server, pools), database, params, say)


def _run(world: RealWorld, database: StateDatabase, params: Mapping[str, Any], say: Callable[[str], None]) -> Result:
    """The result of a run of our own, or of what another run made of the commands while it has the lease."""
    site = world.site
    commands = list(map(read_command, params["commands"]))
    # Before the lease: while another run has it, that one takes them up.
    asked = Asked(database, commands, site.policy.mode)
    waiter = Waiter(world, database, asked, clock.sleep, say, lambda: _hand_over(site, params["socket"], say))
    leased = waiter.lease(params["holder"] or new_holder(), params["wait"], params["host"] or "")
    if leased is None:
        return _by_another_run(waiter.other, asked, site.policy)
    # What still acts would act under a lease that is free. If it does not end, the lease runs out by itself.
    with leased.ending_within(_longest_act(site)):
        judged = leased.monitor.until_settled(params["max_looks"])
    result = _result(judged, leased.monitor.summary, asked.rows())
    # A run that was made for planned work ends by its outcome.
    planned = any(map(is_planned_work, commands))
    undone = failures(result["commands"]) if planned else [*result["undone"], *result["failed_acts"]]
    decision = judged.decision
    return unless_failing(result, [*undone, *alarms_about(commands, decision.memory, decision.alarms, site.policy)])


def _by_another_run(holder: str, asked: Asked, policy: Policy) -> Result:
    rows = asked.rows()
    changed = any(row["state"] == APPLIED for row in rows)
    result = {"changed": changed, "carried_out_by": holder, "commands": rows, "summary": said_of(rows)}
    return unless_failing(result, [*failures(rows), *asked.failing_alarms(policy)])


def _hand_over(site: Site, path: str, say: Callable[[str], None]) -> None:
    """New CHAP secrets go to the resident monitor over its socket: the record never has them."""
    for host, secret in site.chap_secrets.items():
        try:
            ask(path, {"request": CHAP_SECRET, "host": host, "secret": secret})
        except LibrehaError as error:
            say("the new CHAP secret of %s could not be handed over: %s" % (host, error))


@contextlib.contextmanager
def _logging_out_at_sigterm(pools: Pools) -> Iterator[None]:
    """Meanwhile SIGTERM logs out everywhere, and then ends this process as ever: at once, with the acts under way left to themselves. By a
    thread: the main one may hold what closing needs."""

    def close_and_end() -> None:
        pools.close()
        os.kill(os.getpid(), signal.SIGTERM)

    def terminated(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=close_and_end, name="logout", daemon=True).start()

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _longest_act(site: Site) -> float:
    """Seconds in which whatever acts has come to its end."""
    levels = max((len({device.level for device in access.bmc}) for access in site.accesses.values()), default=0)
    return site.policy.lease + 2 * PER_LEVEL * levels  # a power cycle is off and on


def unless_failing(result: Result, failing: Sequence[str]) -> Result:
    """*result*, unless something is *failing*: then it is raised as an error that has the result in it."""
    if not failing:
        return {**result, "failing": []}
    raise LibrehaError(
        "; ".join(failing),
        remedy="do what each of these says, and run it again (the policy's fail_on_alarm says which alarms fail a run)",
        details={**result, "failing": list(failing)},
    )


def _require_all(rows: Sequence[Mapping[str, Any]]) -> None:
    refused = [*failures(would_fail(rows)), *half_done(rows)]
    if refused:
        raise LibrehaError(
            "nothing is begun: %s" % "; ".join(refused),
            remedy="do what each of these says, or ask for what can be done without all_or_none",
            details={"commands": list(rows), "failing": refused},
        )


def _look_only(site: Site, params: Mapping[str, Any], pools: Pools) -> Result:
    """Check mode. Nothing was to be done, so nothing is undone."""
    result, alarms = _foreseen(site, params, pools)
    in_part = half_done(result["commands"]) if params["all_or_none"] else []
    return unless_failing(result, [*failures(would_fail(result["commands"])), *in_part, *alarms])


def _foreseen(site: Site, params: Mapping[str, Any], pools: Pools) -> tuple[Result, list[str]]:
    """What would come of the commands, decided on with nothing recorded, and the alarms that fail a run."""
    context = RunContext("", 0, ABLE, clock.now, params["host"] or "")
    commands = list(map(read_command, params["commands"]))
    with StateDatabase.open(params["state_url"], create=False) as database:
        judged, looks = foresee(RealObserver(site, pools), database, site.policy, context, commands, clock.sleep)
    decision = judged.decision
    result = {
        **result_of(judged),
        "ordered": ordered_in(decision),
        "looks": looks,
        "failed_acts": [],
        "vms": [],
        "unregistered": [],
        "commands": foreseen(commands, judged, site.policy.mode),
        "carried_out_by": "",
    }
    return result, alarms_about(commands, decision.memory, decision.alarms, site.policy)


def _result(judged: Judged, summary: RunSummary, commands: Sequence[Mapping[str, Any]]) -> Result:
    found = result_of(judged)
    power = [text for ended in summary.ended if isinstance(ended.order, PowerOrder) for text in ended.failed]
    return {
        **found,
        "ordered": ordered_in(judged.decision),
        "changed": any(ended.changed for ended in summary.ended),
        "looks": summary.looks,
        "undone": failures(commands) + found["undone"] + power,
        "commands": list(commands),
        "carried_out_by": "",
        "failed_acts": summary.failed,
        "vms": moved_in(summary),
        "unregistered": sorted({path for ended in summary.ended for path in ended.unregistered}),
    }


@contextlib.contextmanager
def _shown(database: StateDatabase, path: Optional[str]) -> Iterator[Callable[[str], None]]:
    """Meanwhile, what the journal gets is written to *path*, a line for each thing that happens; so is what is said in the block."""
    if not path:
        yield lambda line: None
        return
    with open(path, "a", encoding="utf-8", buffering=1) as lines:
        lines.write("%d\n" % os.getpid())  # whoever follows sees by it when the run is over

        def say(wall: str, line: str) -> None:
            lines.write("%s  %s\n" % (wall[11:23], line))

        with JournalFollower(lambda entry: say(entry["wall"], line_of(entry))).following(database):
            yield lambda line: say(clock.now().wall, line)
