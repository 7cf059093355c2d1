"""What smartctl, lvs and the kernel's md tell, as sensors. The reports of smartctl are real ones; see smart/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.storage_health.sensors import Health
from ansible_collections.libreha.vmware.plugins.module_utils.observe.storage_health import arrays, disks, lvm

REPORTS = Path(__file__).with_name("smart")
VOLUME = dict.fromkeys(lvm.FIELDS.split(","), "")


def report(kind: str, **changes: Any) -> dict[str, Any]:
    """A real report; ``a__b=1`` changes ``["a"]["b"]``."""
    found: dict[str, Any] = json.loads((REPORTS / ("qemu_%s.json" % kind)).read_text())
    for path, value in changes.items():
        part = found
        *way, last = path.split("__")
        for key in way:
            part = part.setdefault(key, {})
        part[last] = value
    return found


def of_disk(kind: str, status: int = 0, **changes: Any) -> Any:
    return disks.sensor(disks.read_disk("/dev/x", status, report(kind, **changes)))


NAMES = {5: "Reallocated_Sector_Ct", 197: "Current_Pending_Sector", 198: "Offline_Uncorrectable"}


def with_attribute(number: int, count: int, name: str = "", **more: Any) -> dict[str, Any]:
    found = report("sata")
    entry = {"id": number, "name": name or NAMES[number], "raw": {"value": count, "string": str(count)}, **more}
    table = [item for item in found["ata_smart_attributes"]["table"] if item["id"] != number]
    return {"ata_smart_attributes__table": [*table, entry]}


@pytest.mark.parametrize(("kind", "model"), [("nvme", "QEMU NVMe Ctrl"), ("sata", "QEMU HARDDISK")])
def test_disks_that_are_well_are_green(kind: str, model: str) -> None:
    sensor = of_disk(kind)
    assert sensor.health is Health.GREEN and sensor.reading.startswith(model)


def test_a_disk_without_smart_is_unknown() -> None:
    assert of_disk("scsi").health is Health.UNKNOWN


@pytest.mark.parametrize(("number", "word"), [(5, "reallocated"), (197, "pending"), (198, "uncorrectable")])
def test_bad_sectors_are_yellow_whatever_the_disk_thinks_of_itself(number: int, word: str) -> None:
    assert of_disk("sata", **with_attribute(number, 0)).health is Health.GREEN
    sensor = of_disk("sata", **with_attribute(number, 8))
    assert (sensor.health, sensor.reason) == (Health.YELLOW, "8 %s sectors" % word)
    assert sensor.remedy == "replace it soon; see smartctl -x /dev/x"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (5, "Runtime_Bad_Block"),
        (197, "Total_Unc_Read_Failures"),
        (197, "ECC_Error_Count"),
        (197, "Current_Pending_ECC_Cnt"),
        (197, "Not_In_Use"),
        (198, "Host_Reads_GiB"),
        (198, "Read_Sectors_Tot_Ct"),
    ],
)
def test_a_number_that_the_vendor_uses_for_something_else_is_not_judged(number: int, name: str) -> None:
    """Names that smartmontools' database has for these numbers."""
    assert of_disk("sata", **with_attribute(number, 123456, name)).health is Health.GREEN


def test_a_raw_value_is_what_smartctl_prints_of_it() -> None:
    """raw16(raw16), its format of 5: two more numbers lie in the upper bytes."""
    found = with_attribute(5, 0, raw={"value": 12885164032, "string": "0 (3 65)"})
    assert of_disk("sata", **found).health is Health.GREEN
    found = with_attribute(5, 0, raw={"value": 12884901896, "string": "8 (3 0)"})
    assert of_disk("sata", **found).reason == "8 reallocated sectors"


@pytest.mark.parametrize(
    ("prefailure", "health", "says"),
    [(True, Health.RED, "it is failing"), (False, Health.YELLOW, "at or below its threshold")],
)
def test_an_attribute_that_is_failing_now_is_not_green(prefailure: bool, health: Health, says: str) -> None:
    found = with_attribute(184, 9, "End-to-End_Error", when_failed="now", flags={"prefailure": prefailure})
    sensor = of_disk("sata", status=16 if prefailure else 32, **found)
    assert sensor.health is health and sensor.reason.startswith("End-to-End_Error is at or below") and says in sensor.reason
    found = with_attribute(184, 9, "End-to-End_Error", when_failed="past", flags={"prefailure": prefailure})
    assert of_disk("sata", status=32, **found).health is Health.GREEN


