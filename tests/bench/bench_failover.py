"""make bench-failover: a host is killed under the eyes of a monitor run; how long each phase took, until its VMs run elsewhere.

    .venv/bin/python tests/bench/bench_failover.py [--service] [--runs 5] [--busy 0] [--short]

Each run brings up the quick lab (3 hosts, 12 VMs, one tgt, the default timings), runs ``site``, starts ``monitor``, kills esx1 when that
run has its lease, and reads the phases from the journal. With ``--service`` the resident monitor is at work instead, as the role configures
it, and esx1 is killed when it has looked for a while. ``--busy N`` keeps N busy loops going for each core meanwhile. The bound
to compare with: confirm_after (15 s) and what VMFS needs until a dead host's lock is broken (16 s, watched from the first power-on).
``--short`` is for the lab only, and shows what the monitor itself takes: confirm_after 5 s, io_stale 4 s, and locks that live for 4 s.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
sys.path.insert(0, str(LAB.parent))

from liblab.resident import Resident  # noqa: E402

BIN = ROOT / ".venv" / "bin"
PHASES = ("confirmed", "fence confirmed", "registered", "running")
HANG_GUARD = 900.0  # s
QUIET = 12.0  # s for which the service has looked before the host is killed


@dataclass(frozen=True)
class Timings:
    """``policy`` is what differs from the default policy."""

    name: str
    confirm_after: float  # s
    lock: float  # s for which a dead host's lock on a VM's files lives
    policy: Mapping[str, float] = field(default_factory=dict)

    @property
    def bound(self) -> float:
        return self.confirm_after + self.lock


DEFAULTS = Timings("defaults", 15.0, 16.0)
SHORT = Timings("the lab only: confirm_after 5 s, io_stale 4 s, lock lease 4 s", 5.0, 4.0, {"confirm_after": 5, "io_stale": 4})


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LIBREHA_LAB_DIR": str(folder / "lab"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "LC_ALL": "C.UTF-8",
    }


class Site:
    """One lab with its state database."""

    def __init__(self, folder: Path, timings: Timings) -> None:
        self.env = environment(folder)
        self.folder = folder
        self._timings = timings

    @functools.cached_property
    def inventory(self) -> str:
        return str(self.lab("inventory")["path"])

    @functools.cached_property
    def arbiter(self) -> dict[str, Any]:
        """The variables of the arbiter."""
        command = [str(BIN / "ansible-inventory"), "-i", self.inventory, "--host", "san1"]
        found: dict[str, Any] = json.loads(subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout)
        return found

    @property
    def variables(self) -> dict[str, Any]:
        return {"libreha_policy": {**self.arbiter["libreha_policy"], **self._timings.policy}} if self._timings.policy else {}

    def lab(self, *words: str) -> dict[str, Any]:
        done = subprocess.run([str(LAB), *words, "--json"], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0 and words[0] != "referee":
            sys.exit("lab %s: %s%s" % (" ".join(words), done.stdout, done.stderr))
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def playbook(self, name: str) -> subprocess.Popen[bytes]:
        command = [str(BIN / "ansible-playbook"), "-i", self.inventory, "libreha.vmware.%s" % name]
        command += ["-e", json.dumps(self.variables)]
        with (self.folder / ("%s.log" % name)).open("w") as log:
            return subprocess.Popen(command, env=self.env, stdout=log, stderr=subprocess.STDOUT)

    @contextlib.contextmanager
    def service(self) -> Iterator[None]:
        """The resident monitor at work."""
        resident = Resident(self.inventory, self.folder, self.variables)
        with (self.folder / "service.log").open("w") as log:
            process = subprocess.Popen(resident.command, env=self.env, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def journal(self) -> list[dict[str, Any]]:
        """The journal, read from the file itself: independent of the code under test, and quick."""
        path = self.arbiter["libreha_state_url"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return [{**dict(row), "data": json.loads(row["data"])} for row in database.execute("select * from ha_journal order by seq")]


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but use a core."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _loop in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def under_the_service(site: Site, before: int, lost: int) -> tuple[float, int]:
    """When esx1 was killed, in seconds since boot, and 0: its VMs were brought up elsewhere; 1: they were not."""
    with site.service():
        while not any(entry["kind"] == "lease" for entry in site.journal()[before:]):
            time.sleep(0.2)
        time.sleep(QUIET)
        killed = float(site.lab("fault", "esx1", "kill")["event"]["boottime_s"])
        end = time.monotonic() + HANG_GUARD / 3
        while len(phases(site.journal()[before:])["running"]) < lost:
            if time.monotonic() > end:
                return killed, 1
            time.sleep(2)
        time.sleep(5)  # what it does next would be in the journal
    return killed, 0


def under_a_run(site: Site, before: int) -> tuple[float, int]:
    """When esx1 was killed, in seconds since boot, and the exit code of the playbook ``monitor``."""
    monitor = site.playbook("monitor")
    while not any(entry["kind"] == "lease" for entry in site.journal()[before:]):
        time.sleep(0.2)
    killed = float(site.lab("fault", "esx1", "kill")["event"]["boottime_s"])
    code = monitor.wait(HANG_GUARD)
    if not any(entry["kind"] == "verdict" for entry in site.journal()[before:]):
        code = site.playbook("monitor").wait(HANG_GUARD)  # it had looked and ended before the host died; the next scheduled run
    return killed, code


def one_run(folder: Path, loops: int, service: bool, timings: Timings) -> dict[str, float] | None:
    """Seconds from the kill to each phase, for the last VM, and the referee's longest downtime; None when a VM did not come back."""
    site = Site(folder, timings)
    up = site.lab("up", "--hosts", "3", "--vms", "12", "--lease-seconds", "%g" % timings.lock)
    lost = sorted(vm["name"] for vm in up["vms"] if vm["host"] == "esx1")
    try:
        if site.playbook("site").wait(HANG_GUARD) != 0:
            sys.exit("site failed: %s" % (folder / "site.log").read_text())
        before = len(site.journal())
        with busy(loops):
            killed, code = under_the_service(site, before, len(lost)) if service else under_a_run(site, before)
        entries = site.journal()[before:]
        verdict = site.lab("referee")
    finally:
        site.lab("down")
    (folder / "journal.txt").write_text("\n".join("%8.1f %s" % (entry["at_seconds"] - killed, entry["text"]) for entry in entries))
    back = all(verdict["vms"][name]["host"] not in (None, "esx1") for name in lost)
    if code != 0 or not verdict["ok"] or not back:
        print("a run failed (exit code %d, referee %s): %s" % (code, verdict["ok"], folder), flush=True)
        return None
    found = {name: max(times) - killed for name, times in phases(entries).items()}
    return {**found, "longest downtime": max(verdict["vms"][name]["downtime_s"] for name in lost)}


