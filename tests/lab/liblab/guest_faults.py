"""Faults inside a VM's guest. Its host carries them out, told by the lab and not through its API, and shows of them what a host sees."""

from __future__ import annotations

import signal
import time

from . import api, machines
from .errors import LabError
from .processes import send
from .state import Lab, write_private

VM_FAULTS = {
    "guest-hang": "its guest stops: no I/O, no heartbeat; the VM executes on. heal, a reset or a new start ends it",
    "tools-gone": "VMware Tools end in its guest: no heartbeat; it works on. heal, a reset or a new start ends it",
}
ORDERS = {"guest-hang": "hang", "tools-gone": "tools-gone"}
ANSWER_SECONDS = 10.0


def inject(lab: Lab, vm: str, kind: str) -> str:
    """Raises LabError when the VM runs nowhere or the host does not obey."""
    if kind not in VM_FAULTS:
        raise LabError("A VM has no fault '%s'; it has %s." % (kind, ", ".join(VM_FAULTS)))
    lab.record(vm, kind, "fault")
    _order(lab, vm, ORDERS[kind])
    return "%s: %s" % (vm, VM_FAULTS[kind])


def heal(lab: Lab, vm: str) -> str:
    lab.record(vm, "guest", "heal")
    _order(lab, vm, "wake")
    return "%s: its guest works, with VMware Tools" % vm


def _order(lab: Lab, name: str, word: str) -> None:
    """Have the host on which the VM runs carry out an order for its guest, and wait until it did."""
    up = [host for host in lab.hosts if machines.state_word(lab, host.name) == "on"]
    path = next(vm.path for vm in lab.vms if vm.name == name)
    seen = api.poll(up, str(lab.ca_file))
    running = [host for host in up if any(vm.path == path and vm.power == "on" for vm in seen[host.name] or ())]
    if not running:
        raise LabError("%s runs on none of the hosts that answer: its guest can be told nothing." % name)
    (host,) = running[:1]
    home = lab.host_folder(host.name)
    answer = home / "guest-answer"
    answer.unlink(missing_ok=True)
    write_private(home / "guest-orders", "%s %s\n" % (word, name))
    if not send(lab.processes.get(host.name), signal.SIGUSR1):
        raise LabError("%s has ended meanwhile." % host.name)
    deadline = time.monotonic() + ANSWER_SECONDS
    while not answer.exists():
        if time.monotonic() > deadline:
            raise LabError("%s did not carry out '%s %s' within %g s. See %s/esxsim.log." % (host.name, word, name, ANSWER_SECONDS, home))
        time.sleep(0.02)
    said = answer.read_text(encoding="utf-8").strip()
    if said != "done":
        raise LabError("%s: %s." % (host.name, said))
