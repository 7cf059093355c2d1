"""Faults and their healing, honest ones only: signals, cables, the power switch. No flag that the code under test could see."""

from __future__ import annotations

from . import arbiter, guest_faults, machines, target
from .errors import LabError
from .plan import LOSS_PERCENT, Host
from .processes import alive
from .state import CABLES, LOSSES, Lab

HOST_FAULTS = {
    "kill": "the machine dies: links down, SIGKILL; its BMC still says on",
    "hang": "the machine freezes: links silent, SIGSTOP; heal thaws both at once",
    "partition": "its management cable is pulled",
    "storage-cut": "its storage cable is pulled",
    "power-off": "the machine is switched off; its BMC says off",
    "power-lost": "the machine and its BMC lose their power: both are silent",
    "management-loss": "its management cable loses %d %% of the packets, each way" % LOSS_PERCENT,
    "storage-loss": "its storage cable loses %d %% of the packets, each way" % LOSS_PERCENT,
}
TARGET_FAULTS = {
    "restart": "the target service is stopped and started again, from its saved configuration, as systemd does it",
    "off": "the target daemon dies and stays away until heal",
    "stall": "its disk takes no more I/O, while the daemon answers, until heal",
    "hang": "the target daemon freezes, until heal",
}
ARBITER_FAULTS = {"disk-full": "its own disk has no room any more, until heal; needs up --arbiter-disk-mib"}


def inject(lab: Lab, name: str, kind: str) -> str:
    """Do it; returns a sentence of what was done. Raises LabError when the fault makes no sense in the present state."""
    if name == "target":
        return _inject_target(lab, kind)
    if name == "arbiter":
        return _inject_arbiter(lab, kind)
    if lab.has_vm(name):
        return guest_faults.inject(lab, name, kind)
    host = lab.host(name)
    if kind not in HOST_FAULTS:
        raise LabError("A host has no fault '%s'; it has %s." % (kind, ", ".join(HOST_FAULTS)))
    word = machines.state_word(lab, name)
    if kind in CABLES + LOSSES:
        if kind in lab.states[name].faults:
            raise LabError("%s has the fault %s already; 'lab heal %s' ends it." % (name, kind, name))
        lab.states[name].faults.append(kind)
        lab.record(name, kind, "fault")
        machines.set_links(lab, host)
        if kind in LOSSES:
            machines.set_losses(lab, host)
    elif kind == "hang":
        if word != "on":
            raise LabError("%s is %s and cannot hang; 'lab heal %s' brings it back first." % (name, word, name))
        lab.record(name, kind, "fault")
        machines.freeze(lab, host)
    else:
        if word == "off" or (word == "crashed" and kind == "kill"):
            raise LabError("%s is %s already; 'lab heal %s' boots it." % (name, word, name))
        if kind == "power-lost":
            lab.states[name].faults.append(kind)
            machines.set_bmc_power(lab, host, False)
        lab.record(name, kind, "fault")
        machines.stop_at_once(lab, host, powered=kind == "kill")
    return "%s: %s" % (name, HOST_FAULTS[kind])


def heal(lab: Lab, name: str) -> str:
    """Bring a host (cables, frozen, dead) or the target back; for a dead host: boot it and wait until its API answers."""
    if name == "target":
        return _heal_target(lab)
    if name == "arbiter":
        lab.record(name, "disk-full", "heal")
        return arbiter.free(lab)
    if lab.has_vm(name):
        return guest_faults.heal(lab, name)
    host = lab.host(name)
    word = machines.state_word(lab, name)
    was = lab.states[name].faults + ([word] if word != "on" else [])
    if not was:
        return "%s has no fault: nothing to do" % name
    lab.states[name].faults = []
    lab.record(name, "+".join(was), "heal")
    if set(was) & set(LOSSES):
        machines.set_losses(lab, host)
    if "power-lost" in was:
        machines.set_bmc_power(lab, host, True)
    if word == "on":
        machines.set_links(lab, host)
        return "%s: its cables are plugged in again" % name
    if word == "hung":
        machines.thaw(lab, host)
        return "%s: thawed with its links, it believes that nothing happened" % name
    machines.wait_ready(lab, host, machines.boot(lab, host))
    return "%s: booted, its API answers" % name


def power(lab: Lab, name: str, action: str) -> str:
    """What a BMC's buttons do: on, off, cycle. Pulled cables stay pulled, and booting is not waited for."""
    host: Host = lab.host(name)
    word = machines.state_word(lab, name)
    if (action == "on" and word != "off") or (action == "off" and word == "off"):
        return "%s is %s: nothing to do" % (name, word)
    if action == "cycle" and word == "off":
        raise LabError("%s is off and cannot be reset; switch it on." % name)
    lab.record(name, action, "power")
    if action in ("off", "cycle"):
        machines.stop_at_once(lab, host, powered=False)
    if action in ("on", "cycle"):
        machines.boot(lab, host)
    return "%s: power %s" % (name, action)


def _inject_target(lab: Lab, kind: str) -> str:
    if kind not in TARGET_FAULTS:
        raise LabError("The target has no fault '%s'; it has %s." % (kind, ", ".join(TARGET_FAULTS)))
    if not alive(lab.processes.get("tgtd")):
        raise LabError("The target is off already; 'lab heal target' starts it.")
    lab.record("target", kind, "fault")
    if kind == "off":
        target.crash(lab)
    elif kind == "stall":
        target.stall(lab)
    elif kind == "hang":
        target.freeze(lab)
    else:
        target.stop(lab)
        target.start(lab)
    return "target: %s" % TARGET_FAULTS[kind]


def _inject_arbiter(lab: Lab, kind: str) -> str:
    if kind not in ARBITER_FAULTS:
        raise LabError("The arbiter has no fault '%s'; it has %s." % (kind, ", ".join(ARBITER_FAULTS)))
    arbiter.fill(lab)
    lab.record("arbiter", kind, "fault")
    return "arbiter: %s" % ARBITER_FAULTS[kind]


def _heal_target(lab: Lab) -> str:
    if alive(lab.processes.get("tgtd")):
        was = target.let_go(lab)
        if not was:
            return "the target runs: nothing to do"
        lab.record("target", was, "heal")
        return "target: it goes on"
    lab.record("target", "off", "heal")
    target.start(lab)
    return "target: started from its saved configuration"
