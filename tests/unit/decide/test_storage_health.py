"""The storage servers' own health: alarms early, once, with what to do next - and never anything else than alarms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.storage_health.growth import Point, follow, full_in, in_words
from ansible_collections.libreha.vmware.plugins.module_utils.decide.storage_health.sensors import (
    Fill,
    FillKind,
    Health,
    StorageHealth,
    StorageSensor,
)
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import _COUNT
from decide_world import World, three_hosts

GIB = float(1 << 30)
POOL = "storage_health:san:thin pool vg/pool data"


def pool(percent: float, **changes: Any) -> Fill:
    return replace(
        Fill("thin pool vg/pool data", FillKind.THIN_DATA, percent * GIB, 100 * GIB, remedy="lvextend vg/pool", source="LVM"), **changes
    )


def look(
    world: World,
    *fills: Fill,
    sensors: Iterable[StorageSensor] = (),
    disks: Iterable[StorageSensor] | None = None,
    name: str = "san",
    after: float = 0.0,
    boot: str = "san-boot",
) -> World:
    """One look in which the health of the storage server was read; its clock is its own."""
    world.now += after
    for host in world.hosts.values():
        host.counter += bool(after and host.writes and host.session)
    at = Instant(boot, world.now + 5000)
    health = StorageHealth(name, at, tuple(sensors), fills, None if disks is None else tuple(disks))
    world.step(0, replace(world.look(), storage_health=(health,)))
    return world


def severity(world: World, key: str = POOL) -> str:
    alarm = world.alarm(key)
    return alarm.severity.value if alarm is not None else ""


# -- how full ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "expected"), [(79.9, ""), (80, "warning"), (85, "warning"), (89.9, "warning"), (90, "critical"), (97, "critical")]
)
def test_a_thin_pool_gives_an_early_alarm_and_then_a_critical_one(percent: float, expected: str) -> None:
    assert severity(look(three_hosts(), pool(percent))) == expected


def test_the_alarm_says_what_happens_when_it_is_full_and_what_to_do_next() -> None:
    alarm = look(three_hosts(), pool(85, note="it is not extended automatically")).alarm(POOL)
    assert alarm is not None
    assert alarm.text == (
        "storage server san: thin pool vg/pool data: 85.0 % full (85.0 GiB of 100.0 GiB); it is not extended automatically; "
        "when it is full, every VM on it stops. Next: lvextend vg/pool"
    )
    assert alarm.subject == "san"


def test_metadata_has_thresholds_of_its_own() -> None:
    def metadata(percent: float) -> Fill:
        return Fill("thin pool vg/pool metadata", FillKind.THIN_METADATA, percent, 100.0)

    key = "storage_health:san:thin pool vg/pool metadata"
    assert [severity(look(three_hosts(), metadata(percent)), key) for percent in (69, 70, 85)] == ["", "warning", "critical"]


def test_a_snapshot_is_never_critical() -> None:
    full = Fill("snapshot vg/snap", FillKind.SNAPSHOT, 99.0, 100.0)
    assert severity(look(three_hosts(), full), "storage_health:san:snapshot vg/snap") == "warning"


def test_inodes_are_counted_and_not_measured() -> None:
    few = Fill("file system /srv inodes", FillKind.INODES, 95.0, 100.0)
    alarm = look(three_hosts(), few).alarm("storage_health:san:file system /srv inodes")
    assert alarm is not None and "95.0 % full (95 inodes of 100 inodes)" in alarm.text


def test_the_policy_moves_the_thresholds() -> None:
    world = three_hosts(storage_health={"space_warning": 50, "space_critical": 60})
    assert [severity(look(world, pool(percent))) for percent in (49, 50, 60)] == ["", "warning", "critical"]


def test_what_a_pool_can_grow_by_itself_counts_as_room() -> None:
    assert severity(look(three_hosts(), pool(85, reserve=20 * GIB))) == ""
    assert severity(look(three_hosts(), pool(97, reserve=20 * GIB))) == "warning"


def test_what_sways_around_a_threshold_is_one_alarm() -> None:
    world = three_hosts()
    levels = [severity(look(world, pool(percent), after=60)) for percent in (80.1, 79.9, 80.1, 77.5, 76.9, 79.9)]
    assert levels == ["warning", "warning", "warning", "warning", "", ""]
    levels = [severity(look(world, pool(percent), after=60)) for percent in (90.1, 89.9, 87.1, 86.9, 76.9)]
    assert levels == ["critical", "critical", "critical", "warning", ""]


# -- how fast ----------------------------------------------------------------------------------------------------


def test_it_says_when_it_will_be_full() -> None:
    world = three_hosts()
    for minute in range(0, 61, 5):
        look(world, pool(80 + minute / 20), after=300)  # 3 GiB an hour, 17 GiB left
    alarm = world.alarm(POOL)
    assert alarm is not None and "at the present rate full in about 6 h" in alarm.text


def test_a_pool_that_fills_fast_gives_an_alarm_however_much_room_there_is() -> None:
    world = three_hosts()
    levels = []
    for number in range(5):
        levels.append(severity(look(world, pool(20 + 4 * number), after=300)))  # 48 GiB an hour
    assert levels == ["", "", "warning", "warning", "warning"]
    alarm = world.alarm(POOL)
    assert alarm is not None and "36.0 % full" in alarm.text and "full in about 80 min" in alarm.text


def test_that_alarm_ends_only_when_it_has_become_clearly_slower() -> None:
    """full_within is 4 h: 4.5 h are not enough to end it, 7 h are."""
    world = three_hosts(storage_health={"growth_window": 600})
    used = 20.0
    for room_lasts in (3.5, 4.5, 7.0):
        for _look in range(4):
            used += (100 - used) / room_lasts / 12  # what five minutes bring
            look(world, pool(used), after=300)
        assert severity(world) == ("" if room_lasts == 7.0 else "warning"), room_lasts


def test_an_extension_does_not_look_like_less_use_and_a_trim_is_no_growth() -> None:
    world = three_hosts()
    for number in range(5):
        look(world, pool(40 + number, size=(100 if number < 3 else 200) * GIB), after=300)
    assert "full in about" in _reading(world)
    for number in range(12):
        look(world, pool(30 - number), after=300)
    assert "full in about" not in _reading(world)


def test_growth_before_a_restart_of_the_storage_server_is_not_compared() -> None:
    world = three_hosts()
    look(world, pool(20))
    look(world, pool(60), after=900, boot="another boot")
    assert "full in about" not in _reading(world) and severity(world) == ""


def _reading(world: World) -> str:
    (server,) = world.last.storage
    return next(sensor.reading for sensor in server.sensors if sensor.name == "thin pool vg/pool data")


def test_a_line_needs_ten_minutes_and_the_memory_of_it_stays_small() -> None:
    points: tuple[Point, ...] = ()
    for number in range(2000):
        points = follow(points, Point(number * 7.0, number * 14.0), 3600.0)
        assert len(points) <= 14
        assert (full_in(points, 1e6) is None) == (number * 7.0 < 600)
    assert full_in(points, points[-1].used + 7200) == pytest.approx(3600)
    assert full_in(points, points[-1].used - 1) == 0.0


def test_words_for_how_long() -> None:
    assert [in_words(seconds) for seconds in (1, 3600, 18000, 200000)] == ["1 min", "60 min", "5 h", "2 days"]


# -- states ------------------------------------------------------------------------------------------------------

DEGRADED = StorageSensor("array md0", Health.RED, "raid1, 1 of 2 members", "it lacks 1 of 2 members", "replace the disk", "software RAID")


def test_states_are_alarms_of_their_severity() -> None:
    rebuilt = replace(DEGRADED, name="array md1", health=Health.YELLOW)
    world = look(three_hosts(), sensors=[DEGRADED, rebuilt])
    assert severity(world, "storage_health:san:array md0") == "critical"
    assert severity(world, "storage_health:san:array md1") == "warning"
    alarm = world.alarm("storage_health:san:array md0")
    assert alarm is not None
    assert alarm.text == "storage server san: array md0: raid1, 1 of 2 members; it lacks 1 of 2 members. Next: replace the disk"


def test_all_that_is_not_known_is_one_alarm_and_not_green() -> None:
    unknown = [
        StorageSensor(name, Health.UNKNOWN, "", "smartctl is not installed", "install smartmontools") for name in ("disks", "disk b")
    ]
    world = look(three_hosts(), disks=unknown)
    alarm = world.alarm("storage_health_unknown:san")
    assert alarm is not None and alarm.severity.value == "info"
    assert "disks: smartctl is not installed (install smartmontools); disk b: " in alarm.text
    assert world.last.storage[0].health is Health.UNKNOWN


@pytest.mark.parametrize(("wear", "expected"), [(79.0, ""), (80.0, "warning"), (95.0, "critical"), (100.0, "critical")])
def test_how_worn_a_disk_may_be_is_the_policys(wear: float, expected: str) -> None:
    world = look(three_hosts(), disks=[StorageSensor("disk /dev/nvme0", Health.GREEN, "QEMU", wear=wear)])
    assert severity(world, "storage_health:san:disk /dev/nvme0") == expected


# -- it is not read in every look -----------------------------------------------------------------------------------


def test_what_was_read_stands_until_it_is_read_again() -> None:
    world = look(three_hosts(), pool(85), sensors=[DEGRADED], disks=[replace(DEGRADED, name="disk /dev/sda")])
    world.run(30)
    assert [severity(world), severity(world, "storage_health:san:array md0")] == ["warning", "critical"]
    look(world, pool(20), after=30)
    assert [severity(world), severity(world, "storage_health:san:array md0")] == ["", ""]
    assert severity(world, "storage_health:san:disk /dev/sda") == "critical"  # the disks were not asked in that look
    look(world, pool(20), disks=[])
    assert severity(world, "storage_health:san:disk /dev/sda") == ""


def test_an_alarm_does_not_end_because_nobody_could_look() -> None:
    """A pool that is full is what makes lvs hang."""
    world = look(three_hosts(), pool(97), sensors=[replace(DEGRADED, source="LVM")], disks=[replace(DEGRADED, name="disk /dev/sda")])
    look(
        world,
        sensors=[StorageSensor("LVM", Health.UNKNOWN, "", "lvs did not end within 5 s", source="LVM")],
        disks=[StorageSensor("disk /dev/sda", Health.UNKNOWN, "", "it sleeps", source="disks")],
        after=60,
    )
    assert severity(world) == severity(world, "storage_health:san:array md0") == "critical"
    assert severity(world, "storage_health:san:disk /dev/sda") == "critical"
    assert severity(world, "storage_health_unknown:san") == "info"
    look(world, pool(20), disks=[], after=60)
    assert not [alarm for alarm in world.last.alarms if alarm.key.startswith("storage_health")]


def test_a_tool_that_skipped_something_leaves_no_doubt_about_what_it_told() -> None:
    """lvs ends with 5: what it printed is used, and what it skipped stays as it was."""
    lacks = StorageSensor("volume group vg", Health.RED, reason="1 of its physical volumes cannot be found", source="LVM")
    other = replace(lacks, name="volume group other")
    world = look(three_hosts(), sensors=[lacks, other])
    skipped = StorageSensor("LVM", Health.UNKNOWN, reason="lvs ended with 5", source="LVM")
    look(world, sensors=[skipped, replace(lacks, health=Health.GREEN, reason="")])
    assert severity(world, "storage_health:san:volume group vg") == ""
    assert severity(world, "storage_health:san:volume group other") == "critical"
    disk = StorageSensor("disk /dev/sda", Health.RED, source="disks")
    look(world, disks=[disk])
    look(world, disks=[StorageSensor("disks", Health.UNKNOWN, source="disks"), replace(disk, health=Health.GREEN)])
    assert severity(world, "storage_health:san:disk /dev/sda") == ""


def test_it_is_due_after_its_interval_and_the_disks_after_theirs() -> None:
    world = three_hosts(storage_health={"interval": 60, "disk_interval": 600})

    def due() -> tuple[bool, bool]:
        (server,) = world.last.storage
        return server.due, server.disks_due

    assert due() == (True, True)
    look(world, pool(20), disks=[])
    assert due() == (False, False)
    world.run(63)
    assert due() == (True, False)
    look(world, pool(20))
    world.run(600)
    assert due() == (True, True)


def test_it_is_not_due_while_a_host_is_suspect_and_again_when_that_is_decided() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.step(3)
    assert not world.last.storage[0].due
    world.run(40)
    world.fence("esx1")
    world.step(3)
    assert world.last.storage[0].due


def test_a_host_that_stays_suspect_does_not_keep_it_from_being_read_for_ever() -> None:
    """Looks so far apart that no verdict is ever confirmed."""
    world = look(three_hosts(), pool(20))
    world.kill("esx1")
    world.run(3500, every=100)
    assert not world.last.storage[0].due
    world.run(200, every=100)
    assert world.last.storage[0].due
    look(world, pool(20), after=100)
    assert not world.last.storage[0].due


def test_a_health_that_nobody_reads_any_more_is_an_alarm() -> None:
    world = look(three_hosts(), pool(20))
    world.run(3500, every=100)
    assert severity(world, "storage_health_old:san") == ""
    world.run(200, every=100)
    assert severity(world, "storage_health_old:san") == "warning" and world.last.storage[0].health is Health.UNKNOWN
    world.run_id = "run-2"
    assert severity(look(world, pool(20)), "storage_health_old:san") == ""
    world.now += 7200
    world.run_id = "run-3"  # a monitor that runs every two hours: it has not had its chance
    world.step()
    assert severity(world, "storage_health_old:san") == ""


def test_a_storage_server_that_is_gone_from_the_inventory_is_forgotten() -> None:
    world = look(three_hosts(), pool(97))
    look(world, pool(97), name="old")
    assert {record.server for record in world.memory.storage_health} == {"san"}


# -- and nothing else ------------------------------------------------------------------------------------------------


def test_nothing_is_ever_done_because_of_it() -> None:
    """The same looks with and without the worst health: the same verdicts, actions and memory of everything else."""
    worst = [StorageSensor("array md0", Health.RED, source="software RAID"), StorageSensor("LVM", Health.UNKNOWN, source="LVM")]
    sick, well = three_hosts(bmc=True), three_hosts(bmc=True)
    for number in range(20):
        if number == 5:
            sick.kill("esx1")
            well.kill("esx1")
        look(sick, pool(99.9), sensors=worst, disks=worst, after=3)
        look(well, after=3)
        mine, other = sick.last, well.last
        assert (mine.hosts, mine.actions, mine.proposed, mine.held, mine.settled) == (
            other.hosts,
            other.actions,
            other.proposed,
            other.held,
            other.settled,
        )
        assert replace(mine.memory, storage_health=()) == replace(other.memory, storage_health=())
    assert sick.fences()


def test_an_alarm_that_only_counts_up_is_not_a_new_one_for_the_journal() -> None:
    world = three_hosts()
    texts = []
    for number in range(6):
        texts.append(look(world, pool(81 + number / 2), after=400).alarm(POOL))
    conditions = {_COUNT.sub("#", alarm.text) for alarm in texts[3:] if alarm is not None}
    assert len(conditions) == 1


def test_a_look_of_before_there_was_health_is_read_all_the_same() -> None:
    raw = {"taken_at": {"boot_id": "b", "seconds": 1.0}}
    assert seen.Observation.from_dict(raw).storage_health == ()
