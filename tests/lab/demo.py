"""make demo: three hosts, twelve VMs; one host dies, the resident monitor brings its VMs back; what it says, and what the referee finds.

Exit status 0 only if every VM of the dead host runs elsewhere and the referee found nothing wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liblab.resident import Resident

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
BIN = ROOT / ".venv" / "bin"
PRIORITY = re.compile(r"^<[0-7]>")  # for journald
WIDTH = 150  # columns of a line that are shown
LOOKS = 5.0  # s for which it looks at a healthy cluster before the fault
PATIENCE = 300.0  # s; far above what it takes
STOPS = 60.0  # s; as in its unit


def say(text: str = "") -> None:
    print(text, flush=True)


def lab(*words: str, check: bool = True) -> dict[str, Any]:
    """One lab command; its progress goes to the terminal, its JSON comes back."""
    done = subprocess.run([str(LAB), *words, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit("demo: 'lab %s' failed: %s" % (" ".join(words), done.stdout.strip()))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def playbook(inventory: str, name: str, *options: str) -> int:
    """Run a playbook of the collection as a user would; its output is the show."""
    command = [str(BIN / "ansible-playbook"), "-i", inventory, "libreha.vmware.%s" % name, *options]
    say("\n$ ansible-playbook -i %s libreha.vmware.%s %s\n" % (inventory, name, " ".join(options)))
    return subprocess.run(command, env=environment(), check=False).returncode


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_NOCOWS": "1",
        "LC_ALL": "C.UTF-8",
    }


class Watched:
    """The resident monitor at work; each line of its log is shown as it comes, in seconds since the fault."""

    def __init__(self, resident: Resident, folder: Path) -> None:
        self._fault_at: float | None = None
        self._process = subprocess.Popen(resident.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder)
        self._lines = threading.Thread(target=self._show, daemon=True)
        self._lines.start()

    def fault(self, boottime: float) -> None:
        self._fault_at = boottime

    def end(self) -> int:
        """Stop it as systemd would; its exit code."""
        self._process.terminate()
        code = self._process.wait(STOPS)
        self._lines.join()
        return code

    def _show(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            words = PRIORITY.sub("", line.rstrip())
            if self._fault_at is None:
                say("            %s" % words[:WIDTH])
            else:
                say("%8.1f s  %s" % (time.clock_gettime(time.CLOCK_BOOTTIME) - self._fault_at, words[:WIDTH]))


def wait_for(what: str, ready: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            sys.exit("demo: %s: not within %.0f s" % (what, seconds))
        time.sleep(0.5)


def elsewhere(lost: list[str], victim: str) -> bool:
    """Whether all of them run on other hosts, as these say themselves."""
    running = {vm["name"] for vm in lab("status")["vms"] if vm["power"] == "on" and vm["host"] != victim}
    return set(lost) <= running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--vms", type=int, default=12)
    parser.add_argument("--fault", default="kill", choices=["kill", "hang", "storage-cut", "power-off"])
    parser.add_argument("--no-bmc", action="store_true", help="hosts without power fencing")
    parser.add_argument("--keep", action="store_true", help="leave the lab up; tests/lab/lab down ends it")
    options = parser.parse_args()
    victim = "esx1"

    say("== %d hosts and %d VMs on one iSCSI target (network namespaces, tgt, esxsim) ==" % (options.hosts, options.vms))
    up = lab("up", "--fresh", "--hosts", str(options.hosts), "--vms", str(options.vms), *(["--no-bmc"] if options.no_bmc else []))
    lost = sorted(vm["name"] for vm in up["vms"] if vm["host"] == victim)
    try:
        inventory = lab("inventory")["path"]
        if playbook(inventory, "site") != 0:
            return 1
        say("\n== The resident monitor, as the role ha_monitor configures it; in the lab no systemd starts it ==")
        with tempfile.TemporaryDirectory(prefix="libreha-demo-") as folder:
            resident = Resident(inventory, Path(folder))
            monitor = Watched(resident, Path(folder))
            try:
                wait_for("the monitor's first look", resident.looks, PATIENCE)
                time.sleep(LOOKS)
                say("\n== %s: %s, with %s ==" % (options.fault, victim, ", ".join(lost)))
                monitor.fault(lab("fault", victim, options.fault)["event"]["boottime_s"])
                wait_for("the VMs of %s on other hosts" % victim, lambda: elsewhere(lost, victim), PATIENCE)
                wait_for("nothing under way", lambda: not resident.status().get("in_progress", True), PATIENCE)
                say("\n$ libreha status\n")
                say(resident.libreha("status").stdout)
            finally:
                code = monitor.end()
        return report(lab("referee", check=False), lost, victim, code)
    finally:
        if options.keep:
            say("\nThe lab is still up: tests/lab/lab status, tests/lab/lab down")
        else:
            lab("down")


def report(verdict: dict[str, Any], lost: list[str], victim: str, code: int) -> int:
    say("\n== Referee: what the LUN, the hosts and their execution logs say ==")
    say("%-8s %-8s %12s %14s %20s %22s" % ("VM", "runs on", "downtime", "records lost", "overlapping writers", "overlapping execution"))
    for name, vm in sorted(verdict["vms"].items()):
        row = (
            name,
            vm["host"] or "nowhere",
            vm["downtime_s"],
            vm["records_lost"],
            vm["overlapping_writers"],
            vm["overlapping_execution_s"],
        )
        say("%-8s %-8s %10.1f s %14d %20d %20.1f s" % row)
    moved = [name for name in lost if verdict["vms"][name]["host"] not in (None, victim)]
    good = code == 0 and verdict["ok"] and moved == lost
    say(
        "\n%d of %d VMs of %s run elsewhere; referee %s; monitor ended with %d"
        % (len(moved), len(lost), victim, "found nothing wrong" if verdict["ok"] else "FOUND FAULTS", code)
    )
    say("longest downtime %.1f s" % max((verdict["vms"][name]["downtime_s"] for name in lost), default=0.0))
    say("PASSED" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