def test_what_only_the_status_tells_counts_too() -> None:
    assert of_disk("sata", status=16).reason.startswith("an attribute that it does not name is at or below its threshold")
    assert of_disk("sata", status=8).reason == "its own judgement is that it fails"


def test_what_was_read_counts_though_smartctl_could_not_read_all() -> None:
    found = with_attribute(197, 8)
    said = {"smartctl__messages": [{"string": "Read SMART Error Log failed", "severity": "error"}]}
    for status in (2, 4):
        sensor = of_disk("sata", status=status, **found, **said)
        assert (sensor.health, sensor.reason) == (Health.YELLOW, "8 pending sectors")
        assert "smartctl ended with %d: Read SMART Error Log failed" % status in sensor.reading


# -- wear of SSDs: what smartctl 7.3 and 7.5 print beside the attributes

STATISTICS = {"pages": [{"number": 7, "table": [{"offset": 8, "name": "Percentage Used Endurance Indicator", "value": 83}]}]}


def attribute(number: int, name: str, value: int, raw: int = 0) -> dict[str, Any]:
    return {"id": number, "name": name, "value": value, "raw": {"value": raw, "string": str(raw)}}


def worn(*attributes: dict[str, Any], known: bool = True, **more: Any) -> float | None:
    changes = {"ata_smart_attributes__table": list(attributes), "in_smartctl_database": known, **more}
    wear: float | None = of_disk("sata", **changes).wear
    return wear


def test_the_standards_own_figure_comes_before_all_others() -> None:
    left = attribute(177, "Wear_Leveling_Count", 60)
    assert worn(left, ata_device_statistics=STATISTICS, endurance_used={"current_percent": 40}) == 83
    assert worn(left, endurance_used={"current_percent": 41}, known=False) == 41
    assert worn(left) == 40
    assert of_disk("scsi", smart_status__passed=True, scsi_percentage_used_endurance_indicator=12).wear == 12


@pytest.mark.parametrize(
    ("entries", "wear"),
    [
        ([attribute(233, "Media_Wearout_Indicator", 7)], 93),
        ([attribute(202, "Percent_Lifetime_Remain", 19, 81)], 81),
        ([attribute(202, "Percent_Lifetime_Used", 1, 104)], 104),
        ([attribute(231, "SSD_Life_Left", 97)], 3),
        ([attribute(231, "SSD_Life_Left", 90), attribute(177, "Wear_Leveling_Count", 20)], 10),  # the more exact one
        ([attribute(177, "Wear_Leveling_Count", 253)], 0),
        ([attribute(177, "Wear_Leveling_Count", 0)], None),
        ([attribute(177, "Wear_Range_Delta", 5)], None),
        ([attribute(175, "Capacitor_Life", 5)], None),
        ([attribute(233, "Lifetime_Nand_Writes", 5, 12345)], None),
        ([attribute(231, "Spares_Remaining_Perc", 5)], None),
    ],
)
def test_a_vendors_attribute_tells_wear_by_its_name(entries: list[dict[str, Any]], wear: float | None) -> None:
    assert worn(*entries) == wear


def test_the_usual_name_of_a_drive_that_smartctl_does_not_know_is_a_guess() -> None:
    assert worn(attribute(233, "Media_Wearout_Indicator", 1), known=False) is None


def test_a_disk_that_says_that_it_fails_is_red() -> None:
    """smartctl then ends with 8; that is about the disk, not about the call."""
    sensor = of_disk("sata", status=8, smart_status__passed=False)
    assert (sensor.health, sensor.reason) == (Health.RED, "its own judgement is that it fails")


@pytest.mark.parametrize("bit", sorted(disks.CRITICAL))
def test_each_critical_warning_of_nvme_is_red_in_words(bit: int) -> None:
    sensor = of_disk("nvme", nvme_smart_health_information_log__critical_warning=bit)
    assert (sensor.health, sensor.reason) == (Health.RED, disks.CRITICAL[bit])


def test_nvme_wear_is_a_figure_and_media_errors_are_yellow() -> None:
    worn = of_disk("nvme", nvme_smart_health_information_log__percentage_used=97)
    assert (worn.health, worn.wear) == (Health.GREEN, 97.0)
    assert of_disk("nvme", nvme_smart_health_information_log__media_errors=3).reason == "3 media errors"


