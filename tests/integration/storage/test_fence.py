"""The fence on a real tgtd with real initiators: what "confirmed" promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.storage import durable
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fencing import observe_fences
from ansible_collections.libreha.vmware.plugins.module_utils.storage.observing import observe_storage
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.driver import TgtTarget
from half_login import HalfLogin
from real_storage import ESX1, ESX2, HANG, TARGET, until

REPEAT = int(os.environ.get("LIBREHA_REPEAT", "1"))
ROOT = Path(__file__).resolve().parents[3]


def observed(storage):
    return observe_storage("storage1", storage.target(), storage.fence_list(), interval=0.05)


@pytest.mark.parametrize("restart", [False, True], ids=["", "and tgtd is killed and started"])
@pytest.mark.parametrize("state", ["running", "frozen", "killed"])
@pytest.mark.parametrize("_round", range(REPEAT))
def test_not_one_record_lands_after_the_fence(storage, state, restart, _round):
    """The initiator writes numbered records, each durable before the next, and tries to log in again for ever."""
    writer = storage.write(ESX1, "--reconnect").running()
    if state == "frozen":
        writer.freeze()
    elif state == "killed":
        writer.kill()
    outcome = storage.fence()
    landed = storage.landed()
    print("\n%s: %s" % (state, [(step["step"], step["after"]) for step in outcome.steps]))
    assert outcome.confirmed and outcome.changed
    if state != "killed":  # its kernel has closed the connection, and tgtd may have seen that
        assert outcome.sessions_ended == 1
    if restart:
        storage.stop()  # SIGKILL
        storage.start()
    assert landed >= writer.acknowledged() > 0
    if state == "frozen":
        writer.thaw()
    time.sleep(2.5)  # libiscsi tries again every second
    assert storage.landed() == landed
    assert storage.login_refused()
    look = observed(storage)
    assert look.sessions == () and [fence.confirmed for fence in look.fences] == [True]


def test_it_is_said_to_be_durable_when_it_is_and_before_it_is_verified(storage):
    """From then on power may be switched off: a host that starts again finds its right gone."""
    storage.write(ESX1).running()
    said = []

    def durable() -> None:
        target = storage.target()
        listed = [entry.initiator for entry in storage.fence_list().read().entries]
        admitted = {name for one in (*target.access(), *target.saved_access()) for name in one.initiators}
        said.append((listed, ESX1 in admitted))

    outcome = storage.fencer().fence("esx1", [ESX1], 1, "test", wait=10.0, durable=durable)
    assert outcome.confirmed and said == [([ESX1], False)]


def test_the_other_host_goes_on_writing(storage):
    storage.write(ESX1).running()
    other = storage.write(ESX2).running()
    storage.fence()
    before = other.acknowledged()
    until(lambda: other.acknowledged() > before + 20, "the other host writes")


def test_let_in_without_a_restart_it_delivers_its_old_writes(storage):
    """Why unfencing needs a fresh start: this is what it prevents."""
    writer = storage.write(ESX1, "--reconnect").running()
    storage.fence()
    landed = storage.landed()
    storage.target().admit(ESX1, [TARGET], None)
    until(lambda: storage.landed() > landed or writer.process.poll() is not None, "the old writer goes on")
    assert writer.process.poll() is None, writer.ended()


def test_a_step_that_fails_in_an_unforeseen_way_keeps_back_no_other_step(storage, monkeypatch):
    def fails(_self, _initiator):
        raise KeyError("targets.conf")

    storage.write().running()
    monkeypatch.setattr(TgtTarget, "revoke_saved", fails)
    with pytest.raises(LibrehaError, match=r"the fence is NOT confirmed.*unexpected KeyError: 'targets.conf'"):
        storage.fence()
    assert storage.login_refused()  # the right at run time is gone all the same
    monkeypatch.undo()
    assert storage.fence().confirmed


def test_a_second_fence_changes_nothing_and_confirms_again(storage):
    storage.write().running()
    assert storage.fence().changed
    content, saved = storage.list_path.read_bytes(), storage.saved.read_bytes()
    again = storage.fence()
    assert again.confirmed and not again.changed and again.sessions_ended == 0
    assert (storage.list_path.read_bytes(), storage.saved.read_bytes()) == (content, saved)


def test_the_fence_survives_a_restart_of_the_target(storage):
    storage.fence()
    storage.stop()
    storage.start()
    assert storage.login_refused(ESX1)
    assert not storage.login_refused(ESX2)
    (fence,) = observed(storage).fences
    assert fence.confirmed and not fence.admitted


def test_a_host_that_somebody_let_in_again_is_seen_and_fenced_again(storage):
    first = storage.fence()
    at = storage.fence_list().read().of(ESX1).at
    storage.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", ESX1)
    (fence,) = observed(storage).fences
    assert fence.admitted and not fence.confirmed and TARGET in fence.why_not
    assert first.confirmed and storage.fencer().reapply(wait=5).changed
    assert storage.login_refused()
    assert storage.fence_list().read().of(ESX1).at.seconds > at.seconds, "it may have written until now"


def test_reapplying_restores_a_fence_that_was_written_over(storage):
    storage.fence()
    storage.save([ESX1, ESX2])
    assert "saved configuration" in observed(storage).fences[0].why_not
    outcome = storage.fencer().reapply(wait=5)
    assert outcome.confirmed and outcome.changed
    assert not storage.fencer().reapply(wait=5).changed
    storage.stop()
    storage.start()
    assert storage.login_refused()


def test_reapplying_while_the_target_is_down_makes_the_next_start_safe(new_storage):
    new_storage.start()
    new_storage.fence()
    new_storage.stop()
    new_storage.save([ESX1, ESX2])
    with pytest.raises(LibrehaError, match="not running"):
        new_storage.fencer().reapply(wait=0)
    new_storage.start()
    assert new_storage.login_refused()


def test_a_lower_token_is_refused_and_changes_nothing(storage):
    storage.fence(token=7)
    content = storage.list_path.read_bytes()
    with pytest.raises(StaleToken):
        storage.fence(token=6, initiator=ESX2, host="esx2")
    assert storage.list_path.read_bytes() == content
    assert not storage.login_refused(ESX2)


def test_concurrent_fencers_of_different_hosts_both_confirm(storage):
    storage.write(ESX1).running()
    storage.write(ESX2).running()
    outcomes = {}

    def fence(host: str, initiator: str) -> None:
        command = [sys.executable, "-c", FENCE, str(storage.control_port), str(storage.saved), str(storage.list_path), host, initiator, "7"]
        outcomes[host] = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG, check=False)

    threads = [threading.Thread(target=fence, args=pair) for pair in (("esx1", ESX1), ("esx2", ESX2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.stdout.strip() for outcome in outcomes.values()] == ["confirmed", "confirmed"], outcomes
    assert {entry.host for entry in storage.fence_list().read().entries} == {"esx1", "esx2"}
    assert storage.saved.read_text().count("#libreha-fenced#") == 2


FENCE = """
import sys; sys.path.insert(0, ".cache/collections")
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ansible_collections.libreha.vmware.plugins.module_utils.storage import fencing, registry, fence_list
port, saved, path, host, initiator, token, *lease = sys.argv[1:]
target = registry.open_storage("tgt", control_port=int(port), saved_config=saved)
fencer = fencing.Fencer(target, fence_list.FenceList(path), Permit(clock.now().seconds + float((lease or [60])[0])))
print("ready", file=sys.stderr, flush=True)
print("confirmed" if fencer.fence(host, [initiator], int(token), "test", wait=10).confirmed else "not", flush=True)
"""


@pytest.mark.parametrize("point", ["write", "revoke_saved", "revoke", "end_sessions"])
def test_a_fence_killed_at_any_point_is_completed_by_the_next_run(storage, point):
    storage.write(ESX1, "--reconnect").running()
    killer = FENCE.replace(
        'print("ready"',
        "import os, signal\n"
        "owner = fencer.fence_list if %r == 'write' else target\n"
        "real = getattr(owner, %r)\n"
        "def dying(*a):\n    real(*a)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(owner, %r, dying)\n"
        'print("ready"' % (point, point, point),
    )
    command = [sys.executable, "-c", killer, str(storage.control_port), str(storage.saved), str(storage.list_path), "esx1", ESX1, "7"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=HANG, check=False).returncode == -signal.SIGKILL
    (fence,) = observed(storage).fences
    assert fence.confirmed is (point == "end_sessions")
    assert storage.fence(token=8).confirmed
    assert storage.login_refused()


def test_a_run_frozen_past_its_deadline_does_nothing_when_it_wakes_up(storage):
    storage.write(ESX1).running()
    stopping = FENCE.replace(
        'print("ready"',
        "import os, signal\n"
        "real = target.revoke_saved\n"
        "def stopped(*a):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    return real(*a)\n"
        "target.revoke_saved = stopped\n"
        'print("ready"',
    )
    lease = "1.5"
    command = [
        sys.executable,
        "-c",
        stopping,
        str(storage.control_port),
        str(storage.saved),
        str(storage.list_path),
        "esx1",
        ESX1,
        "7",
        lease,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    until(lambda: " T " in Path("/proc/%d/stat" % process.pid).read_text(), "it is frozen")
    saved = storage.saved.read_bytes()
    time.sleep(2.0)
    process.send_signal(signal.SIGCONT)
    assert process.wait(HANG) == -signal.SIGALRM
    assert storage.saved.read_bytes() == saved
    assert not storage.login_refused()


def test_a_frozen_run_does_not_hold_up_the_one_that_takes_over(storage):
    frozen = FENCE.replace(
        'print("ready"',
        'import os, signal\ntarget.revoke = lambda *a: os.kill(os.getpid(), signal.SIGSTOP)\nprint("ready"',
    )
    command = [
        sys.executable,
        "-c",
        frozen,
        str(storage.control_port),
        str(storage.saved),
        str(storage.list_path),
        "esx1",
        ESX1,
        "7",
        "1.0",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: " T " in Path("/proc/%d/stat" % process.pid).read_text(), "it is frozen with the lock")
    assert storage.fence(token=8).confirmed
    assert process.wait(HANG) == -signal.SIGKILL


def test_no_act_without_time_left(storage):
    with pytest.raises(LeaseLost):
        storage.fencer(seconds=-1).fence("esx1", [ESX1], 7, "test", wait=1)
    assert not storage.list_path.exists()
    assert not storage.login_refused()


@pytest.mark.parametrize("rule", ["ALL", "127.0.0.1", "10.0.0.0/8"])
def test_a_target_that_admits_anybody_is_seen_and_never_confirmed(storage, rule):
    storage.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", rule)
    (access,) = observed(storage).access
    assert access.anybody and rule in access.reason
    with pytest.raises(LibrehaError, match="NOT confirmed.*%s" % rule) as error:
        storage.fence(wait=0.2)
    assert error.value.details["confirmed"] is False


def test_a_saved_target_without_an_address_line_is_open_after_its_next_start(new_storage):
    """tgt-admin's own behaviour, which everything here has to reckon with."""
    new_storage.save([ESX1, ESX2], closed=False)
    new_storage.start()
    assert "ALL" in new_storage.admin("--op", "show", "--mode", "target")
    (access,) = observed(new_storage).access
    assert access.anybody
    new_storage.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-I", "ALL")
    (access,) = observed(new_storage).access
    assert access.anybody and "next start" in access.reason
    assert new_storage.fence().confirmed
    new_storage.stop()
    new_storage.start()
    assert new_storage.login_refused(ESX1) and not new_storage.login_refused(ESX2)


