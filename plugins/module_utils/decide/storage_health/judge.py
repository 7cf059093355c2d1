# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health of the storage servers, judged: what is too full, what is broken, what nobody could read.

Invariant: it only ever gives alarms. No verdict on a host, no fence and no placement looks at it, so a wrong reading costs a person a
glance and no VM anything.

A level is reached at its threshold and left ``hysteresis`` below it, so that what sways around a threshold is one alarm. A fill
is also worth an early alarm when it would be full within ``full_within`` at the rate of the last ``growth_window``; that one ends when it
would take half as long again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...instant import Instant
from ..decision import Alarm, Severity
from ..policy import StorageHealthOptions
from .growth import Point, follow, full_in, in_words
from .record import FillRecord, HealthRecord, ServerHealth
from .sensors import Fill, FillKind, Health, StorageHealth, StorageSensor, in_units

AGAIN = 1.5  # of full_within, before an early alarm that came from the rate ends
STALE_AFTER = 3600.0  # s without a reading, and ten intervals
FORETOLD = 7 * 86400.0  # s; a straight line says nothing about next month
WHEN_FULL = {
    FillKind.THIN_DATA: "when it is full, every VM on it stops",
    FillKind.THIN_METADATA: "when it is full, the pool turns read-only, every VM on it stops, and it must be repaired off line",
    FillKind.SNAPSHOT: "when it is full, the snapshot is lost; the volume itself goes on",
    FillKind.FILE_SYSTEM: "when it is full, what lies on it cannot be written any more",
    FillKind.INODES: "when none is left, no file can be made on it any more",
}


@dataclass(frozen=True)
class StorageVerdict:
    records: tuple[HealthRecord, ...]
    alarms: list[Alarm]
    servers: tuple[ServerHealth, ...]


def judge_storage_health(
    options: StorageHealthOptions,
    remembered: Sequence[HealthRecord],
    seen: Sequence[StorageHealth],
    servers: Sequence[str],
    now: Instant,
    same_run: bool,
    calm: bool,
) -> StorageVerdict:
    """Judge what was *seen* in this look; servers that were not read stay as they were.

    Args:
        servers: Names of all storage servers; others are forgotten.
        same_run: This run has looked before, so it has had its chance to read what is due.
        calm: No host is suspect. While one is, nothing is due, unless that has kept it from being read until it is stale.
    """
    before = {record.server: record for record in remembered}
    looks = {look.name: look for look in seen}
    records = []
    for name in servers:
        record = before.get(name) or HealthRecord(name)
        if name in looks:
            record = _read(record, looks[name], options, now)
        elif same_run and record.read_at is not None and not record.stale:
            stale = not _within(now, record.read_at, max(STALE_AFTER, 10 * options.interval))
            record = replace(record, stale=True) if stale else record
        records.append(record)
    return StorageVerdict(
        records=tuple(record for record in records if record.read_at is not None),
        alarms=[alarm for record in records for alarm in _alarms(record)],
        servers=tuple(
            ServerHealth(
                name=record.server,
                health=record.worst() if record.read_at is not None and not record.stale else Health.UNKNOWN,
                sensors=record.everything,
                read_at=record.read_at,
                due=(calm or record.stale) and not _within(now, record.read_at, options.interval),
                disks_due=calm and not _within(now, record.disks_at, options.disk_interval),
            )
            for record in records
        ),
    )


def _within(now: Instant, earlier: Instant | None, seconds: float) -> bool:
    age = now.since(earlier)
    return age is not None and 0 <= age < seconds


def _read(record: HealthRecord, look: StorageHealth, options: StorageHealthOptions, now: Instant) -> HealthRecord:
    same_boot = record.boot_id == look.taken_at.boot_id
    known = {(fill.kind, fill.name): fill for fill in record.fills}
    fills = []
    for fill in look.fills:
        before = known.pop((fill.kind, fill.name), None)
        points = before.points if before is not None and same_boot else ()
        points = follow(points, Point(look.taken_at.seconds, fill.used), options.growth_window)
        sensor = judge_fill(fill, points, before.sensor.health if before is not None else Health.GREEN, options)
        fills.append(FillRecord(fill.name, fill.kind, sensor, points))
    blind = _Blind(look.sensors)
    fills += [fill if same_boot else replace(fill, points=()) for fill in known.values() if blind.to(fill.sensor)]
    record = replace(
        record,
        read_at=now,
        boot_id=look.taken_at.boot_id,
        sensors=(*look.sensors, *(sensor for sensor in record.sensors if blind.to(sensor))),
        fills=tuple(fills),
        stale=False,
    )
    if look.disks is not None:
        blind = _Blind(look.disks)
        unread = {disk.name: disk for disk in record.disks if blind.to(disk)}
        fresh = [_worn(disk, options) for disk in look.disks if disk.name not in unread]
        record = replace(record, disks_at=now, disks=(*fresh, *unread.values()))
    return record


