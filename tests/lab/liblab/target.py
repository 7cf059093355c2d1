"""The storage server: a real tgtd in its own namespace, started and stopped as Debian's tgt.service does it.

The saved configuration is written once, by ``lab up``. From then on it is the storage driver's: a restart loads what it finds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .errors import LabError, run
from .plan import LUN, NOBODY_ADDRESS, TARGET_IQN, lun_bytes
from .processes import alive, end, kill, send, spawn, state_of, tail
from .state import Lab

STALL_ATTEMPTS = 20
ANSWERS = 3.0  # s; it takes milliseconds
PACKAGES = "Install the Debian packages tgt and libconfig-general-perl."


def write_saved_config(lab: Lab) -> None:
    """targets.conf(5) with one line for each host. Whoever revokes a right removes that host's line."""
    lines = [
        "# Saved configuration of the lab's target, loaded whenever tgtd starts (targets.conf(5)).",
        "default-driver iscsi",
        "",
        "<target %s>" % TARGET_IQN,
        "    backing-store %s" % lab.lun_file,
        "    # every acknowledged write is in the backing file, not in a cache",
        "    write-cache off",
        "    allow-in-use yes",
        "    # admits nobody: without an initiator-address line tgt-admin admits ALL, whatever names follow",
        "    initiator-address %s" % NOBODY_ADDRESS,
        *("    initiator-name %s" % host.initiator for host in lab.hosts),
        "</target>",
        "",
    ]
    lab.saved_config.write_text("\n".join(lines), encoding="utf-8")


def make_backing_file(lab: Lab) -> None:
    with open(lab.lun_file, "xb") as lun:
        lun.write(b"LIBREHALAB1\0")
        lun.truncate(lun_bytes(lab.options))
        os.fsync(lun.fileno())


def _admin(lab: Lab, *arguments: str, what: str) -> str:
    return run(["tgtadm", "-C", str(lab.network.control_port), *arguments], what=what, remedy=PACKAGES, timeout=15)


def _state(lab: Lab, value: str) -> None:
    _admin(lab, "--op", "update", "--mode", "sys", "--name", "State", "-v", value, what="set the target service %s" % value)


def start(lab: Lab) -> None:
    """Start tgtd, load the saved configuration with the service offline, then let initiators in."""
    log = lab.path / "tgt" / "tgtd.log"
    log.parent.mkdir(exist_ok=True)
    before = log.stat().st_size if log.exists() else 0
    port = str(lab.network.control_port)
    argv = ["tgtd", "-f", "-C", port, "--iscsi", "portal=%s" % lab.network.portal]
    lab.processes["tgtd"] = spawn(argv, log, namespace=lab.network.storage_namespace)
    lab.save()
    deadline = time.monotonic() + 10
    while True:
        try:
            _state(lab, "offline")
            break
        except LabError as error:
            if not alive(lab.processes["tgtd"]) or time.monotonic() > deadline:
                raise LabError("tgtd did not start: %s\n%s" % (error, tail(log, start=before))) from error
            time.sleep(0.05)
    load = ["tgt-admin", "-e", "-c", str(lab.saved_config), "-C", port]
    run(load, what="load %s into tgtd" % lab.saved_config, remedy=PACKAGES)
    # tgt-admin skips a backing store that it does not find, and says so only on its standard output
    shown = _admin(lab, "--op", "show", "--mode", "target", what="ask tgtd for its targets")
    if str(lab.lun_file) not in shown or "LUN: %d" % LUN not in shown:
        raise LabError("tgtd does not export %s as LUN %d after loading %s:\n%s" % (lab.lun_file, LUN, lab.saved_config, shown))
    _state(lab, "ready")


def stop(lab: Lab) -> None:
    """As ``systemctl stop tgt``: offline, sessions ended, daemon ended in order; killed if it does not hear."""
    process = lab.processes.get("tgtd")
    if not alive(process):
        return
    port = str(lab.network.control_port)
    try:
        _state(lab, "offline")
        run(["tgt-admin", "-C", port, "--offline", "ALL"], what="take the targets offline", timeout=15)
        run(["tgt-admin", "-C", port, "--update", "ALL", "-c", "/dev/null", "-f"], what="end the targets' sessions", timeout=15)
        _admin(lab, "--op", "delete", "--mode", "system", what="end tgtd")
    except LabError:
        pass  # a daemon that does not answer is ended all the same
    end(process)


def stall(lab: Lab) -> None:
    """Hold the threads that do its I/O: commands are taken and not done, and everything else is answered.

    A thread that is held inside a lock holds up the daemon as a whole; then they are let go and held anew."""
    argv = [sys.executable, "-m", "liblab.stall", str(lab.processes["tgtd"].pid)]
    for _attempt in range(STALL_ATTEMPTS):
        lab.processes["stall"] = spawn(argv, lab.path / "tgt" / "stall.log", env={"PYTHONPATH": str(Path(__file__).parents[1])})
        lab.save()
        time.sleep(2)  # until the threads are held, and every VM has asked for something since
        if _answers(lab):
            return
        end(lab.processes.pop("stall"))
    raise LabError("tgtd does not answer while the threads of its I/O are held, %d times. Its log: %s" % (STALL_ATTEMPTS, lab.path / "tgt"))


def _answers(lab: Lab) -> bool:
    ask = ["tgtadm", "-C", str(lab.network.control_port), "--op", "show", "--mode", "target"]
    try:
        return subprocess.run(ask, capture_output=True, check=False, timeout=ANSWERS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def freeze(lab: Lab) -> None:
    send(lab.processes.get("tgtd"), signal.SIGSTOP)


def let_go(lab: Lab) -> str:
    """End a stall or a freeze; which of them it was."""
    if alive(lab.processes.get("stall")):
        end(lab.processes.pop("stall"))
        return "stall"
    if state_of(lab.processes.get("tgtd")) == "T":
        send(lab.processes.get("tgtd"), signal.SIGCONT)
        return "hang"
    return ""


def crash(lab: Lab) -> None:
    """The daemon dies at once, with nothing put in order."""
    kill(lab.processes.get("tgtd"))
