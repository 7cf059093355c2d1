"""make bench-faults: each fault of docs/faults.md in a lab with the resident monitor, and the referee's verdict on each run.

    .venv/bin/python tests/bench/bench_faults.py [--runs 1] [--faults kill,hang] [--again] [--keep] [--page]

One lab (3 hosts, 12 VMs, a BMC each, the default policy) serves all runs; after each it is healed, its hosts are let in again, and
it must come to rest. Each run is a line of tests/bench/faults.jsonl as soon as it is over. A fault that has ``--runs`` lines there is
not run any more, so an interrupted call goes on where it was; ``--again`` counts only what this call does. ``--keep`` leaves the lab
up for the next call. ``--page`` only writes docs/faults.md anew from the file, as every call does at its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".cache" / "collections"), str(ROOT / "tests" / "integration")]

from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase  # noqa: E402
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList  # noqa: E402
from chain.chain import Chain, Playing, Service, brought_up, lab, wait_for  # noqa: E402
from fault_courses import FAULTS, HELD, Expected  # noqa: E402
from faults_page import PAGE, RESULTS, read, render  # noqa: E402

LAB_OPTIONS = ("--hosts", "3", "--vms", "12", "--arbiter-disk-mib", "64", "--record-interval-ms", "500")
SETTLES = 300.0  # s; recovery_bound


class Trial:
    """One run of one fault."""

    def __init__(self, chain: Chain, service: Service, number: int) -> None:
        self.chain = chain
        self.number = number
        self.wrong: list[str] = []
        self.affected: list[str] = []
        self.since, self.after = 0.0, 0
        self._service = service
        self._running = contextlib.ExitStack()
        self.start_monitor()

    def begin(self) -> None:
        """Everything works: what happens from now on is the fault's."""
        wait_for("a healthy cluster", self.works, SETTLES)
        status = lab("status")
        self.hosts = [host["name"] for host in status["hosts"]]
        self.before = {vm["name"]: vm["host"] for vm in status["vms"]}
        self.victim = max(self.hosts, key=lambda host: (list(self.before.values()).count(host), host))
        self.affected = sorted(self.before)
        self.since = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.after = self.chain.journal()[-1]["seq"]

    def affects(self, *hosts: str) -> list[str]:
        self.affected = sorted(name for name, host in self.before.items() if host in hosts)
        return self.affected

    # The monitor

    def start_monitor(self, *environment: str) -> None:
        entries = self.chain.journal()
        self.monitor_began = entries[-1]["seq"] if entries else 0
        self.monitor: Playing = self._running.enter_context(self._service.running(*environment))
        wait_for("the monitor's first look", self._service.looks, 120)

    def stop_monitor(self) -> None:
        if self.monitor.process.poll() is None:
            self.monitor.process.terminate()
            self.monitor.process.wait()
        self._running.close()

    def reconfigure(self) -> None:
        """Have the role write the configuration anew, and the monitor read it."""
        self._service.configure()
        self.monitor.process.send_signal(1)

    def operator(self, kind: str, host: str) -> None:
        """What the operator tells the monitor; the playbooks give the same commands."""
        told = self._service.libreha("command", kind, host, "--by", "bench", "--reason", "as the alarm says")
        if told.returncode != 0:
            self.wrong.append("libreha command %s %s: %s%s" % (kind, host, told.stdout, told.stderr))

    # How it stands

    def runs(self) -> bool:
        """Whether all VMs run and nothing is under way, by what the monitor says."""
        status = self._service.status()
        return not status.get("in_progress") and not status.get("vms_down") and status.get("vms_running") == len(self.chain.status["vms"])

    def works(self) -> bool:
        """Whether all hosts work as well."""
        hosts = self._service.status().get("hosts", ())
        return self.runs() and bool(hosts) and all(host["verdict"] in ("healthy", "degraded") for host in hosts) and not self.fenced()

    def at_rest(self) -> bool:
        """By what the referee says, too."""
        return self.works() and bool(self.chain.referee()["ok"])

    def fenced(self) -> list[str]:
        return sorted(entry.host for entry in FenceList(self.chain.status["target"]["fence_list"]).read().entries)

    def where(self) -> dict[str, str | None]:
        return {vm["name"]: vm["host"] for vm in lab("status")["vms"]}

    def moved(self) -> dict[str, list[str | None]]:
        return {name: [self.before[name], host] for name, host in self.where().items() if host != self.before[name]}

    def nothing_was_started(self) -> None:
        steps = self.chain.journal("step", after=self.after)
        if steps:
            self.wrong.append("something was started too early: %s" % steps[0]["text"])

    # What must come of it

    def outcome(self, expected: Expected) -> None:
        if expected is Expected.MOVES:
            self._all_moved()
        elif expected is Expected.RESTARTS:
            wait_for("the VMs to run again", self.runs, SETTLES)
        else:
            time.sleep(HELD)
            fenced = self.fenced()
            if fenced and expected is Expected.EITHER:
                self._all_moved()
            elif fenced or self.chain.journal("step", after=self.after):
                self.wrong.append("fenced: %s, where nothing must move" % fenced)

    def _all_moved(self) -> None:
        wanted = set(self.affected)
        wait_for("its VMs elsewhere", lambda: wanted <= brought_up(self.chain, self.after), SETTLES, every=1)
        wait_for("nothing under way", lambda: not self._service.status().get("in_progress", True), 60)
        moved = self.moved()
        if set(moved) != wanted or any(host is None for _from, host in moved.values()):
            self.wrong.append("moved: %s, where %s must move" % (moved, sorted(wanted)))

    # Back to rest

    def rest(self) -> None:
        for host in self.fenced():
            self.operator("rejoin", host)
        wait_for("rest", self.at_rest, SETTLES, every=2)

    def verdict(self) -> dict[str, Any]:
        found = lab("referee", "--since", str(self.since), check=False)
        if not found["ok"]:
            self.wrong.append("referee: %s" % found["problems"])
        return found


