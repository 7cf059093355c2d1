"""The lab's referee must see what it is there to see: each kind of damage, made by hand on a LUN image, must be found."""

from __future__ import annotations

import hashlib
import struct
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from liblab import execution, lun  # noqa: E402
from liblab.errors import LabError  # noqa: E402
from liblab.referee import Case, chain_breaks, judge, text  # noqa: E402

MS = 1_000_000
SECOND = 1000 * MS
START = 1000 * SECOND
EXTENT = 3


class Bench:
    """A LUN image and execution logs, written as tests/lab/README.md says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "lun.img"
        with open(self.image, "wb") as sink:
            sink.write(b"LIBREHALAB1\0")
            sink.truncate((2048 + 5 * 131072) * 512)
        self.now = START
        self.digest = bytes(32)
        self.sequence = 0
        self.powers: dict[str, dict[str, str] | None] = {"esx1": {}, "esx2": {}}
        for host in self.powers:
            (folder / ("%s.log" % host)).touch()

    def log(self, host: str, line: str) -> None:
        with open(self.folder / ("%s.log" % host), "a", encoding="ascii") as sink:
            sink.write(line + "\n")

    def record(self, host: str, identity: uuid.UUID, sequence: int, previous: bytes, at: int, extent: int = EXTENT) -> bytes:
        head = struct.pack("<8sIIQQ", b"LHRECORD", extent, 0, sequence, at)
        head += host.encode().ljust(32, b"\0") + identity.bytes + previous
        head = head.ljust(480, b"\0")
        return head + hashlib.sha256(head).digest()

    def put(self, position: int, raw: bytes) -> None:
        with open(self.image, "r+b") as sink:
            sink.seek((2048 + EXTENT * 131072 + 16 + position) * 512)
            sink.write(raw)

    def begin(self, host: str) -> uuid.UUID:
        identity = uuid.uuid4()
        self.log(host, "%d start vm1 %s" % (self.now, identity))
        self.powers[host] = {"vm1": "on"}
        return identity

    def write(self, host: str, identity: uuid.UUID, count: int, *, ack: bool = True) -> None:
        """The VM works for ``count`` intervals, continuing the chain."""
        for _each in range(count):
            self.now += 100 * MS
            self.log(host, "%d tick vm1 %s" % (self.now, identity))
            raw = self.record(host, identity, self.sequence, self.digest, self.now)
            self.put(self.sequence, raw)
            self.digest = hashlib.sha256(raw).digest()
            if ack:
                self.log(host, "%d ack vm1 %s %d:%s" % (self.now + MS, identity, self.sequence, self.digest.hex()))
            self.sequence += 1

    def execute(self, host: str, identity: uuid.UUID, seconds: int) -> None:
        """A VM without workload executes: a tick a second, no record."""
        for _each in range(seconds):
            self.now += SECOND
            self.log(host, "%d tick vm1 %s" % (self.now, identity))

    def die(self, host: str) -> None:
        self.powers[host] = None

    def judge(self, **more: object) -> dict:
        names = {host: self.folder / ("%s.log" % host) for host in self.powers}
        executions = execution.read(names)
        disks = lun.read(self.image, [EXTENT])
        values = {
            "extents": {"vm1": EXTENT},
            "disks": disks,
            "executions": executions,
            "powers": self.powers,
            "now_ns": self.now + 50 * MS,
            "record_interval_ns": 100 * MS,
            **more,
        }
        verdict = judge(Case(**values))
        assert "referee:" in text(verdict)
        return verdict


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def problems(verdict: dict) -> str:
    return "; ".join(found["problem"] for found in verdict["problems"])


def moved(bench: Bench, pause_s: float = 20.0) -> tuple[uuid.UUID, uuid.UUID]:
    """esx1 dies after 30 records, esx2 takes over after the pause."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 30)
    bench.die("esx1")
    bench.now += int(pause_s * SECOND)
    new = bench.begin("esx2")
    bench.write("esx2", new, 30)
    return old, new


def test_an_undisturbed_vm_is_ok(bench: Bench) -> None:
    bench.write("esx1", bench.begin("esx1"), 50)
    verdict = bench.judge()
    assert verdict["ok"], verdict
    vm = verdict["vms"]["vm1"]
    assert (vm["records"], vm["acknowledged"], vm["chain_intact"], vm["host"]) == (50, 50, True, "esx1")
    assert vm["downtime_s"] == pytest.approx(0.1)


