# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold when several real processes use one database, are killed, or are frozen."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
PRELUDE = """
import json, os, sys, time
sys.path.insert(0, %r)
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import LeaseHeld, StateDatabase
url = sys.argv[1]
def say(**facts):
    os.write(1, (json.dumps(facts) + "\\n").encode())
""" % str(COLLECTIONS)


def start(script: str, url: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PRELUDE + script, url, *arguments], stdout=subprocess.PIPE, text=True)


HAMMER = """
holder, rounds = sys.argv[2], int(sys.argv[3])
with StateDatabase.open(url, busy_seconds=60) as state:
    for n in range(rounds):
        lease = state.acquire_lease(holder, 30, wait=300)
        held_from = clock.now().seconds
        state.journal([{"kind": "test", "subject": holder, "text": "round %d" % n}], lease.token)
        state.renew_lease(holder, lease.token, 30)
        with state.change(lease.token) as change:
            change.journal([{"kind": "test", "subject": holder, "text": "%s %d" % (part, n)} for part in "ab"])
            change.memory({"holder": holder, "round": n})
        assert state.load_memory() == {"holder": holder, "round": n}, "somebody else wrote under our lease"
        held_to = clock.now().seconds
        assert state.release_lease(holder, lease.token)
        say(token=lease.token, held_from=held_from, held_to=held_to)
"""


def test_eight_processes_hold_the_lease_one_at_a_time_and_lose_no_entry(url):
    processes, rounds = 8, 6
    StateDatabase.open(url).close()
    running = [start(HAMMER, url, "run-%d" % number, str(rounds)) for number in range(processes)]
    holds = []
    for process in running:
        output, _nothing = process.communicate(timeout=300)
        assert process.returncode == 0
        holds += [json.loads(line) for line in output.splitlines()]
    holds.sort(key=lambda hold: hold["held_from"])
    assert len(holds) == processes * rounds
    assert [hold["token"] for hold in holds] == list(range(1, processes * rounds + 1))  # grows, each given once
    for earlier, later in zip(holds, holds[1:]):
        assert earlier["held_to"] <= later["held_from"]
    with StateDatabase.open(url) as state:
        entries = state.read_journal()
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert len([entry for entry in entries if entry["kind"] == "test"]) == processes * rounds * 3
        assert len([entry for entry in entries if entry["kind"] == "lease"]) == processes * rounds * 2


CREATE = """
with StateDatabase.open(url) as state:
    say(created=state.opened.created)
"""


def test_processes_that_all_find_no_database_create_one(url):
    running = [start(CREATE, url) for _number in range(6)]
    created = [json.loads(process.communicate(timeout=120)[0])["created"] for process in running]
    assert sum(created) == 1


WRITER = """
state = StateDatabase.open(url, busy_seconds=60)
lease = state.acquire_lease(sys.argv[2], 600)
n = 0
while True:
    n += 1
    lease = state.renew_lease(lease.holder, lease.token, 600)
    step = "step-%d" % n
    row = {"id": "t", "vm_id": "u:1", "step": step, "attempts": n}
    state.save_transaction(row, lease.token, {"kind": "step", "subject": "t", "text": step})
    state.save_memory({"n": n, "padding": "x" * 20000}, lease.token)
    say(token=lease.token, n=n)
"""


def test_a_writer_killed_at_any_moment_leaves_a_consistent_database_and_loses_nothing_it_was_told_is_written(sqlite_url, tmp_path):
    random_moment = random.Random(20261123)
    last_token = 0
    for number in range(6):
        writer = start(WRITER, sqlite_url, "run-%d" % number)
        first = json.loads(writer.stdout.readline())
        time.sleep(random_moment.uniform(0, 0.1))
        writer.kill()
        lines = writer.communicate()[0].splitlines()
        told = json.loads(lines[-1]) if lines else first
        assert told["token"] > last_token
        last_token = told["token"]
        with StateDatabase.open(sqlite_url) as state:
            assert state.release_lease("run-%d" % number, last_token)
            found = state.snapshot(journal_limit=1, kinds=["step"])
        transaction, entry = found["transactions"][0], found["journal"][-1]
        assert transaction["attempts"] >= told["n"]
        assert (transaction["step"], transaction["token"]) == (entry["text"], entry["token"])  # one never without the other
        assert found["memory"]["n"] in (transaction["attempts"], transaction["attempts"] - 1, told["n"])
    with StateDatabase.open(sqlite_url) as state:
        entries = state.read_journal()
        assert [item["seq"] for item in entries] == list(range(1, len(entries) + 1))
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


SLEEPER = """
state = StateDatabase.open(url)
lease = state.acquire_lease("frozen", 0.5)
say(token=lease.token)
sys.stdin.readline()
tried = []
for write in (
    lambda: state.save_memory({"by": "frozen"}, lease.token),
    lambda: state.save_transaction({"vm_id": "u:1", "step": "planned"}, lease.token, {"kind": "step", "text": "stale"}),
    lambda: state.journal([{"kind": "step", "text": "stale"}], lease.token),
    lambda: state.renew_lease("frozen", lease.token, 60),
    lambda: state.check_lease(lease.token),
):
    try:
        write()
        tried.append("done")
    except LeaseLost:
        tried.append("lost")
say(tried=tried)
"""


def test_a_run_that_was_frozen_and_wakes_after_another_took_over_writes_nothing(url):
    frozen = subprocess.Popen([sys.executable, "-c", PRELUDE + SLEEPER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        token = json.loads(frozen.stdout.readline())["token"]
        os.kill(frozen.pid, signal.SIGSTOP)
        with StateDatabase.open(url) as state:
            lease = state.acquire_lease("successor", 600, wait=60)
            assert lease.token > token
            state.save_memory({"by": "successor"}, lease.token)
            before = state.read_journal()
            os.kill(frozen.pid, signal.SIGCONT)
            output, _nothing = frozen.communicate("wake\n", timeout=60)
            assert json.loads(output)["tried"] == ["lost"] * 5
            assert state.load_memory() == {"by": "successor"}
            assert state.read_journal() == before
            assert state.open_transactions() == []
    finally:
        frozen.kill()
        frozen.wait()


IN_TRANSACTION = """
state = StateDatabase.open(url, busy_seconds=2)
lease = state.acquire_lease("frozen", 5)
with state.change(lease.token) as change:
    change.memory({"by": "frozen"})
    say(inside=True)
    time.sleep(600)
"""


def test_on_postgresql_a_run_frozen_inside_a_transaction_does_not_hold_up_its_successor(postgres_url):
    frozen = start(IN_TRANSACTION, postgres_url)
    try:
        assert json.loads(frozen.stdout.readline())["inside"]
        os.kill(frozen.pid, signal.SIGSTOP)
        with StateDatabase.open(postgres_url, busy_seconds=30) as state:
            state.acquire_lease("successor", 60, wait=30)
            assert state.load_memory() is None
    finally:
        frozen.kill()
        frozen.wait()


def test_a_run_killed_inside_a_transaction_holds_up_nobody(url):
    killed = start(IN_TRANSACTION, url)
    assert json.loads(killed.stdout.readline())["inside"]
    killed.kill()
    killed.wait()
    with StateDatabase.open(url) as state:
        state.acquire_lease("successor", 60, wait=30)
        assert state.load_memory() is None
