"""make bench-failover: hosts are killed under the eyes of a monitor run; how long each phase took, until their VMs run elsewhere.

    .venv/bin/python tests/bench/bench_failover.py [--service] [--runs 5] [--busy 0] [--short]
                                                   [--hosts 3] [--vms 12] [--kill 1 --apart 5] [--peer]

Each run brings up the quick lab (3 hosts, 12 VMs, one tgt, the default timings), runs ``site``, starts ``monitor``, kills esx1 when that
run has its lease, and reads the phases from the journal. With ``--service`` the resident monitor is at work instead, as the role configures
it, and esx1 is killed when it has looked for a while. ``--kill 2 --apart 5`` kills esx2 as well, 5 s later; each host's figures count
from its own death. ``--busy N`` keeps N busy loops going for each core meanwhile. The bound
to compare with: confirm_after (15 s) and what VMFS needs until a dead host's lock is broken (16 s, watched from the first power-on).
``--peer`` has a bare pyVmomi script (peer_restart.py) stop the same VMs afterwards, and register and power them on at the same hosts,
as many at a time as the policy allows. More than 40 VMs write one record a second, not ten: what is measured is not the target.
``--short`` is for the lab only, and shows what the monitor itself takes: confirm_after 5 s, io_stale 4 s, and locks that live for 4 s.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".cache" / "collections"), str(ROOT / "tests" / "integration")]

from chain.chain import Chain, Service, lab, wait_for  # noqa: E402
from peer_restart import restart  # noqa: E402

PHASES = ("confirmed", "fence confirmed", "registered", "running")
HANG_GUARD = 900.0  # s
QUIET = 12.0  # s for which the service has looked before the host is killed
AT_A_TIME = 4  # the policy's default of failover.parallel_per_host


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


@dataclass(frozen=True)
class Scene:
    """What is up, and what dies."""

    hosts: int
    vms: int
    kill: int
    apart: float  # s from one death to the next
    timings: Timings
    loops: int
    service: bool
    peer: bool

    @property
    def dying(self) -> list[str]:
        return ["esx%d" % (number + 1) for number in range(self.kill)]

    def __str__(self) -> str:
        dead = "%d killed %g s apart" % (self.kill, self.apart) if self.kill > 1 else "one killed"
        words = (self.hosts, self.vms, dead, self.timings.name, self.loops, os.cpu_count() or 1)
        return "%d hosts, %d VMs, %s, %s, %d busy loops on %d cores" % words


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


def kill(scene: Scene) -> dict[str, float]:
    """When each host died, in seconds since boot."""
    died: dict[str, float] = {}
    for host in scene.dying:
        if died:
            time.sleep(max(0.0, max(died.values()) + scene.apart - time.clock_gettime(time.CLOCK_BOOTTIME)))
        died[host] = float(lab("fault", host, "kill")["event"]["boottime_s"])
    return died


def under_the_service(chain: Chain, scene: Scene, before: int, lost: int) -> tuple[dict[str, float], int]:
    """When the hosts died, and 0: their VMs were brought up elsewhere; 1: they were not."""
    with Service(chain).running() as monitor:
        wait_for("the lease", lambda: chain.journal("lease", after=before))
        time.sleep(QUIET)
        died = kill(scene)
        end = time.monotonic() + HANG_GUARD / 3
        while len(phases(chain.journal(after=before))["running"]) < lost:
            if time.monotonic() > end:
                return died, 1
            time.sleep(2)
        time.sleep(5)  # what it does next would be in the journal
        monitor.process.terminate()
        monitor.process.wait()
    return died, 0


def under_a_run(chain: Chain, scene: Scene, before: int) -> tuple[dict[str, float], int]:
    """When the hosts died, and the exit code of the playbook ``monitor``."""
    with chain.playing("monitor") as monitor:
        wait_for("the lease", lambda: chain.journal("lease", after=before))
        died = kill(scene)
        code = monitor.process.wait(HANG_GUARD)
    if not chain.journal("verdict", after=before):
        code = chain.play("monitor").code  # it had looked and ended before the host died; the next scheduled run
    return died, code


def one_run(folder: Path, scene: Scene) -> dict[str, float] | None:
    """Seconds from the (last) death to each phase, for the last VM, and the referee's longest downtime; None when a VM stayed down."""
    interval = () if scene.vms <= 40 else ("--record-interval-ms", "1000")
    words = ("--hosts", str(scene.hosts), "--vms", str(scene.vms), "--lease-seconds", "%g" % scene.timings.lock, *interval)
    lab("up", *words)
    try:
        chain = Chain(folder, **scene.timings.policy)
        site = chain.play("site")
        if site.code != 0:
            sys.exit("site failed: %s" % site.log)
        before = chain.journal()[-1]["seq"]
        lost = {host: chain.vms_of(host) for host in scene.dying}
        names = [name for vms in lost.values() for name in vms]
        places = [folder / "lab" / "datastore" / name / ("%s.vmx" % name) for name in names]
        files = {place: place.read_text() for place in places}
        with busy(scene.loops):
            died, code = under_the_service(chain, scene, before, len(names)) if scene.service else under_a_run(chain, scene, before)
        entries = chain.journal(after=before)
        verdict = chain.referee()
        peer = bare(files, names) if scene.peer and code == 0 else {}
    finally:
        lab("down")
    first = min(died.values())
    (folder / "journal.txt").write_text("\n".join("%8.1f %s" % (entry["at_seconds"] - first, entry["text"]) for entry in entries))
    back = all(verdict["vms"][name]["host"] not in (None, *scene.dying) for name in names)
    if code != 0 or not verdict["ok"] or not back:
        print("a run failed (exit code %d, referee %s): %s" % (code, verdict["ok"], folder), flush=True)
        return None
    found = {name: max(times) - max(died.values()) for name, times in phases(entries).items()}
    longest = {host: max(verdict["vms"][name]["downtime_s"] for name in vms) for host, vms in lost.items()}
    each = {"downtime of %s's VMs" % host: seconds for host, seconds in longest.items()} if scene.kill > 1 else {}
    return {**found, **each, "longest downtime": max(longest.values()), **peer}