def test_a_clean_move_is_ok_and_its_downtime_is_the_gap_between_acknowledgements(bench: Bench) -> None:
    moved(bench, 20.0)
    verdict = bench.judge()
    assert verdict["ok"], verdict
    vm = verdict["vms"]["vm1"]
    assert vm["downtime_s"] == pytest.approx(20.1)
    assert vm["gap_to"] - vm["gap_from"] == pytest.approx(20.1)
    assert vm["gap_from"] == pytest.approx((START + 30 * 100 * MS + MS) / SECOND)
    assert (vm["records_lost"], vm["overlapping_writers"], vm["overlapping_execution_s"], vm["host"]) == (0, 0, 0, "esx2")
    assert vm["executions"] == 2


def test_an_unacknowledged_record_of_the_dead_host_that_landed_is_no_damage(bench: Bench) -> None:
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.write("esx1", old, 1, ack=False)
    bench.die("esx1")
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 10)
    assert bench.judge()["ok"]


def test_an_acknowledgement_logged_late_by_a_thawed_host_is_no_overlap(bench: Bench) -> None:
    """The record was there before the freeze; only the answer waited in the frozen host's socket."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 9)
    bench.write("esx1", old, 1, ack=False)
    last = (bench.sequence - 1, bench.digest)
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 30)
    bench.log("esx1", "%d ack vm1 %s %d:%s" % (bench.now, old, last[0], last[1].hex()))
    bench.log("esx1", "%d stop vm1 %s lock lost" % (bench.now, old))
    bench.powers["esx1"] = {}
    verdict = bench.judge()
    assert verdict["ok"], verdict


def test_a_lost_record_is_found(bench: Bench) -> None:
    """Acknowledged, but the LUN holds nothing there."""
    identity = bench.begin("esx1")
    bench.write("esx1", identity, 20)
    bench.log("esx1", "%d ack vm1 %s %d:%s" % (bench.now, identity, 20, hashlib.sha256(b"gone").hexdigest()))
    verdict = bench.judge()
    assert not verdict["ok"]
    assert verdict["vms"]["vm1"]["records_lost"] == 1
    assert "lost" in problems(verdict)


def test_a_record_replaced_by_another_is_lost(bench: Bench) -> None:
    """The second host did not see the first one's last three records and wrote over them."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 17)
    bench.write("esx1", old, 3)
    bench.die("esx1")
    with open(bench.image, "rb") as source:
        source.seek((2048 + EXTENT * 131072 + 16 + 16) * 512)
        bench.digest = hashlib.sha256(source.read(512)).digest()
    bench.sequence = 17
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 10)
    verdict = bench.judge()
    vm = verdict["vms"]["vm1"]
    assert vm["records_lost"] == 3
    assert vm["chain_intact"] and vm["overlapping_writers"] == 0
    assert not verdict["ok"]


def test_a_late_write_of_the_old_host_is_an_overlapping_writer(bench: Bench) -> None:
    """A write queued before the fence lands after the other host wrote there: the chain shows it, and the loss."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    at_freeze, digest = bench.now, bench.digest
    bench.die("esx1")
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 10)
    bench.put(12, bench.record("esx1", old, 12, digest, at_freeze))
    verdict = bench.judge()
    vm = verdict["vms"]["vm1"]
    assert vm["overlapping_writers"] >= 1
    assert vm["records_lost"] == 1
    assert not vm["chain_intact"]
    assert not verdict["ok"]


def test_an_old_host_that_goes_on_at_the_end_of_the_chain_is_an_overlapping_writer(bench: Bench) -> None:
    """It even continues the chain correctly: only the order of executions tells."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 10)
    bench.write("esx1", old, 4)
    verdict = bench.judge()
    vm = verdict["vms"]["vm1"]
    assert vm["chain_intact"] and vm["records_lost"] == 0
    assert vm["overlapping_writers"] == 4
    assert "after another had taken over" in problems(verdict)


def test_a_late_record_that_nobody_heard_of_is_an_overlapping_writer(bench: Bench) -> None:
    """It landed, but the old host never got the answer: only the LUN tells."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.now += 20 * SECOND
    bench.write("esx2", bench.begin("esx2"), 10)
    bench.write("esx1", old, 1, ack=False)
    assert bench.judge()["vms"]["vm1"]["overlapping_writers"] == 1


def test_an_overwritten_late_write_is_found_by_its_acknowledgement(bench: Bench) -> None:
    """The old host's record was accepted and then written over: the LUN looks well, the log does not."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.die("esx1")
    bench.now += 20 * SECOND
    new = bench.begin("esx2")
    bench.write("esx2", new, 5)
    bench.log("esx1", "%d ack vm1 %s %d:%s" % (bench.now, old, 12, hashlib.sha256(b"old").hexdigest()))
    bench.write("esx2", new, 5)
    vm = bench.judge()["vms"]["vm1"]
    assert vm["overlapping_writers"] == 1
    assert vm["records_lost"] == 1


