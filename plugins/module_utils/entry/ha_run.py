# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_run``: one run of the monitor, from the lease to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from .. import clock
from ..act.fence import PER_LEVEL
from ..act.worker import ForkServer
from ..cycle.follow import JournalFollower, line_of
from ..cycle.judge import Judged, RunContext, failing_alarms, judge, ordered_in, result_of
from ..cycle.monitor import ABLE, MAX_LOOKS, RunSummary, moved_in
from ..cycle.ports import PowerOrder
from ..cycle.real import RealObserver, RealWorld, Site, carry_out
from ..cycle.run import LeasedRun, new_holder
from ..errors import LibrehaError
from ..observe.pools import Pools
from ..policy.reader import read_policy
from ..record.commands import REFUSED, read_command
from ..record.database import StateDatabase
from .options.commands import command_spec
from .options.site import read_site, site_spec

Result = dict[str, Any]


def argument_spec() -> dict[str, Any]:
    return {
        **site_spec(),
        "holder": {"type": "str"},
        "host": {"type": "str"},
        **command_spec(),
        "chap_secrets": {"type": "dict", "default": {}, "no_log": True},
        "wait": {"type": "float", "default": 0},
        "max_looks": {"type": "int", "default": MAX_LOOKS},
        "progress": {"type": "path"},
        "validate_only": {"type": "bool", "default": False},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError, with the result in it where the run came to its end, and LeaseHeld when another run is
    at work."""
    if params["validate_only"]:
        return {"changed": False, "mode": read_policy(params["policy"]).mode.value}
    site = replace(read_site(params), chap_secrets=dict(params["chap_secrets"]))
    if check_mode:
        return _look_only(site, params)
    # The fork server first, before anything is opened.
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(ForkServer(carry_out))
        pools = opened.enter_context(Pools())
        opened.enter_context(_logging_out_at_sigterm(pools))
        database = opened.enter_context(StateDatabase.open(site.state_url, create=False))
        world = RealWorld(site, server, pools)
        # Before the lease: while another run has it, that one takes them up.
        commands = database.give_commands(map(read_command, params["commands"]))
        above = world.observer().highest_token()
        leased = LeasedRun.begin(world, database, params["holder"] or new_holder(), above, params["wait"], params["host"] or "")
        # What still acts would act under a lease that is free. If it does not end, the lease runs out by itself.
        with leased.ending_within(_longest_act(site)), _shown(database, params["progress"]):
            judged = leased.monitor.until_settled(params["max_looks"])
        result = _result(judged, leased.monitor.summary, database.commands(commands))
    return unless_failing(result, [*result["undone"], *result["failed_acts"], *failing_alarms(judged.decision, site.policy)])


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


def _look_only(site: Site, params: Mapping[str, Any]) -> Result:
    """Check mode: one look, decided on, nothing recorded."""
    with Pools() as pools:
        observation = RealObserver(site, pools).look({}, (), ())
    with StateDatabase.open(params["state_url"], create=False) as database:
        context = RunContext("", 0, ABLE, clock.now, params["host"] or "")
        judged = judge(database, site.policy, observation, context, commit=False, asked=map(read_command, params["commands"]))
    result = {
        **result_of(judged),
        "ordered": ordered_in(judged.decision),
        "looks": 1,
        "failed_acts": [],
        "vms": [],
        "unregistered": [],
        "commands": [],
    }
    failing = [*judged.refused, *failing_alarms(judged.decision, site.policy)]
    return unless_failing(result, failing)  # nothing was to be done, so nothing is undone


def _result(judged: Judged, summary: RunSummary, commands: Sequence[Mapping[str, Any]]) -> Result:
    found = result_of(judged)
    refused = ["%s %s is refused: %s" % (item["kind"], item["subject"], item["outcome"]) for item in commands if item["state"] == REFUSED]
    power = [text for ended in summary.ended if isinstance(ended.order, PowerOrder) for text in ended.failed]
    return {
        **found,
        "ordered": ordered_in(judged.decision),
        "changed": any(ended.changed for ended in summary.ended),
        "looks": summary.looks,
        "undone": refused + found["undone"] + power,
        "commands": list(commands),
        "failed_acts": summary.failed,
        "vms": moved_in(summary),
        "unregistered": sorted({path for ended in summary.ended for path in ended.unregistered}),
    }


@contextlib.contextmanager
def _shown(database: StateDatabase, path: Optional[str]) -> Iterator[None]:
    """Meanwhile, what the journal gets is written to *path*, a line for each thing that happens."""
    if not path:
        yield
        return
    with open(path, "a", encoding="utf-8", buffering=1) as lines:
        lines.write("%d\n" % os.getpid())  # whoever follows sees by it when the run is over

        def show(entry: Mapping[str, Any]) -> None:
            lines.write("%s  %s\n" % (entry["wall"][11:23], line_of(entry)))

        with JournalFollower(show).following(database):
            yield
