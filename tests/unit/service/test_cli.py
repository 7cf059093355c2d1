"""The operator's command, run as a person runs it: against a record of real decisions, and a monitor that answers on a real socket."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decide"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cycle"))

from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FailoverOrder, FenceOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import Heard
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import JournalEntry, StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.service import cli
from ansible_collections.libreha.vmware.plugins.module_utils.service.looks import LookLog
from ansible_collections.libreha.vmware.plugins.module_utils.service.status import status_of
from decide_world import three_hosts
from scene import LEASE, Scene
from socket_server import serving

ROOT = Path(__file__).resolve().parents[3]
REPLACED = "ansible_collections.libreha.vmware.plugins.module_utils.service.cli"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Libreha = Callable[..., Ran]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """esx1 has died, is fenced, and its VMs are being started elsewhere; the record has all of it."""
    world = three_hosts(lease=LEASE)
    url = "sqlite:///%s" % (tmp_path / "state.db")
    with StateDatabase.open(url, clock=world.at, sleep=lambda seconds: None) as database:
        scene = Scene(world, database, url)
        scene.run()
        scene.looks(12)
        yield scene


def fail_over(scene: Scene) -> None:
    scene.world.kill("esx1")
    scene.looks(30)
    (order,) = (order for order in scene.orders if isinstance(order, FenceOrder))
    scene.world.fence("esx1")
    scene.end(order)
    scene.looks(3)
    assert isinstance(scene.orders[0], FailoverOrder)


@pytest.fixture
def libreha(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Libreha:
    """Runs it with a configuration that leads to the scene's record and to a socket at which nobody listens yet."""
    monkeypatch.delenv("LIBREHA_STATE_URL", raising=False)
    monkeypatch.setenv("SUDO_USER", "ada")
    config = tmp_path / "monitor.json"
    config.write_text(json.dumps({"state_url": scene.url, "socket": str(tmp_path / "monitor.sock"), "policy": {}}))

    def run(command: str, *words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        return Ran(cli.main([command, "--config", str(config), *words], out, err), out.getvalue(), err.getvalue())

    return run


def answering(scene: Scene) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        now = clock.now()
        return status_of(
            scene.monitor.judged,
            scene.in_progress(),
            now=now,
            started_at=now,
            holder="run-1",
            token=7,
            look_ended_at=now,
            state="looking",
            problem="",
        )

    return answer


# status


def test_status_shows_what_the_monitor_answers(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    fail_over(scene)
    with serving(tmp_path / "monitor.sock", answering(scene)) as heard:
        ran = libreha("status")
    assert heard == [{"request": "status"}]
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].startswith("libreha: looking, mode act, last look 0.0 s ago")
    (row,) = (line for line in ran.lines if line.startswith("  esx1"))
    assert "fenced" in row and "2 VMs" in row
    assert "VMs 4 known, 4 running, 2 down, 2 at risk" in ran.out
    assert "  vm1 DOWN, recorded on esx1: vm1 is to be started on esx" in ran.out
    assert "\nUnder way\n  start 2 VMs\n" in ran.out
    assert "\x1b" not in ran.out


def test_status_without_a_monitor_says_so_shows_the_record_and_ends_with_3(scene: Scene, libreha: Libreha) -> None:
    fail_over(scene)
    ran = libreha("status")
    assert ran.code == 3
    assert ran.lines[0].startswith("libreha: the resident monitor does not answer; what follows is from the record; last look 2026-01-01 ")
    assert "no resident monitor listens at" in ran.out and "systemctl start libreha-monitor" in ran.out
    assert "  vm1 DOWN, recorded on esx1: its host esx1 is fenced" in ran.out


def test_status_for_programs_is_one_object(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    with serving(tmp_path / "monitor.sock", answering(scene)):
        ran = libreha("status", "--json")
    found = json.loads(ran.out)
    assert found["service"]["state"] == "looking" and [host["name"] for host in found["hosts"]] == ["esx1", "esx2", "esx3"]


def test_colours_only_where_they_are_wanted(libreha: Libreha) -> None:
    assert "\x1b[31m" in libreha("status", "--color", "always").out
    assert "\x1b" not in libreha("status").out


def test_watch_shows_it_again_until_it_is_interrupted(scene: Scene, libreha: Libreha, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = []

    def sleep(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("%s.clock.sleep" % REPLACED, sleep)
    ran = libreha("status", "--watch", "0.5", "--json")
    assert (ran.code, len(ran.lines), paused) == (130, 3, [0.5, 0.5, 0.5])


# journal


def test_journal_shows_the_last_entries_with_their_reasons(scene: Scene, libreha: Libreha) -> None:
    fail_over(scene)
    ran = libreha("journal")
    assert ran.code == 0
    assert any("action    ordered: fence esx1" in line for line in ran.lines)
    assert any(line.startswith("    esx1 dead since") for line in ran.lines)
    last = libreha("journal", "-n", "1", "--json")
    (entry,) = map(json.loads, last.lines)
    assert entry["seq"] == scene.database.read_journal(limit=1)[0]["seq"]


def test_journal_about_a_vm_by_its_name_and_of_one_kind(scene: Scene, libreha: Libreha) -> None:
    vm = scene.world.vms["vm1"].id
    scene.database.journal([JournalEntry("step", "vm1 verified", subject=vm), JournalEntry("note", "vm1 again", subject=vm)], scene.token)
    assert [line[32:] for line in libreha("journal", "--about", "vm1", "--kind", "step").lines] == ["vm1 verified"]
    assert len(libreha("journal", "--about", "vm1").lines) == 2


def test_journal_since_a_number_or_a_time(scene: Scene, libreha: Libreha) -> None:
    scene.world.now += 3600
    scene.database.acquire_lease("run-1", 60)
    (seq,) = scene.database.journal([JournalEntry("note", "an hour later")], scene.database.lease()["token"])
    assert libreha("journal", "--since", str(seq - 1)).out.count("an hour later") == 1
    moment = scene.world.at().wall[:19]
    assert "an hour later" in libreha("journal", "--since", moment + "Z").out
    assert "esx1" not in libreha("journal", "--since", moment).out
    assert libreha("journal", "--since", "15m").out == "", "the record is of January, and now is later"
    assert len(libreha("journal", "--since", "0", "-n", "2", "--json").lines) == 2
    wrong = libreha("journal", "--since", "yesterday")
    assert wrong.code == 2


def test_journal_follows_what_comes_and_loses_nothing(scene: Scene, libreha: Libreha, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(["first", "second"])

    def sleep(seconds: float) -> None:
        text = next(turns, None)
        if text is None:
            raise KeyboardInterrupt
        scene.database.journal([JournalEntry("note", text)], scene.token)

    monkeypatch.setattr("%s.clock.sleep" % REPLACED, sleep)
    ran = libreha("journal", "--follow", "-n", "0")
    assert [line.split()[-1] for line in ran.lines] == ["first", "second"]


# explain


def test_explain_a_vm_that_waits_says_what_its_host_is_and_why_nothing_is_done_yet(scene: Scene, libreha: Libreha) -> None:
    scene.world.kill("esx1")
    scene.looks(12)
    ran = libreha("explain", "vm1")
    assert ran.code == 0, ran.err
    assert "power on, on esx1; it should run" in ran.out
    assert "\nIts host esx1\n  dead (suspected, not acted on) since " in ran.out
    assert "\nWhat is not done, and why\n  esx1 dead since" in ran.out and "waiting for confirmation" in ran.out


def test_explain_a_fenced_host(scene: Scene, libreha: Libreha) -> None:
    fail_over(scene)
    ran = libreha("explain", "esx1")
    assert "fenced at san; libreha command rejoin esx1" in ran.out
    assert "\nVMs recorded there\n  vm1, vm2\n" in ran.out
    assert "ordered: fence esx1" in ran.out


def test_explain_a_vm_that_a_person_stopped_and_one_that_the_cluster_may_not_touch(scene: Scene, libreha: Libreha) -> None:
    scene.world.command("stop", "vm3")
    with scene.database.change(scene.token) as change:
        change.memory({**scene.world.memory.to_dict(), "disarmed": "Ada: the switch"})
    ran = libreha("explain", "vm3")
    assert "it should be stopped" in ran.out
    assert "the cluster is disarmed (Ada: the switch)" in ran.out


def test_explain_for_programs(scene: Scene, libreha: Libreha) -> None:
    found = json.loads(libreha("explain", scene.world.vms["vm1"].id, "--json").out)
    assert (found["subject"], found["kind"]) == ("vm1", "vm")
    assert found["sections"][1]["title"] == "Why it is there"


def test_explain_something_unknown_names_what_comes_close(libreha: Libreha) -> None:
    ran = libreha("explain", "esx11")
    assert (ran.code, ran.out) == (1, "")
    assert "no VM and no host esx11 is known" in ran.err and "did you mean esx1" in ran.err


# command


def taken_up(scene: Scene, state: str, outcome: str) -> threading.Thread:
    """A run that takes up what waits."""

    def look() -> None:
        until = time.monotonic() + 10
        while not scene.database.waiting_commands() and time.monotonic() < until:
            time.sleep(0.02)
        with scene.database.change(scene.token) as change:
            change.heard([Heard(item.number, state, outcome) for item in scene.database.waiting_commands()])

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def test_a_command_is_given_with_person_and_reason_and_its_outcome_is_told(scene: Scene, libreha: Libreha) -> None:
    thread = taken_up(scene, "applied", "vm1 is to be stopped (ada: its disk is full)")
    ran = libreha("command", "stop", "vm1", "--reason", "its disk is full", "--wait", "10")
    thread.join()
    assert (ran.code, ran.out) == (0, "command 1 applied: vm1 is to be stopped (ada: its disk is full)\n")
    (row,) = scene.database.commands([1])
    assert (row["by"], row["reason"], row["subject"]) == ("ada", "its disk is full", "vm1")


def test_a_command_that_is_refused_ends_with_1_and_the_reason(scene: Scene, libreha: Libreha) -> None:
    thread = taken_up(scene, "refused", "no VM vm9 is known")
    ran = libreha("command", "stop", "vm9", "--reason", "why not", "--wait", "10")
    thread.join()
    assert ran.code == 1 and ran.err.startswith("libreha command: stop is refused: no VM vm9 is known")


def test_a_command_that_nobody_takes_up_is_withdrawn(scene: Scene, libreha: Libreha) -> None:
    ran = libreha("command", "disarm", "--reason", "the switch", "--wait", "0.1")
    assert ran.code == 1 and "it is withdrawn" in ran.err
    assert scene.database.waiting_commands() == ()


def test_without_waiting_a_command_is_left_for_the_next_look(scene: Scene, libreha: Libreha) -> None:
    ran = libreha("command", "migrate", "vm1", "--to", "esx2", "--by", "Grace", "--reason", "room", "--wait", "0", "--json")
    assert ran.code == 0 and json.loads(ran.out)["state"] == "waiting"
    (waiting,) = scene.database.waiting_commands()
    assert (waiting.command.kind, waiting.command.host, waiting.command.by) == (CommandKind.MIGRATE, "esx2", "Grace")


@pytest.mark.parametrize(("given", "seconds"), [("90m", 5400.0), ("8h", 28800.0), ("3d", 259200.0)])
def test_a_switch_off_says_for_how_long(scene: Scene, libreha: Libreha, given: str, seconds: float) -> None:
    ran = libreha("command", "disarm", "--by", "Grace", "--reason", "the switch", "--for", given, "--wait", "0")
    assert ran.code == 0, ran.err
    (waiting,) = scene.database.waiting_commands()
    assert waiting.command.holds == seconds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("disarm", "--reason", "x", "--for", "0h"), "0h is no time"),
        (("arm", "--by", "G", "--reason", "x", "--for", "1h"), "only with disarm"),
        (("disarm",), "--reason"),
        (("disarm", "--reason", " "), "named person and a reason"),
        (("explode", "--reason", "x"), "explode"),
    ],
)
def test_a_command_without_a_reason_or_that_is_none_is_not_given(scene: Scene, libreha: Libreha, words: tuple[str, ...], said: str) -> None:
    ran = libreha("command", *words)
    assert ran.code in (1, 2)
    assert said in ran.err or ran.code == 2
    assert scene.database.waiting_commands() == ()


def test_root_is_nobody_by_name(scene: Scene, libreha: Libreha, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "")
    monkeypatch.setenv("LOGNAME", "root")
    ran = libreha("command", "disarm", "--reason", "x", "--wait", "0")
    assert ran.code == 1 and "--by NAME" in ran.err


# check, and what is wrong


def test_check_has_the_exit_codes_of_a_plugin(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    with serving(tmp_path / "monitor.sock", answering(scene)):
        calm = libreha("check")
        assert (calm.code, calm.out[:12]) == (0, "LIBREHA OK -")
        fail_over(scene)
        down = libreha("check")
    assert (down.code, down.out[:37]) == (2, "LIBREHA CRITICAL - 2 VMs are down: vm")
    alone = libreha("check")
    assert alone.code == 2 and "no look at the cluster within 30 s" in alone.out and len(alone.lines) == 1


def test_check_that_can_read_nothing_is_unknown(libreha: Libreha, tmp_path: Path) -> None:
    ran = libreha("check", "--state-url", "sqlite:///%s/none/state.db" % tmp_path)
    assert (ran.code, ran.err) == (3, "") and ran.out.startswith("LIBREHA UNKNOWN - ")
    assert libreha("check", "--max-age", "soon").code == 3
    assert libreha("check", "--no-such-option").code == 3


@pytest.mark.parametrize("words", [(), ("dance",), ("status", "--watch", "-1"), ("journal", "-n", "x"), ("status", "--no-such-option")])
def test_wrong_options_end_with_2(words: tuple[str, ...]) -> None:
    assert cli.main(list(words)) == 2


def test_a_damaged_configuration_is_named_with_a_way_on(libreha: Libreha, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "monitor.json").write_text("{")
    ran = libreha("status")
    assert ran.code == 1 and "monitor.json cannot be read" in ran.err and "--socket and --state-url" in ran.err
    assert libreha("status", "--socket", "/none", "--state-url", scene.url).code == 3


def test_a_defect_is_one_line_with_its_place(libreha: Libreha, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(places: Any) -> Any:
        raise KeyError("esx2")

    monkeypatch.setattr("%s.read_status" % REPLACED, broken)
    ran = libreha("status")
    assert ran.code == 1 and ran.err.startswith("libreha status: unexpected KeyError: 'esx2' (test_cli.py:")
    assert libreha("check").code == 3


def test_every_command_has_its_help_and_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "journal", "explain", "command", "check"):
        assert cli.main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(kind.value in said for kind in CommandKind)
    assert cli.main(["--help"]) == 0
    assert "exit codes:" in capsys.readouterr().out


def test_it_runs_as_a_program_and_bears_a_reader_that_goes_away(scene: Scene, tmp_path: Path) -> None:
    fail_over(scene)
    argv = [sys.executable, "-m", REPLACED, "journal", "--state-url", scene.url, "--socket", "/none", "--since", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".cache/collections")}
    done = subprocess.run(
        ["bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash", *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# replay and incident


def recording_of(scene: Scene) -> LookLog:
    """Ten looks at a host that dies."""
    log = LookLog()
    scene.world.kill("esx1")
    for _look in range(10):
        scene.looks(1)
        judged = scene.monitor.judged
        assert judged is not None and judged.decided_from is not None
        log.add(judged.decided_from, judged.decision)
    return log


@contextlib.contextmanager
def giving(log: LookLog, path: Path) -> Iterator[None]:
    with serving(path, lambda request: {"recording": base64.b64encode(log.recording()).decode()}):
        yield


def test_replay_shows_what_each_look_brought_and_that_it_is_decided_so_again(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    with giving(recording_of(scene), tmp_path / "monitor.sock"):
        ran = libreha("replay")
        one = libreha("replay", "--look", "10")
        form = libreha("replay", "--json").lines
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1] == "10 looks, all decided as it was then"
    assert any("esx1 dead?" in line for line in ran.lines) and any("ordered: fence esx1" in line for line in ran.lines)
    assert one.lines[0].startswith("look 10, ") and one.lines[-1] == "decided as it was then"
    assert [json.loads(line)["look"] for line in form] == list(range(1, 11))


def test_a_recording_that_this_release_decides_differently_ends_with_1(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    first, *lines = gzip.decompress(recording_of(scene).recording()).decode().splitlines()
    other = json.loads(lines[-1])
    other["decided"]["settled"] = not other["decided"]["settled"]
    file = tmp_path / "one.libreha"
    file.write_bytes(gzip.compress("\n".join([first, *lines[:-1], json.dumps(other)]).encode()))
    ran = libreha("replay", str(file))
    assert ran.code == 1
    assert "DECIDED DIFFERENTLY: settled" in ran.out and ran.lines[-1] == "10 looks, 1 DECIDED DIFFERENTLY"


def test_an_incident_is_written_without_names_and_replays(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    out, named = tmp_path / "out.libreha", tmp_path / "named.libreha"
    with giving(recording_of(scene), tmp_path / "monitor.sock"):
        ran = libreha("incident", "--out", str(out))
        assert libreha("incident", "--out", str(named), "--with-names").code == 0
    assert (ran.code, ran.lines) == (0, ["%s: 10 looks, without names; it replays as the original does" % out])
    assert "esx1" not in gzip.decompress(out.read_bytes()).decode() and "esx1" in gzip.decompress(named.read_bytes()).decode()
    assert out.stat().st_mode & 0o777 == 0o600
    assert libreha("replay", str(out)).lines[-1] == "10 looks, all decided as it was then"
    assert libreha("incident", "--of", str(named), "--out", str(tmp_path / "again.libreha")).code == 0
    again = libreha("incident", "--of", str(named), "--out", str(out))
    assert again.code == 1 and "cannot be written: File exists" in again.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["replay"], "no resident monitor listens"),
        (["replay", "/nowhere"], "/nowhere cannot be read: No such file"),
        (["replay", __file__], "is no recording that can be read"),
        (["incident", "--out", "/nowhere/file"], "no resident monitor listens"),
    ],
)
def test_what_cannot_be_replayed_is_said_with_what_to_do(libreha: Libreha, words: list[str], says: str) -> None:
    ran = libreha(*words)
    assert ran.code == 1 and says in ran.err and "Remedy" in ran.err


def test_a_look_that_is_not_there_is_named(scene: Scene, libreha: Libreha, tmp_path: Path) -> None:
    with giving(recording_of(scene), tmp_path / "monitor.sock"):
        ran = libreha("replay", "--look", "11")
    assert ran.code == 1 and "give one from 1 to 10" in ran.err