def test_a_login_that_began_before_the_fence_does_not_complete_after_it(storage):
    login = HalfLogin("127.0.0.1", storage.port, TARGET, ESX1)
    outcome = storage.fence()
    assert outcome.confirmed
    assert any(step["step"] == "logins under way ended" for step in outcome.steps)
    assert not login.finish()
    assert observed(storage).sessions == ()


def test_a_login_under_way_is_a_danger_that_the_access_list_does_not_stop(storage):
    """What the test above protects from: tgtd looks at the access list only when a login begins."""
    login = HalfLogin("127.0.0.1", storage.port, TARGET, ESX1)
    storage.target().revoke(ESX1)
    assert login.finish()


def test_a_fence_that_only_lacks_the_login_check_is_not_seen_as_confirmed(storage):
    storage.fence()
    storage.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", ESX1)
    login = HalfLogin("127.0.0.1", storage.port, TARGET, ESX1)
    storage.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-Q", ESX1)
    (fence,) = observed(storage).fences
    assert not fence.confirmed and "logins" in fence.why_not
    login.connection.close()
    until(lambda: observed(storage).fences[0].confirmed, "confirmed when the login is gone")


def test_a_session_that_still_lives_is_no_confirmed_fence(storage):
    storage.fence()
    storage.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", ESX1)
    storage.write().running().freeze()  # it writes nothing, but could
    storage.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-Q", ESX1)
    until(lambda: storage.target().in_flight(ESX1) == 0, "idle")
    (fence,) = observed(storage).fences
    assert not fence.confirmed and "still listed" in fence.why_not and not fence.admitted
    assert storage.fencer().reapply(wait=5).sessions_ended == 1
    assert observed(storage).fences[0].confirmed


