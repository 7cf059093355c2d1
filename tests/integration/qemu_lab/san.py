"""A storage server with one LUN on the kernel's target, and an initiator that writes to it; modules run there through Ansible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liblab.qemu import Guests
from lio import run_module

TARGET = "iqn.2026-01.lab.libreha:san"
SECRET = "first-secret-01"
LUN = "/dev/lab/lun0"
SERVE = r"""
import rtslib_fb as lio
store = lio.BlockStorageObject("lun0", dev=LUN)
group = lio.TPG(lio.Target(lio.FabricModule("iscsi"), TARGET), 1)
group.set_attribute("authentication", 1)
group.set_attribute("generate_node_acls", 0)
group.enable = True
lun = lio.LUN(group, 0, store)
lio.NetworkPortal(group, ADDRESS, 3260)
for name in NAMES:
    acl = lio.NodeACL(group, name)
    acl.chap_userid, acl.chap_password = name, SECRET
    lio.MappedLUN(acl, 0, lun)
lio.RTSRoot().save_to_file()
"""
WRITE = r"""
import mmap, os, sys, time
disk = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT | os.O_SYNC)
buffer = mmap.mmap(-1, 4096)
for number in range(10**9):
    buffer.seek(0)
    buffer.write(b"%020d" % number)
    os.pwrite(disk, buffer, (number % 4096) * 4096)
"""
NEWEST = r"""
import sys
data = open(sys.argv[1], "rb").read(4096 * 4096)
numbers = [data[at : at + 20] for at in range(0, len(data), 4096)]
print(max([int(number) for number in numbers if number.isdigit()], default=-1))
"""


@dataclass
class San:
    """``state_folder`` is that of the guests."""

    guests: Guests
    state_folder: Path

    @property
    def addresses(self) -> dict[str, str]:
        return dict(self.entry("storage")["addresses"])

    def entry(self, name: str) -> dict[str, Any]:
        return next(guest for guest in self.guests.status() if guest["name"] == name)

    @property
    def initiator(self) -> str:
        return str(self.entry("node1")["initiator"])

    def serve(self) -> None:
        """Export one LUN to node1, and to a neighbour that must never notice anything."""
        disk = self.entry("storage")["disks"][0]
        self.guests.ssh("storage", "vgcreate -q lab %s && lvcreate -q -y -L 64M -n lun0 lab" % disk)
        names = (self.initiator, self.initiator.replace("node1", "neighbour"))
        words = (LUN, TARGET, self.addresses["stor0"], names, SECRET)
        settings = "LUN, TARGET, ADDRESS, NAMES, SECRET = %r, %r, %r, %r, %r\n" % words
        self.guests.ssh("storage", "modprobe -a target_core_mod iscsi_target_mod && python3 -", input=settings + SERVE)

    def set_secret(self, secret: str) -> None:
        """What node1 logs in with from the next login on."""
        address = self.addresses["stor0"]
        auth = "".join(
            " && iscsiadm -m node -T %s -p %s -o update -n node.session.auth.%s -v %s" % (TARGET, address, name, value)
            for name, value in (("authmethod", "CHAP"), ("username", self.initiator), ("password", secret))
        )
        node = "iscsiadm -m node -T %s -p %s" % (TARGET, address)
        self.guests.ssh("node1", "(%s >/dev/null 2>&1 || %s -o new >/dev/null)%s" % (node, node, auth))

    def login(self, secret: str = SECRET, check: bool = True) -> bool:
        self.set_secret(secret)
        command = "iscsiadm -m node -T %s -p %s --login && udevadm settle" % (TARGET, self.addresses["stor0"])
        return self.guests.ssh("node1", command, check=check).returncode == 0

    def start_writing(self) -> None:
        path = "/dev/disk/by-path/ip-%s:3260-iscsi-%s-lun-0" % (self.addresses["stor0"], TARGET)
        self.guests.ssh("node1", "cat >/root/write.py", input=WRITE)
        self.guests.ssh("node1", "setsid python3 /root/write.py %s >/root/write.log 2>&1 </dev/null &" % path)

    def lun(self) -> str:
        """A digest of all that the LUN holds, read past the cache."""
        return self.guests.ssh("storage", "dd if=%s bs=1M iflag=direct status=none | sha256sum" % LUN).stdout.split()[0]

    def newest_record(self) -> int:
        """The highest number that a record on the LUN has."""
        found = self.guests.ssh("storage", "sync; echo 1 >/proc/sys/vm/drop_caches; python3 - %s" % LUN, input=NEWEST)
        return int(found.stdout)

    def module(self, module: str, /, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module of the collection on the storage server; its result, with ``failed`` if it failed."""
        answer = run_module(self.guests, self.state_folder, module, options, *(["--check"] if check_mode else []))
        assert "msg" not in answer.result or answer.failed, answer.text
        return {**answer.result, "failed": answer.failed}

    def fence(self, token: int, **options: Any) -> dict[str, Any]:
        return self.module(
            "iscsi_fence", driver="lio", state="fenced", host="node1", initiators=[self.initiator], token=token, reason="test", **options
        )

    def unfence(self, token: int, **options: Any) -> dict[str, Any]:
        return self.module("iscsi_fence", driver="lio", state="unfenced", host="node1", token=token, **options)

    def look(self) -> dict[str, Any]:
        return dict(self.module("iscsi_session_info", driver="lio", name="storage")["storage"])