@pytest.mark.parametrize(("now", "health"), [(69, Health.GREEN), (70, Health.YELLOW)])
def test_a_temperature_is_judged_by_the_disks_own_limit(now: int, health: Health) -> None:
    assert of_disk("sata", temperature={"current": now, "op_limit_max": 70}).health is health
    assert of_disk("scsi", temperature={"current": now, "drive_trip": 70}, smart_status__passed=True).health is health


@pytest.mark.parametrize("status", [1, 2])
def test_a_disk_that_could_not_be_asked_is_unknown_with_smartctls_own_words(status: int) -> None:
    nothing = {"smart_status": None, "ata_smart_attributes": None}
    sensor = of_disk("sata", status=status, smartctl__messages=[{"string": "Permission denied", "severity": "error"}], **nothing)
    assert (sensor.health, sensor.reason) == (Health.UNKNOWN, "Permission denied")


@pytest.mark.parametrize("odd", [{}, {"smartctl": 7}, {"smart_status": [], "temperature": "hot"}, {"ata_smart_attributes": {"table": 7}}])
def test_a_report_that_makes_no_sense_is_not_green(odd: dict[str, Any]) -> None:
    assert disks.sensor(disks.read_disk("/dev/x", 0, odd)).health is Health.UNKNOWN


def test_namespaces_of_an_nvme_disk_are_the_disk() -> None:
    assert disks._is("/dev/nvme0n1", "/dev/nvme0") and not disks._is("/dev/nvme1n1", "/dev/nvme0")
    assert not disks._is("/dev/sdaa", "/dev/sda")


# -- LVM: rows as LVM 2.03.16 printed them -------------------------------------------------------------------------


def volume(name: str, segtype: str, **fields: Any) -> dict[str, Any]:
    row = {**VOLUME, "lv_full_name": "vg/" + name.strip("[]"), "lv_name": name, "vg_name": "vg", "segtype": segtype}
    return {**row, "lv_size": "1073741824", "vg_size": "10737418240", "vg_free": "0", "vg_missing_pv_count": "0", **fields}


POOL = {"lv_metadata_size": "4194304", "data_percent": "75.00", "metadata_percent": "10.00", "seg_monitor": "monitored"}
EXTENDS = {"thin_pool_autoextend_threshold": "70"}


@pytest.mark.parametrize(
    ("state", "check", "health", "word"),
    [
        ("", "", Health.GREEN, ""),
        ("out_of_data", "", Health.RED, "no room left"),
        ("metadata_read_only", "check needed", Health.RED, "read-only"),
        ("failed", "", Health.RED, "it failed"),
        ("", "check needed", Health.RED, "reports it as check needed"),
    ],
)
def test_what_the_kernel_says_of_a_pool(state: str, check: str, health: Health, word: str) -> None:
    found = lvm.sort_out([volume("pool", "thin-pool", **POOL, lv_health_status=state, lv_check_needed=check)], {})
    sensor = lvm.sensors(found, frozenset())[1]
    assert sensor.health is health and word in sensor.reason


def test_a_pool_that_is_not_active_is_unknown_and_fills_nothing() -> None:
    found = lvm.sort_out([volume("pool", "thin-pool", lv_metadata_size="4194304")], {})
    assert lvm.sensors(found, frozenset())[1].health is Health.UNKNOWN and lvm.fills(found, frozenset()) == []


def test_volumes_of_a_pool_are_added_up_and_each_is_counted_once() -> None:
    """lvs has a row for each segment."""
    thin = volume("thin", "thin", pool_lv="pool", lv_size="5368709120")
    rows = [volume("pool", "thin-pool", **POOL), thin, thin, volume("snap", "thin", pool_lv="pool", origin="thin")]
    found = lvm.sort_out([*rows, volume("[pool_tdata]", "linear"), volume("[pool_tdata]", "linear")], {})
    assert found.pools[0].virtual_size == 6 << 30
    assert found.snapshots == ()  # a thin snapshot fills the pool, and nothing of its own
    assert "its volumes may grow to 6.0 GiB, more than both" in lvm.fills(found, frozenset())[0].note


