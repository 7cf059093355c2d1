"""Acts end with their deadline: the timer in the kernel, the check before each act, and the options that set them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.deadline import DEFAULT, read_permit
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman, Permit

ROOT = Path(__file__).resolve().parents[3]
NOW = Instant("boot", 1000.0)


def child(code: str) -> subprocess.Popen[bytes]:
    script = "import sys, time; sys.path.insert(0, '.cache/collections')\n"
    script += "from ansible_collections.libreha.vmware.plugins.module_utils import clock\n"
    script += "from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman, Permit\ndeadman = Deadman()\n"
    # Unbuffered, since communicate reads past a buffer, in which more than the first line may be.
    process = subprocess.Popen([sys.executable, "-c", script + code], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout.readline() == b"armed\n"
    return process


def test_a_process_that_sleeps_through_its_deadline_executes_not_one_more_instruction():
    process = child("deadman.arm(0.5); print('armed', flush=True)\nwhile True: print(time.monotonic(), flush=True)")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.8)
    woken = time.monotonic()
    process.send_signal(signal.SIGCONT)
    said = process.stdout.read().split()
    assert process.wait(20) == -signal.SIGALRM
    whole = [float(number) for number in said[:-1]]  # the last one may be cut off
    assert all(number < woken for number in whole)


def test_a_disarmed_process_lives_on():
    process = child("deadman.arm(0.2); deadman.disarm(); print('armed', flush=True); time.sleep(0.6); print('alive')")
    assert process.communicate(timeout=20)[0] == b"alive\n" and process.returncode == 0


def test_a_handler_or_a_mask_set_before_does_not_keep_it_alive():
    code = "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
    process = child(code + "deadman.arm(0.2); print('armed', flush=True); time.sleep(20)")
    assert process.wait(20) == -signal.SIGALRM


THREAD = """
import threading
def in_a_thread(act):
    failed = []
    def run():
        try:
            act()
        except BaseException as error:
            failed.append(repr(error))
    thread = threading.Thread(target=run)
    thread.start(); thread.join()
    if failed: print(failed[0], flush=True)
def within(seconds):
    with Permit(clock.now().seconds + seconds): pass
"""


def test_a_permit_that_ends_leaves_the_deadline_of_the_lease_standing():
    process = child("deadman.arm(0.3)\nwith Permit(clock.now().seconds + 60): pass\nprint('armed', flush=True); time.sleep(20)")
    assert process.wait(20) == -signal.SIGALRM


def test_a_permit_that_lasts_longer_does_not_put_the_lease_off():
    process = child("deadman.arm(0.3)\nwith Permit(clock.now().seconds + 60):\n print('armed', flush=True); time.sleep(20)")
    assert process.wait(20) == -signal.SIGALRM


def test_the_shorter_deadline_of_an_inner_act_ends_the_process_and_its_end_frees_it():
    inner = "deadman.arm(60)\nwith Permit(clock.now().seconds + 0.3):\n print('armed', flush=True); time.sleep(20)"
    assert child(inner).wait(20) == -signal.SIGALRM
    over = "deadman.arm(60)\nwith Permit(clock.now().seconds + 0.3): print('armed', flush=True)\ntime.sleep(0.6); print('alive')"
    assert child(over).communicate(timeout=20)[0] == b"alive\n"


def test_a_permit_that_is_entered_twice_stands_until_it_is_left_twice():
    code = "permit = Permit(clock.now().seconds + 0.3)\nwith permit:\n with permit: print('armed', flush=True)\n time.sleep(20)"
    assert child(code).wait(20) == -signal.SIGALRM


def test_a_thread_may_arm_and_the_whole_process_ends_with_its_deadline():
    code = THREAD + "in_a_thread(lambda: deadman.arm(0.3)); print('armed', flush=True); time.sleep(20)"
    assert child(code).wait(20) == -signal.SIGALRM


def test_a_thread_that_ends_its_act_leaves_the_others_their_deadlines():
    code = THREAD + "deadman.arm(0.5); in_a_thread(lambda: within(60)); print('armed', flush=True); time.sleep(20)"
    assert child(code).wait(20) == -signal.SIGALRM


def test_a_thread_is_refused_where_the_signal_would_not_end_the_process_unless_the_main_thread_armed_before():
    ignored = THREAD + "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); print('armed', flush=True)\n"
    said = child(ignored + "in_a_thread(lambda: within(60))").communicate(timeout=20)[0]
    assert b"the act would not end with its deadline" in said
    assert child(ignored + "deadman.arm(60); deadman.disarm(); in_a_thread(lambda: within(60))").communicate(timeout=20)[0] == b""


def test_a_child_of_fork_has_no_deadline_of_its_parents():
    code = "import os; deadman.arm(0.5); print('armed', flush=True)\nif os.fork() == 0:\n"
    code += " Deadman().arm(60); time.sleep(0.9); os.write(1, b'alive'); os._exit(0)\ntime.sleep(20)"
    process = child(code)
    assert process.communicate(timeout=20)[0] == b"alive" and process.returncode == -signal.SIGALRM


def test_arming_without_time_left_is_refused():
    with pytest.raises(LeaseLost):
        Deadman().arm(0)


def test_an_act_after_the_deadline_is_refused_and_named():
    permit = Permit(999.0, now=lambda: NOW, host="esx1")
    with pytest.raises(LeaseLost, match="esx1: .*1.0 s ago: revoke"):
        permit.check("revoke")
    Permit(1001.0, now=lambda: NOW).check("revoke")


@pytest.mark.parametrize(
    ("options", "deadline"),
    [
        ({}, 1000.0 + DEFAULT),
        ({"lease_remaining": 20.0}, 1020.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}}, 1015.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}, "lease_remaining": 20.0}, 1015.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}, "lease_remaining": 5.0}, 1005.0),
        ({"deadline": {"boot_id": "another", "seconds": 9.0}, "lease_remaining": 5.0}, 1005.0),
    ],
)
def test_the_earlier_of_deadline_and_lease_counts(options, deadline):
    assert read_permit(options, now=lambda: NOW).deadline == deadline


@pytest.mark.parametrize("deadline", [{"boot_id": "another", "seconds": 9.0}, {"seconds": 9.0}, {"boot_id": "boot", "seconds": "soon"}])
def test_a_deadline_that_cannot_be_compared_is_refused(deadline):
    with pytest.raises(LibrehaError):
        read_permit({"deadline": deadline}, now=lambda: NOW)
