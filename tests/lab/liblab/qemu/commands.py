"""What tests/lab/lab does with guests beyond ``Guests``: its names of faults, and its table."""

from __future__ import annotations

from typing import Any

from ..errors import LabError
from .guests import Guests
from .plan import LAN, STORAGE_NETWORKS

GUEST_FAULTS = {
    "kill": "the power is cut (SIGKILL to QEMU); heal boots it with the same disks",
    "hang": "the machine freezes (SIGSTOP to QEMU); heal thaws it",
    "reboot": "the power is cut and comes back at once; waits until ssh answers",
    "storage-cut": "the cables of all storage networks are pulled",
    **{"%s-cut" % network: "the cable of %s is pulled: one path of two" % network for network in STORAGE_NETWORKS},
    "%s-cut" % LAN: "the management cable is pulled; storage goes on",
}


def inject(guests: Guests, name: str, kind: str) -> str:
    """Do it; returns a sentence of what was done."""
    if kind not in GUEST_FAULTS:
        raise LabError("A guest has no fault '%s'; it has %s." % (kind, ", ".join(GUEST_FAULTS)))
    if kind == "kill":
        guests.kill(name)
    elif kind == "hang":
        guests.stop(name)
    elif kind == "reboot":
        guests.reboot_hard(name)
    else:
        for network in STORAGE_NETWORKS if kind == "storage-cut" else [kind.removesuffix("-cut")]:
            guests.set_cable(name, network, plugged=False)
    return "%s: %s" % (name, GUEST_FAULTS[kind])


def text(entries: list[dict[str, Any]]) -> str:
    """For the terminal."""
    lines = ["%-10s %-10s %-6s %-44s %-12s %s" % ("GUEST", "ROLE", "STATE", "ADDRESSES", "PULLED", "REACHED BY")]
    for guest in entries:
        lines.append(
            "%-10s %-10s %-6s %-44s %-12s %s"
            % (
                guest["name"],
                guest["role"],
                guest["state"],
                ", ".join(guest["addresses"].values()),
                ",".join(guest["pulled"]) or "-",
                "lab ssh %s (port %d)" % (guest["name"], guest["ssh"]["port"]),
            )
        )
    return "\n".join(lines)