@pytest.mark.parametrize("damage", ["hole", "torn", "wrong sequence", "wrong extent"])
def test_a_broken_chain_is_found(bench: Bench, damage: str) -> None:
    identity = bench.begin("esx1")
    bench.write("esx1", identity, 7, ack=False)
    before = bench.digest
    bench.write("esx1", identity, 13, ack=False)
    raw = {
        "hole": bytes(512),
        "torn": b"LHRECORD" + bytes(500) + b"torn",
        "wrong sequence": bench.record("esx1", identity, 99, before, bench.now),
        "wrong extent": bench.record("esx1", identity, 7, before, bench.now, extent=EXTENT + 1),
    }[damage]
    bench.put(7, raw)
    assert 7 in chain_breaks(lun.read(bench.image, [EXTENT])[EXTENT], EXTENT)
    bench.log("esx1", "%d ack vm1 %s %d:%s" % (bench.now, identity, 19, bench.digest.hex()))
    verdict = bench.judge()
    vm = verdict["vms"]["vm1"]
    assert not vm["chain_intact"]
    assert vm["overlapping_writers"] >= 1
    assert not verdict["ok"]


def test_overlapping_execution_is_measured(bench: Bench) -> None:
    """Both hosts tick for two seconds; only one of them writes."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.powers["esx1"] = {}
    border = bench.now
    bench.write("esx2", bench.begin("esx2"), 40)
    for step in range(1, 22):
        bench.log("esx1", "%d tick vm1 %s" % (border + step * 100 * MS, old))
    verdict = bench.judge()
    assert verdict["vms"]["vm1"]["overlapping_execution_s"] == pytest.approx(2.1, abs=0.11)
    assert verdict["vms"]["vm1"]["overlapping_writers"] == 0
    assert "executed twice" in problems(verdict)
    assert not verdict["ok"]


def test_one_tick_of_a_thawed_host_is_overlapping_execution(bench: Bench) -> None:
    old, _new = moved(bench)
    bench.log("esx1", "%d tick vm1 %s" % (bench.now - SECOND, old))
    assert bench.judge()["vms"]["vm1"]["overlapping_execution_s"] == pytest.approx(0.1)


def test_a_frozen_host_does_not_execute(bench: Bench) -> None:
    """It was frozen before the other began and runs on long after the other stopped: never both at once."""
    old = bench.begin("esx1")
    bench.write("esx1", old, 10)
    bench.now += 20 * SECOND
    new = bench.begin("esx2")
    bench.write("esx2", new, 10)
    bench.log("esx2", "%d stop vm1 %s powered off" % (bench.now, new))
    bench.powers["esx2"] = {}
    bench.now += 5 * SECOND
    bench.log("esx1", "%d tick vm1 %s" % (bench.now, old))
    assert bench.judge()["vms"]["vm1"]["overlapping_execution_s"] == 0


def test_two_hosts_that_report_a_vm_as_on_are_found(bench: Bench) -> None:
    moved(bench)
    bench.powers["esx1"] = {"vm1": "on"}
    verdict = bench.judge()
    assert verdict["vms"]["vm1"]["hosts"] == ["esx1", "esx2"]
    assert "at once" in problems(verdict)


def test_a_vm_that_runs_nowhere_is_found_and_its_downtime_goes_on(bench: Bench) -> None:
    bench.write("esx1", bench.begin("esx1"), 10)
    bench.die("esx1")
    bench.now += 60 * SECOND
    verdict = bench.judge()
    vm = verdict["vms"]["vm1"]
    assert vm["host"] is None and vm["gap_to"] is None
    assert vm["downtime_s"] == pytest.approx(60, abs=0.2)
    assert problems(verdict) == "runs nowhere"
    assert bench.judge(meant_off=frozenset({"vm1"}))["ok"]


def test_a_vm_at_a_partitioned_host_still_runs(bench: Bench) -> None:
    """The host's API is silent, but its log says that the VM ticks and writes."""
    bench.write("esx1", bench.begin("esx1"), 10)
    bench.die("esx1")
    verdict = bench.judge()
    assert verdict["ok"], verdict
    assert verdict["vms"]["vm1"]["host"] == "esx1"
    assert verdict["silent_hosts"] == ["esx1"]


def test_a_vm_at_a_partitioned_host_and_at_another_is_running_twice(bench: Bench) -> None:
    old, new = moved(bench)
    bench.log("esx1", "%d tick vm1 %s" % (bench.now, old))
    assert bench.judge()["vms"]["vm1"]["hosts"] == ["esx1", "esx2"]