def test_a_host_on_two_targets_is_fenced_on_both(new_storage):
    second = "iqn.2026-01.test.libreha:second"
    block = "<target %s>\n  backing-store %s\n  allow-in-use yes\n  initiator-name %s\n  initiator-address 255.255.255.255\n</target>"
    new_storage.save([ESX1, ESX2], extra=block % (second, new_storage.disk, ESX1))
    new_storage.start()
    new_storage.write(ESX1).running()
    new_storage.write(ESX1, target=second).running()
    assert {session.target for session in observed(new_storage).sessions} == {TARGET, second}
    outcome = new_storage.fence()
    assert outcome.confirmed and outcome.sessions_ended == 2
    assert sorted(new_storage.fence_list().read().of(ESX1).targets) == sorted([TARGET, second])


def test_progress_of_a_session_advances_while_it_writes_and_stands_still_while_it_is_frozen(storage):
    writer = storage.write().running()
    (first,) = observed(storage).sessions
    until(lambda: observed(storage).sessions[0].commands_done > first.commands_done, "commands are counted")
    assert observed(storage).sessions[0].sid == first.sid and first.address == "127.0.0.1"
    writer.freeze()
    time.sleep(0.3)
    (one,), (two,) = observed(storage).sessions, observed(storage).sessions
    assert (one.commands_done, one.bytes_done, one.in_flight) == (two.commands_done, two.bytes_done, 0)