def bare(files: Mapping[Path, str], names: Sequence[str]) -> dict[str, float]:
    """Seconds that the bare script takes for the same VMs at the same hosts."""
    status = lab("status")
    where = {vm["name"]: (vm["host"], vm["path"]) for vm in status["vms"] if vm["name"] in names}
    return {"bare script": restart([host for host in status["hosts"] if host["up"]], where, files, AT_A_TIME)}


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
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--vms", type=int, default=12)
    parser.add_argument("--kill", type=int, default=1, help="how many hosts die")
    parser.add_argument("--apart", type=float, default=5.0, help="seconds from one death to the next")
    parser.add_argument("--peer", action="store_true", help="beside a bare pyVmomi script")
    options = parser.parse_args()
    timings = SHORT if options.short else DEFAULTS
    loops = options.busy * (os.cpu_count() or 1)
    scene = Scene(options.hosts, options.vms, options.kill, options.apart, timings, loops, options.service, options.peer)
    found: list[dict[str, float]] = []
    failed = 0
    for number in range(options.runs):
        folder = Path(tempfile.mkdtemp(prefix="bench-failover-"))
        os.environ["LIBREHA_LAB_DIR"] = str(folder / "lab")
        result = one_run(folder, scene)
        if result is None:
            failed += 1
            continue
        found.append(result)
        print("run %d: %s" % (number + 1, ", ".join("%s %.1f s" % item for item in result.items())), flush=True)
    print("\n%d runs, %s; %d failed" % (options.runs, scene, failed))
    if found:
        report(found, timings.bound)
    return 1 if failed else 0


def report(found: Sequence[Mapping[str, float]], bound: float) -> None:
    print("%-24s %10s %10s" % ("s after the (last) kill", "median", "longest"))
    for name in found[0]:
        values = [result[name] for result in found]
        print("%-24s %10.1f %10.1f" % (name, statistics.median(values), max(values)))
    beyond = [result["longest downtime"] - bound for result in found]
    text = "beyond the bound of %.0f s (confirm_after and the lock of a dead host): %.1f s at the median, %.1f s at the longest"
    print(text % (bound, statistics.median(beyond), max(beyond)))
    if "bare script" in found[0]:
        ratios = [over / result["bare script"] for over, result in zip(beyond, found)]
        print("that is %.2f times the bare script at the median, %.2f times at the longest" % (statistics.median(ratios), max(ratios)))


if __name__ == "__main__":
    sys.exit(main())