def phases(entries: list[dict[str, Any]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in PHASES}
    for entry in entries:
        data, at = entry["data"], float(entry["at_seconds"])
        if entry["kind"] == "action" and data.get("action") == "fence" and data.get("ordered"):
            times["confirmed"].append(at)
        elif entry["kind"] == "verdict" and data.get("verdict") == "fenced":
            times["fence confirmed"].append(at)
        elif entry["kind"] == "step" and data.get("phase") == "after" and data.get("step") == "registered":
            times["registered"].append(at)
        elif entry["kind"] == "step" and data.get("phase") == "end" and data.get("step") == "verified":
            times["running"].append(at)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--service", action="store_true", help="with the resident monitor in place of the playbook")
    parser.add_argument("--busy", type=int, default=0, help="busy loops for each core")
    parser.add_argument("--short", action="store_true", help="shorter timings than production can have")
    options = parser.parse_args()
    timings = SHORT if options.short else DEFAULTS
    loops = options.busy * (os.cpu_count() or 1)
    found: list[dict[str, float]] = []
    failed = 0
    for number in range(options.runs):
        folder = Path(tempfile.mkdtemp(prefix="bench-failover-"))
        result = one_run(folder, loops, options.service, timings)
        if result is None:
            failed += 1
            continue
        found.append(result)
        print("run %d: %s" % (number + 1, ", ".join("%s %.1f s" % item for item in result.items())), flush=True)
    print(
        "\n%d runs, 3 hosts, 12 VMs, %s, %d busy loops on %d cores; %d failed"
        % (options.runs, timings.name, loops, os.cpu_count() or 1, failed)
    )
    print("%-18s %10s %10s" % ("s after the kill", "median", "longest"))
    for name in (*PHASES, "longest downtime") if found else ():
        values = [result[name] for result in found]
        print("%-18s %10.1f %10.1f" % (name, statistics.median(values), max(values)))
    if found:
        beyond = [result["longest downtime"] - timings.bound for result in found]
        text = "beyond the bound of %.0f s (confirm_after and the lock of a dead host): %.1f s at the median, %.1f s at the longest"
        print(text % (timings.bound, statistics.median(beyond), max(beyond)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
