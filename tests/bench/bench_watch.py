"""make bench-watch: how soon a VM that was powered off behind the monitor's back is noticed, and what an idle monitor costs.

    .venv/bin/python tests/bench/bench_watch.py [--sizes 1x500,3x12,16x8000] [--offs 20] [--minutes 1]

For each size (hosts x VMs, without workload) a lab is brought up, and the monitor is started as the role configures it. When it has looked
for a while, ``--minutes`` of quiet are measured: CPU seconds of all of its processes, their resident memory, and the bytes at the
machine's own end of both networks. On the management network that is what the monitor exchanges with hosts and BMCs. Then ``--offs``
VMs are powered off through the API of their host, one after the other, and the time is taken until the monitor counts one VM less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".cache" / "collections"), str(ROOT / "tests" / "integration")]

from chain.chain import Chain, Playing, Service, lab, wait_for  # noqa: E402
from faults_page import p95  # noqa: E402
from peer_restart import connect, vm_folder  # noqa: E402
from pyVim.task import WaitForTask  # noqa: E402

SETTLING = 60.0  # s from the first whole look on that are not measured
TICKS = os.sysconf("SC_CLK_TCK")
PAGES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and of their ended children."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in pids) / TICKS


def resident_mib(pids: Sequence[int]) -> float:
    """What they share counts once for each of them."""
    return sum(int(_stat(pid)[21]) for pid in pids) * PAGES / 2**20


def _stat(pid: int) -> list[str]:
    return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()


def wire_bytes(bridge: str) -> int:
    """Both ways, at the machine's own end of a network."""
    counters = Path("/sys/class/net") / bridge / "statistics"
    return sum(int((counters / name).read_text()) for name in ("rx_bytes", "tx_bytes"))


def quiet(monitor: Playing, bridges: Mapping[str, str], minutes: float) -> None:
    pids = monitor.pids()
    began, cpu = time.monotonic(), cpu_seconds(pids)
    wire = {network: wire_bytes(bridge) for network, bridge in bridges.items()}
    time.sleep(60 * minutes)
    took = (time.monotonic() - began) / 60
    cpu = (cpu_seconds(pids) - cpu) / took
    sent = ", ".join("%.1f MB on the %s network" % ((wire_bytes(bridges[name]) - was) / took / 1e6, name) for name, was in wire.items())
    text = "a quiet minute: %.1f s of CPU time (%.1f %% of a core), %s, %.0f MiB resident"
    print(text % (cpu, cpu / 0.6, sent, resident_mib(pids)), flush=True)


def noticed(service: Service, status: Mapping[str, Any], offs: int) -> None:
    """Power VMs off, and wait for each to be missing in what the monitor counts."""
    seconds: list[float] = []
    hosts = {host["name"]: host for host in status["hosts"]}
    sessions = {name: connect(host) for name, host in hosts.items()}
    vms = {vm.name: vm for session in sessions.values() for vm in vm_folder(session).childEntity}
    for vm in [vm["name"] for vm in status["vms"]][:offs]:
        running = service.status()["vms_running"]
        WaitForTask(vms[vm].PowerOffVM_Task())
        off = time.monotonic()
        wait_for("the monitor to notice", lambda running=running: service.status().get("vms_running", running) < running, 60, every=0.02)
        seconds.append(time.monotonic() - off)
        time.sleep(1.7)  # no divisor of any pace
    seconds.sort()
    text = "a VM powered off is noticed after %.2f s at the median, %.2f s at p95, %.2f s at the longest, of %d"
    print(text % (statistics.median(seconds), p95(seconds), seconds[-1], len(seconds)), flush=True)


def one_size(hosts: int, vms: int, offs: int, minutes: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-watch-"))
    os.environ["LIBREHA_LAB_DIR"] = str(folder / "lab")
    print("%d hosts, %d VMs" % (hosts, vms), flush=True)
    memory = str(max(65536, 2048 * 2 * vms // hosts))
    lab("up", "--hosts", str(hosts), "--vms", str(vms), "--no-workload", "--host-memory-mib", memory)
    try:
        chain = Chain(folder)
        chain.first_look()
        service = Service(chain)
        with service.running() as monitor:
            wait_for("all VMs in a look", lambda: service.status().get("vms_running") == vms, 300, every=2)
            time.sleep(SETTLING)
            number = chain.variables(chain.status["hosts"][0]["name"])["ansible_host"].split(".")[2]
            quiet(monitor, {"management": "lhm%s" % number, "storage": "lhs%s" % number}, minutes)
            noticed(service, chain.status, min(offs, vms))
    finally:
        lab("down")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1x500,3x12,16x8000", help="hosts x VMs, several with commas between")
    parser.add_argument("--offs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=1)
    options = parser.parse_args()
    for size in options.sizes.split(","):
        hosts, vms = map(int, size.split("x"))
        one_size(hosts, vms, options.offs, options.minutes)
    print("load average of %d cores: %.1f" % (os.cpu_count() or 1, os.getloadavg()[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