def test_a_vm_that_is_on_but_frozen_is_found(bench: Bench) -> None:
    bench.write("esx1", bench.begin("esx1"), 10)
    bench.now += 30 * SECOND
    assert "does not execute" in problems(bench.judge())


def test_a_vm_that_ticks_but_cannot_write_is_found(bench: Bench) -> None:
    identity = bench.begin("esx1")
    bench.write("esx1", identity, 10)
    for _each in range(100):
        bench.now += 100 * MS
        bench.log("esx1", "%d tick vm1 %s" % (bench.now, identity))
    assert "written nothing" in problems(bench.judge())


def test_downtime_can_be_measured_from_a_fault_on(bench: Bench) -> None:
    moved(bench, 40.0)
    later = bench.now
    bench.write("esx2", bench.begin("esx2"), 5)
    assert bench.judge()["vms"]["vm1"]["downtime_s"] > 40
    assert bench.judge(since_ns=later)["vms"]["vm1"]["downtime_s"] < 1


def test_an_unfinished_last_line_is_left_for_the_next_look(bench: Bench) -> None:
    bench.write("esx1", bench.begin("esx1"), 5)
    with open(bench.folder / "esx1.log", "a", encoding="ascii") as sink:
        sink.write("%d ack vm1 0123" % bench.now)
    assert bench.judge()["ok"]


def test_a_line_that_cannot_be_understood_is_named(bench: Bench) -> None:
    bench.log("esx1", "yesterday tick vm1 0123")
    with pytest.raises(LabError, match=r"esx1\.log line 1"):
        bench.judge()


def test_a_file_that_is_not_the_labs_lun_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.img").write_bytes(bytes(4096))
    with pytest.raises(LabError, match="LIBREHALAB1"):
        lun.read(tmp_path / "other.img", [0])


IDLE = {"workload": False, "record_interval_ns": SECOND}


def test_a_vm_without_workload_that_executes_is_ok(bench: Bench) -> None:
    bench.execute("esx1", bench.begin("esx1"), 30)
    verdict = bench.judge(**IDLE)
    assert verdict["ok"], verdict
    assert verdict["vms"]["vm1"]["downtime_s"] == pytest.approx(1.0)


def test_the_downtime_of_a_vm_without_workload_is_the_time_in_which_nobody_executed_it(bench: Bench) -> None:
    bench.execute("esx1", bench.begin("esx1"), 5)
    bench.die("esx1")
    bench.now += 40 * SECOND
    bench.execute("esx2", bench.begin("esx2"), 5)
    verdict = bench.judge(**IDLE)
    assert verdict["ok"], verdict
    assert verdict["vms"]["vm1"]["downtime_s"] == pytest.approx(40.0)
    assert verdict["vms"]["vm1"]["host"] == "esx2"


def test_a_vm_without_workload_that_stopped_executing_is_found(bench: Bench) -> None:
    bench.execute("esx1", bench.begin("esx1"), 5)
    bench.now += 6 * SECOND
    assert "does not execute" in problems(bench.judge(**IDLE))
    bench.die("esx1")
    assert "runs nowhere" in problems(bench.judge(**IDLE))


def test_a_vm_without_workload_that_two_hosts_execute_is_found(bench: Bench) -> None:
    old, new = bench.begin("esx1"), uuid.uuid4()
    for _each in range(4):
        bench.execute("esx1", old, 1)
        bench.log("esx2", "%d tick vm1 %s" % (bench.now + 100 * MS, new))
    bench.powers["esx2"] = {"vm1": "on"}
    verdict = bench.judge(**IDLE)
    assert "executed twice at once for" in problems(verdict) and "runs at esx1 and esx2 at once" in problems(verdict)


def test_a_vm_without_workload_that_was_frozen_while_another_host_had_it_is_no_overlap(bench: Bench) -> None:
    old = bench.begin("esx1")
    bench.execute("esx1", old, 5)
    bench.now += 6 * SECOND
    bench.execute("esx2", bench.begin("esx2"), 5)
    bench.log("esx1", "%d tick vm1 %s" % (bench.now + SECOND, old))  # thawed, and gone at once
    bench.powers["esx1"] = {}
    assert "executed twice" not in problems(bench.judge(**IDLE))


def test_a_record_of_a_vm_without_workload_is_found(bench: Bench) -> None:
    bench.write("esx1", bench.begin("esx1"), 30)
    assert "30 records were written" in problems(bench.judge(**IDLE))