@pytest.mark.parametrize(
    ("settings", "changes", "reserve", "note"),
    [
        ({}, {}, 0.0, "it is not extended automatically"),
        ({"thin_pool_autoextend_threshold": "100"}, {}, 0.0, "it is not extended automatically"),
        (EXTENDS, {}, 1024.0, "it is extended automatically at 70 %"),
        (EXTENDS, {"seg_monitor": "not monitored"}, 0.0, "it is not extended automatically"),
        (EXTENDS, {"lv_profile": "mine"}, 0.0, "it is not extended automatically"),
        (EXTENDS, {"data_percent": "75.01"}, 0.0, "it should have been extended automatically at 70 % and was not"),
    ],
)
def test_room_counts_only_where_the_pool_really_takes_it(settings: Any, changes: Any, reserve: float, note: str) -> None:
    fill = lvm.fills(lvm.sort_out([volume("pool", "thin-pool", **{**POOL, "vg_free": "1024", **changes})], settings), frozenset())[0]
    assert fill.reserve == reserve and fill.note.startswith(note)


def test_without_room_in_the_group_the_next_step_is_a_disk() -> None:
    (data, _metadata) = lvm.fills(lvm.sort_out([volume("pool", "thin-pool", **POOL)], {}), frozenset())
    assert data.remedy.startswith("add a disk (vgextend vg DISK), then lvextend -l +50%FREE vg/pool")


@pytest.mark.parametrize(
    ("fields", "health"),
    [
        ({"sync_percent": "100.00"}, Health.GREEN),
        ({"sync_percent": "40.00"}, Health.YELLOW),
        ({"sync_percent": "100.00", "lv_health_status": "partial"}, Health.RED),
        ({"sync_percent": "100.00", "lv_health_status": "refresh needed"}, Health.RED),
        ({"sync_percent": "100.00", "lv_health_status": "mismatches exist", "raid_mismatch_count": "128"}, Health.YELLOW),
    ],
)
def test_raid_volumes(fields: Any, health: Health) -> None:
    found = lvm.sort_out([volume("mirror", "raid1", **fields), volume("[mirror_rimage_0]", "linear")], {})
    assert [sensor.health for sensor in lvm.sensors(found, frozenset())[1:]] == [health]


def test_any_other_volume_that_lvm_reports_is_red() -> None:
    sensor = lvm.sensors(lvm.sort_out([volume("plain", "linear", lv_health_status="partial")], {}), frozenset())[1]
    assert (sensor.name, sensor.health) == ("volume vg/plain", Health.RED)


# lvs -a of LVM 2.03.16 and later; the first letter of lv_attr says what a volume is (lvs(8), "Notes")
NO_SNAPSHOTS = {
    "writecache": [
        volume("ds1", "writecache", lv_attr="Cwi-aoC---", origin="[ds1_wcorig]", pool_lv="[fast_cvol]", data_percent="90.00"),
        volume("[ds1_wcorig]", "linear", lv_attr="owi-aoC---"),
        volume("[fast_cvol]", "linear", lv_attr="Cwi-aoC---"),
    ],
    "cache": [
        volume("ds1", "cache", lv_attr="Cwi-aoC---", origin="[ds1_corig]", pool_lv="[fast_cpool]", data_percent="99.00"),
        volume("[ds1_corig]", "linear", lv_attr="owi-aoC---"),
    ],
    "RAID with integrity": [
        volume("ds1", "raid1", lv_attr="rwi-aor---", sync_percent="100.00"),
        volume("[ds1_rimage_0]", "integrity", lv_attr="gwi-aor---", origin="[ds1_rimage_0_iorig]", data_percent="100.00"),
        volume("[ds1_rimage_0_iorig]", "linear", lv_attr="-wi-aor---"),
        volume("[ds1_rimage_0_imeta]", "linear", lv_attr="ewi-aor---"),
    ],
    "VDO": [
        volume("ds1", "vdo", lv_attr="vwi-aov---", pool_lv="vpool0", data_percent="85.00"),
        volume("vpool0", "vdo-pool", lv_attr="dwi-------", data_percent="85.00"),
    ],
    "thin snapshot": [volume("ds1", "thin", lv_attr="Vwi-aotz--", origin="ds0", pool_lv="pool", data_percent="95.00")],
    "thin volume of an external origin": [volume("ds1", "thin", lv_attr="Vwi-aotz--", origin="gold", pool_lv="pool", data_percent="95.00")],
    "volume that has a snapshot": [volume("ds1", "linear", lv_attr="owi-aos---")],
}


@pytest.mark.parametrize("kind", NO_SNAPSHOTS)
def test_what_only_has_an_origin_is_no_snapshot(kind: str) -> None:
    """Nobody may be told to remove the volume that the hosts use."""
    found = lvm.sort_out(NO_SNAPSHOTS[kind], {})
    assert found.snapshots == ()
    assert "lvremove" not in str(lvm.fills(found, frozenset())) + str(lvm.sensors(found, frozenset()))


