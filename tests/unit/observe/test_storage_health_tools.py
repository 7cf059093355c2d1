"""Tools that are missing, hang, print garbage or say no: unknown with reason and remedy, in time, and the rest is read all the same."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry.storage_health_info import run
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.observe.storage_health import arrays, disks, exported, file_systems, lvm, tools

VOLUME = dict.fromkeys(lvm.FIELDS.split(","), "")
POOL = {
    **VOLUME,
    "lv_full_name": "vg/pool",
    "vg_name": "vg",
    "lv_name": "pool",
    "segtype": "thin-pool",
    "lv_size": "1000",
    "lv_metadata_size": "100",
    "data_percent": "85.00",
    "metadata_percent": "10.00",
    "vg_size": "2000",
    "vg_free": "900",
    "vg_missing_pv_count": "0",
    "seg_monitor": "monitored",
}
REPORT = json.dumps({"report": [{"lv": [POOL]}]})
HANGS = "sleep 60 & sleep 60"  # the shell and its child: both hold the pipe
NOTHING = json.dumps({"devices": []})
SDA = json.dumps({"devices": [{"name": "/dev/sda", "type": "sat"}]})
Script = Callable[[str, str], None]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a tool of this name on a PATH that has no other of its kind."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "sleep", "touch"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "_ALSO", str(folder))
    monkeypatch.setattr(disks, "kernel_disks", lambda: ["/dev/sda"])

    def put(name: str, body: str) -> None:
        (folder / name).write_text("#!/bin/sh\n%s\n" % body)
        (folder / name).chmod(0o755)

    return put


def say(text: str, status: int = 0) -> str:
    return "cat <<'END'\n%s\nEND\nexit %d" % (text, status)


def look(tmp_path: Path, smart: bool = True, seconds: float = 1.0, **changes: Any) -> dict[str, Any]:
    params = {
        "name": "san",
        "paths": [str(tmp_path)],
        "driver": "lio",
        "control_port": 0,
        "saved_config": None,
        "fence_list": str(tmp_path / "fences.json"),
        "timeout": seconds,
        "smart": smart,
        **changes,
    }
    found: dict[str, Any] = run(params, False)["storage_health"]
    return found


def named(sensors: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(sensor for sensor in sensors if sensor["name"] == name)


def test_missing_tools_are_unknown_and_say_what_to_install(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lvm.glob, "glob", lambda pattern: ["/dm-0/uuid"])
    monkeypatch.setattr(lvm, "read_text", lambda path: "LVM-abc")
    found = look(tmp_path)
    volumes, (smart,) = named(found["sensors"], "LVM"), found["disks"]
    assert (volumes["health"], volumes["reason"], volumes["remedy"]) == ("unknown", "lvs is not installed", "install the package lvm2")
    assert (smart["health"], smart["reason"], smart["remedy"]) == (
        "unknown",
        "smartctl is not installed",
        "install the package smartmontools",
    )
    assert found["fills"]  # the file systems


def test_where_there_is_no_lvm_its_missing_tool_is_no_news(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lvm, "read_text", lambda path: "CRYPT-abc")
    assert [sensor["name"] for sensor in look(tmp_path, smart=False)["sensors"]] == []


@pytest.mark.parametrize(
    ("lvs", "reason"),
    [
        (HANGS, "lvs did not end within 1 s"),
        (say("Segmentation fault"), "lvs printed 'Segmentation fault' instead of a JSON report"),
        (say(""), "lvs printed 'nothing' instead of a JSON report"),
        (say("[1, 2]"), "lvs printed '[1, 2]' instead of a JSON report"),
        (say('{"report": []}'), "the report of lvs has no list of volumes"),
        (say('{"report": [{"lv": [{"lv_full_name": "vg/x"}]}]}'), "the report of lvs cannot be understood ('vg_name')"),
        (say('{"report": [{"lv": 7}]}'), "the report of lvs cannot be understood ('int' object is not iterable)"),
        ("echo '  Can not open /dev/sdb: Input/output error' >&2; exit 5", "lvs ended with 5: Can not open /dev/sdb: Input/output error"),
    ],
)
def test_what_lvs_does_wrong_is_a_reason_in_time(tmp_path: Path, script: Script, lvs: str, reason: str) -> None:
    script("lvs", lvs)
    script("lvmconfig", HANGS)
    script("smartctl", say(NOTHING))
    began = time.monotonic()
    found = look(tmp_path)
    assert time.monotonic() - began < 5
    sensor = named(found["sensors"], "LVM")
    assert (sensor["health"], sensor["reason"]) == ("unknown", reason)
    assert sensor["remedy"]
    assert {fill["source"] for fill in found["fills"]} == {"file systems"}


def test_what_lvs_has_printed_counts_though_it_could_not_process_all(tmp_path: Path, script: Script) -> None:
    """It ends with 5 for a group of a cluster, and the disk that another group lacks must not be hidden by that."""
    lacking = {**POOL, "vg_missing_pv_count": "1"}
    words = "echo '  Skipping clustered volume group other' >&2; echo '  WARNING: VG vg is missing PV x' >&2\n"
    script("lvs", words + say(json.dumps({"report": [{"lv": [lacking]}]}), status=5))
    script("lvmconfig", say("", status=5))
    found = look(tmp_path, smart=False)
    assert named(found["sensors"], "volume group vg")["health"] == "red"
    assert named(found["fills"], "thin pool vg/pool data")["used"] == 850.0
    beside = named(found["sensors"], "LVM")
    assert beside["health"] == "unknown"
    assert beside["reason"].startswith("lvs ended with 5: Skipping clustered volume group other; WARNING: VG vg is missing PV x;")


def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path: Path, script: Script) -> None:
    script("lvs", "echo $$ >%s/pids; sleep 60 & echo $! >>%s/pids; wait" % (tmp_path, tmp_path))
    look(tmp_path, smart=False)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        for _wait in range(50):
            if not _alive(pid):
                break
            time.sleep(0.1)
        assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_without_its_settings_a_pool_counts_as_not_extended(tmp_path: Path, script: Script) -> None:
    """So the alarm comes earlier, not later."""
    script("lvs", say(REPORT))
    for settings, reserve in (
        (HANGS, 0.0),
        (say("thin_pool_autoextend_threshold=100"), 0.0),
        (say("thin_pool_autoextend_threshold=80"), 900.0),
    ):
        script("lvmconfig", settings)
        fill = named(look(tmp_path, smart=False)["fills"], "thin pool vg/pool data")
        assert (fill["used"], fill["size"], fill["reserve"]) == (850.0, 1000.0, reserve)


def test_a_disk_that_hangs_does_not_hide_the_others(tmp_path: Path, script: Script) -> None:
    devices = json.dumps({"devices": [{"name": "/dev/sda", "type": "sat"}, {"name": "/dev/bus/0", "type": "megaraid,3"}]})
    well = json.dumps({"smart_status": {"passed": True}, "temperature": {"current": 30}})
    script(
        "smartctl",
        'case "$*" in *scan*) %s;; *sda*) %s;; *) %s;; esac' % ("echo '%s'" % devices, HANGS, "echo '%s'" % well),
    )
    began = time.monotonic()
    sda, behind = look(tmp_path)["disks"]
    assert time.monotonic() - began < 5
    assert (sda["name"], sda["health"], sda["reason"]) == ("disk /dev/sda", "unknown", "smartctl did not end within 1 s")
    assert (behind["name"], behind["health"], behind["reading"]) == ("disk /dev/bus/0 megaraid,3", "green", "30 degrees")


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (HANGS, "smartctl did not end within 1 s"),
        (say("no"), "smartctl printed 'no' instead of a JSON report"),
        (say('{"devices": [7]}'), "the list of smartctl --scan-open cannot be understood"),
        (say('{"devices": {"a": 1}}'), "the list of smartctl --scan-open cannot be understood"),
    ],
)
def test_a_scan_that_fails_leaves_the_disks_unknown(tmp_path: Path, script: Script, scan: str, reason: str) -> None:
    script("smartctl", scan)
    (sensor,) = look(tmp_path)["disks"]
    assert (sensor["name"], sensor["health"], sensor["reason"]) == ("disks", "unknown", reason)


def test_a_disk_that_smartctl_does_not_find_is_unknown(tmp_path: Path, script: Script) -> None:
    script("smartctl", say(NOTHING))
    (sensor,) = look(tmp_path)["disks"]
    assert (sensor["name"], sensor["health"], sensor["reason"]) == ("disk /dev/sda", "unknown", "smartctl does not find it")


def test_a_disk_that_the_scan_cannot_open_is_unknown_with_its_reason(tmp_path: Path, script: Script) -> None:
    """Also one behind a controller, which the kernel does not list."""
    behind = {"name": "/dev/bus/0", "type": "megaraid,3", "open_error": "INQUIRY failed"}
    script(
        "smartctl",
        say(json.dumps({"devices": [behind, {"name": "/dev/sda", "type": "scsi", "open_error": "DELL or MegaRaid controller"}]})),
    )
    first, second = look(tmp_path)["disks"]
    assert (first["name"], first["reason"]) == ("disk /dev/bus/0 megaraid,3", "smartctl cannot open it: INQUIRY failed")
    assert (second["name"], second["reason"]) == ("disk /dev/sda", "smartctl cannot open it: DELL or MegaRaid controller")


def test_a_scan_that_smartctl_could_not_make_says_why(tmp_path: Path, script: Script) -> None:
    script("smartctl", say(json.dumps({"smartctl": {"messages": [{"string": "scan failed"}]}}), status=2))
    (sensor,) = look(tmp_path)["disks"]
    assert (sensor["name"], sensor["reason"]) == ("disks", "smartctl --scan-open ended with 2: scan failed")


def test_a_disk_that_sleeps_is_not_woken(tmp_path: Path, script: Script) -> None:
    script("smartctl", "case \"$*\" in *scan*) echo '%s';; *--nocheck\\ standby,3\\ *) echo '{}'; exit 3;; *) exit 1;; esac" % SDA)
    (sensor,) = look(tmp_path)["disks"]
    assert (sensor["health"], sensor["reason"]) == ("unknown", "it sleeps, and is not woken to be asked")


def test_without_smart_no_disk_is_asked(tmp_path: Path, script: Script) -> None:
    script("smartctl", "touch %s/asked" % tmp_path)
    assert look(tmp_path, smart=False)["disks"] is None
    assert not (tmp_path / "asked").exists()


def test_a_file_system_is_read_for_a_path_that_does_not_exist_yet(tmp_path: Path, script: Script) -> None:
    found = look(tmp_path, paths=[str(tmp_path / "not" / "yet"), str(tmp_path)], smart=False)
    (system,) = found["figures"]["file_systems"]
    truth = os.statvfs(tmp_path)
    assert system["holds"] == [str(tmp_path / "not" / "yet"), str(tmp_path)]
    assert system["inodes"] == truth.f_files
    assert abs(system["free"] - truth.f_bavail * truth.f_frsize) < 1 << 28  # others write to it meanwhile


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ["var/lib"]}, "paths: var/lib is not an absolute path. Remedy: give the whole path"),
        ({"seconds": 0}, "timeout is 0. Remedy: give the seconds"),
        ({"fence_list": "fences.json"}, "fence_list is not an absolute path: fences.json"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LibrehaError) as refused:
        look(tmp_path, **changes)
    assert str(refused.value).startswith(message)


def test_values_become_json_on_the_oldest_python_that_a_managed_node_may_have() -> None:
    """3.9 cannot evaluate ``float | None``, which json_form does with a value's annotations."""
    for kind in (lvm.ThinPool, lvm.Snapshot, lvm.RaidVolume, lvm.VolumeGroup, arrays.Array, file_systems.FileSystem, disks.Disk):
        assert not [field.name for field in dataclasses.fields(kind) if "|" in str(field.type)]


