"""The lab and the playbooks as a person uses them, for the tests of the whole chain."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / "tests" / "lab" / "lab"
BIN = ROOT / ".venv" / "bin"
sys.path.insert(0, str(LAB.parent))

from liblab.resident import Resident  # noqa: E402

#: Of a failover, in the order of the journal.
MOMENTS = ("fence ordered", "registering begins", "registering done", "power-on begins", "answered", "runs")
HANG_GUARD = 420  # s; far above what any run takes, so that a hanging one fails instead of stopping CI


def lab(*words: str, check: bool = True, seconds: float = HANG_GUARD) -> dict[str, Any]:
    """One command of tests/lab/lab, its JSON answer."""
    done = subprocess.run([str(LAB), *words, "--json"], capture_output=True, text=True, check=False, timeout=seconds)
    if check and done.returncode != 0:
        raise AssertionError("lab %s: %s%s" % (" ".join(words), done.stdout, done.stderr))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@dataclass
class Run:
    """A finished playbook run; ``log`` is what a person saw."""

    code: int
    log: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        return sum(row["changed"] for row in self.recap.values())


class Chain:
    """A lab that is up, with its inventory. Policy keys given here are merged over the lab's own."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        self.folder = folder
        self.inventory = lab("inventory")["path"]
        self.status = lab("status")
        self.policy = policy
        self._read: tuple[list[tuple[str, int]], dict[str, dict[str, Any]]] | None = None

    # The product

    def command(self, name: str, **extra: Any) -> list[str]:
        variables = {**extra}
        if self.policy:
            variables["libreha_policy"] = {**self.inventory_policy(), **self.policy}
        return [str(BIN / "ansible-playbook"), "-i", self.inventory, "libreha.vmware.%s" % name, "-e", json.dumps(variables)]

    def inventory_policy(self) -> dict[str, Any]:
        return dict(self.variables("san1")["libreha_policy"])

    def variables(self, host: str) -> dict[str, Any]:
        """Of a host of the inventory, which is read once, and again when a file of it has changed."""
        files = sorted((str(path), path.stat().st_mtime_ns) for path in Path(self.inventory).rglob("*") if path.is_file())
        if self._read is None or self._read[0] != files:
            command = [str(BIN / "ansible-inventory"), "-i", self.inventory, "--list"]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
            self._read = files, json.loads(done.stdout)["_meta"]["hostvars"]
        return dict(self._read[1][host])

    def play(self, name: str, *options: str, **extra: Any) -> Run:
        command = [*self.command(name, **extra), *options]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=HANG_GUARD)
        return Run(done.returncode, done.stdout + done.stderr, recap_of(done.stdout))

    def first_look(self) -> Run:
        """What `site` ends with, after it has found every machine prepared: a state database, and a look that acts on nothing."""
        StateDatabase.open(self.state_url).close()
        return self.play("monitor", libreha_mode="observe")

    @contextlib.contextmanager
    def playing(self, name: str, **extra: Any) -> Iterator[Playing]:
        """A run in the background, which is killed at the end of the block if it still runs."""
        run = Playing(self.command(name, **extra), self.folder / "playing.log")
        try:
            yield run
        finally:
            run.kill()

    def module(self, module: str, arguments: dict[str, Any], check: bool = True) -> dict[str, Any]:
        """One module on the storage server, as `ansible -m` runs it."""
        command = [str(BIN / "ansible"), "-i", self.inventory, "san1", "-m", "libreha.vmware.%s" % module, "-a", json.dumps(arguments)]
        env = {**environment(), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=HANG_GUARD)
        (result,) = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"].values()
        assert not check or not result.get("failed"), result
        found: dict[str, Any] = result
        return found

    @cached_property
    def state_url(self) -> str:
        return str(self.variables("san1")["libreha_state_url"])

    def record(self, *include: str, **journal: Any) -> dict[str, Any]:
        """What the state database says."""
        return self.module(
            "ha_state_info", {"state_url": self.state_url, "include": list(include), "journal": {"limit": 100000, **journal}}
        )

    def journal(self, *kinds: str, after: int = 0) -> list[dict[str, Any]]:
        """The journal from behind entry *after* on, read from the file itself: quick, and independent of the code under test."""
        rows = self._rows("select * from ha_journal where seq > %d order by seq" % after)
        return [{**row, "data": json.loads(row["data"])} for row in rows if not kinds or row["kind"] in kinds]

    def lease_ends(self) -> float:
        """Until when the lease lasts, in seconds since boot."""
        (row,) = self._rows("select granted_seconds + seconds as ends from ha_lease")
        return float(row["ends"])

    def alarms(self) -> str:
        """The texts of those that are open, read in the same way."""
        return "\n".join(row["text"] for row in self._rows("select text from ha_alarms order by key"))

    def _rows(self, query: str) -> list[dict[str, Any]]:
        path = self.state_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]

    def freeze(self, run: Playing) -> None:
        """SIGSTOP for the run, but not in the milliseconds in which it holds SQLite's write lock: that blocks every other
        run until it is killed or thawed (docs/decisions.md), which is safe, and not what these tests are about."""

        def frozen() -> bool:
            run.signal(signal.SIGSTOP)
            time.sleep(0.1)
            if self._database_is_free():
                return True
            run.signal(signal.SIGCONT)
            return False

        wait_for("a moment outside a database transaction", frozen, 30, every=0.03)

    def _database_is_free(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.state_url.removeprefix("sqlite:///"), timeout=0.5)) as database:
            try:
                database.execute("begin immediate")
                database.rollback()
            except sqlite3.OperationalError:
                return False
        return True

    # The truth

    def referee(self) -> dict[str, Any]:
        return lab("referee", check=False)

    def vms_of(self, host: str) -> list[str]:
        """Where the VMs were when the lab came up."""
        return sorted(vm["name"] for vm in self.status["vms"] if vm["host"] == host)

    def where(self) -> dict[str, str | None]:
        return {name: vm["host"] for name, vm in self.referee()["vms"].items()}

    def storage_arguments(self) -> dict[str, Any]:
        found = dict(self.variables("san1")["libreha_storage"])
        return {name: found[name] for name in ("driver", "control_port", "saved_config", "fence_list")}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }


