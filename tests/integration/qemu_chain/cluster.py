"""Two hosts in guests, the storage guest as arbiter, and the playbooks as a person runs them: from this machine, over ssh."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from chain.chain import BIN, Run, environment, lab, recap_of
from liblab import api, lun
from liblab.plan import SECTOR
from liblab.qemu import Guests, arbiter
from liblab.qemu.hosts import GuestHosts, load

HANG_GUARD = 2400  # s; emulated machines on a busy one need minutes for a look
SETTLE_SECONDS = 300.0
JOURNAL = r"""
import json, sqlite3
database = sqlite3.connect("file:%s?mode=ro", uri=True, timeout=30)
database.row_factory = sqlite3.Row
for row in database.execute("select * from ha_journal order by seq"):
    print(json.dumps({**row, "data": json.loads(row["data"])}))
"""
HEARTBEAT_SECTOR = 8  # plus the host's index
DATABASE = "/var/lib/libreha/state.db"


class Cluster:
    """``hosts`` is the lab's own knowledge; everything else a user has too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guests = Guests()
        self.inventory = ""

    def up(self) -> None:
        lab("up", "--only-qemu", "--hosts-in-guests", seconds=HANG_GUARD)
        self.inventory = lab("inventory")["path"]
        verdict = self.hosts.wait_ok(SETTLE_SECONDS)
        assert verdict["ok"], verdict

    def first_look(self) -> None:
        """What `site` ends with, which takes an emulated arbiter minutes: a state database, and a look that acts on nothing."""
        command = [str(BIN / "ansible"), "-i", self.inventory, "storage", "-m", "libreha.vmware.ha_state", "-a", "state=present"]
        created = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=HANG_GUARD)
        assert created.returncode == 0, created.stdout + created.stderr
        first = self.play("monitor", "-e", "libreha_mode=observe")
        assert first.code == 0, first.log

    def down(self) -> None:
        lab("down")

    @property
    def hosts(self) -> GuestHosts:
        found = load(self.guests)
        assert found is not None
        return found

    def play(self, name: str, *options: str) -> Run:
        command = [str(BIN / "ansible-playbook"), "-i", self.inventory, "libreha.vmware.%s" % name, *options]
        began = time.monotonic()
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=HANG_GUARD)
        (self.folder / ("%s.log" % name)).write_text(done.stdout + done.stderr)
        print("%s: %.0f s" % (name, time.monotonic() - began))
        return Run(done.returncode, done.stdout + done.stderr, recap_of(done.stdout))

    def set_chap_secret(self, guest: str, secret: str) -> None:
        """As its administrator would: the kernel's initiator logs in with it from now on."""
        self.guests.ssh(guest, "iscsiadm -m node -o update -n node.session.auth.password -v %s" % secret)

    # -- what there is to see ------------------------------------------------------------------------------------
    def journal(self) -> list[dict[str, Any]]:
        """The arbiter's journal, read from the file itself."""
        done = self.guests.ssh("storage", "python3 -", input=JOURNAL % DATABASE)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def admitted(self) -> set[str]:
        """Initiators that the kernel's target lets in, by its own configfs."""
        return set(self.guests.ssh("storage", "ls /sys/kernel/config/target/iscsi/%s/tpgt_1/acls" % arbiter.TARGET).stdout.split())

    def heartbeat(self, host: str) -> bytes:
        """The host's sign of life on the LUN, from the file behind it."""
        index = next(one.index for one in self.hosts.hosts if one.name == host)
        with open(self.hosts.lun_file, "rb") as lun:
            lun.seek((HEARTBEAT_SECTOR + index) * SECTOR)
            return lun.read(SECTOR)

    def written_by(self, host: str) -> dict[str, set[int]]:
        """Sequence numbers of the records on the LUN that a host wrote, by VM."""
        disks = lun.read(self.hosts.lun_file, [vm.extent for vm in self.hosts.vms])
        return {vm.name: {at for at, record in disks[vm.extent].records.items() if record.host == host} for vm in self.hosts.vms}

    def registered_on(self, host: str) -> list[api.VmSeen]:
        """By the host's own list."""
        found = api.poll([one for one in self.hosts.hosts if one.name == host], str(self.hosts.ca_file), timeout=20.0)[host]
        assert found is not None, "%s does not answer" % host
        return found

    def print_timeline(self, verdict: dict[str, Any]) -> None:
        """Seconds since the fault, from the arbiter's journal and from the VMs' own records; for docs/tested.md."""
        fault = self.hosts.faults[-1]
        wall = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - fault)
        for entry in self.journal():
            seconds = datetime.fromisoformat(entry["at_wall"]).timestamp() - wall
            if seconds > 0:
                print("%7.1f s  %-12s %s" % (seconds, entry["kind"], entry["text"]))
        for name, vm in verdict["vms"].items():
            if vm["gap_from"] and vm["gap_from"] > fault - 5:
                print("%s: no acknowledged record for %.1f s" % (name, vm["downtime_s"]))
