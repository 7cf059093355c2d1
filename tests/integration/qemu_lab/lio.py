"""The modules on the storage guest through real ansible and ssh, and a kernel initiator in another guest that logs in with CHAP."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from liblab.qemu import Guests
from liblab.qemu.inventory import groups

TARGET = "iqn.2026-01.lab.libreha:storage"
NODE1 = "iqn.2026-01.lab.libreha:node1"
NODE2 = "iqn.2026-01.lab.libreha:node2"
SECRETS = {NODE1: "secret-of-node1-", NODE2: "secret-of-node2-"}
PORTALS = ("192.0.2.1", "198.51.100.1")
DISK = "/dev/disk/by-id/virtio-data1"
VOLUME = "/dev/lab/lun0"
SAVED = "/etc/rtslib-fb-target/saveconfig.json"
RESERVATIONS = "/etc/rtslib-fb-target/pr"

# How long node1 keeps what it could not write. open-iscsi's default is 120 s; a busy machine needs longer for the tests.
REPLACEMENT_SECONDS = 600

DUMP = "import json, rtslib_fb; print(json.dumps(rtslib_fb.RTSRoot().dump(), sort_keys=True))"

WRITER = r"""
import mmap, os, struct, sys
disk, acked, first = sys.argv[1:]
notes = os.open(acked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
out = os.open(disk, os.O_WRONLY | os.O_DIRECT | os.O_SYNC)
block = mmap.mmap(-1, 512)
for number in range(int(first), 1 << 17):
    block[:16] = b"LHTEST01" + struct.pack("<Q", number)
    os.pwrite(out, block, number * 512)
    os.write(notes, b"%d\n" % number)
    os.fsync(notes)
"""

COUNTER = r"""
import sys
with open(sys.argv[1], "rb") as disk:
    disk.seek(512)
    number = 0
    while disk.read(512).startswith(b"LHTEST01"):
        number += 1
print(number)
"""


def model(**changes: Any) -> dict[str, Any]:
    """Two LUNs, two portals, two hosts."""
    whole: dict[str, Any] = {
        "name": TARGET,
        "backstores": [
            {"name": "disk", "type": "block", "path": DISK},
            {"name": "file", "type": "fileio", "path": "/var/lib/file.img", "size": "64MiB"},
        ],
        "tpgs": [
            {
                "portals": [{"address": address} for address in PORTALS],
                "luns": [{"number": 0, "backstore": "disk"}, {"number": 5, "backstore": "file"}],
                "acls": [{"initiator": name, "chap": {"secret": secret}} for name, secret in SECRETS.items()],
            }
        ],
    }
    whole.update(changes)
    return copy.deepcopy(whole)


def on_volume(*, chap: bool = True, **tpg: Any) -> dict[str, Any]:
    """One LUN on a logical volume (``Lio.volume``), two portals, two hosts. *tpg*: what its TPG has otherwise."""
    whole = model(backstores=[{"name": "disk", "type": "block", "path": VOLUME}])
    whole["tpgs"][0].update(luns=[{"number": 0, "backstore": "disk"}], **tpg)
    for acl in whole["tpgs"][0]["acls"] if not chap else ():
        del acl["chap"]
    return whole


@dataclass
class Answer:
    result: dict[str, Any]
    failed: bool
    text: str
    seconds: float = field(default=0.0)

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))


def run_module(guests: Guests, folder: Path, name: str, arguments: dict[str, Any], *flags: str, on: str = "storage") -> Answer:
    """Run a module of the collection on a storage guest; *folder* gets the inventory."""
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": groups(guests.status())}}))
    ansible = Path(sys.executable).with_name("ansible")
    command = [str(ansible), on, "-i", str(inventory), "-m", "libreha.vmware.%s" % name, "-a", json.dumps(arguments), *flags]
    began = time.monotonic()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"},
    )
    text = done.stdout + done.stderr
    result = json.loads(done.stdout[done.stdout.index("=> ") + 3 :]) if "=> " in done.stdout else {"msg": text}
    return Answer(result, done.returncode != 0, text, time.monotonic() - began)


@dataclass
class Lio:
    """The storage guest under ansible, and what an initiator guest sees of it."""

    guests: Guests
    folder: Path
    secret: str = SECRETS[NODE1]  # node1's at present
    fenced: bool = False  # whether node1 was fenced and not let in again

    def module(self, name: str, arguments: dict[str, Any], *flags: str, fails: bool = False) -> Answer:
        answer = run_module(self.guests, self.folder, name, arguments, *flags)
        assert answer.failed == fails, answer.text
        return answer

    def target(self, arguments: dict[str, Any], *flags: str, fails: bool = False) -> Answer:
        return self.module("iscsi_target", arguments, *flags, fails=fails)

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = self.module("iscsi_session_info", {"driver": "lio"}).result["storage"]
        return found

    def digest(self, path: str = VOLUME) -> str:
        """Of all that a LUN holds, read past the cache."""
        return self.guests.ssh("storage", "dd if=%s bs=1M iflag=direct status=none | b2sum" % path).stdout.split()[0]

    def fence(self, token: int, initiator: str = NODE1, *flags: str, fails: bool = False, **options: Any) -> Answer:
        host = initiator.rpartition(":")[2]
        arguments = {"driver": "lio", "state": "fenced", "host": host, "initiators": [initiator], "token": token, "reason": "test"}
        self.fenced = self.fenced or (initiator == NODE1 and "--check" not in flags)
        return self.module("iscsi_fence", {**arguments, **options}, *flags, fails=fails)

    def unfence(self, token: int, initiator: str = NODE1, *, fails: bool = False, **options: Any) -> Answer:
        host = initiator.rpartition(":")[2]
        arguments = {"driver": "lio", "state": "unfenced", "host": host, "token": token, **options}
        answer = self.module("iscsi_fence", arguments, fails=fails)
        if initiator == NODE1 and not fails:
            self.secret = options.get("chap_secret", self.secret)
            self.fenced = False
        return answer

    def dump(self) -> str:
        """Everything that runs, and everything that is saved."""
        return self.guests.ssh("storage", "python3 -c '%s'; cat %s 2>/dev/null || true" % (DUMP, SAVED)).stdout

    def everything(self) -> str:
        """The same, and the volumes, the disks' content and the files that data may lie on. A read does not change it."""
        shown = (
            "lvs --noheadings -o vg_name,lv_name,lv_size; pvs --noheadings; lsblk -nlo NAME,SIZE,FSTYPE,MOUNTPOINT; ls -l /var/lib/*.img"
        )
        return self.dump() + self.guests.ssh("storage", shown, check=False).stdout

    def sessions(self) -> dict[str, str]:
        """Initiator -> number of its newest session at the target."""
        return {session["initiator"]: session["sid"] for session in self.look()["sessions"]}

    def clean(self) -> None:
        """No session, no target, no fence, empty disks, every guest on and every cable in."""
        self.fenced = False
        for name in ("storage", "node1"):
            self.guests.heal(name)
        self.leave()
        self.guests.ssh(
            "storage",
            "umount -q /mnt; targetctl clear; vgremove -qfy lab; rm -rf /var/lib/libreha %s %s /var/lib/*.img; "
            "for disk in /dev/disk/by-id/virtio-data?; do pvremove -qffy $disk; wipefs -qa $disk; "
            "dd if=/dev/zero of=$disk bs=1M count=8 status=none; done 2>/dev/null; sync" % (SAVED, RESERVATIONS),
        )

    def volume(self) -> None:
        """A logical volume for a LUN's data, empty."""
        self.guests.ssh(
            "storage",
            "vgcreate -q lab %s && lvcreate -q -y -L 64M -n lun0 lab && dd if=/dev/zero of=%s bs=1M count=64 status=none" % (DISK, VOLUME),
        )

    def leave(self) -> None:
        """node1 forgets the target and all that it has not yet written there."""
        self.guests.ssh(
            "node1",
            "kill -9 $(cat /root/writer.pid); iscsiadm -m node -u; iscsiadm -m node -o delete; rm -f /root/writer.pid /root/acked; true",
        )

    # -- the initiator ----------------------------------------------------------------------------------------
    def login(
        self, secret: str | None = None, portals: tuple[str, ...] = PORTALS, name: str = "", mutual: str = "", patience: int = 5
    ) -> str:
        """ "" when node1 is in at all portals, otherwise what its kernel and iscsid said. An empty *secret* means no CHAP.

        *patience*: s for the target's answer, at this login and at each that its kernel tries by itself later.
        """
        secret = self.secret if secret is None else secret
        settings = {"authmethod": "CHAP", "username": name or NODE1, "password": secret} if secret else {"authmethod": "None"}
        if mutual:
            settings.update(username_in="target", password_in=mutual)
        lines = ["set -e"]
        for portal in portals:
            lines.append("iscsiadm -m discovery -t sendtargets -p %s >/dev/null" % portal)
        for key, value in settings.items():
            lines.append("iscsiadm -m node -T %s -o update -n node.session.auth.%s -v '%s'" % (TARGET, key, value))
        # signs of life, and how long a write waits for the session before it fails
        for key, value in {
            "conn[0].timeo.noop_out_interval": 2,
            "conn[0].timeo.noop_out_timeout": 2,
            "conn[0].timeo.login_timeout": patience,
            "session.timeo.replacement_timeout": REPLACEMENT_SECONDS,
        }.items():
            lines.append("iscsiadm -m node -T %s -o update -n 'node.%s' -v %d" % (TARGET, key, value))
        lines += ["iscsiadm -m node -T %s -o update -n node.session.initial_login_retry_max -v 1" % TARGET]
        lines += ["iscsiadm -m node -T %s -p %s --login 2>&1" % (TARGET, portal) for portal in portals] + ["udevadm settle"]
        done = self.guests.ssh("node1", "bash -s", input="\n".join(lines) + "\n", check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def disk(self, lun: int, portal: str = PORTALS[0]) -> str:
        return "/dev/disk/by-path/ip-%s:3260-iscsi-%s-lun-%d" % (portal, TARGET, lun)

    def start_writing(self, lun: int = 0, portal: str = PORTALS[0], first: int = 1) -> None:
        """Record *first* and those that follow, one after the other, each durable before the next."""
        self.guests.ssh("node1", "cat >/root/writer.py", input=WRITER)
        self.guests.ssh(
            "node1",
            "setsid python3 /root/writer.py %s /root/acked %d >/root/writer.log 2>&1 </dev/null & echo $! >/root/writer.pid"
            % (self.disk(lun, portal), first),
        )
        self.wait_for(lambda: self.acked() > 20, 120, "the initiator writes")

    def writing(self) -> bool:
        """Whether node1's writer runs."""
        return self.guests.ssh("node1", "kill -0 $(cat /root/writer.pid)", check=False).returncode == 0

    def acked(self) -> int:
        """Records that the initiator knows as written."""
        return int(self.guests.ssh("node1", "wc -l </root/acked 2>/dev/null || echo 0").stdout or 0)

    def landed(self, path: str = VOLUME) -> int:
        """Records that are on the storage server's disk."""
        return int(self.guests.ssh("storage", "blockdev --flushbufs %s; python3 - %s" % (path, path), input=COUNTER).stdout)

    def wait_for(self, condition: Any, seconds: float, what: str) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, "not within %.0f s: %s" % (seconds, what)
            time.sleep(0.5)
        return time.monotonic() - began