def snapshot(attr: str = "swi-a-s---", **fields: Any) -> dict[str, Any]:
    more = {"lv_attr": attr, "origin": "ds1", "data_percent": "85.00", "lv_path": "/dev/vg/snap", "lv_dm_path": "/dev/mapper/vg-snap"}
    return volume("snap", "linear", **{**more, **fields})


@pytest.mark.parametrize(
    ("row", "exported", "says"),
    [
        (snapshot(), frozenset({"/dev/vg/ds1"}), "lvremove vg/snap"),
        (snapshot(lv_snapshot_invalid="snapshot invalid"), frozenset(), "lvremove vg/snap"),
        (snapshot(), frozenset({"/dev/vg/snap"}), "it is exported"),
        (snapshot(), frozenset({"/dev/mapper/vg-snap"}), "it is exported"),
        (snapshot(lv_snapshot_invalid="snapshot invalid"), frozenset({"/dev/vg/snap"}), "it is exported"),
        (snapshot(lv_device_open="open"), frozenset(), "something has it open"),
        (snapshot(), None, "could not be read what the target exports"),
        (snapshot("Swi-a-s---"), frozenset(), "is being merged"),
    ],
)
def test_a_snapshot_is_to_be_removed_only_if_it_was_seen_that_nobody_uses_it(row: Any, exported: Any, says: str) -> None:
    found = lvm.sort_out([row, volume("ds1", "linear", lv_attr="owi-aos---")], {})
    (said,) = [*lvm.fills(found, exported), *(sensor for sensor in lvm.sensors(found, exported) if "snapshot" in sensor.name)]
    assert says in said.remedy and ("lvremove" in said.remedy) is says.startswith("lvremove")


def test_a_raid_below_a_thin_pool_is_watched_too() -> None:
    rows = [volume("pool", "thin-pool", **POOL), volume("[pool_tdata]", "raid1", lv_attr="rwi-aor---", sync_percent="40.00")]
    (sensor,) = [sensor for sensor in lvm.sensors(lvm.sort_out(rows, {}), frozenset()) if sensor.name.startswith("RAID")]
    assert (sensor.name, sensor.health) == ("RAID volume vg/pool_tdata", Health.YELLOW)


# -- md: a folder with the kernel's attributes ---------------------------------------------------------------------


def array(tmp_path: Path, members: dict[str, str], **attributes: str) -> Any:
    folder = tmp_path / "md0" / "md"
    folder.mkdir(parents=True)
    for name, value in {"level": "raid5", "raid_disks": "3", "array_state": "clean", "degraded": "0", **attributes}.items():
        (folder / name).write_text(value + "\n")
    for member, state in members.items():
        (folder / ("dev-" + member)).mkdir()
        (folder / ("dev-" + member) / "state").write_text(state + "\n")
    (found,) = arrays.read_arrays(str(tmp_path))
    return found, arrays.sensor(found)


def test_a_rebuild_says_how_far_it_is_and_how_long_it_takes(tmp_path: Path) -> None:
    found, sensor = array(
        tmp_path,
        {"sdb": "faulty,write_error"},
        degraded="1",
        sync_action="recover",
        sync_completed="1048576 / 4194304",
        sync_speed="1024",
    )
    assert (found.percent, found.finish, found.failed) == (25.0, 1536, ("sdb",))
    assert (sensor.health, sensor.reading) == (Health.YELLOW, "raid5, 2 of 3 members, recover 25.0 %, ready in about 26 min")


