"""Real LVM, md, file systems and an NVMe disk get into trouble: the module's figures are the kernel's own, and decide says what to do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Alarm
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from liblab.qemu import Guests
from lio import run_module

PATIENCE = 90  # s for each tool: emulated, on a busy machine; a real server's answer within one
WRITE = "dd if=/dev/urandom of=%s bs=1M seek=%d count=%d oflag=direct status=none"
SET_UP = r"""
set -e
modprobe -a dm_thin_pool dm_snapshot raid1 loop nvme
vgcreate -q lab /dev/disk/by-id/virtio-data1
lvcreate -qy --type thin-pool -L 200M --poolmetadatasize 4M -n pool lab
lvchange -q --errorwhenfull y lab/pool
lvcreate -qy -V 8G --thinpool pool -n thin lab
lvcreate -qy -L 32M -n orig lab
lvcreate -qy -s -L 8M -n snap lab/orig
for number in 1 2 3 4 5; do truncate -s 64M /root/loop$number; losetup /dev/loop$number /root/loop$number; done
mdadm --create /dev/md7 -q --run --level=1 --raid-devices=2 --metadata=1.2 /dev/loop1 /dev/loop2
mdadm --wait /dev/md7 || true
mkfs.ext4 -q -N 1000 -m 0 /dev/loop3
mkdir -p /srv/small
mount /dev/loop3 /srv/small
targetcli /backstores/fileio create small /srv/small/lun.img 8M sparse=false >/dev/null
vgcreate -q gone /dev/loop4 /dev/loop5
lvcreate -qy -an -Zn -L 32M -n one gone /dev/loop4
"""


class Server:
    """The storage guest, and what the module says of it."""

    def __init__(self, guests: Guests, folder: Path) -> None:
        self.guests, self.folder = guests, folder

    def ssh(self, command: str) -> str:
        return self.guests.ssh("storage", command).stdout

    def look(self, **options: Any) -> dict[str, Any]:
        arguments = {"driver": "lio", "name": "san", "timeout": PATIENCE, **options}
        answer = run_module(self.guests, self.folder, "storage_health_info", arguments)
        assert not answer.failed and not answer.changed, answer.text
        return dict(answer.result["storage_health"])


@pytest.fixture(scope="module")
def server(state_folder: Path) -> Iterator[Server]:
    assert os.geteuid() == 0, "building the guests' image needs root: run the tests as root"
    guests = Guests(state_folder)
    try:
        guests.up(["storage"])
        guests.plug_nvme("storage", "lab-nvme")
        guests.ssh("storage", "bash -s", input=SET_UP)
        yield Server(guests, state_folder)
    finally:
        guests.down()


@pytest.fixture(scope="module")
def early(server: Server) -> dict[str, Any]:
    """The pool is 85 % full, all the rest is well."""
    server.ssh(WRITE % ("/dev/lab/thin", 0, 170))
    before = server.ssh("vgs --noheadings -o vg_name,vg_seqno; dmsetup table; cat /proc/mdstat")
    found = server.look()
    assert server.ssh("vgs --noheadings -o vg_name,vg_seqno; dmsetup table; cat /proc/mdstat") == before
    return {**found, "truth": _pool(server)}


@pytest.fixture(scope="module")
def worse(server: Server, early: dict[str, Any]) -> dict[str, Any]:
    """The pool is 97 % full, everything else has failed."""
    server.ssh(WRITE % ("/dev/lab/thin", 170, 24))
    server.ssh("%s || true" % (WRITE % ("/dev/lab/orig", 0, 20)))
    server.ssh("mdadm -q /dev/md7 --fail /dev/loop2; dd if=/dev/zero of=/srv/small/more bs=1M status=none || true")
    server.ssh("losetup -d /dev/loop5; udevadm settle; pvscan --cache >/dev/null 2>&1 || true")
    server.guests.set_nvme_warning("storage", "lab-nvme", 4)
    return {**server.look(), "truth": _pool(server), "df": server.ssh("df --output=used,avail -B1 /srv/small").split()}


@pytest.fixture(scope="module")
def worst(server: Server, worse: dict[str, Any]) -> dict[str, Any]:
    """The pool is full, the array gets a new member."""
    server.ssh("%s || true" % (WRITE % ("/dev/lab/thin", 194, 20)))
    server.ssh("echo 50 >/proc/sys/dev/raid/speed_limit_max; echo 50 >/proc/sys/dev/raid/speed_limit_min")
    server.ssh("mdadm -q /dev/md7 --remove /dev/loop2; mdadm -q --zero-superblock /dev/loop2; mdadm -q /dev/md7 --add /dev/loop2; sleep 2")
    return {**server.look(smart=False), "mdstat": server.ssh("cat /proc/mdstat")}


def _pool(server: Server) -> dict[str, float]:
    """What device-mapper itself says of the pool, in percent (Documentation/admin-guide/device-mapper/thin-provisioning.rst)."""
    words = server.ssh("dmsetup status lab-pool-tpool").split()
    (metadata, all_metadata), (used, all_data) = (map(int, words[at].split("/")) for at in (4, 5))
    return {"data": 100.0 * used / all_data, "metadata": 100.0 * metadata / all_metadata}


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


def _alarms(*looks: dict[str, Any]) -> dict[str, Alarm]:
    """What decide says after these looks, by key."""
    policy = read_policy({"hosts": {"esx1": {}}, "storage": {"san": {}}})
    memory, found = Memory(), []
    for look in looks:
        now = Instant("brain", look["taken_at"]["seconds"])
        observation = Observation.from_dict({"taken_at": now.to_dict(), "storage_health": [look]})
        decision = decide(policy, memory, observation, now, "run")
        memory, found = decision.memory, [alarm for alarm in decision.alarms if alarm.key.startswith("storage_health")]
    return {alarm.key.removeprefix("storage_health:san:"): alarm for alarm in found}


def _percent(look: dict[str, Any], name: str) -> float:
    fill = _named(look["fills"], name)
    return float(100 * fill["used"] / fill["size"])


def test_how_full_the_pool_is_is_what_the_kernel_says(early: dict[str, Any], worse: dict[str, Any]) -> None:
    for look, percent in ((early, 85.0), (worse, 97.0)):
        assert look["truth"]["data"] == pytest.approx(percent, abs=0.1)
        assert _percent(look, "thin pool lab/pool data") == pytest.approx(look["truth"]["data"], abs=0.01)
        assert _percent(look, "thin pool lab/pool metadata") == pytest.approx(look["truth"]["metadata"], abs=0.01)
    (pool,) = early["figures"]["thin_pools"]
    assert (pool["size"], pool["virtual_size"], pool["autoextend"], pool["when_full"]) == (200 << 20, 8 << 30, None, "error")


def test_a_pool_at_85_percent_is_an_early_alarm_and_nothing_else_is(early: dict[str, Any]) -> None:
    alarms = _alarms(early)
    assert {key: alarm.severity.value for key, alarm in alarms.items()} == {
        "thin pool lab/pool data": "warning",
        "storage_health_unknown:san": "info",
    }
    text = alarms["thin pool lab/pool data"].text
    assert "85.0 % full (170.0 MiB of 200.0 MiB)" in text and "its volumes may grow to 8.0 GiB, more than both" in text
    assert "lvextend -l +50%FREE lab/pool" in text
    assert "disk /dev/vda: a virtual disk has no SMART" in alarms["storage_health_unknown:san"].text


def test_at_97_percent_it_is_critical(early: dict[str, Any], worse: dict[str, Any]) -> None:
    alarm = _alarms(early, worse)["thin pool lab/pool data"]
    assert alarm.severity.value == "critical" and "97.0 % full" in alarm.text


def test_a_full_pool_says_so_itself(worst: dict[str, Any]) -> None:
    sensor = _named(worst["sensors"], "thin pool lab/pool")
    assert (sensor["health"], sensor["reading"]) == ("red", "out_of_data")
    assert _percent(worst, "thin pool lab/pool data") == pytest.approx(100)


def test_an_array_is_whole_then_degraded_then_rebuilt(early: dict[str, Any], worse: dict[str, Any], worst: dict[str, Any]) -> None:
    whole, degraded, rebuilt = (_named(look["sensors"], "array md7") for look in (early, worse, worst))
    assert (whole["health"], whole["reading"]) == ("green", "raid1, 2 of 2 members")
    assert (degraded["health"], degraded["reading"]) == ("red", "raid1, 1 of 2 members")
    assert "loop2" in degraded["reason"]
    (array,) = worst["figures"]["arrays"]
    assert (rebuilt["health"], array["action"], array["degraded"]) == ("yellow", "recover", 1)
    shown = re.search(r"recovery = *([0-9.]+)%", worst["mdstat"])
    assert shown is not None and array["percent"] == pytest.approx(float(shown.group(1)), abs=20)
    assert array["finish"] > 0
    assert _alarms(early, worse)["array md7"].severity.value == "critical"


def test_the_file_system_of_an_exported_file_is_found_and_full(early: dict[str, Any], worse: dict[str, Any]) -> None:
    system = _named([{**item, "name": item["mount"]} for item in early["figures"]["file_systems"]], "/srv/small")
    assert system["holds"] == ["/srv/small/lun.img"]
    fill = _named(worse["fills"], "file system /srv/small")
    used, free = map(int, worse["df"][2:])
    assert (fill["used"], fill["size"] - fill["used"]) == (used, free)
    alarm = _alarms(early, worse)["file system /srv/small"]
    assert alarm.severity.value == "critical" and "it holds /srv/small/lun.img" in alarm.text


def test_a_snapshot_that_overflowed_is_lost_and_that_is_no_catastrophe(early: dict[str, Any], worse: dict[str, Any]) -> None:
    assert _percent(early, "snapshot lab/snap") == 0
    sensor = _named(worse["sensors"], "snapshot lab/snap")
    remedy = "no target exports it and nothing has it open: if nobody needs it, lvremove lab/snap"
    assert (sensor["health"], sensor["reading"], sensor["remedy"]) == ("yellow", "invalid", remedy)
    assert _alarms(early, worse)["snapshot lab/snap"].severity.value == "warning"


def test_a_volume_group_that_lost_a_disk_is_red(early: dict[str, Any], worse: dict[str, Any]) -> None:
    assert _named(early["sensors"], "volume group gone")["health"] == "green"
    sensor = _named(worse["sensors"], "volume group gone")
    assert (sensor["health"], sensor["reason"]) == ("red", "1 of its physical volumes cannot be found")


def test_a_disk_that_warns_of_itself_is_red(early: dict[str, Any], worse: dict[str, Any]) -> None:
    for look, health in ((early, "green"), (worse, "red")):
        assert _named(look["disks"], "disk /dev/nvme0")["health"] == health
    (disk,) = (item for item in worse["figures"]["disks"] if item["name"] == "/dev/nvme0")
    assert (disk["serial"], disk["passed"], disk["critical_warning"]) == ("lab-nvme", False, 4)
    assert "it has become unreliable" in _alarms(early, worse)["disk /dev/nvme0"].text


def test_what_lvm_extends_by_itself_counts_as_room(server: Server, worst: dict[str, Any]) -> None:
    server.ssh("lvextend -q -L 400M lab/pool; printf 'activation { thin_pool_autoextend_threshold = 70 }\\n' >/etc/lvm/lvmlocal.conf")
    look = server.look(smart=False)
    fill = _named(look["fills"], "thin pool lab/pool data")
    free = float(server.ssh("vgs --noheadings --nosuffix --units b -o vg_free lab"))
    assert (_percent(look, fill["name"]), fill["reserve"]) == (pytest.approx(50, abs=0.1), free)
    assert fill["note"].startswith("it is extended automatically at 70 %")
    assert _named(look["sensors"], "thin pool lab/pool")["health"] == "green"


def test_a_look_takes_no_longer_than_its_slowest_tool(server: Server, early: dict[str, Any]) -> None:
    """lvs that never answers: the look is there after the limit of one tool, and what it could read is in it."""
    server.ssh("printf '#!/bin/sh\\nsleep 600\\n' >/usr/local/sbin/lvs; chmod +x /usr/local/sbin/lvs")
    try:
        began = time.monotonic()
        look = server.look(smart=False, timeout=2)
        seconds = time.monotonic() - began
    finally:
        server.ssh("rm /usr/local/sbin/lvs; ! pgrep -f '[s]leep 600'")
    reason = _named(look["sensors"], "LVM")["reason"]
    assert reason in ("lvs did not end within 2 s", "it was not read within 3 s")  # whichever limit a slow machine meets first
    assert _named(look["sensors"], "array md7")
    assert seconds < 300  # a hang guard: connecting to a guest of a busy machine is most of it
    assert _alarms(early, look)["thin pool lab/pool data"].severity.value == "warning"  # nobody saw that it ended