TGT_CONF = """<target iqn.2026-01.t:one>
    <backing-store /dev/vg/one>
        lun 1
    </backing-store>
    backing-store %s/link
    direct-store /dev/sg1
    # backing-store /dev/vg/no
</target>
"""


def test_what_is_exported_is_that_of_now_and_that_of_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk.img").touch()
    (tmp_path / "link").symlink_to(tmp_path / "disk.img")
    (tmp_path / "targets.conf").write_text(TGT_CONF % tmp_path)
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    found = exported.read_exported("tgt", 1, str(tmp_path / "targets.conf"), 1.0)
    everything = {"/dev/vg/one", "/dev/sg1", str(tmp_path / "link"), str(tmp_path / "disk.img")}
    assert found.everything == everything and found.files == []  # nothing runs
    (tmp_path / "saveconfig.json").write_text(json.dumps({"storage_objects": [{"plugin": "block", "dev": "/dev/vg/two"}], "targets": []}))
    assert "/dev/vg/two" in (exported.read_exported("lio", 0, str(tmp_path / "saveconfig.json"), 1.0).everything or ())


@pytest.mark.parametrize(("driver", "text"), [("tgt", "</target>"), ("lio", "{")])
def test_a_saved_configuration_that_cannot_be_read_leaves_it_unknown(tmp_path: Path, driver: str, text: str) -> None:
    (tmp_path / "saved").write_text(text)
    assert exported.read_exported(driver, 31999, str(tmp_path / "saved"), 1.0).everything is None


def test_a_target_that_hangs_leaves_it_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    (tmp_path / "targets.conf").touch()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket.1"))
        silent.listen()
        assert exported.read_exported("tgt", 1, str(tmp_path / "targets.conf"), 0.2).everything is None