@pytest.mark.parametrize(
    ("attributes", "members", "health"),
    [
        ({"sync_action": "idle"}, {"sda": "in_sync"}, Health.GREEN),
        ({"sync_action": "check", "sync_completed": "none"}, {}, Health.GREEN),
        ({"sync_action": "resync"}, {}, Health.YELLOW),
        ({"sync_action": "idle", "degraded": "1"}, {}, Health.RED),
        ({"sync_action": "frozen", "degraded": "1"}, {}, Health.RED),
        ({"sync_action": "idle"}, {"sda": "faulty"}, Health.YELLOW),
        ({"array_state": "inactive"}, {}, Health.RED),
        ({"array_state": "broken", "level": "raid0"}, {}, Health.RED),
        ({"sync_action": "idle", "mismatch_cnt": "8"}, {}, Health.YELLOW),
        ({"sync_action": "idle", "mismatch_cnt": "8", "level": "raid1"}, {}, Health.GREEN),
        ({"array_state": "active-idle"}, {}, Health.GREEN),
        ({"array_state": "write-pending"}, {}, Health.GREEN),
        ({"array_state": "read-auto"}, {}, Health.GREEN),
        ({"array_state": "suspended"}, {}, Health.RED),
        ({"array_state": "readonly"}, {}, Health.RED),
        ({"array_state": ""}, {}, Health.UNKNOWN),  # it cannot be read
        ({"array_state": "dreaming"}, {}, Health.UNKNOWN),
        ({"level": "raid0", "degraded": ""}, {"sda": "in_sync"}, Health.GREEN),
        ({}, {"sda": "in_sync,write_error"}, Health.YELLOW),
        ({}, {"sda": "in_sync,want_replacement", "sdb": "spare"}, Health.YELLOW),
        ({"sync_action": "recover"}, {"sda": "in_sync,want_replacement", "sdb": "spare,replacement"}, Health.YELLOW),
        ({}, {"sda": "in_sync,blocked"}, Health.RED),
        ({}, {"sda": "faulty,in_sync,blocked"}, Health.RED),
        ({"consistency_policy": "journal"}, {"sda": "in_sync", "nvme0n1": "journal"}, Health.GREEN),
    ],
)
def test_states_of_an_array(tmp_path: Path, attributes: dict[str, str], members: dict[str, str], health: Health) -> None:
    assert array(tmp_path, members, **attributes)[1].health is health


@pytest.mark.parametrize("members", [{"sda": "in_sync", "nvme0n1": "faulty,journal"}, {"sda": "in_sync"}])
def test_a_journal_that_failed_or_is_missing_is_no_disk_whose_place_a_spare_took(tmp_path: Path, members: dict[str, str]) -> None:
    """The kernel then takes no more writes; no member is missing for that."""
    _found, sensor = array(tmp_path, members, consistency_policy="journal", array_state="readonly")
    assert sensor.health is Health.RED
    assert sensor.reason == "its journal failed or is missing: it takes no more writes; it is read-only: every write to it fails"
    assert "--add-journal" in sensor.remedy


def test_bad_blocks_of_a_member_are_yellow(tmp_path: Path) -> None:
    array(tmp_path, {"sda": "in_sync", "sdb": "in_sync"})
    (tmp_path / "md0/md/dev-sda/bad_blocks").write_text("1024 8\n")
    (tmp_path / "md0/md/dev-sdb/bad_blocks").write_text("")
    sensor = arrays.sensor(arrays.read_arrays(str(tmp_path))[0])
    assert (sensor.health, sensor.reason) == (Health.YELLOW, "sda had write errors or has bad blocks")


def test_all_that_is_wrong_is_said_and_the_worst_first(tmp_path: Path) -> None:
    _found, sensor = array(
        tmp_path, {"sda": "in_sync,write_error", "sdb": "faulty"}, degraded="1", array_state="readonly", sync_action="idle"
    )
    assert sensor.health is Health.RED and sensor.reason == (
        "it is read-only: every write to it fails; it lacks 1 of 3 members (failed: sdb): the next disk to fail may take it; "
        "sda had write errors or has bad blocks"
    )


@pytest.mark.parametrize("kind", ["imsm", "ddf"])
@pytest.mark.parametrize("frozen", ["/", "-"])
def test_a_container_of_firmware_raid_is_no_array_that_is_inactive(tmp_path: Path, kind: str, frozen: str) -> None:
    def folder(name: str, **attributes: str) -> None:
        (tmp_path / name / "md").mkdir(parents=True)
        for key, value in attributes.items():
            (tmp_path / name / "md" / key).write_text(value + "\n")

    folder("md127", metadata_version="external:%s" % kind, array_state="inactive", level="container", raid_disks="0")
    found = arrays.sensor(arrays.read_arrays(str(tmp_path))[0])
    assert found.health is Health.UNKNOWN and "none of its arrays is started" in found.reason
    volume = {"metadata_version": "external:%smd127/0" % frozen, "level": "raid1", "raid_disks": "2"}
    folder("md126", **volume, array_state="active", degraded="1", sync_action="idle")
    volume, container = map(arrays.sensor, arrays.read_arrays(str(tmp_path)))
    assert (container.health, container.reading) == (Health.GREEN, "container of %s, 1 of its arrays started" % kind)
    assert volume.health is Health.RED and volume.reason.startswith("it lacks 1 of 2 members")
