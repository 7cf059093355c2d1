# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``ha_run``: one run of the monitor, from the lease to its end."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from .. import clock
from ..act.fence import PER_LEVEL, Run
from ..act.worker import ForkServer
from ..cycle.judge import HOLD, Asker, Judged, failing_alarms, judge, result_of
from ..cycle.monitor import ABLE, MAX_LOOKS, Monitor, Story, moved_in
from ..cycle.ports import PowerOrder
from ..cycle.real import RealEyes, RealHands, Site, worker
from ..decide.policy import Policy
from ..errors import LibrehaError
from ..policy.reader import read_policy
from ..record.commands import REFUSED, read_command
from ..record.database import StateDatabase
from ..storage.server import ServerAccess, Ssh
from .options.commands import command_spec
from .options.hosts import hosts_spec, read_hosts
from .options.state import state_spec
from .options.storage import require_absolute, require_control, storage_spec

Result = dict[str, Any]
FOLLOW = 0.5  # s between two looks at the journal, for those who watch


def argument_spec() -> dict[str, Any]:
    return {
        **hosts_spec(),
        **state_spec(),
        "policy": {"type": "dict", "required": True},
        "storage": storage_option(),
        "holder": {"type": "str"},
        "host": {"type": "str"},
        **command_spec(),
        "wait": {"type": "float", "default": 0},
        "max_looks": {"type": "int", "default": MAX_LOOKS},
        "progress": {"type": "path"},
        "validate_only": {"type": "bool", "default": False},
    }


def storage_option() -> dict[str, Any]:
    """The option ``storage``: how the arbiter reaches the storage servers."""
    return {"type": "list", "elements": "dict", "required": True, "options": _storage_spec()}


