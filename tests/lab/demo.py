"""make demo: three hosts, twelve VMs; one host dies, monitor brings its VMs back; a timeline and the referee's verdict.

Exit status 0 only if every VM of the dead host runs elsewhere and the referee found nothing wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
BIN = ROOT / ".venv" / "bin"


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


def journal(inventory: str) -> list[dict[str, Any]]:
    """All journal entries, read through the collection's own module."""
    arguments = json.dumps({"include": ["journal"], "journal": {"limit": 100000}, "state_url": state_url(inventory)})
    command = [str(BIN / "ansible"), "-i", inventory, "libreha_storage[0]", "-m", "libreha.vmware.ha_state_info", "-a", arguments]
    env = {**environment(), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    (result,) = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"].values()
    entries: list[dict[str, Any]] = result["journal"]
    return entries


def state_url(inventory: str) -> str:
    command = [str(BIN / "ansible-inventory"), "-i", inventory, "--host", "san1"]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return str(json.loads(done.stdout)["libreha_state_url"])


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_NOCOWS": "1",
        "LC_ALL": "C.UTF-8",
    }


def timeline(entries: list[dict[str, Any]], fault_at: float) -> list[str]:
    """What happened, in seconds since the fault; one line for each VM's registration and start."""
    lines = []
    for entry in entries:
        seconds, kind, facts = entry["at"]["seconds"] - fault_at, entry["kind"], entry["data"]
        if seconds < 0:
            continue
        if kind in ("verdict", "person") or (kind == "action" and facts.get("action") == "fence"):
            lines.append("%8.1f s  %s" % (seconds, entry["text"]))
        elif kind == "step" and facts.get("phase") in ("after", "end") and facts.get("step") in ("registered", "answered", "verified"):
            word = {"registered": "registered on", "answered": "question answered on", "verified": "runs on"}[facts["step"]]
            if facts["phase"] == "end" or facts["step"] != "registered" or not any("%s registered" % facts["vm"] in line for line in lines):
                lines.append("%8.1f s  %s %s %s" % (seconds, facts["vm"], word, facts["destination"]))
    return lines


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
        time.sleep(3)
        say("\n== %s: %s, with %s ==" % (options.fault, victim, ", ".join(lost)))
        fault = lab("fault", victim, options.fault)["event"]
        code = playbook(inventory, "monitor")
        time.sleep(3)
        say("\n== Timeline: seconds since the fault ==")
        for line in ["%8.1f s  fault: %s %s" % (0, options.fault, victim), *timeline(journal(inventory), fault["boottime_s"])]:
            say(line)
        verdict = lab("referee", check=False)
        # Nothing proves a host without a BMC off: the run then ends before a critical alarm that says so.
        return report(verdict, lost, victim, code, as_expected=(code != 0) is options.no_bmc)
    finally:
        if options.keep:
            say("\nThe lab is still up: tests/lab/lab status, tests/lab/lab down")
        else:
            lab("down")


def report(verdict: dict[str, Any], lost: list[str], victim: str, code: int, as_expected: bool) -> int:
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
    good = as_expected and verdict["ok"] and moved == lost
    say(
        "\n%d of %d VMs of %s run elsewhere; referee %s; monitor ended with %d"
        % (len(moved), len(lost), victim, "found nothing wrong" if verdict["ok"] else "FOUND FAULTS", code)
    )
    say("longest downtime %.1f s" % max((verdict["vms"][name]["downtime_s"] for name in lost), default=0.0))
    say("PASSED" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
