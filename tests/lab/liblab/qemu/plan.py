"""What guests there can be: names, roles, addresses and disks, all following from the name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import LabError

STANDARD = ("storage", "node1", "node2")
MANAGEMENT = "mgmt0"
MANAGEMENT_ADDRESS = "10.0.2.15/24"  # what QEMU's user network expects behind it; the same in every guest
# Two storage networks, for two paths to each LUN. Documentation ranges (RFC 5737): nothing outside the guests has them.
STORAGE_NETWORKS = {"stor0": "192.0.2", "stor1": "198.51.100"}
LAN = "lan0"  # where guests that are hosts are managed by the guest that watches them; no path to a LUN
NETWORKS = {**STORAGE_NETWORKS, LAN: "203.0.113"}
PREFIX = 24
SLOTS = {"mgmt0": 0x10, "stor0": 0x11, "stor1": 0x12, "lan0": 0x13}  # PCI; image/root/etc/systemd/network names the cards by them
API_PORT = 443  # a host's API, when a guest is one; reachable from the machine at a port of its own
DATA_DISK_BYTES = 4 << 30  # sparse
DATA_DISKS = ("data1", "data2")  # in the guest: /dev/disk/by-id/virtio-data1


@dataclass(frozen=True)
class Guest:
    """One guest as it is meant to be. ``number``: the last part of its storage addresses."""

    name: str
    role: str  # storage, initiator, user
    number: int
    memory_mib: int
    disks: tuple[str, ...]
    reaches_out: bool = False  # to package servers, by the ways that the machine itself has

    @property
    def addresses(self) -> dict[str, str]:
        """By network, without prefix length."""
        return {network: "%s.%d" % (start, self.number) for network, start in NETWORKS.items()}

    @property
    def initiator(self) -> str:
        return "iqn.2026-01.lab.libreha:%s" % self.name

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports of the guest that are reachable from the machine, on 127.0.0.1."""
        return (22, API_PORT) if self.role == "initiator" else (22,)

    def mac(self, network: str) -> str:
        return "52:54:00:4c:%02x:%02x" % (SLOTS[network], self.number)


def is_guest_name(name: str) -> bool:
    return bool(re.fullmatch(r"storage([2-9]|[1-9][0-9])?|node[1-9][0-9]?|user", name))


def guest_named(name: str) -> Guest:
    """``storage``, ``storage2``, ... serve; ``node1``, ``node2``, ... are initiators; ``user`` is the only machine of a user who begins.

    Raises LabError for any other name."""
    if not is_guest_name(name):
        raise LabError("There is no guest '%s': guests are storage, storage2, ... storage99, node1, node2, ... node99, and user." % name)
    if name == "user":
        return _of_role("user", name, 200)
    number = int(name.lstrip("abcdefghijklmnopqrstuvwxyz") or 1)
    return _of_role("storage", name, number) if name.startswith("storage") else _of_role("initiator", name, 100 + number)


def nobody(role: str) -> Guest:
    """A guest with the hardware of its role and no identity, as it is before it is resumed (snapshot.py)."""
    return _of_role(role, "nobody", 0)


def _of_role(role: str, name: str, number: int) -> Guest:
    if role == "storage":
        return Guest(name, role, number, memory_mib=512, disks=DATA_DISKS)
    if role == "user":  # Ansible, the target and hosts all run there
        return Guest(name, role, number, memory_mib=2048, disks=DATA_DISKS[:1], reaches_out=True)
    return Guest(name, role, number, memory_mib=384, disks=())