def _storage_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        **storage_spec(),
        "ssh": {
            "type": "dict",
            "options": {
                "host": {"type": "str", "required": True},
                "user": {"type": "str", "default": "root"},
                "port": {"type": "int", "default": 22},
                "key": {"type": "path"},
                "python": {"type": "path", "default": "/usr/bin/python3"},
                "become": {"type": "bool", "default": False},
            },
        },
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError, with the result in it where the run came to its end, and LeaseHeld when another run is
    at work."""
    if params["validate_only"]:
        return {"changed": False, "mode": read_policy(params["policy"]).mode.value}
    site = _site(params)
    if check_mode:
        return _look_only(site, params)
    holder = params["holder"] or "monitor %s %s" % (socket.gethostname(), uuid.uuid4())
    levels = max((len({device.level for device in access.bmc}) for access in site.accesses.values()), default=0)
    with ForkServer(worker(site)) as server, StateDatabase.open(params["state_url"], create=False) as database:
        eyes = RealEyes(site)
        # Before the lease: while another run has it, that one takes them up.
        commands = database.give_commands(map(read_command, params["commands"]))
        lease = database.acquire_lease(holder, site.policy.lease, eyes.highest_token(), params["wait"])
        hands = RealHands(server, Run(holder, lease.token, site.policy.lease))
        asker = Asker(holder, lease.token, ABLE, clock.now, params["host"] or "")
        monitor = Monitor(site.policy, eyes, hands, database, asker)
        try:
            with _told(database, params["progress"]):
                judged = monitor.until_settled(params["max_looks"])
        finally:
            # What still acts would act under a lease that is free. If it does not end, the lease runs out by itself.
            if hands.finish(site.policy.lease + PER_LEVEL * levels):
                database.release_lease(holder, lease.token)
        result = _result(judged, monitor.story, database.commands(commands))
    return unless_failing(result, [*result["undone"], *result["failed_acts"], *failing_alarms(judged.decision, site.policy)])


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
    observation = RealEyes(site).look({}, (), ())
    with StateDatabase.open(params["state_url"], create=False) as database:
        asker = Asker("", 0, ABLE, clock.now, params["host"] or "")
        judged = judge(database, site.policy, observation, asker, commit=False, asked=map(read_command, params["commands"]))
    result = {**result_of(judged), "looks": 1, "failed_acts": [], "vms": [], "unregistered": [], "commands": []}
    failing = [*judged.refused, *failing_alarms(judged.decision, site.policy)]
    return unless_failing(result, failing)  # nothing was to be done, so nothing is undone


def _result(judged: Judged, story: Story, commands: Sequence[Mapping[str, Any]]) -> Result:
    found = result_of(judged)
    refused = ["%s %s is refused: %s" % (item["kind"], item["subject"], item["outcome"]) for item in commands if item["state"] == REFUSED]
    power = [text for ended in story.ended if isinstance(ended.order, PowerOrder) for text in ended.failed]
    return {
        **found,
        "changed": any(ended.changed for ended in story.ended),
        "looks": story.looks,
        "undone": refused + found["undone"] + power,
        "commands": list(commands),
        "failed_acts": story.failed,
        "vms": moved_in(story),
        "unregistered": sorted({path for ended in story.ended for path in ended.unregistered}),
    }


def _site(params: Mapping[str, Any]) -> Site:
    policy = read_policy(params["policy"])
    accesses = {access.name: access for access in read_hosts(params)}
    servers = read_servers(params, policy)
    url = params["state_url"]
    state_file = url.partition(":///")[2] if url.startswith("sqlite") else ""
    return Site(policy, accesses, servers, url, state_file)


def read_servers(params: Mapping[str, Any], policy: Policy) -> dict[str, ServerAccess]:
    """The storage servers by name. Raises LibrehaError where these or the hosts are not those of the policy."""
    servers = {item["name"]: _server(item) for item in params["storage"]}
    hosts = {item["name"] for item in params["hosts"]}
    for what, known, listed in (("hosts", set(policy.hosts), hosts), ("storage", set(policy.storage), set(servers))):
        if known != listed:
            raise LibrehaError(
                "%s names %s, and the policy's %s are %s" % (what, ", ".join(sorted(listed)), what, ", ".join(sorted(known))),
                remedy="give both the same, as the filters host_connections, storage_servers and cluster_policy do from one inventory",
            )
    return servers


def _server(item: Mapping[str, Any]) -> ServerAccess:
    require_control(item)
    require_absolute(item, "saved_config", "fence_list")
    given = {name: item[name] for name in ("name", "driver", "control_port", "fence_list", "timeout")}
    ssh = item.get("ssh")
    return ServerAccess(
        **given,
        saved_config=item["saved_config"] or "",
        ssh=Ssh(ssh["host"], ssh["user"], ssh["port"], ssh["key"] or "", ssh["python"], ssh["become"]) if ssh else None,
    )


@contextmanager
def _told(database: StateDatabase, path: Optional[str]) -> Iterator[None]:
    """Meanwhile, what the journal gets is written to *path*, a line for each thing that happens."""
    if not path:
        yield
        return
    over = threading.Event()
    with open(path, "a", encoding="utf-8", buffering=1) as lines:
        lines.write("%d\n" % os.getpid())  # whoever follows sees by it when the run is over
        seen = max((entry["seq"] for entry in database.read_journal(limit=1)), default=0)
        follower = threading.Thread(target=_follow, args=(database, seen, lines.write, over), daemon=True)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()


def _follow(database: StateDatabase, seen: int, write: Callable[[str], Any], over: threading.Event) -> None:
    while True:
        last = over.wait(FOLLOW)
        try:
            entries = database.read_journal(since=seen)
        except LibrehaError:  # the run itself tells what is wrong
            entries = []
        for entry in entries:
            seen = entry["seq"]
            if not entry["key"].startswith(HOLD):  # those are for the journal only
                write("%s  %s\n" % (entry["wall"][11:23], line_of(entry)))
        if last:
            return


def line_of(entry: Mapping[str, Any]) -> str:
    """A journal entry as one line for people."""
    return "alarm: %s" % entry["text"] if entry["kind"] == "alarm" else str(entry["text"])