def one_run(key: str, number: int, chain: Chain, service: Service) -> dict[str, Any]:
    """What is recorded of it. Whatever goes wrong is in ``wrong``; then the lab is not to be used any more."""
    fault = FAULTS[key]
    trial = Trial(chain, service, number)
    moved: dict[str, list[str | None]] = {}
    try:
        trial.begin()
        course = fault.course(trial)
        next(course)
        trial.outcome(fault.expected)
        next(course, None)
        trial.rest()
        moved = trial.moved()
        if moved and fault.expected is Expected.STAYS:
            trial.wrong.append("moved: %s" % moved)
    except AssertionError as error:
        trial.wrong.append(str(error))
    finally:
        verdict = trial.verdict()
        entries = chain.journal(after=trial.after)
        trial.stop_monitor()
    if trial.wrong:
        folder = Path(tempfile.mkdtemp(prefix="fault-%s-" % key))
        (folder / "journal.txt").write_text("".join("%s %s %s\n" % (e["at_wall"], e["kind"], e["text"]) for e in entries))
        (folder / "wrong.txt").write_text("\n".join(trial.wrong) + "\n\n" + chain.alarms())
        print("%s: WRONG, see %s (and %s): %s" % (key, folder, chain.folder, "; ".join(trial.wrong)), flush=True)
    return {
        "fault": key,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 1),
        "seconds": [round(verdict["vms"][name]["downtime_s"], 1) for name in trial.affected],
        "moved": moved,
        "records_lost": verdict["totals"]["records_lost"],
        "overlapping_writers": verdict["totals"]["overlapping_writers"],
        "overlapping_execution_s": verdict["totals"]["overlapping_execution_s"],
        "wrong": trial.wrong,
    }


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def ready(folder: Path) -> tuple[Chain, Service]:
    """The lab that an earlier call kept, or a new one."""
    if lab("status", check=False).get("running") is not True:
        lab("up", *LAB_OPTIONS)
    chain = Chain(folder)
    StateDatabase.open(chain.state_url).close()
    return chain, Service(chain)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="of each fault")
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, in this order: %s" % ", ".join(FAULTS))
    parser.add_argument("--again", action="store_true", help="whatever the file has already")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    options = parser.parse_args()
    wanted = options.faults.split(",")
    if set(wanted) - set(FAULTS):
        parser.error("no such fault: %s" % ", ".join(sorted(set(wanted) - set(FAULTS))))
    os.environ.setdefault("LIBREHA_LAB_DIR", "/run/libreha-lab-faults")
    failed = 0
    cluster = None
    for key in () if options.page else wanted:
        done = 0 if options.again else sum(1 for run in read() if run["fault"] == key)
        for number in range(done, options.runs):
            if cluster is None:
                cluster = ready(Path(tempfile.mkdtemp(prefix="bench-faults-")))
            result = one_run(key, number, *cluster)
            with RESULTS.open("a") as results:
                results.write(json.dumps(result) + "\n")
            longest = max(result["seconds"], default=float("nan"))
            print("%s: %s, longest %.1f s" % (key, "WRONG" if result["wrong"] else "as expected", longest), flush=True)
            if result["wrong"]:
                failed += 1
                lab("down")
                cluster = None
    if cluster is not None and not options.keep:
        lab("down")
    PAGE.write_text(render(PAGE.read_text(), read()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