def test_a_target_that_is_down_is_a_result(new_storage):
    seen = observed(new_storage)
    assert seen.serving is False and seen.sessions is None and seen.up_for is None and "not running" in seen.reason


def test_a_target_that_hangs_is_unknown_and_not_down(storage):
    os.kill(storage.daemon.pid, signal.SIGSTOP)
    try:
        seen = observed(storage)
    finally:
        os.kill(storage.daemon.pid, signal.SIGCONT)
    assert seen.serving is None and seen.sessions is None and "did not answer" in seen.reason


def test_the_age_of_the_service_is_that_of_its_process(storage):
    before = clock.now().seconds
    assert 0 <= storage.target().up_for() < HANG
    storage.stop()
    storage.start()
    assert storage.target().up_for() <= clock.now().seconds - before + 0.02, "the kernel counts in ticks of 10 ms"


def test_if_the_fence_list_cannot_be_written_the_right_is_taken_all_the_same_and_nothing_is_confirmed(storage, monkeypatch):
    storage.write().running()
    real = durable.replace

    def full(path, content, **options):
        if path == str(storage.list_path):
            raise LibrehaError("cannot write %s durably: No space left on device" % path, remedy="make room")
        real(path, content, **options)

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(LibrehaError, match="NOT confirmed.*No space left") as error:
        storage.fence(wait=0.2)
    assert "make room" in str(error.value) and error.value.details["confirmed"] is False
    assert storage.login_refused()
    assert observe_fences(storage.target(), storage.fence_list())[1] == ()


def test_a_damaged_fence_list_stops_everything_before_anything_is_touched(storage):
    storage.list_path.write_text('{"schema": 1, "highest_token": 7, "fen')
    saved = storage.saved.read_bytes()
    with pytest.raises(LibrehaError, match="damaged"):
        storage.fence()
    with pytest.raises(LibrehaError, match="damaged"):
        observed(storage)
    assert storage.saved.read_bytes() == saved and not storage.login_refused()


def test_two_hosts_with_one_initiator_name_are_refused(storage):
    storage.fence()
    with pytest.raises(LibrehaError, match="initiator of host esx1"):
        storage.fence(host="esx2")


def test_the_fence_list_is_readable_by_people(storage):
    storage.fence()
    content = json.loads(storage.list_path.read_text())
    assert content["schema"] == 1 and content["highest_token"] == 7
    (entry,) = content["fences"]
    assert (entry["host"], entry["initiator"], entry["token"], entry["targets"]) == ("esx1", ESX1, 7, [TARGET])
    assert entry["at"]["boot_id"] == clock.read_boot_id()