class _Blind:
    """What the look could not see. What was known to be wrong there stays an alarm: nobody saw that it ended.

    A source may be unknown and have told some of it all the same (a tool that skipped something): what it told is not in doubt.
    """

    def __init__(self, sensors: Iterable[StorageSensor]) -> None:
        sensors = list(sensors)
        unknown = [sensor for sensor in sensors if sensor.health is Health.UNKNOWN]
        self.seen = {sensor.name for sensor in sensors if sensor.health is not Health.UNKNOWN}
        self.names = {sensor.name for sensor in unknown}
        self.sources = {sensor.source for sensor in unknown if sensor.name == sensor.source}

    def to(self, sensor: StorageSensor) -> bool:
        """Whether *sensor* of an earlier look still stands."""
        wrong = sensor.health in (Health.RED, Health.YELLOW)
        return wrong and sensor.name not in self.seen and (sensor.source in self.sources or sensor.name in self.names)


def judge_fill(fill: Fill, points: Sequence[Point], before: Health, options: StorageHealthOptions) -> StorageSensor:
    """The fill as a sensor. ``before``: its health at the last reading."""
    if fill.size <= 0:
        return StorageSensor(fill.name, Health.UNKNOWN, reason="its size is not known", remedy=fill.remedy)
    room = fill.size + fill.reserve
    percent = 100.0 * fill.used / room
    left = full_in(points, room)
    health = _level(fill.kind, percent, left, before, options)
    reading = "%.1f %% full (%s of %s)" % (100.0 * fill.used / fill.size, _amount(fill.used, fill.kind), _amount(fill.size, fill.kind))
    if left is not None and left < FORETOLD:
        reading += ", at the present rate full in about %s" % in_words(left)
    if health is Health.GREEN:
        return StorageSensor(fill.name, health, reading, source=fill.source)
    reason = "; ".join(filter(None, (fill.note, WHEN_FULL[fill.kind])))
    return StorageSensor(fill.name, health, reading, reason, fill.remedy, fill.source)


def _level(kind: FillKind, percent: float, left: float | None, before: Health, options: StorageHealthOptions) -> Health:
    metadata = kind is FillKind.THIN_METADATA
    warning = options.metadata_warning if metadata else options.space_warning
    critical = options.metadata_critical if metadata else options.space_critical
    if percent >= critical - (options.hysteresis if before is Health.RED else 0):
        return Health.YELLOW if kind is FillKind.SNAPSHOT else Health.RED  # no VM notices that a snapshot is lost
    if percent >= warning - (options.hysteresis if before in (Health.YELLOW, Health.RED) else 0):
        return Health.YELLOW
    if left is not None and left < options.full_within * (AGAIN if before is Health.YELLOW else 1.0):
        return Health.YELLOW
    return Health.GREEN


def _worn(disk: StorageSensor, options: StorageHealthOptions) -> StorageSensor:
    if disk.wear is None or disk.wear < options.wear_warning or disk.health is Health.RED:
        return disk
    worn = "%g %% of its rated writes are used up" % disk.wear
    health = Health.RED if disk.wear >= options.wear_critical else Health.YELLOW
    return replace(disk, health=health, reason="; ".join(filter(None, (disk.reason, worn))), remedy=disk.remedy or "plan its replacement")


def _alarms(record: HealthRecord) -> Iterable[Alarm]:
    """One alarm for each thing that is wrong, and one for all that is not known."""
    server = record.server
    unknown = []
    for sensor in record.everything:
        if sensor.health is Health.UNKNOWN:
            unknown.append("%s: %s%s" % (sensor.name, sensor.reason, " (%s)" % sensor.remedy if sensor.remedy else ""))
        elif sensor.health is not Health.GREEN:
            severity = Severity.CRITICAL if sensor.health is Health.RED else Severity.WARNING
            text = "storage server %s: %s" % (server, sensor.name)
            text += ": %s" % "; ".join(filter(None, (sensor.reading, sensor.reason)))
            text += ". Next: %s" % sensor.remedy if sensor.remedy else ""
            yield Alarm("storage_health:%s:%s" % (server, sensor.name), severity, server, text)
    if unknown:
        text = "storage server %s: not known: %s" % (server, "; ".join(unknown))
        yield Alarm("storage_health_unknown:%s" % server, Severity.INFO, server, text)
    if record.stale:
        text = "storage server %s: its health has not been read for more than an hour; what is said of it is old. Next: %s"
        remedy = "run storage_health_info there and see why it fails"
        yield Alarm("storage_health_old:%s" % server, Severity.WARNING, server, text % (server, remedy))


def _amount(number: float, kind: FillKind) -> str:
    return "%d inodes" % number if kind is FillKind.INODES else in_units(number)