def recap_of(log: str) -> dict[str, dict[str, int]]:
    """PLAY RECAP as numbers."""
    found = {}
    for line in log.partition("PLAY RECAP")[2].splitlines():
        host, colon, rest = line.partition(" : ")
        if colon:
            found[host.strip()] = {key: int(value) for key, value in (pair.split("=") for pair in rest.split())}
    return found


def wait_for(what: str, condition: Callable[[], Any], seconds: float = HANG_GUARD, every: float = 0.2) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise AssertionError("waited %.0f s in vain for %s" % (seconds, what))


class Playing:
    """A playbook run under way. All that it starts inherits a mark, also what leaves its session (async modules do)."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._mark = "LIBREHA_TEST_RUN=%s" % uuid.uuid4()
        name, _equals, value = self._mark.partition("=")
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, env={**environment(), name: value}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def pids(self) -> list[int]:
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._mark.encode() in _environ(pid)]

    def signal(self, number: signal.Signals) -> None:
        """To the run and everything that it started."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """SIGKILL, until nothing is left."""

        def gone() -> bool:
            self.signal(signal.SIGKILL)
            self.process.poll()
            return not self.pids()

        wait_for("the end of the killed run", gone, 30)

    def finish(self) -> Run:
        """Wait for its own end."""
        code = self.process.wait(timeout=HANG_GUARD)
        text = self.log.read_text()
        return Run(code, text, recap_of(text))


class Service(Resident):
    """The service, as systemd runs it: what is killed is started anew, and whatever is left of it is killed before."""

    def __init__(self, chain: Chain) -> None:
        policy = {"libreha_policy": {**chain.inventory_policy(), **chain.policy}} if chain.policy else {}
        super().__init__(chain.inventory, chain.folder, policy)
        self.chain = chain
        self._started = 0

    @contextlib.contextmanager
    def running(self, *environment: str) -> Iterator[Playing]:
        """Its process, which is killed at the end of the block with all that it started, if it still runs. *environment*: NAME=VALUE."""
        self._started += 1
        run = Playing(["/usr/bin/env", *environment, *self.command], self.chain.folder / ("service-%d.log" % self._started))
        try:
            yield run
        finally:
            run.kill()


def reached(chain: Chain, moment: str, after: int = 0) -> bool:
    """Whether the journal shows *moment* behind entry *after*."""
    if moment == "fence ordered":
        return any(entry["data"].get("action") == "fence" for entry in chain.journal("action", after=after))
    facts = {
        "registering begins": {"phase": "before", "doing": "register"},
        "registering done": {"phase": "after", "step": "registered"},
        "power-on begins": {"phase": "before", "doing": "power_on"},
        "answered": {"phase": "after", "step": "answered"},
        "runs": {"phase": "end", "step": "verified"},
    }[moment]
    return any(facts.items() <= entry["data"].items() for entry in chain.journal("step", after=after))


def brought_up(chain: Chain, after: int = 0) -> set[str]:
    """The names of the VMs whose start was verified behind entry *after*."""
    steps = [entry for entry in chain.journal("step", after=after) if entry["data"].get("step") == "verified"]
    return {entry["data"].get("vm_name") or entry["text"].partition(":")[0] for entry in steps}


def _environ(pid: int) -> bytes:
    try:
        return Path("/proc/%d/environ" % pid).read_bytes()
    except OSError:
        return b""
